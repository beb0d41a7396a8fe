"""Sources of the blur: a PSF from a layer or a file, the width of a Gaussian, or nothing.

`optics` and `beads` have two more sources. Nothing here touches the window: a PSF is read or computed in a
worker thread.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from napari_lucyd._napari.layers.source_layer import SourceLayer
from napari_lucyd._napari.layers.viewer import METADATA_KEY
from napari_lucyd.spans import spatial_axes
from napari_lucyd.text import percent_text, shape_text, steps_text

Stop = Callable[[], bool] | None
# Share of the in-focus light in the edge planes that is worth a sentence.
_NOTABLE_EDGE = 0.01
# Entry of a PSF's layer: True if it was made large enough.
WHOLE = "whole"


class PsfProblem(ValueError):
    """The PSF cannot be used, for whatever image; the message names it."""


@dataclass(frozen=True, eq=False)
class Psf:
    """A PSF in memory.

    Attributes
    ----------
    values
        (Z, Y, X) or (Y, X), with a first axis C if ``per_channel``. A layer may hold other shapes, which the
        method refuses.
    name
        Its name in messages and layers.
    steps, unit
        Its voxel size, None if unknown, and the unit.
    origin
        Its source for the recipe, as JSON data.
    per_channel
        True if there is a PSF for each channel, along the first axis.
    report
        Further sentences that describe it.
    whole
        True if it was made large enough for nearly all of the light.
    """

    values: Any
    name: str
    steps: tuple[float, ...] | None
    unit: str
    origin: dict[str, Any]
    per_channel: bool = False
    report: str = ""
    whole: bool = False

    @property
    def given(self) -> Any:
        """The PSF as methods take it: an array, or a list with one for each channel."""
        return list(self.values) if self.per_channel else self.values

    @property
    def axes(self) -> str:
        """Names of the axes of ``values``."""
        letters = spatial_axes(self.values.ndim - self.per_channel)
        return f"C{letters}" if self.per_channel else letters

    def steps_for(self, source: SourceLayer, axes: str) -> tuple[float, ...] | None:
        """Return its voxel size in the unit of an image; None unless both are lengths.

        Parameters
        ----------
        source
            The image.
        axes
            Axes of the image.
        """
        if (
            self.steps is None
            or self.unit != "µm"
            or not source.unit_um
            or source.voxel_size_um(axes) is None
        ):
            return None
        return tuple(step / source.unit_um for step in self.steps)

    def told(self, source: SourceLayer | None, axes: str) -> dict[str, Any]:
        """Return it as keywords ``psf`` and, where it is known, ``psf_voxel_size``."""
        steps = None if source is None else self.steps_for(source, axes)
        return {"psf": self.given} | ({} if steps is None else {"psf_voxel_size": steps})

    def keywords(self, name: str) -> dict[str, Any]:
        """Return the keywords of a layer that shows it."""
        keywords: dict[str, Any] = {
            "name": name,
            "axis_labels": tuple(self.axes.lower()),
            # Visible over the image without hiding it.
            "blending": "additive",
            "contrast_limits": (0.0, float(self.values.max()) or 1.0),
            "metadata": {METADATA_KEY: {"shows": "psf", **self.origin, WHOLE: self.whole}},
        }
        if self.steps is not None:
            first, unit = ((1.0,), ("pixel",)) if self.per_channel else ((), ())
            keywords |= {
                "scale": (*first, *self.steps),
                "units": (*unit, *(self.unit,) * len(self.steps)),
            }
        return keywords

    def describe(self) -> str:
        """Describe its shape, its voxel size, and the light that still reaches its edge."""
        from napari_lucyd.psf.cleaning import is_like_a_point
        from napari_lucyd.simulation.psf import light_at_the_edge

        psfs = self.values if self.per_channel else [self.values]
        text = f"{len(psfs)} PSFs of " if self.per_channel else ""
        text += f"{shape_text(psfs[0].shape)} voxels"
        if self.steps is not None and self.unit == "pixel":
            text += f" (scale {steps_text(self.steps)}, without a unit)"
        elif self.steps is not None:
            text += f" of {steps_text(self.steps)} {self.unit}"
        text += "."
        # More planes would not help what is no PSF.
        points = [psf for psf in psfs if psf.ndim in (2, 3) and is_like_a_point(psf)]
        edge = max((light_at_the_edge(psf) or 0.0 for psf in points), default=0.0)
        if edge >= _NOTABLE_EDGE and not self.whole:
            light = percent_text(edge)
            text += f" {light} of the in-focus light still reaches the edge planes{self._longer}"
        return f"{text} {self.report}".rstrip()

    @property
    def _longer(self) -> str:
        """Advice for a PSF that includes more haze; it ends the sentence."""
        if "beads" in self.origin:
            return ". To include more haze, record the beads over more planes above and below them."
        if "layer" in self.origin or "file" in self.origin:
            return "; more planes would include more haze."
        return "; a larger Z size would include more haze."


class PsfSource(Protocol):
    """A description of the blur, which a worker thread turns into a PSF or into keywords."""

    def load(self, source: SourceLayer | None, axes: str, should_stop: Stop = None) -> Psf:
        """Make or read the PSF.

        Parameters
        ----------
        source
            The image that the PSF is for, or None.
        axes
            Axes of the image.
        should_stop
            Called repeatedly; True stops the computation.

        Raises
        ------
        ValueError, OSError
            If that is impossible; the message says why.
        Cancelled
            If ``should_stop`` returns True.
        """

    def told(self, source: SourceLayer | None, axes: str, should_stop: Stop = None) -> dict[str, Any]:
        """Return what the user told, as keywords for a method; see `load`.

        Returns
        -------
        dict
            Keyword ``microscope`` (a `napari_lucyd.Microscope`, or a list with one for each channel), ``psf``
            (an array or a list of arrays, with ``psf_voxel_size`` in the unit of the image where it is
            known) or ``blur_sigma`` (voxels along (Z, Y, X) or (Y, X)). Empty if nothing is known.
        """


@dataclass(frozen=True)
class LayerPsf:
    """A PSF from a layer.

    Attributes
    ----------
    layer
        The layer at the time of Run.
    """

    layer: SourceLayer

    def load(self, source: SourceLayer | None, axes: str, should_stop: Stop = None) -> Psf:
        """See `PsfSource.load`."""
        layer = self.layer.informed()
        axes_of_psf = layer.axes or ""
        per_channel = axes_of_psf in ("CZYX", "CYX")
        spatial = axes_of_psf if per_channel else spatial_axes(len(layer.shape))
        steps, unit = stated(layer, spatial)
        entry = layer.metadata.get(METADATA_KEY)
        made = {key: entry[key] for key in ("optics", "voxel_size") if key in entry} if entry else {}
        origin = {"layer": layer.name, **made}
        whole = bool(entry and entry.get(WHOLE))
        return Psf(np.asarray(layer.data), layer.name, steps, unit, origin, per_channel, whole=whole)

    def told(self, source: SourceLayer | None, axes: str, should_stop: Stop = None) -> dict[str, Any]:
        """See `PsfSource.told`."""
        return self.load(source, axes, should_stop).told(source, axes)


@dataclass(frozen=True)
class FilePsf:
    """A PSF from a file.

    Attributes
    ----------
    path
        A TIFF, OME-TIFF or OME-Zarr file.
    """

    path: str

    def load(self, source: SourceLayer | None, axes: str, should_stop: Stop = None) -> Psf:
        """See `PsfSource.load`; the file may have a PSF for each channel."""
        from napari_lucyd.io import micrometers, read_psf

        name = Path(self.path).name
        try:
            image = read_psf(self.path)
        except (OSError, ValueError) as error:
            reason = str(error).removeprefix(f"{self.path}: ")
            raise PsfProblem(f"PSF file “{name}”: {reason}") from error
        steps, unit = image.voxel_size, "pixel"
        if steps is not None and (length := micrometers(image.unit)):
            steps, unit = tuple(step * length for step in steps), "µm"
        origin = {"file": name}
        if "optics" in image.metadata:
            origin["optics"] = image.metadata["optics"]
        return Psf(image.data, image.name, steps, unit, origin, image.axes.startswith("C"))

    def told(self, source: SourceLayer | None, axes: str, should_stop: Stop = None) -> dict[str, Any]:
        """See `PsfSource.told`."""
        return self.load(source, axes, should_stop).told(source, axes)


@dataclass(frozen=True)
class BlurPsf:
    """A Gaussian.

    Attributes
    ----------
    sigma
        Standard deviations in voxels, along (Z, Y, X) or (Y, X), or one for all axes.
    """

    sigma: tuple[float, ...]

    def load(self, source: SourceLayer | None, axes: str, should_stop: Stop = None) -> Psf:
        """See `PsfSource.load`."""
        from napari_lucyd.psf.gaussian import gaussian_psf

        sigmas = self._for(axes)
        name = f"Gaussian σ {', '.join(f'{sigma:g}' for sigma in sigmas)}"
        steps, unit = (None, "pixel") if source is None else stated(source, axes)
        return Psf(gaussian_psf(sigmas), name, steps, unit, {"blur_sigma_voxels": list(sigmas)})

    def told(self, source: SourceLayer | None, axes: str, should_stop: Stop = None) -> dict[str, Any]:
        """See `PsfSource.told`."""
        return {"blur_sigma": self._for(axes)}

    def _for(self, axes: str) -> tuple[float, ...]:
        letters = [name for name in "ZYX" if name in axes]
        if len(self.sigma) not in (1, len(letters)) and len(self.sigma) != 3:
            raise ValueError(
                f"Blur σ has {len(self.sigma)} numbers; enter one, or one for each of {', '.join(letters)}."
            )
        return for_axes(self.sigma, len(letters))


@dataclass(frozen=True)
class UnknownPsf:
    """A blur that is not known."""

    def load(self, source: SourceLayer | None, axes: str, should_stop: Stop = None) -> Psf:
        """Refuse: this method needs a PSF."""
        raise ValueError(
            "This method needs the PSF. Choose under Microscope ▸ From where it comes from, or choose "
            "Semi-blind Richardson-Lucy as the method, which finds the blur in the image."
        )

    def told(self, source: SourceLayer | None, axes: str, should_stop: Stop = None) -> dict[str, Any]:
        """See `PsfSource.told`."""
        return {}


def check_steps(psf: Psf, source: SourceLayer, axes: str) -> None:
    """Refuse an image with another voxel size than the PSF, if both are known.

    Raises
    ------
    ValueError
        If the steps differ.
    """
    from napari_lucyd.deconvolution import check_psf_steps

    steps, unit = stated(source, axes)
    if unit == psf.unit:
        remedy = "make it from the optics, or correct the layer's scale."
        check_psf_steps(f"“{psf.name}”", psf.steps, steps, unit, remedy)


def stated(source: SourceLayer, axes: str) -> tuple[tuple[float, ...] | None, str]:
    """Return the voxel size of a layer and its unit; None for napari's default of 1 pixel."""
    if len(axes) != len(source.shape):
        return None, source.unit
    steps = source.voxel_size_um(axes)
    if steps is not None:
        return steps, "µm"
    steps = source.voxel_size(axes)
    return (None if steps is not None and set(steps) == {1.0} else steps), source.unit


def for_axes(numbers: Sequence[Any], ndim: int) -> tuple[Any, ...]:
    """Return one number for each axis, from one for all or from those of more axes."""
    return tuple(numbers) * ndim if len(numbers) == 1 else tuple(numbers[-ndim:])
