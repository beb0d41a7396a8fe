"""LUCYD in half precision: which of its layers bear it, and how far that is from float32."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from napari_lucyd.compute.device import Device
from napari_lucyd.inference.fusion import fold
from napari_lucyd.networks.lucyd import LUCYD

HARMLESS = 2e-3
"""Largest difference from float32, as a share of the range, that half precision may make."""


def unsupported_reason(model: Any, device: Device) -> str:
    """Why a model is not run in half precision on a device; empty where it is.

    Parameters
    ----------
    model
        Its card holds what `half_precision_error` found, if that was measured.
    device
        Only on CUDA is there anything to be gained.
    """
    if device.kind != "cuda":
        return "it gains time on CUDA devices only"
    if not isinstance(model.network, LUCYD):
        return f"it is for LUCYD, and {model.name} is {model.network.title}"
    error = model.card.get("metrics", {}).get("half_precision", {}).get("error")
    if error is None:
        return f"what it does to {model.name} was not measured"
    if error > HARMLESS:
        return f"it puts {model.name} off by {error:.1e} of the range, and {HARMLESS:g} is allowed"
    return ""


class _To(nn.Module):
    """A layer that changes nothing but the type."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self._dtype = dtype

    def forward(self, x: Tensor) -> Tensor:
        return x.to(self._dtype)


def in_half_precision(network: LUCYD) -> LUCYD:
    """A folded copy that takes and gives float32, and computes in float16 what bears it.

    Not so the quotient y / (FP + epsilon) and its convolution, whose folded weights are too small for float16
    (`mixture` was off by a tenth of the range), nor the sums and the product that the results are.

    Parameters
    ----------
    network
        In evaluation mode.
    """
    # torch's annotations know a layer's children as tensors or modules, never as the sequences that they are.
    half: Any = fold(network).half()
    half.rescale.float()
    division = half.division
    division.embed.float()
    division.project.append(_To(torch.float32))
    division.embed.append(_To(torch.float16))
    for encode in (half.correction_encode, half.update_encode):
        encode.insert(0, _To(torch.float16))
    for decode in (half.correction_decode, half.backward_project):
        decode.append(_To(torch.float32))
    # So cuDNN can use a GPU's units for float16.
    layout = torch.channels_last_3d if network.config.dimension == 3 else torch.channels_last
    made: LUCYD = half.to(memory_format=layout)
    return made


@torch.inference_mode()
def half_precision_error(network: LUCYD, y: Tensor) -> float:
    """How far half precision is from float32: the largest difference, as a share of the range.

    That is the update term's own range, and the output's for the other parts, which are in its units.

    Parameters
    ----------
    network
        In evaluation mode.
    y
        Normalised input (N, 1, [Z,] Y, X), float32, even sizes.
    """
    exact, half = network(y), in_half_precision(network)(y)
    ranges = {name: float(part.max() - part.min()) for name, part in exact._asdict().items()}
    return max(
        float((part - getattr(half, name)).abs().max())
        / max(ranges["update_term" if name == "update_term" else "output"], 1e-12)
        for name, part in exact._asdict().items()
    )
