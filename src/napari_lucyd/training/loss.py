"""Losses of the networks: that of their authors, or that of LUCYD.

LUCYD: Eq. 8 of Chobola et al. (MICCAI 2023). RLN: Li et al., Nature Methods 19, 1427 (2022). CARE: Weigert et
al., Nature Methods 15, 1090 (2018).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from napari_lucyd.evaluation.metrics import MEAN_CONSTANT, VARIANCE_CONSTANT
from napari_lucyd.networks import CareOutput, LucydOutput, RlnOutput
from napari_lucyd.training.data import Patch

# Large enough to hold most of the light of a blurred point, small enough to follow uneven backgrounds.
FLUX_CUBE = 8
# Absolute errors of local means below this count as squares.
LIGHT_ROUNDING = 0.01
# RLN: weight of its half-resolution estimate T, and share of the truth in the target of T.
ESTIMATE_WEIGHT = 0.1
ESTIMATE_TRUTH = 0.8


def ssim_global(output: Tensor, truth: Tensor) -> Tensor:
    """Compute the structural similarity with one mean, variance and covariance over all voxels.

    LUCYD's authors optimise and report this quantity; it is not the windowed SSIM of Wang et al.

    Parameters
    ----------
    output, truth
        Tensors of one shape, on a scale where the truth runs from about 0 to 1.

    Returns
    -------
    Tensor
        Scalar, at most 1.
    """
    mean_output, mean_truth = output.mean(), truth.mean()
    residual_output, residual_truth = output - mean_output, truth - mean_truth
    variances = residual_output.square().mean() + residual_truth.square().mean()
    covariance = (residual_output * residual_truth).mean()
    means = (2 * mean_output * mean_truth + MEAN_CONSTANT) / (
        mean_output.square() + mean_truth.square() + MEAN_CONSTANT
    )
    return means * (2 * covariance + VARIANCE_CONSTANT) / (variances + VARIANCE_CONSTANT)


def lucyd_loss(output: Tensor, truth: Tensor) -> Tensor:
    """Compute MSE - ln((1 + SSIM) / 2) over the batch (Eq. 8)."""
    error = (output - truth).square().mean()
    return error - torch.log((1 + ssim_global(output, truth)) / 2)


def each_loss(output: Tensor, truth: Tensor) -> Tensor:
    """Compute Eq. 8 for each image of a batch, and return the mean.

    Over a batch as a whole, its brightest patches would determine the structural similarity. Here each image
    counts the same.

    Parameters
    ----------
    output, truth
        Tensors (N, 1, [Z,] Y, X) of one shape.

    Returns
    -------
    Tensor
        A scalar.
    """
    losses = [lucyd_loss(image, wanted) for image, wanted in zip(output, truth, strict=True)]
    return torch.stack(losses).mean()


def squared_loss(output: Tensor, truth: Tensor) -> Tensor:
    """Compute ten times the mean squared error, which is about as large as Eq. 8 for a typical error of 0.1.

    Eq. 8 counts an error by the variance of its patch, so a network trained with it improves faint patches at
    the cost of bright ones; here an error counts the same in both.
    """
    return 10 * (output - truth).square().mean()


def local_flux_error(output: Tensor, truth: Tensor) -> Tensor:
    """Compute the mean squared difference of local means over cubes (squares) of side 8.

    The paper's loss hardly notices a background at the wrong level, or lost light, because most voxels are
    dark and their errors small. Measurements need both to be right, so our photometric models are trained
    with this.

    Parameters
    ----------
    output, truth
        Tensors (N, 1, [Z,] Y, X) of one shape with at least eight voxels along each spatial axis.

    Returns
    -------
    Tensor
        A scalar.
    """
    return _local_differences(output, truth).square().mean()


def local_light_error(output: Tensor, truth: Tensor) -> Tensor:
    """Compute the mean absolute difference of local means over cubes (squares) of side 8, rounded at 0.

    The squared errors of a bright bead hide those of its dark surroundings. But the surroundings have many
    voxels, so the sum of their light is as large.

    Parameters
    ----------
    output, truth
        Tensors (N, 1, [Z,] Y, X) of one shape with at least eight voxels along each spatial axis.

    Returns
    -------
    Tensor
        A scalar.
    """
    return (_local_differences(output, truth).square() + LIGHT_ROUNDING**2).sqrt().mean() - LIGHT_ROUNDING


def _local_differences(output: Tensor, truth: Tensor) -> Tensor:
    """Return the difference of local means over cubes (squares) of side 8."""
    pool = torch.nn.functional.avg_pool3d if output.ndim == 5 else torch.nn.functional.avg_pool2d
    return pool(output - truth, FLUX_CUBE)


def _lucyd_each(result: LucydOutput | RlnOutput | CareOutput, batch: Patch) -> Tensor:
    return each_loss(result.output * batch.weight, batch.truth * batch.weight)


def _squared(result: LucydOutput | RlnOutput | CareOutput, batch: Patch) -> Tensor:
    return squared_loss(result.output * batch.weight, batch.truth * batch.weight)


def _lucyd(result: LucydOutput | RlnOutput | CareOutput, batch: Patch) -> Tensor:
    return lucyd_loss(result.output * batch.weight, batch.truth * batch.weight)


def _rln(result: RlnOutput, batch: Patch) -> Tensor:
    """Compute the loss of RLN: LUCYD's loss of the output, plus the error of the estimate T."""
    wanted = ESTIMATE_TRUTH * batch.truth + (1 - ESTIMATE_TRUTH) * batch.image
    estimate = ((result.intermediate - wanted) * batch.weight).square().mean()
    return lucyd_loss(result.output * batch.weight, batch.truth * batch.weight) + ESTIMATE_WEIGHT * estimate


def _care(result: CareOutput, batch: Patch) -> Tensor:
    return ((result.output - batch.truth) * batch.weight).abs().mean()


_OWN: dict[str, Callable[[Any, Patch], Tensor]] = {"lucyd": _lucyd, "rln": _rln, "care": _care}


def loss_of(network: str, kind: str = "own") -> Callable[[Any, Patch], Tensor]:
    """Return the loss of a network, a function of its output and the batch that returns a scalar.

    Parameters
    ----------
    network
        Name of the network: ``"lucyd"``, ``"rln"``, ``"care"``.
    kind
        ``"own"``: the loss of its authors. ``"lucyd"``: Eq. 8 over the batch as a whole. ``"lucyd_each"``:
        the mean of Eq. 8 over the images. All multiply images by the batch's weights first.
    """
    return {"lucyd": _lucyd, "lucyd_each": _lucyd_each, "squared": _squared}.get(kind, _OWN[network])
