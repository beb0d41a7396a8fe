"""PSFs from images of small fluorescent beads: beads are found, judged, centred and averaged."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage

from napari_lucyd import checks
from napari_lucyd.psf.cleaning import FloatArray, find_origin, resample, scaled_to_one
from napari_lucyd.psf.widths import line_through, widths_at_half_maximum
from napari_lucyd.spans import spatial_axes
from napari_lucyd.text import percent_text, shape_text

# A bead's peak is this many standard deviations of the noise above the background, and this share of the
# brightest bead's.
_VISIBLE, _BRIGHT = 6.0, 0.1
# Smoothing before the search, in voxels.
_SEARCH_SIGMA = 1.0
# The box around a bead, unless its size is given: in its widths at half maximum.
_LATERAL_REACH, _AXIAL_REACH, _SMALLEST_REACH = 4.0, 3.0, 1.25
# A bead may be wider or narrower than the narrower ones by this share, and hold more or less light than
# usual.
_WIDTH_TOLERANCE, _LIGHT_TOLERANCE = 0.25, 0.6
# A voxel as bright as the brightest of the image, this often: the camera was at its limit.
_SATURATED_VOXELS = 3
_ENDS, _BORDER = "too near to the first or last plane", "cut off by the border"
_NEIGHBOUR, _SATURATED = "too near to another", "saturated"
# Richardson-Lucy iterations that take the bead's own size out of its image.
_BEAD_ITERATIONS = 12
# A bead's image across is at least 0.87 of its diameter wide, as the projection of a ball is: a diameter that
# is this many times the image's width is impossible.
_IMPOSSIBLE = 1.25
# The smallest beads that are sold, in µm.
_SMALLEST_BEAD = 0.02
# Samples along a voxel's edge when a ball is drawn.
_BALL_SAMPLES = 7


@dataclass(frozen=True)
class Bead:
    """A bead that was found.

    Attributes
    ----------
    position
        Centre in voxels along (Z, Y, X) or (Y, X).
    rejected
        Reason why it was left out; empty if it was used.
    """

    position: tuple[float, ...]
    rejected: str = ""


@dataclass(frozen=True, eq=False)
class BeadPsf:
    """A PSF measured on beads.

    Attributes
    ----------
    psf
        (Z, Y, X) or (Y, X), float32, sum 1, odd sizes, its centre in the middle voxel.
    fwhm_um
        Full widths at half maximum along the same axes, in µm; NaN where the box is too small.
    asymmetry
        Along each axis, the light on the far side less that on the near side of the centre, as a share of
        the whole: 0 for a symmetric PSF, up to ±1.
    beads
        All that were found, used or not.
    """

    psf: npt.NDArray[np.float32]
    fwhm_um: tuple[float, ...]
    asymmetry: tuple[float, ...]
    beads: tuple[Bead, ...]

    @property
    def used(self) -> int:
        """Number of beads that were averaged."""
        return sum(not bead.rejected for bead in self.beads)

    @property
    def report(self) -> str:
        """Sentences for the user: widths, asymmetry, and how many beads were used or left out, and why."""
        axes = spatial_axes(self.psf.ndim)
        widths = ", ".join(f"{axis} {width:.3g}" for axis, width in zip(axes, self.fwhm_um, strict=True))
        skew = ", ".join(
            f"{axis} {percent_text(share, '+.0f')}" for axis, share in zip(axes, self.asymmetry, strict=True)
        )
        reasons = Counter(bead.rejected for bead in self.beads if bead.rejected)
        left_out = "; ".join(f"{count} {reason}" for reason, count in reasons.most_common())
        return (
            f"{self.used} of {len(self.beads)} beads used{f' (left out: {left_out})' if left_out else ''}. "
            f"FWHM in µm: {widths}. Asymmetry: {skew}."
        )


def psf_from_beads(
    image: Any,
    voxel_size: Sequence[float],
    *,
    bead_diameter_um: float = 0.0,
    shape: Sequence[int] | None = None,
) -> BeadPsf:
    """Measure the PSF on an image of beads.

    Beads are bright, compact spots. A bead is left out if its box reaches beyond the image or contains
    another bead, if it is saturated, or if its width or brightness is unlike that of the others. The rest is
    moved to a common centre by cubic splines, each without its local background, and averaged.

    Parameters
    ----------
    image
        (Z, Y, X) or (Y, X), any real dtype.
    voxel_size
        Along the same axes, in µm.
    bead_diameter_um
        Diameter of the beads in µm. The image of a ball of this size is removed from the average; 0 leaves it
        in.
    shape
        Box around each bead in voxels, odd numbers; by default eight times the beads' widths across and six
        times along Z, less where the beads lie near the ends of the stack.

    Returns
    -------
    BeadPsf
        The PSF and a report.

    Raises
    ------
    TypeError, ValueError
        If the image cannot be used, holds no bead, or none of its beads is usable, or if the beads' images
        are too narrow for the diameter; the message says why.

    Examples
    --------
    >>> import numpy as np, napari_lucyd as nl
    >>> spot = nl.make_psf("gaussian", (21, 21), numerical_aperture=0.8, refractive_index=1.33,
    ...                    emission_um=0.525, voxel_size=0.1)
    >>> image = 100 + 5e4 * np.pad(spot, 20)
    >>> measured = psf_from_beads(image, (0.1, 0.1))
    >>> measured.used, [round(width, 1) for width in measured.fwhm_um]
    (1, [0.3, 0.3])
    """
    values = _checked(image, voxel_size)
    expected = "the diameter of the beads in µm, or 0"
    diameter = checks.number(
        "bead_diameter_um", bead_diameter_um, expected, lambda size: 0 <= size < math.inf
    )
    background = float(np.median(values))
    peaks = _find_peaks(values, background)
    if not len(peaks):
        raise ValueError(
            "No bead was found: nothing compact stands out from the noise. Choose an image of beads, in the "
            "right channel, that is neither deconvolved nor inverted."
        )
    saturation = _saturation_level(values)
    box = _box(values, background, peaks, shape)
    beads, stamps = _judge(values, peaks, box, saturation)
    if not stamps:
        smaller = "" if shape is None else " A smaller shape may help, too."
        raise ValueError(_none_usable(beads, box, values.shape) + smaller)
    mean = np.maximum(np.sum(stamps, axis=0), 0)
    if diameter > 0:
        _check_diameter(diameter, mean, voxel_size)
        mean = _without_bead(mean, diameter, voxel_size)
    return BeadPsf(scaled_to_one(mean), _widths_um(mean, voxel_size), _asymmetry(mean), tuple(beads))


def _widths_um(image: FloatArray, voxel_size: Sequence[float]) -> tuple[float, ...]:
    widths = zip(widths_at_half_maximum(image), voxel_size, strict=True)
    return tuple(width * float(step) for width, step in widths)


def _check_diameter(diameter_um: float, image: FloatArray, voxel_size: Sequence[float]) -> None:
    """Refuse beads that are much larger than their image, as if their diameter were given in nm."""
    across = zip(_widths_um(image, voxel_size)[-2:], image.shape[-2:], voxel_size[-2:], strict=True)
    # An image that is wider than its box is taken to be as wide.
    narrowest = min(width if math.isfinite(width) else size * step for width, size, step in across)
    if diameter_um <= _IMPOSSIBLE * narrowest:
        return
    in_nm = f": {diameter_um / 1000:g}" if _SMALLEST_BEAD <= diameter_um / 1000 <= narrowest else ""
    raise ValueError(
        f"bead_diameter_um is {diameter_um:g}, but the beads look only {narrowest:.2g} µm wide. Give their "
        f"diameter in µm{in_nm}."
    )


def _checked(image: Any, voxel_size: Sequence[float]) -> FloatArray:
    given = np.asarray(image)
    if given.dtype.kind not in "uif":
        raise TypeError(f"The bead image has dtype {given.dtype}; real numbers are needed.")
    if given.ndim not in (2, 3) or min(given.shape[-2:]) < 7:
        raise ValueError(
            f"The bead image has shape {given.shape}. Expected is one channel of one time point, (Z, Y, X) "
            "or (Y, X), with at least 7 voxels along Y and X."
        )
    if len(tuple(voxel_size)) != given.ndim or not all(0 < step < math.inf for step in voxel_size):
        raise ValueError(
            f"voxel_size is {tuple(voxel_size)}; {given.ndim} positive numbers are needed, in µm."
        )
    values = given.astype(np.float64)
    if not np.isfinite(values).all():
        raise ValueError("The bead image has voxels that are not finite; crop or fill them first.")
    return values


def _find_peaks(values: FloatArray, background: float) -> npt.NDArray[np.int64]:
    """Return the local maxima that stand out, brightest first, (number, axes)."""
    smooth = ndimage.gaussian_filter(values, [_SEARCH_SIGMA if n > 1 else 0 for n in values.shape])
    noise = 1.4826 * float(np.median(np.abs(smooth - background)))
    highest = float(smooth.max()) - background
    level = background + max(_VISIBLE * noise, _BRIGHT * highest)
    if not highest > max(_VISIBLE * noise, 1e-9 * abs(background)):
        return np.zeros((0, values.ndim), np.int64)
    size = [min(n, 5) for n in values.shape]
    maxima = (smooth == ndimage.maximum_filter(smooth, size=size)) & (smooth > level)
    # Maxima of one plateau are one peak.
    labels, number = ndimage.label(maxima, np.ones([3] * values.ndim))
    centres = np.array(ndimage.center_of_mass(maxima, labels, range(1, number + 1))).round().astype(np.int64)
    order = np.argsort(-smooth[tuple(centres.T)], kind="stable")
    return centres[order]


def _saturation_level(values: FloatArray) -> float:
    top = float(values.max())
    return top if np.count_nonzero(values == top) >= _SATURATED_VOXELS else math.inf


def _box(
    values: FloatArray, background: float, peaks: npt.NDArray[np.int64], shape: Sequence[int] | None
) -> tuple[int, ...]:
    if shape is not None:
        sizes = tuple(int(n) for n in shape)
        if len(sizes) != values.ndim or any(n < 3 or n % 2 == 0 for n in sizes):
            raise ValueError(
                f"shape is {tuple(shape)}; {values.ndim} odd numbers of at least 3 are needed, one for each "
                "axis."
            )
        return sizes
    widths = []
    for peak in peaks[:20]:
        lines = [line_through(values, peak.tolist(), axis) - background for axis in range(values.ndim)]
        widths.append([_width_about(line, int(at)) for line, at in zip(lines, peak, strict=True)])
    typical = [_median_or(column, 3.0) for column in np.array(widths).T]
    box = []
    for axis, (width, size) in enumerate(zip(typical, values.shape, strict=True)):
        axial = values.ndim == 3 and axis == 0
        reach = math.ceil((_AXIAL_REACH if axial else _LATERAL_REACH) * width)
        # The box fits three quarters of the beads, unless it would cut a bead itself.
        room = int(np.quantile(np.minimum(peaks[:, axis], size - 1 - peaks[:, axis]), 0.25))
        reach = min(reach, max(room, math.ceil(_SMALLEST_REACH * width)), (size - 1) // 2)
        box.append(2 * reach + 1)
    return tuple(box)


def _median_or(values: FloatArray, usual: float) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if known.size else usual


def _width_about(line: npt.NDArray[np.floating], at: int) -> float:
    half, ends = line[at] / 2, []
    for side in (line[at::-1], line[at:]):
        below = np.flatnonzero(side < half)
        ends.append(float(below[0]) if below.size else math.nan)
    return sum(ends)


def _judge(
    values: FloatArray, peaks: npt.NDArray[np.int64], box: tuple[int, ...], saturation: float
) -> tuple[list[Bead], list[FloatArray]]:
    """Return all beads, and the centred images of those that can be used."""
    reach = np.array(box) // 2
    stamps: dict[int, FloatArray] = {}
    centres: dict[int, tuple[float, ...]] = {}
    reasons: dict[int, str] = {}
    for number, peak in enumerate(peaks):
        others = np.delete(peaks, number, axis=0)
        outside = (peak < reach) | (peak + reach >= np.array(values.shape))
        if outside.any():
            reasons[number] = _BORDER if outside[-2:].any() else _ENDS
            continue
        if (np.abs(others - peak) <= reach).all(axis=1).any():
            reasons[number] = _NEIGHBOUR
            continue
        part = values[tuple(slice(at - r, at + r + 1) for at, r in zip(peak, reach, strict=True))]
        if part.max() >= saturation:
            reasons[number] = _SATURATED
            continue
        above = part - _local_background(part)
        origin = find_origin(np.where(_near_middle(above.shape), above, 0))
        centres[number] = tuple(float(n) for n in peak - reach + origin)
        stamps[number] = _cut_to(resample(above, origin, [1.0] * above.ndim), box)
    for number, reason in _unlike(stamps).items():
        reasons[number] = reason
    beads = [
        Bead(centres.get(number, tuple(float(n) for n in peak)), reasons.get(number, ""))
        for number, peak in enumerate(peaks)
    ]
    return beads, [stamp for number, stamp in stamps.items() if number not in reasons]


def _none_usable(beads: Sequence[Bead], box: tuple[int, ...], shape: tuple[int, ...]) -> str:
    """Say why no bead can be used, and how to take an image that has some."""
    reasons = Counter(bead.rejected for bead in beads)
    text = "; ".join(f"{count} {reason}" for reason, count in reasons.most_common())
    remedies = {
        _ENDS: f"Take the stack of beads with more planes above and below them: {box[0]} planes around each "
        f"bead are needed, and the stack has {shape[0]}.",
        _BORDER: "Take an image with beads farther from its border, or crop less.",
        _NEIGHBOUR: "Take an image with beads farther apart.",
        _SATURATED: "Take an image with less light or a shorter exposure.",
    }
    asked = [remedies[reason] for reason, _ in reasons.most_common() if reason in remedies]
    number = f"None of the {len(beads)} beads" if len(beads) > 1 else "The only bead"
    return (
        f"{number} can{'' if len(beads) > 1 else 'not'} be used ({text}); the box around a bead is "
        f"{shape_text(box)} voxels. {' '.join(asked)}"
    )


def _near_middle(shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    """Return where the bead itself lies in its box: what is bright near the border is not the bead."""
    grids = np.ogrid[tuple(slice(0, n) for n in shape)]
    inside = np.ones(shape, bool)
    for grid, n in zip(grids, shape, strict=True):
        inside &= np.abs(grid - n // 2) <= max(2, n // 4)
    return inside


def _local_background(part: FloatArray) -> float:
    """Return the median of the frame around the planes of a box."""
    frame = np.concatenate([part[..., [0, -1], :].ravel(), part[..., :, [0, -1]].ravel()])
    return float(np.median(frame))


def _cut_to(stamp: FloatArray, box: tuple[int, ...]) -> FloatArray:
    """Return the middle of an odd-sized image, cut or padded with zeros to the box."""
    for axis, (have, want) in enumerate(zip(stamp.shape, box, strict=True)):
        extra = have // 2 - want // 2
        if extra > 0:
            stamp = np.take(stamp, np.arange(extra, extra + want), axis=axis)
        elif extra < 0:
            widths = [(0, 0)] * stamp.ndim
            widths[axis] = (-extra, -extra)
            stamp = np.pad(stamp, widths)
    return stamp


def _unlike(stamps: dict[int, FloatArray]) -> dict[int, str]:
    """Return the beads that are unlike the others, with the reason."""
    if len(stamps) < 3:
        return {}
    numbers = list(stamps)
    widths = np.array([widths_at_half_maximum(stamps[number]) for number in numbers])
    light = np.array([stamps[number][_near_middle(stamps[number].shape)].sum() for number in numbers])
    # Noise and clusters widen a bead and nothing narrows it, so the narrower ones set the measure.
    usual, bright = np.nanquantile(widths, 0.25, axis=0), float(np.median(light))
    found = {}
    for number, width, sum_ in zip(numbers, widths, light, strict=True):
        if not np.isfinite(width).all() or (width > (1 + _WIDTH_TOLERANCE) * usual).any():
            found[number] = "wider than the others, perhaps a cluster"
        elif (width < (1 - _WIDTH_TOLERANCE) * usual).any():
            found[number] = "narrower than the others, perhaps a hot pixel"
        elif sum_ > (1 + _LIGHT_TOLERANCE) * bright:
            found[number] = "brighter than the others, perhaps a cluster"
        elif sum_ < (1 - _LIGHT_TOLERANCE) * bright:
            found[number] = "dimmer than the others"
    return found if len(found) < len(numbers) else {}


def _asymmetry(psf: FloatArray) -> tuple[float, ...]:
    shares = []
    for axis in range(psf.ndim):
        profile = psf.sum(axis=tuple(k for k in range(psf.ndim) if k != axis))
        middle = len(profile) // 2
        shares.append(float((profile[middle + 1 :].sum() - profile[:middle].sum()) / profile.sum()))
    return tuple(shares)


def _without_bead(psf: FloatArray, diameter_um: float, voxel_size: Sequence[float]) -> FloatArray:
    """Return the PSF that makes the given image of a ball: Richardson-Lucy with the ball as the kernel."""
    ball = draw_ball(diameter_um, voxel_size)
    shape = [fft.next_fast_len(n + k - 1, real=True) for n, k in zip(psf.shape, ball.shape, strict=True)]
    centred = np.zeros(shape)
    centred[tuple(slice(0, n) for n in ball.shape)] = ball
    transfer = fft.rfftn(np.roll(centred, [-(n // 2) for n in ball.shape], axis=tuple(range(psf.ndim))))
    inside = tuple(slice(0, n) for n in psf.shape)

    def filtered(image: FloatArray, response: npt.NDArray[np.complex128]) -> FloatArray:
        result: FloatArray = fft.irfftn(fft.rfftn(image, shape) * response, shape)[inside]
        return result

    sensitivity = filtered(np.ones_like(psf), transfer.conj())
    smallest = 1e-6 * float(psf.max())
    estimate = np.maximum(psf, smallest)
    for _ in range(_BEAD_ITERATIONS):
        ratio = psf / np.maximum(filtered(estimate, transfer), smallest)
        estimate = np.maximum(estimate * filtered(ratio, transfer.conj()) / sensitivity, 0)
    return estimate


def draw_ball(diameter_um: float, voxel_size: Sequence[float]) -> FloatArray:
    """Return an evenly filled ball, or disc of its projection, sum 1, on odd sizes that hold it.

    Parameters
    ----------
    diameter_um
        Diameter in µm.
    voxel_size
        Along (Z, Y, X) or (Y, X), in µm. For (Y, X), the ball is projected along Z.
    """
    radius = diameter_um / 2
    sizes = [2 * math.ceil(max(0.0, radius / step - 0.5)) + 1 for step in voxel_size]
    within = (np.arange(_BALL_SAMPLES) + 0.5) / _BALL_SAMPLES - 0.5
    lines = [
        ((np.arange(n) - n // 2)[:, None] + within).ravel() * step
        for n, step in zip(sizes, voxel_size, strict=True)
    ]
    squares = np.zeros([len(line) for line in lines])
    for axis, line in enumerate(lines):
        squares += (line**2).reshape([-1 if k == axis else 1 for k in range(len(lines))])
    # A ball's thickness in two dimensions; in three, whether a point is in it.
    fine = np.sqrt(np.maximum(radius**2 - squares, 0)) if len(lines) == 2 else (squares <= radius**2) * 1.0
    if not fine.any():
        return np.ones([1] * len(lines))
    split = [part for n in sizes for part in (n, _BALL_SAMPLES)]
    ball = fine.reshape(split).sum(axis=tuple(range(1, 2 * len(sizes), 2)))
    result: FloatArray = ball / ball.sum()
    return result
