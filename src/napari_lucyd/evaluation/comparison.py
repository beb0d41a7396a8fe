"""Comparison of an image with its truth: three metrics, or the reason why one is missing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from napari_lucyd.evaluation.metrics import WINDOW, psnr, ssim_global, ssim_windowed
from napari_lucyd.text import shape_text


@dataclass(frozen=True)
class Scores:
    """Metrics of one image. A metric that cannot be computed is None, and the remarks say why."""

    psnr: float | None = None
    ssim_global: float | None = None
    ssim_windowed: float | None = None
    remarks: tuple[str, ...] = ()


def score(
    image: npt.ArrayLike, truth: npt.ArrayLike, should_stop: Callable[[], bool] | None = None
) -> Scores:
    """Compute PSNR, global SSIM and windowed SSIM of an image against its truth.

    The range of PSNR is max(truth, 0) - min(truth, 0). The constants of the global SSIM are made for a range
    of 1, so both images are divided by this range first. The range of the windowed SSIM is max(truth) -
    min(truth).

    Parameters
    ----------
    image, truth
        (Z, Y, X) or (Y, X), real, in the same units.
    should_stop
        Called between the metrics; if it returns True, the remaining ones stay None.

    Returns
    -------
    Scores
        Scores, with remarks if the shapes differ, the truth is constant or a voxel is not finite.

    Examples
    --------
    >>> scores = score([[0.0, 0.9]], [[0.0, 1.0]])
    >>> round(scores.psnr, 2), scores.ssim_windowed, scores.remarks
    (23.01, None, ('the windowed SSIM needs 7 voxels along each axis, but the shape is 1 × 2',))
    """
    a, b = np.asarray(image), np.asarray(truth)
    if a.shape != b.shape:
        own, wanted = shape_text(a.shape), shape_text(b.shape)
        return Scores(remarks=(f"its shape is {own}, but the truth has {wanted}; they must agree",))
    for name, values in (("image", a), ("truth", b)):
        if not np.all(np.isfinite(values)):
            return Scores(remarks=(f"the {name} has NaN or infinite voxels; replace them first",))
    low, high = float(b.min()), float(b.max())
    span = max(high, 0.0) - min(low, 0.0)
    if low == high:
        return Scores(
            remarks=("the truth has one value everywhere, so there is no range; choose another one",)
        )
    metrics: dict[str, Callable[[], float]] = {
        "psnr": lambda: psnr(a, b),
        "ssim_global": lambda: ssim_global(a / span, b / span),
        "ssim_windowed": lambda: ssim_windowed(a, b),
    }
    remarks = []
    if min(a.shape) < WINDOW:
        del metrics["ssim_windowed"]
        remarks.append(
            f"the windowed SSIM needs {WINDOW} voxels along each axis, but the shape is {shape_text(a.shape)}"
        )
    found: dict[str, float] = {}
    for name, measure in metrics.items():
        if should_stop is not None and should_stop():
            break
        try:
            found[name] = measure()
        except ModuleNotFoundError as error:
            remarks.append(str(error))
    return Scores(**found, remarks=tuple(remarks))
