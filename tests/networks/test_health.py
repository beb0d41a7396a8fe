"""Health: dead channels are found, and a mask that is only a line in the image is recognised."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

import napari_lucyd as nl
from napari_lucyd.networks import CARE, LUCYD, RLN, LucydConfig, RlnConfig, measure_health
from napari_lucyd.networks.health import mask_beyond_line
from napari_lucyd.training.config import parse_config
from napari_lucyd.training.data import VALIDATION_PHANTOMS, Patches
from napari_lucyd.training.initialization import hold_output, measure_norms, start_near_identity

# Shipped models that have a dead layer; their cards say so.
DEAD = {"general"}
LUCYDS = [card["name"] for card in nl.list_models() if card["network"]["type"] == "lucyd"]


def fresh(dimension: int = 2) -> LUCYD:
    torch.manual_seed(3)
    network = LUCYD(LucydConfig(dimension=dimension, epsilon=1e-2))
    hold_output(network)
    start_near_identity(network)
    measure_norms(network, images(dimension))
    return network.eval()


def images(dimension: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(5)
    return torch.rand(4, 1, *[32, 32, 16][:dimension], generator=generator)


@pytest.mark.parametrize("dimension", [2, 3])
def test_every_channel_of_a_measured_network_lives_and_its_mask_is_no_line(dimension):
    health = measure_health(fresh(dimension), images(dimension).split(1))
    assert health.dead_channels == 0
    assert health.dead_layers == ()
    assert health.mask_share is not None and health.mask_share > 0.05
    assert health.mask_spread is not None and health.mask_spread > 0.005


def test_layer_whose_units_never_open_is_found_by_name():
    network = fresh()
    norm = network.correction_decode[0][1]
    with torch.no_grad():
        norm.bias.fill_(-1e3)
    health = measure_health(network, [images()])
    assert "correction_decode.0.0" in health.dead_layers
    assert "correction_encode.0.0" not in health.dead_layers


def test_layer_that_hardly_varies_beside_its_stored_variance_is_dead():
    network = fresh()
    network.bottleneck_decode[2][1].running_var.mul_(1e5)
    health = measure_health(network, [images()])
    assert "bottleneck_decode.2.0" in health.dead_layers
    assert health.dead_channels >= 4 / 153


def test_single_dead_channel_counts_and_does_not_kill_its_layer():
    network = fresh()
    with torch.no_grad():
        network.fuse_fine.refine[1].bias[0] = -1e3
    health = measure_health(network, [images()])
    assert health.dead_channels == pytest.approx(1 / 153)
    assert health.dead_layers == ()


def test_mask_that_is_a_line_in_the_image_has_no_share():
    y = images()[0]
    share, spread = mask_beyond_line(y, -0.511 * y + 0.2)
    assert share < 1e-9 and spread < 1e-5
    assert mask_beyond_line(y, torch.full_like(y, 0.3)) == (0.0, pytest.approx(0, abs=1e-6))


def test_part_of_the_mask_beyond_a_line_is_measured_in_share_and_spread():
    y = torch.arange(10_000, dtype=torch.float32).reshape(1, 100, 100) / 10_000
    other = torch.tensor([-1.0, 1.0]).repeat(5_000).reshape(1, 100, 100)
    share, spread = mask_beyond_line(y, y + 0.1 * other)
    variance = y[:, 12:-12, 12:-12].double().var().item()
    assert share == pytest.approx(0.01 / (0.01 + variance), rel=0.01)
    assert spread == pytest.approx(0.1 / 0.74, rel=0.03)


def test_channels_of_networks_without_a_mask_are_counted():
    images = torch.rand(2, 1, 8, 16, 16)
    for config in (RlnConfig(), RlnConfig(affine=False)):
        rln = RLN(config)
        measure_norms(rln, images)
        assert measure_health(rln, [images]) == (0, (), None, None)
    care = CARE().eval()
    before = measure_health(care, [images]).dead_channels
    with torch.no_grad():
        care.decode_full[2].bias.fill_(-1e3)
    health = measure_health(care, [images])
    assert health.dead_layers == ("decode_full.2",)
    assert health.dead_channels == pytest.approx(before + 32 / 544)


def test_watching_leaves_the_network_as_it_was():
    network = fresh()
    before = network(images()).output
    measure_health(network, [images()])
    assert torch.equal(before, network(images()).output)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())


@pytest.mark.parametrize("name", LUCYDS)
def test_no_layer_of_a_shipped_model_is_dead_unless_its_card_says_so(name):
    model = nl.load_model(name)
    config = parse_config(model.card["training"]["config"])
    # Beads alone and empty fields say little about channels that work on structures.
    config = replace(config, data=replace(config.data, beads=0.0, flat=0.0))
    patches, spread = (
        Patches(config, VALIDATION_PHANTOMS),
        config.data.patches_per_phantom * config.data.alive,
    )
    health = measure_health(model.network, [patches[i * spread].image[None] for i in range(3)])
    told = model.card["metrics"].get("health", {})
    if name in DEAD:
        assert health.dead_layers and told["dead_layers"] and told["mask_share"] < 1e-3
    else:
        assert health.dead_layers == ()
        assert health.mask_share is not None and health.mask_share > 0.05


def test_output_that_is_held_is_the_product_of_estimate_and_update_term():
    network = fresh()
    result = network(images())
    assert network.output_gain() == pytest.approx((1.0, 0.0), abs=1e-6)
    product = torch.relu(result.intermediate * result.update_term)
    torch.testing.assert_close(result.output, product, rtol=1e-6, atol=1e-7)


def test_measured_norms_give_each_layer_what_batch_statistics_would_give_a_typical_image():
    network, batch = fresh(), images()
    seen = {}
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    handles = [
        norm.register_forward_pre_hook(lambda module, inputs: seen.update({module: inputs[0]}))
        for norm in norms
    ]
    network(batch)
    for handle in handles:
        handle.remove()
    for norm, values in seen.items():
        if norm is not network.rescale:
            typical = values.var((2, 3)).median(0).values / norm.running_var
            assert typical.min() > 0.5 and typical.max() < 2
