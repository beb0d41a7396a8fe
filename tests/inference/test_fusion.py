"""Batch norms folded into their convolutions."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from napari_lucyd.inference.fusion import fold
from napari_lucyd.networks import LUCYD, LucydConfig


def awkward(dimension):
    """Statistics like those of the authors' files: behind the division a variance of 1e20."""
    torch.manual_seed(3)
    network = LUCYD(LucydConfig(dimension=dimension, epsilon=1e-12)).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d):
            module.running_mean.uniform_(-0.3, 0.3)
            module.running_var.uniform_(0.3, 2)
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.uniform_(-0.2, 0.2)
    norm = network.division.embed[1]
    norm.running_var.fill_(1e20)
    norm.running_mean.fill_(1e8)
    return network


@pytest.mark.parametrize("dimension", [2, 3])
def test_the_folded_network_computes_the_same(dimension):
    network = awkward(dimension)
    y = torch.rand((1, 1, *[24] * dimension))
    with torch.inference_mode():
        for name, part, folded in zip(
            ("output", "mask", "update", "intermediate"), network(y), fold(network)(y), strict=True
        ):
            assert (part - folded).abs().max() <= 1e-5 * (part.max() - part.min()), name


def test_no_batch_norm_is_left_but_the_last():
    network = LUCYD(LucydConfig(dimension=3)).eval()
    folded = fold(network)
    kinds = (nn.BatchNorm2d, nn.BatchNorm3d)
    assert [name for name, m in folded.named_modules() if isinstance(m, kinds)] == ["rescale"]
    assert sum(isinstance(m, kinds) for m in network.modules()) > 20
    assert all(parameter.dtype == torch.float32 for parameter in folded.parameters())
    assert not any(parameter.requires_grad for parameter in folded.parameters())


def test_the_network_itself_is_left_alone():
    network = awkward(2)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    fold(network)
    after = network.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
