"""CARE: its size, its shapes, and its reach."""

from __future__ import annotations

import pytest
import torch

from napari_lucyd.networks import CARE, CareConfig


@pytest.fixture(scope="module")
def network() -> CARE:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return CARE().eval()


def test_has_exactly_the_parameters_of_csbdeeps_default(network):
    assert sum(parameter.numel() for parameter in network.parameters()) == 996_769


@pytest.mark.parametrize("shape", [(1, 1, 4, 4, 4), (2, 1, 8, 4, 12)])
def test_both_images_have_the_input_shape_and_differ_by_the_input(network, shape):
    y = torch.rand(shape)
    with torch.no_grad():
        parts = network(y)
    for image in parts:
        assert image.shape == shape
    assert torch.equal(parts.output, y + parts.residual)
    assert parts.residual.abs().max() > 0


@pytest.mark.parametrize("shape", [(1, 1, 6, 8, 8), (1, 1, 8, 8, 7), (1, 2, 8, 8, 8), (1, 1, 8, 8)])
def test_other_shapes_are_refused_in_words(network, shape):
    with pytest.raises(ValueError, match="multiples of 4"):
        network(torch.zeros(shape))


def test_output_stays_near_the_input_at_the_start(network):
    # Weights that start like Keras's keep the size of any input.
    y = torch.rand(1, 1, 16, 16, 16)
    with torch.no_grad():
        residual = network(y).residual
        larger = network(1000 * y).residual
    assert residual.abs().max() < 5
    # ReLUs without biases, which start at 0, are homogeneous.
    torch.testing.assert_close(larger, 1000 * residual, rtol=1e-4, atol=1e-2)


def test_every_weight_has_a_gradient():
    network = CARE()
    (network(torch.rand(2, 1, 8, 8, 8)).output - 1).abs().mean().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_receptive_field_is_23_voxels(monkeypatch):
    network = CARE().double().eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.abs_()  # so that no ReLU hides anything
    # A maximum passes the gradient on to one voxel of eight: its mean shows all that it can see.
    monkeypatch.setattr(torch.nn.functional, "max_pool3d", torch.nn.functional.avg_pool3d)
    reached = []
    for centre in range(48, 52):
        y = torch.rand(1, 1, 4, 4, 96, dtype=torch.float64, requires_grad=True)
        network(y).output[..., centre].sum().backward()
        offsets = y.grad.abs().amax(dim=(0, 1, 2, 3)).nonzero().flatten() - centre
        reached.append((int(offsets.min()), int(offsets.max())))
    assert reached == [(-22, 21), (-23, 20), (-20, 23), (-21, 22)]
    assert CARE.receptive_field == 23
    assert CARE.multiple == 4


def test_config_refuses_what_cannot_be_built():
    with pytest.raises(ValueError, match="give 3"):
        CareConfig(dimension=2)
