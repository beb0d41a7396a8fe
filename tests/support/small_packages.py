"""bioimage.io packages made by hand, of tiny networks."""

from __future__ import annotations

import io
import json
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import nn


class Unet(nn.Module):
    """Two convolutions, one at half the size, with a transposed convolution back."""

    def __init__(self, dimension: int) -> None:
        super().__init__()
        torch.manual_seed(3)
        conv, up = (nn.Conv2d, nn.ConvTranspose2d) if dimension == 2 else (nn.Conv3d, nn.ConvTranspose3d)
        pool = nn.MaxPool2d if dimension == 2 else nn.MaxPool3d
        self.first, self.low = conv(1, 4, 3, padding=1), conv(4, 4, 3, padding=1)
        self.pool, self.up, self.last = pool(2), up(4, 4, 2, stride=2), conv(8, 1, 3, padding=1)

    def forward(self, y: torch.Tensor) -> torch.Tensor:
        """Return an image of the input's size."""
        fine = torch.relu(self.first(y))
        coarse = self.up(torch.relu(self.low(self.pool(fine))))
        return y + self.last(torch.cat([fine, coarse], 1))


class Told(nn.Module):
    """The image times the first width of the blur, plus the second."""

    def forward(self, y: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        """Return an image of the input's size."""
        return y * sigma[0] + sigma[1]


def onnx_of(network: nn.Module, dimension: int, sigma: bool = False) -> bytes:
    """Return a network as an ONNX file for images of any size, and for the width of the blur."""
    stream = io.BytesIO()
    axes = {"image": {2 + axis: f"n{axis}" for axis in range(dimension)}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network.eval(),
            (torch.rand((1, 1, *(16,) * dimension)), *([torch.rand(dimension)] if sigma else [])),
            stream,
            dynamo=False,
            input_names=["image", *(["blur_sigma"] if sigma else [])],
            output_names=["restored"],
            dynamic_axes=axes | {"restored": axes["image"]},
        )
    return stream.getvalue()


def description(dimension: int, **changes: Any) -> dict[str, Any]:
    """Describe such a network in version 0.5; ``before`` and ``after`` are its operations."""
    space = "zyx"[-dimension:]
    lead: list[dict[str, Any]] = [{"type": "batch"}, {"type": "channel", "channel_names": ["light"]}]
    size = {"min": 4, "step": 2}
    image = [*lead, *({"type": "space", "id": name, "size": size} for name in space)]
    same = [
        *lead,
        *({"type": "space", "id": n, "size": {"tensor_id": "image", "axis_id": n}} for n in space),
    ]
    described = {
        "type": "model",
        "format_version": "0.5.4",
        "name": "tiny",
        "inputs": [{"id": "image", "axes": image, "preprocessing": changes.pop("before", [])}],
        "outputs": [{"id": "restored", "axes": same, "postprocessing": changes.pop("after", [])}],
        "weights": {"onnx": {"source": "weights.onnx"}},
    }
    return described | changes


def write_package(path: Path, described: dict[str, Any], graph: bytes) -> Path:
    """Write a package as a zip file."""
    with zipfile.ZipFile(path, "w") as package:
        package.writestr("rdf.yaml", json.dumps(described))
        package.writestr("weights.onnx", graph)
    return path
