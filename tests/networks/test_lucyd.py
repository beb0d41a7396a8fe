"""The network: its size, its shapes, its formula, and its working division."""

from __future__ import annotations

import copy

import pytest
import torch

from napari_lucyd.networks import LUCYD, LucydConfig, centre_update_term
from random_networks import limited, repeating


@pytest.mark.parametrize(("dimension", "count"), [(3, 24_964), (2, 8_452)])
def test_has_exactly_the_parameters_of_the_paper(dimension, count):
    network = LUCYD(LucydConfig(dimension=dimension))
    assert sum(parameter.numel() for parameter in network.parameters()) == count


@pytest.mark.parametrize("shape", [(1, 1, 2, 2, 2), (2, 1, 6, 8, 10)])
def test_all_four_images_have_the_input_shape(random_model, shape):
    for image in random_model.network(torch.rand(shape)):
        assert image.shape == shape


@pytest.mark.parametrize("shape", [(1, 1, 3, 8, 8), (1, 2, 8, 8, 8), (1, 1, 8, 8)])
def test_other_shapes_are_refused_in_words(random_model, shape):
    with pytest.raises(ValueError, match="even sizes"):
        random_model.network(torch.zeros(shape))


@pytest.mark.parametrize("fixture", ["random_model", "random_model_2d"])
def test_output_is_gain_times_intermediate_times_update(fixture, request):
    network = request.getfixturevalue(fixture).network
    y = torch.rand(1, 1, *[16] * network.config.dimension)
    with torch.no_grad():
        parts = network(y)
    gain, offset = network.output_gain()
    assert torch.equal(parts.intermediate, y + parts.correction_mask)
    expected = torch.relu(gain * parts.intermediate * parts.update_term + offset)
    # The batch norm in float32 against the same in float64: some 1e-7 each of a few terms.
    torch.testing.assert_close(parts.output, expected, atol=1e-5, rtol=1e-5)
    assert parts.output.min() >= 0
    assert parts.update_term.min() >= 0


def test_receptive_field_is_24_voxels(random_model):
    network = LUCYD(random_model.network.config).double().eval()
    network.load_state_dict(random_model.network.state_dict())
    y = torch.rand(1, 1, 4, 4, 128, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    reached = {}
    for centre in (64, 65):
        y = y.detach().requires_grad_()
        parts = network(y)
        (parts.intermediate + parts.update_term)[0, 0, :, :, centre].sum().backward()
        offsets = y.grad.abs().amax(dim=(0, 1, 2, 3)).nonzero().flatten() - centre
        reached[centre] = (int(offsets.min()), int(offsets.max()))
    # Even indices reach -24 to +22, odd ones -23 to +23; ReLUs may hide a voxel or two of it.
    assert -24 <= reached[64][0] <= -16
    assert 16 <= reached[64][1] <= 22
    assert -23 <= reached[65][0] <= -16
    assert 16 <= reached[65][1] <= 23


def test_config_refuses_what_cannot_be_built():
    with pytest.raises(ValueError, match="2 or 3"):
        LucydConfig(dimension=4)
    with pytest.raises(ValueError, match="above 0"):
        LucydConfig(epsilon=0)
    with pytest.raises(ValueError, match="padding is 'mirror'; give 'zeros' or 'replicate'"):
        LucydConfig(padding="mirror")
    with pytest.raises(ValueError, match="ceiling is 0; give a number above 0, or None"):
        LucydConfig(ceiling=0)


def test_a_ceiling_changes_nothing_below_it_and_keeps_the_share_of_brighter_voxels(random_model):
    network = random_model.network
    y = torch.rand((1, 1, 8, 12, 12), generator=torch.Generator().manual_seed(0))
    bright = y.clone()
    bright[0, 0, 4, 6, 6] = 30 * 0.6
    with torch.inference_mode():
        for plain, same in zip(network(0.5 * y), limited(network)(0.5 * y), strict=True):
            torch.testing.assert_close(same, plain)
        shown, parts = network(bright.clamp(max=0.6)), limited(network)(bright)
    at = (0, 0, 4, 6, 6)
    assert parts.intermediate[at] == pytest.approx(30 * float(shown.intermediate[at]), rel=1e-5)
    # The formula of the output holds here as well.
    torch.testing.assert_close(parts.intermediate, bright + parts.correction_mask)
    torch.testing.assert_close(parts.update_term, shown.update_term)
    gain, offset = network.output_gain()
    torch.testing.assert_close(
        parts.output, torch.relu(gain * parts.intermediate * parts.update_term + offset)
    )


@pytest.mark.parametrize("fixture", ["random_model", "random_model_2d"])
def test_repeated_voxels_leave_no_border_in_any_layer(fixture, request):
    network = request.getfixturevalue(fixture).network
    layers = [m for m in repeating(network).modules() if hasattr(m, "kernel_size")]
    assert len(layers) == 29
    for layer in layers:
        values = torch.linspace(0.5, 1, layer.in_channels).reshape(1, -1, *[1] * network.config.dimension)
        with torch.no_grad():
            found = layer(values.expand(1, -1, *[8] * network.config.dimension))
        for axis in range(2, found.ndim):  # even and odd voxels differ where the size is doubled
            ends = found.narrow(axis, 0, 2), found.narrow(axis, found.shape[axis] - 2, 2)
            torch.testing.assert_close(*ends, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("fixture", ["random_model", "random_model_2d"])
def test_centring_the_update_term_leaves_the_output(fixture, request):
    network = copy.deepcopy(request.getfixturevalue(fixture).network)
    y = torch.rand(2, 1, *[16] * network.config.dimension)
    with torch.no_grad():
        before = network(y)
        median = centre_update_term(network, y)
        after = network(y)
    assert median == pytest.approx(before.update_term[before.update_term > 0].median().item())
    assert after.update_term[after.update_term > 0].median().item() == pytest.approx(1, rel=1e-5)
    # A factor moved from one float32 product to another.
    torch.testing.assert_close(after.output, before.output, atol=1e-5, rtol=1e-5)
    assert torch.equal(after.correction_mask, before.correction_mask)
