"""Planted beads: simulated beads and pairs in an empty part of an image, restored with the image's method.

They have the image's own blur and noise. Their width, their light and the distance from which pairs are
resolved say what a method does to this image.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_lucyd import checks
from napari_lucyd.psf.cleaning import cropped
from napari_lucyd.psf.widths import full_width, line_through
from napari_lucyd.referee.scores.judged import judge
from napari_lucyd.referee.scores.reblur import Reblur
from napari_lucyd.referee.scores.samples import Values
from napari_lucyd.text import count_text, percent_text

DISTANCES = (2, 3, 4, 5, 6, 8, 10)
"""Distances of the planted pairs along X, in voxels."""

# Standard deviation of a bead before the blur, in voxels.
_BEAD_SIGMA = 0.7
# Size of a cell with one object, number of single beads, and largest number of planes of the planted part.
_CELL, _BEADS, _PLANES = 20, 3, 32
# Size of the planted part along Y and X: 16 cells. Ten of them are used.
_SIDE = 4 * _CELL
# A bead is looked for within this distance of its place, in voxels.
_REACH = 2
# Fall of the light between two points, as a share of the fainter one, from which they count as resolved.
_RESOLVED = 0.2


@dataclass(frozen=True)
class PlantedBeads:
    """Planted beads as they come back from a method.

    Attributes
    ----------
    fwhm_planted, fwhm_image, fwhm_result
        Full width at half maximum along each axis, in voxels: of a bead before the blur, in the image, and in
        the result. NaN where the noise hides the bead.
    light
        Light of a bead in the result as a share of its own.
    brightness
        Brightness of a planted bead in the image above the dark level, in units of the image.
    distances
        Distances of the pairs, in voxels along X.
    dips_image, dips_result
        Fall of the light between the two points of each pair, as a share of the fainter one.
    resolved_image, resolved_result
        Smallest distance from which all pairs are resolved: the light falls by a fifth between them. None if
        none is.
    place
        Part of the volume that the beads were planted in: start and stop along each axis.
    blur
        Phrase that says which blur was used.
    """

    fwhm_planted: tuple[float, ...]
    fwhm_image: tuple[float, ...]
    fwhm_result: tuple[float, ...]
    light: float
    brightness: float
    distances: tuple[int, ...]
    dips_image: tuple[float, ...]
    dips_result: tuple[float, ...]
    resolved_image: int | None
    resolved_result: int | None
    place: tuple[tuple[int, int], ...]
    blur: str

    def as_dict(self) -> dict[str, Any]:
        """Return all fields as plain JSON data."""
        return asdict(self)

    def text(self) -> str:
        """Describe the beads in a few lines."""

        def widths(values: Sequence[float]) -> str:
            return " × ".join(f"{value:.1f}" for value in values)

        def resolved(distance: int | None) -> str:
            if distance is None:
                return "not resolved at any distance"
            return f"resolved from {count_text(distance, 'voxel')} on"

        return "\n".join(
            (
                f"Bead: {widths(self.fwhm_planted)} voxels wide, {widths(self.fwhm_image)} in the image, "
                f"{widths(self.fwhm_result)} in the result",
                f"Light kept: {percent_text(self.light)}",
                f"Pairs: {resolved(self.resolved_image)} in the image, "
                f"{resolved(self.resolved_result)} in the result",
                f"Judged with {self.blur}",
            )
        )


def plant_beads(
    image: Any,
    result: Any,
    *,
    brightness: float = 0.5,
    voxel_size: Sequence[float] | None = None,
    microscope: Any = None,
    psf: Any = None,
    psf_voxel_size: Sequence[float] | None = None,
    blur_sigma: Any = None,
    axes: str | None = None,
    volume: Mapping[str, int] | None = None,
    seed: int = 0,
    device: Any = "auto",
) -> PlantedBeads:
    """Plant beads and pairs in the emptiest part of an image, and measure how a method restores them.

    Parameters
    ----------
    image, result
        See `napari_lucyd.score`.
    brightness
        Brightness of a blurred bead, as a share of the image's range from dark to bright.
    voxel_size, microscope, psf, psf_voxel_size, blur_sigma, axes, volume, device
        See `napari_lucyd.score`.
    seed
        Seed of the beads' photon noise, 0 or more.

    Returns
    -------
    PlantedBeads
        Widths, light and resolved distance. The image itself is not changed.

    Raises
    ------
    ValueError
        If the image has fewer than 80 voxels along Y or X, or an argument is invalid.

    Examples
    --------
    >>> import numpy as np, napari_lucyd as nl
    >>> image = np.random.default_rng(0).poisson(50, (9, 80, 80))
    >>> image[:, 60:, 60:] += 400
    >>> found = nl.plant_beads(image, nl.Wiener(np.ones((3, 5, 5))), brightness=2.0, device="cpu")
    >>> found.fwhm_result[2] < found.fwhm_image[2]
    True
    """
    share = checks.number("brightness", brightness, "a number above 0", lambda value: 0 < value < 100)
    told = {
        "microscope": microscope,
        "psf": psf,
        "psf_voxel_size": psf_voxel_size,
        "blur_sigma": blur_sigma,
    }
    judged = judge(image, result, told, voxel_size, axes, volume, None, device, whole=True, with_output=False)
    shape = judged.image.shape
    if min(shape[-2:]) < _SIDE:
        raise ValueError(
            f"The image has shape {shape}; planted beads need at least {_SIDE} voxels along Y and X."
        )
    part = _emptiest(judged.image)
    empty, noise = judged.image[part], judged.noise
    sharp, beads, pairs = _objects(empty.shape)
    reblur = Reblur(cropped(judged.kernel, [2 * n - 1 for n in empty.shape]), empty.shape)
    blurred = np.maximum(reblur.blurred(sharp), 0)
    peak = max(float(blurred[bead]) for bead in beads)
    height = share * max(noise.bright - noise.offset, 1e-30)
    sharp, blurred = (np.float32(height / peak) * light for light in (sharp, blurred))
    random = np.random.default_rng(checks.integer("seed", seed, least=0))
    # Without a trusted noise model, the beads have the noise of the empty part alone.
    light = random.poisson(blurred / noise.gain) * noise.gain if noise.poisson else blurred
    planted = (empty + light).astype(np.float32)
    output = judged.run.restore(planted)
    # The part may hold structures of its own, so only the light that the beads add to the result counts.
    added = output - judged.run.restore(np.ascontiguousarray(empty, np.float32))
    level, restored_level = float(np.median(empty)), float(np.median(output))
    before, after = planted - np.float32(level), output - np.float32(restored_level)
    return PlantedBeads(
        fwhm_planted=_widths(sharp, beads, 0.0),
        fwhm_image=_widths(before, beads, 0.0),
        fwhm_result=_widths(after, beads, 0.0),
        light=_light(added, sharp, beads),
        brightness=height,
        distances=DISTANCES,
        dips_image=_dips(before, pairs),
        dips_result=_dips(after, pairs),
        resolved_image=_resolved(before, pairs),
        resolved_result=_resolved(after, pairs),
        place=tuple(
            (whole.start + span.start, whole.start + span.stop)
            for whole, span in zip(judged.part, part, strict=True)
        ),
        blur=judged.blur,
    )


def _emptiest(image: Values) -> tuple[slice, ...]:
    """Return the part with the least light and contrast that holds all objects."""
    sizes = [min(n, _SIDE) for n in image.shape]
    if image.ndim == 3:
        sizes[0] = min(image.shape[0], _PLANES)
    smooth = ndimage.uniform_filter(image, [min(5, n) for n in image.shape])
    centred = np.square(smooth - smooth.min(), dtype=np.float64)
    sums = np.pad(centred, [(1, 0)] * image.ndim)
    for axis in range(image.ndim):
        sums = np.cumsum(sums, axis=axis)
    for axis, size in enumerate(sizes):
        high = np.take(sums, range(size, sums.shape[axis]), axis)
        sums = high - np.take(sums, range(sums.shape[axis] - size), axis)
    starts = np.unravel_index(int(np.argmin(sums)), sums.shape)
    return tuple(slice(int(low), int(low) + size) for low, size in zip(starts, sizes, strict=True))


def _objects(shape: tuple[int, ...]) -> tuple[Values, list[tuple[int, ...]], list[tuple[int, ...]]]:
    """Return sharp beads and pairs, the places of the single beads, and the first place of each pair."""
    rows, columns = (max(1, n // _CELL) for n in shape[-2:])
    cells = [
        (row * _CELL + _CELL // 2, column * _CELL + _CELL // 2)
        for row in range(rows)
        for column in range(columns)
    ]
    middle = (shape[0] // 2,) if len(shape) == 3 else ()
    light = np.zeros(shape, np.float32)
    beads = [(*middle, y, x) for y, x in cells[:_BEADS]]
    pairs = [
        (*middle, y, x - distance // 2)
        for (y, x), distance in zip(cells[_BEADS : _BEADS + len(DISTANCES)], DISTANCES, strict=True)
    ]
    for place in beads:
        light[place] += 1
    for place, distance in zip(pairs, DISTANCES, strict=True):
        light[place] += 1
        light[(*place[:-1], place[-1] + distance)] += 1
    sigmas = [_BEAD_SIGMA if n > 1 else 0.0 for n in shape]
    return ndimage.gaussian_filter(light, sigmas), beads, pairs


def _peak(values: npt.NDArray[np.floating], place: Sequence[int]) -> tuple[int, ...]:
    """Return the brightest voxel near a place."""
    near = tuple(slice(max(0, at - _REACH), at + _REACH + 1) for at in place)
    found = np.unravel_index(int(np.argmax(values[near])), values[near].shape)
    return tuple(int(a) + part.start for a, part in zip(found, near, strict=True))


def _widths(
    values: npt.NDArray[np.floating], beads: Sequence[Sequence[int]], level: float
) -> tuple[float, ...]:
    """Return the median width over the beads along each axis; NaN if no bead has one."""
    found = []
    for place in beads:
        peak = _peak(values, place)
        row = []
        for axis in range(values.ndim):
            line = line_through(values, peak, axis)
            low = max(0, peak[axis] - _CELL // 2)
            row.append(full_width(line[low : peak[axis] + _CELL // 2 + 1], background=level))
        found.append(row)
    columns = np.array(found).T
    return tuple(
        float(np.median(column[np.isfinite(column)])) if np.isfinite(column).any() else math.nan
        for column in columns
    )


def _light(added: Values, sharp: Values, beads: Sequence[Sequence[int]]) -> float:
    """Return what the beads add to the light of the result, as a share of their own light."""
    shares = []
    for place in beads:
        cell = tuple(slice(max(0, at - _CELL // 2), at + _CELL // 2) for at in place)
        near = np.zeros(added[cell].shape, bool)
        near[tuple(slice(max(0, min(at, _CELL // 2) - 6), min(at, _CELL // 2) + 7) for at in place)] = True
        values = added[cell].astype(np.float64)
        level = float(np.median(values[~near])) if (~near).any() else float(np.median(values))
        shares.append(float((values[near] - level).sum() / sharp[cell].sum(dtype=np.float64)))
    return float(np.mean(shares))


def _dip(values: npt.NDArray[np.floating], place: Sequence[int], distance: int) -> float:
    """Return the fall of the light between two points as a share of the fainter one."""
    line = values[tuple(place[:-1])]
    left, right = (float(line[max(0, at - 1) : at + 2].max()) for at in (place[-1], place[-1] + distance))
    fainter = min(left, right)
    if fainter <= 0:
        return 0.0
    valley = float(line[place[-1] + 1 : place[-1] + distance].min())
    return max(0.0, min(1.0, 1 - valley / fainter))


def _dips(values: npt.NDArray[np.floating], pairs: Sequence[Sequence[int]]) -> tuple[float, ...]:
    return tuple(_dip(values, place, distance) for place, distance in zip(pairs, DISTANCES, strict=True))


def _resolved(values: npt.NDArray[np.floating], pairs: Sequence[Sequence[int]]) -> int | None:
    smallest = None
    for place, distance in reversed(list(zip(pairs, DISTANCES, strict=True))):
        if _dip(values, place, distance) < _RESOLVED:
            break
        smallest = distance
    return smallest
