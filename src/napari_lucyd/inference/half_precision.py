"""LUCYD in half precision, and its difference from float32."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from napari_lucyd.compute.device import Device
from napari_lucyd.inference.fusion import fold
from napari_lucyd.networks.lucyd import LUCYD

HARMLESS = 2e-3
"""Largest allowed difference from float32, as a share of the range."""


def unsupported_reason(model: Any, device: Device) -> str:
    """Say why a model does not run in half precision on a device; return an empty text if it does.

    Parameters
    ----------
    model
        The model; its card holds the result of `half_precision_error` if that was measured.
    device
        The device; half precision is faster on CUDA only.
    """
    if device.kind != "cuda":
        return "it is faster on CUDA devices only"
    if not isinstance(model.network, LUCYD):
        return f"only LUCYD supports it, and {model.name} is {model.network.title}"
    error = model.card.get("metrics", {}).get("half_precision", {}).get("error")
    if error is None:
        return f"its effect on {model.name} was not measured"
    if error > HARMLESS:
        return f"it changes {model.name} by {error:.1e} of the range, and {HARMLESS:g} is allowed"
    return ""


class _To(nn.Module):
    """A layer that changes only the data type."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self._dtype = dtype

    def forward(self, x: Tensor) -> Tensor:
        return x.to(self._dtype)


def in_half_precision(network: LUCYD) -> LUCYD:
    """Make a folded copy that computes in float16 where that is safe; its input and output are float32.

    The quotient y / (FP + epsilon) and its convolution stay in float32, because their folded weights are too
    small for float16 (`mixture` was off by a tenth of the range). So do the sums and the product that form
    the results.

    Parameters
    ----------
    network
        Network in evaluation mode.
    """
    # torch types a layer's children as tensors or modules, not as the sequences that they are.
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
    # With this layout cuDNN uses the GPU's float16 units.
    layout = torch.channels_last_3d if network.config.dimension == 3 else torch.channels_last
    made: LUCYD = half.to(memory_format=layout)
    return made


@torch.inference_mode()
def half_precision_error(network: LUCYD, y: Tensor) -> float:
    """Measure the largest difference of half precision from float32, as a share of the range.

    The range of the update term is its own. That of the other parts is the output's, because they share its
    units.

    Parameters
    ----------
    network
        Network in evaluation mode.
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
