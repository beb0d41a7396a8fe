"""Preparation of an image before any method: background subtraction and smoothing.

The image is prepared as it is read, part by part, and each voxel's result depends on the whole image alone.
All later steps (scaling, tiles, regions, resampling) therefore work as if the prepared image had been stored
first.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_lucyd import checks
from napari_lucyd.deconvolution.image.source import Source, to_float32
from napari_lucyd.deconvolution.preprocessing.background import Background
from napari_lucyd.deconvolution.preprocessing.prefilter import smoothed
from napari_lucyd.deconvolution.tiling.tiles import Tile, cut
from napari_lucyd.spans import Span

AUTO = "auto"
# An automatic prefilter reduces noise to the first of these, as a share of the highest noise in training
# (`lucyd evaluate options` shows the gain). If the card does not state this noise, it reduces noise to the
# second, as a share of the contrast.
_OF_TRAINED_NOISE, _USUAL_NOISE = 1 / 3, 0.04
_SMALLEST_BACKGROUND, _LARGEST_SIGMA = 16, 10
# Size of the automatic background box: this share of the shorter of Y and X, but at least a number of voxels
# that holds most structures.
_BACKGROUND_SHARE, _USUAL_BACKGROUND = 0.25, 64
# Preparing a part needs voxels around it, so thin parts would read most voxels twice.
_PART = (32, 256, 1024)


@dataclass(frozen=True)
class Preparation:
    """The requested preparation.

    Attributes
    ----------
    prefilter
        None, ``"auto"``, or the standard deviation of a Gaussian, in voxels of Y and X.
    subtract_background
        None, ``"auto"``, or the size, in voxels of Y and X, above which structure counts as background.
    z_factor
        Z step over the lateral step; both lengths are divided by it along Z.
    noise_left
        Noise after an automatic prefilter, as a share of the image's contrast.
    """

    prefilter: str | float | None = None
    subtract_background: str | float | None = None
    z_factor: float = 1.0
    noise_left: float = _USUAL_NOISE

    @property
    def wanted(self) -> bool:
        """True if there is anything to do."""
        return self.prefilter is not None or self.subtract_background is not None

    def sigmas(self, sigma: float, shape: Sequence[int]) -> tuple[float, ...]:
        """Return the Gaussian's standard deviation along each axis; 0 along an axis of one voxel."""
        lengths = self._along(sigma, shape)
        return tuple(0.0 if n == 1 else length for n, length in zip(shape, lengths, strict=True))

    def background_size(self, shape: Sequence[int]) -> tuple[float, ...] | None:
        """Return the size of the background's box along each axis of a volume."""
        size = self.subtract_background
        if size is None:
            return None
        if size == AUTO:
            size = max(_USUAL_BACKGROUND, _BACKGROUND_SHARE * min(shape[-2:]))
        return self._along(float(size), shape)

    def _along(self, length: float, shape: Sequence[int]) -> tuple[float, ...]:
        return (length / self.z_factor, length, length)[-len(shape) :]


NOTHING = Preparation()


def check_preparation(
    prefilter: Any,
    subtract_background: Any,
    steps: Sequence[float] | None,
    card: Mapping[str, Any],
) -> Preparation:
    """Check the arguments of a preparation.

    Parameters
    ----------
    prefilter, subtract_background
        Values of the arguments.
    steps
        Voxel size along (Z, Y, X) or (Y, X), or None.
    card
        Card of the model, whose ``noise_sigma`` is the noise in training; empty for classical methods.

    Raises
    ------
    TypeError, ValueError
        If one of them is not None, ``"auto"`` or a valid number.
    """
    wish = Preparation(
        _length("prefilter", prefilter, 0, _LARGEST_SIGMA),
        _length("subtract_background", subtract_background, _SMALLEST_BACKGROUND, math.inf),
    )
    # Only effective values are set, so that statistics fit every run with an equal preparation.
    if wish.wanted and steps is not None and len(steps) == 3:
        wish = replace(wish, z_factor=steps[0] / math.sqrt(steps[1] * steps[2]))
    limits = card.get("noise_sigma")
    if wish.prefilter == AUTO and isinstance(limits, Sequence) and len(limits) == 2 and limits[1] > 0:
        wish = replace(wish, noise_left=_OF_TRAINED_NOISE * float(limits[1]))
    return wish


def _length(name: str, value: Any, least: float, most: float) -> str | float | None:
    if value is None:
        return None
    if isinstance(value, str) and value == AUTO:
        return AUTO
    limits = f"above 0, at most {most:g}" if not least else f"of at least {least:g}"
    return checks.number(
        name,
        value,
        f"None, 'auto' or a number of voxels {limits}",
        lambda length: least <= length <= most and 0 < length < math.inf,
    )


@dataclass(frozen=True, eq=False)
class Prepared:
    """The measured numbers of a preparation, for a whole input.

    Attributes
    ----------
    wish
        The requested preparation.
    size
        Size of the background's box along each axis, in voxels; None without one.
    backgrounds
        Background of each volume, by its leading indices.
    noise
        Estimate for each group of the statistics, as a share of the contrast; empty unless the prefilter is
        automatic.
    sigma
        Prefilter of each group, in voxels of Y and X; empty without one.
    members
        Number of each volume's group.
    """

    wish: Preparation = NOTHING
    size: tuple[float, ...] | None = None
    backgrounds: Mapping[tuple[int, ...], Background] = field(default_factory=dict)
    noise: tuple[float, ...] = ()
    sigma: tuple[float, ...] = ()
    members: Mapping[tuple[int, ...], int] = field(default_factory=dict)

    def applied(self, source: Source) -> Source:
        """Return the prepared image, as methods read it."""
        return PreparedSource(source, self) if self.wish.wanted else source


UNPREPARED = Prepared()


def background_warnings(prepared: Prepared) -> list[str]:
    """Warn in one sentence where most of the background lies below 0: to subtract it adds light."""
    grids = [volume.grid for volume in prepared.backgrounds.values()]
    if not grids or sum(float(grid.mean()) for grid in grids) >= 0:
        return []
    low, high = min(float(grid.min()) for grid in grids), max(float(grid.max()) for grid in grids)
    return [
        f"The background that was found lies below 0 ({low:.3g} to {high:.3g}), so subtracting it made the "
        "image brighter. The noise of a dark image without a camera offset does that; leave out the "
        "subtraction of the background."
    ]


class PreparedSource(Source):
    """A source whose voxels are prepared as they are read: float32, with the NaNs of the source.

    Parameters
    ----------
    source
        The original image.
    prepared
        Its measured numbers.
    """

    def __init__(self, source: Source, prepared: Prepared) -> None:
        self.axes, self.dtype = source.axes, np.dtype(np.float32)
        self._source, self._prepared = source, prepared

    @property
    def in_memory(self) -> bool:
        """See `Source.in_memory`."""
        return self._source.in_memory

    def read(self, lead: Sequence[int], spans: Sequence[Span]) -> npt.NDArray[np.float32]:
        """See `Source.read`."""
        prepared, lead = self._prepared, tuple(lead)
        background = prepared.backgrounds.get(lead)

        def subtracted(needed: Sequence[Span]) -> npt.NDArray[np.float32]:
            values = to_float32(self._source.read(lead, needed))
            return values if background is None else values - background.at(needed)

        sigma = prepared.sigma[prepared.members[lead]] if prepared.sigma else 0.0
        if not sigma:
            return subtracted(spans)
        shape = self.axes.volume_shape
        return smoothed(subtracted, spans, shape, prepared.wish.sigmas(sigma, shape))

    def parts(self) -> list[Tile]:
        """List parts that cover a volume once."""
        shape = self.axes.volume_shape
        size = [min(most, n) for most, n in zip(_PART[-len(shape) :], shape, strict=True)]
        return list(cut([Span(0, n) for n in shape], size))
