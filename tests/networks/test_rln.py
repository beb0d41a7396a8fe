"""RLN: its two sizes, its shapes, its start, and its reach."""

from __future__ import annotations

import math

import pytest
import torch

from napari_lucyd.inference.fusion import fold
from napari_lucyd.networks import RLN, RlnConfig


@pytest.fixture(params=[True, False], ids=["authors", "table 1"])
def network(request) -> RLN:
    """Seeded, with batch norms that hold statistics of their own features."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = RLN(RlnConfig(affine=request.param))
        for _ in range(20):
            network(torch.rand(2, 1, 8, 8, 8))
    return network.eval()


@pytest.mark.parametrize(("affine", "count"), [(True, 15_968), (False, 15_900)])
def test_has_exactly_the_parameters_of_the_authors_code_or_of_table_1(affine, count):
    network = RLN(RlnConfig(affine=affine))
    assert sum(parameter.numel() for parameter in network.parameters()) == count


@pytest.mark.parametrize("shape", [(1, 1, 2, 2, 2), (2, 1, 6, 8, 10)])
def test_both_images_have_the_input_shape(network, shape):
    for image in network(torch.rand(shape)):
        assert image.shape == shape


@pytest.mark.parametrize("shape", [(1, 1, 3, 8, 8), (1, 2, 8, 8, 8), (1, 1, 8, 8)])
def test_other_shapes_are_refused_in_words(network, shape):
    with pytest.raises(ValueError, match="even sizes"):
        network(torch.zeros(shape))


def test_output_is_positive_and_finite_for_any_input(network):
    for y in (torch.zeros(1, 1, 4, 4, 4), -torch.ones(1, 1, 4, 4, 4), 1e4 * torch.randn(1, 1, 4, 4, 4)):
        parts = network(y)
        assert torch.isfinite(parts.output).all()
        assert torch.isfinite(parts.intermediate).all()
        assert parts.output.min() >= 0


def test_intermediate_is_the_input_times_something_positive(network):
    y = torch.randn(1, 1, 8, 8, 8)
    assert (network(y).intermediate / y).min() > 0


def test_every_parameter_has_a_gradient(network):
    network.train()
    parts = network(torch.rand(2, 1, 8, 8, 8))
    (parts.output.square().mean() + 0.1 * parts.intermediate.square().mean()).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_gradients_are_the_true_ones(network):
    y = torch.rand(1, 1, 2, 2, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: tuple(network.double()(x)), (y,))


def test_output_can_be_dark_in_training(network):
    # With no shift behind the last batch norm its mean could not fall below ln 2.
    network.train()
    with torch.no_grad():
        network.merge[1].bias.fill_(-4)
    assert network(torch.rand(2, 1, 8, 8, 8)).output.mean() < 0.2 < math.log(2)


def test_batch_norms_are_those_of_the_authors_framework(network):
    norms = [module for module in network.modules() if isinstance(module, torch.nn.BatchNorm3d)]
    assert len(norms) == 17
    assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-3, 0.01)}


def test_kernels_before_the_divisions_start_as_gaussians():
    kernel = RLN().half_project[0].weight.detach()  # (4, 8, 3, 3, 3)
    middle = kernel[:, :, 1, 1, 1]
    assert middle.min() >= 0.7
    assert middle.max() <= 1
    for number, sigma in enumerate((1, 2, 3, 4)):
        neighbour = kernel[number, :, 1, 0, 1] / middle[number]
        corner = kernel[number, :, 0, 2, 0] / middle[number]
        torch.testing.assert_close(neighbour, torch.full((8,), math.exp(-1 / (2 * sigma**2))))
        torch.testing.assert_close(corner, torch.full((8,), math.exp(-3 / (2 * sigma**2))))


def test_receptive_field_is_17_voxels(network):
    network = network.double()
    for centre, reach in ((48, (-16, 17)), (49, (-17, 16))):
        y = torch.rand(1, 1, 2, 2, 96, dtype=torch.float64, requires_grad=True)
        network(y).output[..., centre].sum().backward()
        offsets = y.grad.abs().amax(dim=(0, 1, 2, 3)).nonzero().flatten() - centre
        # Exact, as a softplus never lets a gradient vanish.
        assert (int(offsets.min()), int(offsets.max())) == reach
    assert RLN.receptive_field == 17
    assert RLN.multiple == 2


def test_survives_its_own_file_and_the_folding_of_its_batch_norms(network):
    y = torch.rand(1, 1, 8, 8, 8)
    again = RLN(network.config).eval()
    again.load_state_dict(network.state_dict())
    with torch.no_grad():
        expected = network(y)
        assert torch.equal(again(y).output, expected.output)
        folded = fold(network)(y)
    # The same sums in another order.
    torch.testing.assert_close(folded.output, expected.output, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(folded.intermediate, expected.intermediate, atol=1e-5, rtol=1e-5)


def test_config_refuses_what_cannot_be_built():
    with pytest.raises(ValueError, match="give 3"):
        RlnConfig(dimension=2)
