"""An image beside its truth, in the units of both: the three metrics, or in words why there is none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from napari_lucyd.evaluation.metrics import WINDOW, psnr, ssim_global, ssim_windowed
from napari_lucyd.text import shape_text


@dataclass(frozen=True)
class Scores:
    """The metrics of one image; None where one cannot be had, and the remarks say why."""

    psnr: float | None = None
    ssim_global: float | None = None
    ssim_windowed: float | None = None
    remarks: tuple[str, ...] = ()


def score(
    image: npt.ArrayLike, truth: npt.ArrayLike, should_stop: Callable[[], bool] | None = None
) -> Scores:
    """PSNR, global SSIM and windowed SSIM of an image against its truth.

    PSNR's range is max(truth, 0) - min(truth, 0). The global SSIM, whose constants are made for a range of
    1, is taken of both images divided by it; the windowed one's range is max(truth) - min(truth).

    Parameters
    ----------
    image, truth
        (Z, Y, X) or (Y, X), real, in the same units.
    should_stop
        Asked between the metrics; what is left is then left out.

    Returns
    -------
    Scores
        Where the shapes differ, the truth is constant or a voxel is not finite, the remarks say so.

    Examples
    --------
    >>> scores = score([[0.0, 0.9]], [[0.0, 1.0]])
    >>> round(scores.psnr, 2), scores.ssim_windowed, scores.remarks
    (23.01, None, ('the windowed SSIM needs 7 voxels along each axis, and there are 1 × 2',))
    """
    a, b = np.asarray(image), np.asarray(truth)
    if a.shape != b.shape:
        own, wanted = shape_text(a.shape), shape_text(b.shape)
        return Scores(remarks=(f"its shape is {own} and the truth’s {wanted}; they must agree",))
    for name, values in (("image", a), ("truth", b)):
        if not np.all(np.isfinite(values)):
            return Scores(remarks=(f"the {name} has voxels that are NaN or infinite",))
    low, high = float(b.min()), float(b.max())
    span = max(high, 0.0) - min(low, 0.0)
    if low == high:
        return Scores(remarks=("the truth has one value everywhere, so that there is no range to go by",))
    metrics: dict[str, Callable[[], float]] = {
        "psnr": lambda: psnr(a, b),
        "ssim_global": lambda: ssim_global(a / span, b / span),
        "ssim_windowed": lambda: ssim_windowed(a, b),
    }
    remarks = []
    if min(a.shape) < WINDOW:
        del metrics["ssim_windowed"]
        remarks.append(
            f"the windowed SSIM needs {WINDOW} voxels along each axis, and there are {shape_text(a.shape)}"
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
