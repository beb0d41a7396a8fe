"""Preparation of a given PSF: its camera offset, its origin, its sampling, and the size that matters.

The origin of a PSF is its centre of mass above a tenth of its peak, after the camera offset was subtracted.
Each voxel there counts with its excess over that tenth, so the origin does not jump where a voxel passes it.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_lucyd import checks
from napari_lucyd.spans import spatial_axes
from napari_lucyd.text import percent_text, steps_text

FloatArray = npt.NDArray[np.float64]

# Share of the peak; darker voxels do not count for the origin.
_ORIGIN_LEVEL = 0.1
# Offset of the centre in voxels. A smaller one is not corrected, because interpolation blurs a little.
_ON_CENTRE = 0.02
# Offset of the centre in voxels. A larger one is reported.
_NOTABLE_SHIFT = 0.501
# Relative difference of voxel sizes. A smaller one is rounding in a file's header: nothing is resampled.
_SAME_STEP = 0.01
# The same where a PSF is refused because it is not resampled: a little more is tolerated.
_TOLERATED_STEP = 0.05
# Ratio of voxel sizes. A larger one is a mistake in a unit rather than another sampling.
_LARGEST_RATIO = 16.0
# Share of the light. Planes at the ends are cut off if they hold less than this together.
_NEGLIGIBLE_LIGHT = 1e-4
# Share of the sum of absolute values. A smaller sum is rounding.
_SMALLEST_SUM = 1e-5
# Share of the light. An offset that adds less over all voxels makes no difference.
_SMALLEST_OFFSET = 0.01
# Share of the offset by which the middles of the sides may be brighter than the corners. The tails of an Airy
# pattern fall off with the third power of the distance: they are almost three times as bright in the middles.
_FLAT = 0.05
# Largest spread of an offset's voxels, in standard deviations of the white noise; both have an error.
_WHITE = 1.5
# Counts of the file's steps that an offset has at least.
_FEWEST_COUNTS = 5
# Voxels along Y and X that a frame needs to show an offset, or whether it has the image of a point.
_SMALLEST_FRAME = 7
# Smallest share of the light that a PSF has in common with itself after a half and a quarter turn: 0.74 and
# more in computed PSFs, also with noise of a fifth of their peak, and below 0.6 in most images of specimens.
_ROUND = 0.6
# Largest distance of the centre from the middle, as a share of the size along Y or X.
_CENTRAL = 1 / 6
UNLIKE_A_POINT = (
    "The PSF does not look like the image of a point: its light is not round, or far from its middle. An "
    "image of a specimen is no PSF."
)
"""Note on a PSF that `is_like_a_point` denies."""


@dataclass(frozen=True, eq=False)
class PreparedPsf:
    """A PSF ready for use.

    Attributes
    ----------
    kernel
        (Y, X) or (Z, Y, X), float32, sum 1, its origin at the voxel ``size // 2`` along each axis.
    notes
        Sentences for the user that say what was changed.
    """

    kernel: npt.NDArray[np.float32]
    notes: tuple[str, ...] = ()


def check_psf(psf: npt.NDArray[np.float32]) -> None:
    """Refuse an array that is no PSF.

    Raises
    ------
    ValueError
        If it has other axes than (Y, X) or (Z, Y, X), or its sum is not positive or only rounding.
    """
    if psf.ndim not in (2, 3):
        raise ValueError(f"The psf has shape {psf.shape}; (Y, X) or (Z, Y, X) is needed.")
    if not psf.any():
        raise ValueError("The psf is empty: all its voxels are 0.")
    total = float(psf.sum(dtype=np.float64))
    if not total > 0:
        raise ValueError(f"The psf sums to {total:.3g}; its sum must be above 0.")
    if total < _SMALLEST_SUM * float(np.abs(psf).sum(dtype=np.float64)):
        raise ValueError(
            f"The psf sums to {total:.3g}, which is only rounding: its positive and negative voxels cancel "
            "out. Give the PSF of a microscope, which sums to more than 0."
        )


def check_psf_voxel_size(psf_voxel_size: Any, ndim: int) -> tuple[float, ...]:
    """Return the voxel size of a PSF along its axes.

    Raises
    ------
    TypeError, ValueError
        If it is not one positive number for each axis.
    """
    expected = f"{ndim} positive numbers, one for each axis of the psf"
    given = checks.items("psf_voxel_size", psf_voxel_size, expected)
    steps = tuple(checks.number("psf_voxel_size", step, expected, lambda size: size > 0) for step in given)
    if len(steps) != ndim:
        raise ValueError(f"psf_voxel_size is {checks.shown(psf_voxel_size)}; give {expected}.")
    return steps


def psf_sha256(psf: npt.NDArray[np.float32]) -> str:
    """Return the SHA-256 of a PSF as given, in little-endian float32, by which recipes recognise it."""
    return hashlib.sha256(psf.astype("<f4").tobytes()).hexdigest()


def prepare_psf(
    psf: npt.NDArray[np.float32],
    *,
    center: bool = True,
    steps: Sequence[float] | None = None,
    image_steps: Sequence[float] | None = None,
) -> PreparedPsf:
    """Subtract the camera offset, centre the PSF, bring it onto the image's voxels and cut off dark ends.

    Parameters
    ----------
    psf
        (Y, X) or (Z, Y, X), any size.
    center
        True to subtract a camera offset and to move the origin to the voxel ``size // 2`` along each axis,
        to sub-voxel accuracy. If False, the PSF is used as it is.
    steps, image_steps
        Voxel sizes of the PSF and of the image along the same axes, in one unit; None where unknown. Where
        both are known and differ, the PSF is resampled.

    Raises
    ------
    ValueError
        If `check_psf` refuses it, or nothing is left after the offset is subtracted.
    """
    check_psf(psf)
    notes = [UNLIKE_A_POINT] if center and not is_like_a_point(psf) else []
    values, light = psf.astype(np.float64), float(psf.sum(dtype=np.float64))
    offset, noise = find_offset(values) if center else (0.0, 0.0)
    if offset:
        values = subtract_offset(values, offset, noise)
        notes.append(
            f"The PSF has a camera offset of {offset:.4g}, {percent_text(offset * psf.size / light)} of "
            "its sum; it "
            "was subtracted."
        )
    ratios = _ratios(steps, image_steps) or (1.0,) * psf.ndim
    middle = np.array([size // 2 for size in psf.shape], float)
    origin = find_origin(values) if center else middle
    shift = origin - middle
    if np.abs(shift).max() > _NOTABLE_SHIFT:
        words = ", ".join(
            f"{value:+.2g} along {axis}"
            for axis, value in zip(spatial_axes(psf.ndim), shift, strict=True)
            if abs(value) > _NOTABLE_SHIFT
        )
        notes.append(
            f"The PSF's centre of mass is off its middle voxel by {words} (voxels), which would shift the "
            "result; it was centred. With center_psf=False it stays where it is."
        )
    if np.abs(shift).max() > _ON_CENTRE or any(ratio != 1 for ratio in ratios):
        values = resample(values, origin if center else middle, ratios)
    if any(ratio != 1 for ratio in ratios):
        before, after = (steps_text(given or (), 4) for given in (steps, image_steps))
        notes.append(f"The PSF was resampled from voxels of {before} to the image's {after}.")
    if center:
        values = cut_dark_ends(values)
    return PreparedPsf(scaled_to_one(values), tuple(notes))


def check_psf_steps(
    psf_name: str,
    psf_steps: Sequence[float] | None,
    image_steps: Sequence[float] | None,
    unit: str,
    remedy: str,
) -> None:
    """Refuse an image whose voxel size is not that of the PSF, if both are known.

    Parameters
    ----------
    psf_name
        Name of the PSF, for the error.
    psf_steps, image_steps
        Voxel sizes, (Z, Y, X) or (Y, X), in the same unit; None if unknown.
    unit
        Symbol of that unit, for the error.
    remedy
        Last sentence of the error: the action that the user can take.

    Raises
    ------
    ValueError
        If the voxel sizes differ along an axis that both have.
    """
    if psf_steps is None or image_steps is None:
        return
    pairs = list(zip(psf_steps[::-1], image_steps[::-1], strict=False))
    if any(abs(mine - its) > _TOLERATED_STEP * its for mine, its in pairs):
        psf_text, image_text = (steps_text(steps, 4) for steps in (psf_steps, image_steps))
        raise ValueError(
            f"its voxels are {image_text} {unit}, but those of the PSF {psf_name} are {psf_text} {unit}. The "
            f"PSF is not resampled, so it must have the image's voxel size: {remedy}"
        )


def scaled_to_one(psf: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    """Return the PSF with a sum of 1, float32."""
    scaled: npt.NDArray[np.float32] = (psf / psf.sum(dtype=np.float64)).astype(np.float32)
    return scaled


def find_offset(psf: FloatArray) -> tuple[float, float]:
    """Return the camera offset of a PSF and the noise around it, both 0 if there is none.

    A camera offset is equal everywhere but for white noise; light of a PSF falls off towards its corners, and
    has rings. So the frames around the planes near focus are compared: their corners with the middles of
    their sides, and their spread with the white noise. Haze, also that of a computed PSF that is cut off,
    varies more than that.

    Parameters
    ----------
    psf
        (Y, X) or (Z, Y, X).
    """
    if min(psf.shape[-2:]) < _SMALLEST_FRAME:
        return 0.0, 0.0
    planes = _planes_near_focus(psf if psf.ndim == 3 else psf[None])
    corners, sides = _frame_parts(planes)
    levels = [float(np.median(part)) for part in (corners, sides)]
    # The array also holds light, so its median is another upper limit.
    offset = min(*levels, float(np.median(psf)))
    noise = _white_noise(planes)
    error = 1.2533 * noise * math.sqrt(1 / len(corners) + 1 / len(sides))
    flat = max(levels) - offset <= _FLAT * offset + 3 * error
    frame = np.concatenate([corners, sides])
    even = _spread(frame) <= _FLAT * offset + _WHITE * noise
    # Haze that is rounded to one or two counts looks even.
    steps = np.diff(np.unique(frame))
    even = even and offset >= _FEWEST_COUNTS * (steps.min() if len(steps) else 0)
    light = float(psf.sum()) - offset * psf.size
    peak = float(psf.max()) - offset
    found = offset > 0 and flat and even and peak > max(5 * noise, 0.01 * offset) and light > 0
    return (offset, noise) if found and offset * psf.size > _SMALLEST_OFFSET * light else (0.0, 0.0)


def is_like_a_point(psf: npt.NDArray[Any]) -> bool:
    """Return False if an array cannot be the image of a point, as an image of a specimen.

    The image of a point is round in the planes near focus, with its light around the middle of the array.

    Parameters
    ----------
    psf
        (Y, X) or (Z, Y, X), finite.
    """
    # Loading it takes a while, and the window loads this module when a panel opens.
    from scipy import ndimage

    if min(psf.shape[-2:]) < _SMALLEST_FRAME:
        return True
    planes = _planes_near_focus(psf if psf.ndim == 3 else psf[None])
    image = ndimage.gaussian_filter(planes.sum(axis=0, dtype=np.float64), 1, mode="nearest")
    lowest, highest = float(image.min()), float(image.max())
    # Haze and noise are left out, but not all of a point that fills the array.
    level = min(float(np.median(image)) + 4 * _spread(image), (lowest + highest) / 2)
    bright = np.maximum(image - level, 0)
    if not bright.any():
        return True
    centre = np.array(ndimage.center_of_mass(np.where(bright > bright.max() / 2, bright, 0)))
    size = np.array(image.shape)
    if (np.abs(centre - (size - 1) / 2) > _CENTRAL * size).any():
        return False
    for turn in (np.array([[-1, 0], [0, -1]]), np.array([[0, -1], [1, 0]])):
        turned = ndimage.affine_transform(bright, turn, centre - turn @ centre, order=1)
        if (bright * turned).sum() < _ROUND * np.square(bright).sum():
            return False
    return True


def _planes_near_focus(volume: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the third of the planes around the brightest voxel."""
    focus = int(np.unravel_index(int(np.argmax(volume)), volume.shape)[0])
    reach = max(1, len(volume) // 6)
    return volume[max(0, focus - reach) : focus + reach + 1]


def _white_noise(planes: FloatArray) -> float:
    """Return the standard deviation of white noise in the frames of planes.

    The differences of voxels that mirror each other, of neighbours along a line and of neighbours along Z all
    have it. Light that is no noise makes some of them larger, so the smallest is taken; in a computed PSF it
    is 0.
    """
    found = []
    for axis in (1, 2):
        lines = planes[:, [0, -1]] if axis == 2 else planes[:, :, [0, -1]].swapaxes(1, 2)
        centre = int(np.argmax(planes.sum(axis=(0, 3 - axis))))
        reach = min(centre, lines.shape[-1] - 1 - centre)
        part = lines[..., centre - reach : centre + reach + 1]
        if reach > 1:
            found.append(_spread((part - part[..., ::-1])[..., :reach]) / math.sqrt(2))
        found.append(_spread(np.diff(lines, 2)) / math.sqrt(6))
        if len(planes) > 2:
            found.append(_spread(np.diff(lines, 2, axis=0)) / math.sqrt(6))
    return min(found)


def _spread(values: FloatArray) -> float:
    """Return the standard deviation, from the median of the absolute deviations."""
    return 1.4826 * float(np.median(np.abs(values - np.median(values))))


def subtract_offset(psf: FloatArray, offset: float, noise: float) -> FloatArray:
    """Return the PSF without its offset; what is within two standard deviations of the noise becomes 0."""
    above = psf - offset
    # Noise above 0 alone would add up to a pedestal over many voxels.
    return np.where(above > 2 * noise, above, 0)


def find_origin(psf: FloatArray) -> FloatArray:
    """Return the centre of mass above a tenth of the peak, in voxels along each axis."""
    weights = np.maximum(psf - _ORIGIN_LEVEL * psf.max(), 0)
    total = weights.sum()
    centre = []
    for axis, size in enumerate(psf.shape):
        others = tuple(k for k in range(psf.ndim) if k != axis)
        centre.append(float((weights.sum(axis=others) * np.arange(size)).sum() / total))
    return np.array(centre)


def resample(psf: FloatArray, origin: Sequence[float] | FloatArray, ratios: Sequence[float]) -> FloatArray:
    """Return the PSF with its origin in the middle, on voxels that are larger by these ratios.

    Parameters
    ----------
    psf
        (Y, X) or (Z, Y, X).
    origin
        Origin in voxels along each axis.
    ratios
        Ratio of the new voxel size to the old one along each axis. Larger voxels hold the mean over their
        length.

    Returns
    -------
    numpy.ndarray
        Resampled PSF, large enough to hold all of it, with odd sizes. It is not negative if the PSF is not.
    """
    floor = min(0.0, float(psf.min()))
    for axis, (centre, ratio) in enumerate(zip(origin, ratios, strict=True)):
        psf = _resample_axis(psf, axis, float(centre), float(ratio))
    return np.maximum(psf, floor)


def cut_dark_ends(psf: FloatArray, negligible: float = _NEGLIGIBLE_LIGHT) -> FloatArray:
    """Return the PSF without planes at its ends that hold almost no light, its middle kept.

    Parameters
    ----------
    psf
        (Y, X) or (Z, Y, X), its origin at ``size // 2`` along each axis.
    negligible
        Share of the light that may be cut off.
    """
    size = np.abs(psf)
    total = size.sum()
    kept = []
    for axis, length in enumerate(psf.shape):
        profile = size.sum(axis=tuple(k for k in range(psf.ndim) if k != axis))
        middle = length // 2
        # Light at this distance from the middle or farther, on both sides.
        distance = np.abs(np.arange(length) - middle)
        beyond = np.bincount(distance, weights=profile)[::-1].cumsum()[::-1]
        reach = max(1, int(np.count_nonzero(beyond > negligible / psf.ndim * total)))
        kept.append(slice(max(0, middle - reach + 1), min(length, middle + reach)))
    starts_fit = all(
        (part.stop - part.start) // 2 == length // 2 - part.start
        for part, length in zip(kept, psf.shape, strict=True)
    )
    return psf[tuple(kept)] if starts_fit else psf


def cropped(psf: npt.NDArray[np.float32], shape: Sequence[int]) -> npt.NDArray[np.float32]:
    """Return the middle of a PSF, at most of this shape, scaled to a sum of 1.

    Parameters
    ----------
    psf
        (Y, X) or (Z, Y, X), its origin at ``size // 2`` along each axis.
    shape
        Largest size along each axis.
    """
    reach = [max(0, min(size // 2, (most - 1) // 2)) for size, most in zip(psf.shape, shape, strict=True)]
    middle = [size // 2 for size in psf.shape]
    part = psf[tuple(slice(at - r, at + r + 1) for at, r in zip(middle, reach, strict=True))]
    return psf if part.shape == psf.shape else scaled_to_one(part)


def _frame_parts(planes: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the voxels of the planes' frames near their corners, and those in the middle of their sides."""
    height, width = planes.shape[-2:]
    y, x = max(1, height // 6), max(1, width // 6)
    near_y = np.r_[0:y, height - y : height]
    near_x = np.r_[0:x, width - x : width]
    far_y, far_x = slice(height // 2 - y, height // 2 + y + 1), slice(width // 2 - x, width // 2 + x + 1)
    rows, columns = planes[:, [0, -1], :], planes[:, :, [0, -1]]
    corners = np.concatenate([rows[:, :, near_x].ravel(), columns[:, near_y, :].ravel()])
    sides = np.concatenate([rows[:, :, far_x].ravel(), columns[:, far_y, :].ravel()])
    return corners, sides


def _ratios(steps: Sequence[float] | None, image_steps: Sequence[float] | None) -> tuple[float, ...]:
    if steps is None or image_steps is None:
        return ()
    ratios = [its / mine for its, mine in zip(image_steps, steps, strict=True)]
    if not all(1 / _LARGEST_RATIO <= ratio <= _LARGEST_RATIO for ratio in ratios):
        mine, its = (steps_text(given, 4) for given in (steps, image_steps))
        raise ValueError(
            f"The voxels of the psf are {mine}, those of the image {its}: they differ too much to resample "
            "the psf. Check the voxel sizes and their units."
        )
    return tuple(1.0 if abs(ratio - 1) < _SAME_STEP else ratio for ratio in ratios)


def _resample_axis(psf: FloatArray, axis: int, centre: float, ratio: float) -> FloatArray:
    # Loading it takes a second, and the window loads this module when a panel opens.
    from scipy.interpolate import make_interp_spline

    size = psf.shape[axis]
    if abs(centre - round(centre)) < 1e-9 and ratio == 1:
        return _padded_about(psf, axis, round(centre))
    reach = math.ceil(max(centre, size - 1 - centre) / ratio)
    parts = max(1, math.ceil(ratio))
    within = (np.arange(parts) + 0.5) / parts - 0.5 if parts > 1 else np.zeros(1)
    positions = centre + ratio * (np.arange(-reach, reach + 1)[:, None] + within)
    moved = np.moveaxis(psf, axis, 0)
    # Zeros around it, so that the spline falls to what lies beyond the array.
    padded = np.pad(moved, [(3, 3)] + [(0, 0)] * (psf.ndim - 1))
    spline = make_interp_spline(np.arange(-3, size + 3), padded, k=3)
    inside = np.clip(positions, -3, size + 2)
    values = np.mean([spline(inside[:, part]) for part in range(parts)], axis=0)
    return np.moveaxis(values, 0, axis)


def _padded_about(psf: FloatArray, axis: int, centre: int) -> FloatArray:
    size = psf.shape[axis]
    reach = max(centre, size - 1 - centre)
    widths = [(0, 0)] * psf.ndim
    widths[axis] = (reach - centre, reach - (size - 1 - centre))
    return np.pad(psf, widths)
