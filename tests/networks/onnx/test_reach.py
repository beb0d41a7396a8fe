"""The reach of an ONNX graph is that of its network, or unknown where places differ."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

pytest.importorskip("onnxruntime")

from napari_lucyd.networks.onnx.reach import reach_of
from small_packages import Unet, onnx_of


def measured(network: nn.Module, size: int = 64) -> int:
    """Measure the distance up to which a changed voxel has an effect, in 2D."""
    values = torch.rand((1, 1, size, size))
    reach = 0
    with torch.inference_mode():
        before = network.eval()(values)
        for at in range(size // 2, size // 2 + 4):
            changed = values.clone()
            changed[0, 0, at, at] += 5
            rows = np.flatnonzero((network(changed) != before)[0, 0].any(1).numpy())
            reach = max(reach, abs(rows - at).max())
    return int(reach)


@pytest.mark.parametrize(
    "network",
    [
        Unet(2),
        nn.Sequential(
            nn.Conv2d(1, 2, 5, padding=2), nn.LeakyReLU(), nn.Conv2d(2, 1, 3, padding=2, dilation=2)
        ),
        nn.Sequential(
            nn.Conv2d(1, 2, 3, stride=2, padding=1),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(2, 1, 3, padding=1),
        ),
        nn.Sequential(nn.AvgPool2d(4), nn.ConvTranspose2d(1, 1, 8, stride=4, padding=2)),
    ],
    ids=["unet", "dilated", "upsampled", "transposed"],
)
def test_reach_is_at_least_the_measured_one_and_not_much_more(network):
    found = reach_of(onnx_of(network, 2), "image", "restored", 2)
    least = measured(network)
    assert least <= found.field <= 2 * least + 4


class Global(nn.Module):
    def forward(self, y):
        return y - y.mean((2, 3), keepdim=True)


class Placed(nn.Module):
    def forward(self, y):
        return y * torch.linspace(0, 1, 16)


class Enlarged(nn.Module):
    def forward(self, y):
        return nn.functional.interpolate(y, scale_factor=2)


@pytest.mark.parametrize("network", [Global(), Placed(), Enlarged(), nn.InstanceNorm2d(1)])
def test_graphs_that_look_at_the_whole_image_have_no_reach(network):
    assert reach_of(onnx_of(network, 2), "image", "restored", 2) is None
