"""Interval of each voxel: limits that hold the truth in 90 % of the voxels of simulated structures.

A voxel's typical error follows from its brightness, the roughness around it, the noise and the blur, by a
formula that was fitted to simulated structures. The limits are the result plus multiples of this error. The
multiples are quantiles over these structures (split conformal prediction), one pair for each class of
brightness within its volume. ``interval.json`` has the numbers; ``scripts/calibrate_interval.py`` makes it.

References
----------
J. Lei, M. G'Sell, A. Rinaldo, R. J. Tibshirani, L. Wasserman, "Distribution-free predictive inference for
regression", Journal of the American Statistical Association 113 (2018) 1094-1111.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_lucyd import checks
from napari_lucyd.deconvolution import Result, name_axes
from napari_lucyd.psf.gaussian import gaussian_psf
from napari_lucyd.psf.widths import widths_at_half_maximum
from napari_lucyd.referee.scores.rerun import TOLD, Place, as_request, rerun

Doubles = npt.NDArray[np.float64]

COVERAGE = 0.9
"""Share of the voxels whose truth lies between the limits."""

# Standard deviation in voxels of the surroundings of a voxel.
_SURROUNDINGS = 1.0
# Smallest brightness and roughness that count, as shares of the scale.
_FAINTEST, _SMOOTHEST = 0.01, 0.003
# Full width at half maximum of a Gaussian, in standard deviations.
_WIDTH = math.sqrt(8 * math.log(2))
# Share of a PSF's light that may lie elsewhere than in the Gaussian of its widths.
_NOT_GAUSSIAN = 0.3


@dataclass(frozen=True, eq=False)
class Interval:
    """Limits of the truth, voxel by voxel.

    Attributes
    ----------
    lower, upper
        Limits in units of the image, float32, of the result's shape; None if the result is outside of the
        structures that they were calibrated on.
    coverage
        Share of the voxels whose truth lies between the limits, on such structures.
    reason
        Sentence that says what they were calibrated on, or why there are none.
    """

    lower: npt.NDArray[np.float32] | None
    upper: npt.NDArray[np.float32] | None
    coverage: float
    reason: str


def interval(result: Result, *, psf: Any = None) -> Interval:
    """Return limits between which the truth lies in 90 % of the voxels.

    They are calibrated for the default models (``"lucyd"`` on volumes and planes) with the blur told, on
    simulated structures with a Gaussian blur and photon noise. There are none outside of the range of blur
    and noise of these structures. On specimens of another kind, the share of the voxels may differ.

    Parameters
    ----------
    result
        Result of `deconvolve`, with an output.
    psf
        PSF of the run, if it was told one and the result was read from a file.

    Returns
    -------
    Interval
        Limits, or the reason why there are none.

    Raises
    ------
    TypeError
        If it is not a result.

    Examples
    --------
    >>> import numpy as np, napari_lucyd as nl
    >>> image = np.random.default_rng(0).poisson(50, (48, 48)).astype(np.float32)
    >>> image[20:28, 20:28] += 200
    >>> limits = nl.interval(nl.deconvolve(image, "lucyd", blur_sigma=1.5, device="cpu"))
    >>> bool((limits.lower <= limits.upper).all()), limits.coverage
    (True, 0.9)
    """
    if not isinstance(result, Result):
        raise TypeError(f"result is {checks.shown(result)}; give a result of deconvolve.")
    recipe, output = result.recipe, result.output
    table = _tables().get(str(recipe.get("sha256")))
    if table is None or output is None:
        known = " and ".join(sorted(entry["model"] for entry in _tables().values()))
        return _none(f"There is no interval: it is calibrated for the models {known} only.")
    if recipe.get("flips") or recipe.get("prefilter") or recipe.get("subtract_background"):
        return _none("There is no interval: it is calibrated without flips, prefilter and background.")
    stage = recipe["first_stage"]
    lower, upper = np.empty_like(output), np.empty_like(output)
    for index, place, number in _volumes(recipe, output.shape, table["dimension"]):
        blur = _blur(result, place, psf)
        if isinstance(blur, str):
            return _none(blur)
        noise = float(stage["noise"][number])
        where = f" of {place.axes.label(place.lead)}" if output.size > math.prod(place.shape) else ""
        for name, value, unit in (("blur", blur, "voxels"), ("noise", noise, "of the brightness")):
            low, high = table[name]
            if not low <= value <= high:
                return _none(
                    f"There is no interval: the {name}{where} is {value:.3g} {unit}, and it is "
                    f"calibrated from {low:.3g} to {high:.3g}."
                )
        volume = output[index].reshape(place.shape)
        limits = limits_of(volume, stage["level"][number], stage["scale"][number], blur, noise, table)
        lower[index], upper[index] = (limit.reshape(output[index].shape) for limit in limits)
    return Interval(
        lower,
        upper,
        COVERAGE,
        f"Calibrated on {table['specimens']} simulated structures with a Gaussian blur of "
        f"{table['blur'][0]:.2g} to {table['blur'][1]:.2g} voxels and photon noise.",
    )


def describe_voxels(output: npt.NDArray[np.float32], level: float, scale: float) -> tuple[Doubles, Doubles]:
    """Return brightness and roughness of each voxel of a result, as shares of the scale.

    Parameters
    ----------
    output
        One volume, (Z, Y, X) or (Y, X).
    level, scale
        Dark level and brightness of the light, from the recipe's first stage.
    """
    values = (np.asarray(output, np.float32) - np.float32(level)) / np.float32(scale)
    smooth = ndimage.gaussian_filter(values, _SURROUNDINGS)
    spread = ndimage.gaussian_filter(np.square(values - smooth), _SURROUNDINGS)
    return values.astype(np.float64), np.sqrt(spread.astype(np.float64))


def typical_error(
    brightness: Doubles, roughness: Doubles, noise: Any, blur: Any, coefficients: Any
) -> Doubles:
    """Return the error that voxels of a kind have, as a share of the scale, by the fitted formula."""
    columns = error_columns(brightness, roughness, noise, blur)
    total = sum(coefficient * column for coefficient, column in zip(coefficients, columns, strict=True))
    result: Doubles = np.exp(np.asarray(total, np.float64))
    return result


def error_columns(brightness: Doubles, roughness: Doubles, noise: Any, blur: Any) -> list[Any]:
    """Return the terms of the formula for the logarithm of an error: all products of two logarithms."""
    u = np.log(np.maximum(brightness, _FAINTEST))
    r = np.log(roughness + _SMOOTHEST)
    n, b = np.log(noise), np.log(blur)
    return [1.0, u, r, n, b, u * u, r * r, n * n, b * b, u * r, u * n, u * b, r * n, r * b, n * b]


def limits_of(
    output: npt.NDArray[np.float32],
    level: float,
    scale: float,
    blur: float,
    noise: float,
    table: Mapping[str, Any],
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Return the limits of one volume with the numbers of a calibration table."""
    brightness, roughness = describe_voxels(output, level, scale)
    error = typical_error(brightness, roughness, noise, blur, table["coefficients"])
    edges = np.quantile(brightness, table["ranks"])
    classes = np.searchsorted(edges, brightness, side="right")
    low, high = (
        (output + scale * np.array(table[name])[classes] * error).astype(np.float32)
        for name in ("lower", "upper")
    )
    return low, high


def _tables() -> dict[str, Any]:
    """Return the calibration tables by the SHA-256 of their model."""
    text = resources.files("napari_lucyd.referee.maps").joinpath("interval.json").read_text("utf-8")
    return {entry["sha256"]: entry for entry in json.loads(text)}


def _none(reason: str) -> Interval:
    return Interval(None, None, COVERAGE, reason)


def _volumes(
    recipe: Mapping[str, Any], shape: tuple[int, ...], dimension: int
) -> Iterator[tuple[tuple[Any, ...], Place, int]]:
    """Yield index, place and group of each volume of a result."""
    given = recipe["input"]
    axes = name_axes(given["shape"], np.dtype(given["dtype"]), dimension, recipe["axes"])
    region = recipe.get("region") or [[0, n] for n in axes.shape]
    starts = dict(zip(axes.names, (span[0] for span in region), strict=True))
    sizes = dict(zip(axes.names, shape, strict=True))
    steps = recipe.get("voxel_size")
    steps = None if steps is None else tuple(steps)[-dimension:]
    groups = recipe["normalization"]["groups"]
    spatial = tuple(sizes.get(name, 1) for name in axes.letters)
    for local in np.ndindex(*(sizes[name] for name in axes.leading)):
        number_of = dict(zip(axes.leading, local, strict=True))
        lead = tuple(starts[name] + number_of[name] for name in axes.leading)
        index = tuple(number_of.get(name, slice(None)) for name in axes.names)
        there = axes.lead_index(lead)
        group = next(
            k for k, one in enumerate(groups) if all(there.get(name) == n for name, n in one.items())
        )
        yield index, Place(axes, lead, spatial, steps), group


def _blur(result: Result, place: Place, psf: Any) -> float | str:
    """Return the blur as the standard deviation of a Gaussian, or why there is none."""
    stage = result.recipe["first_stage"]
    if "blur_sigma" in stage:
        return math.exp(float(np.mean(np.log(stage["blur_sigma"]))))
    if "blur_sigma_found" in stage:
        return (
            "There is no interval: the blur was found in the image, and the interval is calibrated for a "
            "known blur. Give the microscope, the PSF or the width of the blur (blur_sigma)."
        )
    told = {**dict.fromkeys(TOLD), "psf": psf}
    kernel = rerun(result, as_request(result, None, None, told), place).kernel
    assert kernel is not None
    sigmas = [width / _WIDTH for width in widths_at_half_maximum(kernel)]
    if not all(math.isfinite(sigma) and sigma > 0 for sigma in sigmas):
        return "There is no interval: the PSF has no width at half maximum."
    fitted = gaussian_psf(sigmas)
    size = [max(n, m) for n, m in zip(kernel.shape, fitted.shape, strict=True)]
    first, second = (_padded(one, size) for one in (kernel, fitted))
    if float(np.abs(first - second).sum()) / 2 > _NOT_GAUSSIAN:
        return (
            "There is no interval: it is calibrated for a Gaussian blur, and this PSF has too much of its "
            "light outside of one."
        )
    return math.exp(float(np.mean(np.log(sigmas))))


def _padded(kernel: npt.NDArray[np.float32], shape: list[int]) -> npt.NDArray[np.float32]:
    margins = [
        (size // 2 - n // 2, size - n - (size // 2 - n // 2))
        for n, size in zip(kernel.shape, shape, strict=True)
    ]
    return np.pad(kernel, margins)
