"""Metrics of an image against the truth: PSNR, the authors' global SSIM and the usual windowed SSIM."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

# Window of the windowed SSIM in voxels, the default of scikit-image.
WINDOW = 7
# The authors' constants, on the means and on the variances: (0.01)^2 and (0.03)^2 for a range of 1.
MEAN_CONSTANT = 1e-4
VARIANCE_CONSTANT = 9e-4


def psnr(image: npt.ArrayLike, truth: npt.ArrayLike) -> float:
    """Compute the peak signal-to-noise ratio in dB, with the data range max(truth, 0) - min(truth, 0).

    The paper's Table 2 uses this range.

    Parameters
    ----------
    image, truth
        Arrays of one shape, in the same units.

    Returns
    -------
    float
        Infinite if the two are equal.

    Raises
    ------
    ValueError
        If the shapes differ, or the truth is zero everywhere.

    Examples
    --------
    >>> round(psnr([0.0, 0.9], [0.0, 1.0]), 2)
    23.01
    """
    a, b = _pair(image, truth)
    span = max(b.max(), 0.0) - min(b.min(), 0.0)
    if span == 0:
        raise ValueError("The truth is zero everywhere, so PSNR has no data range.")
    error = float(np.mean((a - b) ** 2))
    return float("inf") if error == 0 else float(10 * np.log10(span**2 / error))


def psnr_affine(image: npt.ArrayLike, truth: npt.ArrayLike) -> float:
    """Compute the PSNR in dB over the truth's range, after the best scale and offset of the image.

    For images in other units than the truth, such as widefield against structured illumination.

    Parameters
    ----------
    image, truth
        Arrays of one shape.

    Returns
    -------
    float
        Infinite if the two differ only by scale and offset.

    Raises
    ------
    ValueError
        If the shapes differ, or the truth is constant.

    Examples
    --------
    >>> psnr_affine([1.0, 3.0, 5.0], [0.0, 1.0, 2.0])
    inf
    """
    a, b = _pair(image, truth)
    span = float(np.ptp(b))
    if span == 0:
        raise ValueError("The truth is constant, so PSNR has no data range.")
    centred = a - a.mean()
    variance = float(np.mean(centred**2))
    slope = float(np.mean(centred * (b - b.mean()))) / variance if variance else 0.0
    error = float(np.mean((slope * centred + b.mean() - b) ** 2))
    # Rounding leaves a little error in a perfect match.
    return float("inf") if error <= 1e-24 * span**2 else float(10 * np.log10(span**2 / error))


def ssim_global(image: npt.ArrayLike, truth: npt.ArrayLike) -> float:
    """Compute the structural similarity without a window, as LUCYD's authors report it.

    It has one mean, variance and covariance over the whole image, and the constants 1e-4 and 9e-4. Do not
    compare it with windowed values.

    Parameters
    ----------
    image, truth
        Arrays of one shape, on a scale where the truth runs from about 0 to 1.

    Returns
    -------
    float
        Similarity, at most 1.

    Examples
    --------
    >>> ssim_global([0.0, 1.0], [0.0, 1.0])
    1.0
    """
    a, b = _pair(image, truth)
    covariance = float(np.mean((a - a.mean()) * (b - b.mean())))
    means = (2 * a.mean() * b.mean() + MEAN_CONSTANT) / (a.mean() ** 2 + b.mean() ** 2 + MEAN_CONSTANT)
    return float(means * (2 * covariance + VARIANCE_CONSTANT) / (a.var() + b.var() + VARIANCE_CONSTANT))


def ssim_windowed(image: npt.ArrayLike, truth: npt.ArrayLike) -> float:
    """Compute the structural similarity of Wang et al. 2004 (windows of 7) with scikit-image.

    Parameters
    ----------
    image, truth
        Arrays of one shape with at least 7 voxels along each axis, in the same units.

    Returns
    -------
    float
        Similarity, at most 1.

    Raises
    ------
    ValueError
        If the images are smaller, or the truth is constant.
    ModuleNotFoundError
        If scikit-image is not installed.
    """
    try:
        from skimage.metrics import structural_similarity
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("The windowed SSIM needs scikit-image: pip install scikit-image") from error
    a, b = _pair(image, truth)
    if min(a.shape) < WINDOW:
        raise ValueError(
            f"The images have shape {a.shape}; windows of {WINDOW} need as many voxels along each axis."
        )
    if b.min() == b.max():
        raise ValueError("The truth is constant, so the windowed SSIM has no data range.")
    similarity = structural_similarity(b, a, data_range=float(b.max() - b.min()))  # type: ignore[no-untyped-call]
    return float(similarity)


def _pair(
    image: npt.ArrayLike, truth: npt.ArrayLike
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    a, b = np.asarray(image, np.float64), np.asarray(truth, np.float64)
    if a.shape != b.shape:
        raise ValueError(f"The image has shape {a.shape} and the truth {b.shape}; give both the same shape.")
    return a, b
