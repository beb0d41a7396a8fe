"""LUCYD by compiled kernels gives the network's result, for any block and processor."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch

from napari_lucyd import load_model
from napari_lucyd.compute import llvm
from napari_lucyd.errors import Cancelled
from napari_lucyd.inference.lucyd import cpu as compiled_module
from napari_lucyd.inference.lucyd import cpu_kernels, cpu_winograd, graph
from napari_lucyd.inference.lucyd.cpu import CompiledLucyd, compiled_lucyd, unsupported_reason
from random_networks import limited, repeating

# The acceptance tolerance, as a share of the range.
TOLERANCE = 1e-5
# Random weights amplify rounding: torch's own float32 is up to 0.7e-5 off float64 in these tests.
AMPLIFIED = 2e-5


def calm(model):
    """Its network, with a division that does not amplify rounding (see test_deconvolve.py)."""
    network = copy.deepcopy(model.network)
    network.division.epsilon = 1.0
    return network


@pytest.fixture(scope="module")
def network(random_model):
    return calm(random_model)


@pytest.fixture(scope="module")
def network_2d(random_model_2d):
    return calm(random_model_2d)


def block(*shape, seed=0):
    return torch.rand((1, 1, *shape), generator=torch.Generator().manual_seed(seed))


@torch.inference_mode()
def check(network, run, y, inside=None, tolerance=AMPLIFIED):
    """Check all four parts of the requested region."""
    crop = (..., *inside) if inside else ...
    for name, expected, found in zip(network.parts, network(y), run(y, inside), strict=True):
        wanted = expected[crop]
        assert found.shape == wanted.shape
        # A part of a few voxels may have hardly any range of its own; then the input's range counts.
        span = max(float(expected.max() - expected.min()), 0.1 * float(y.max() - y.min()))
        assert float((found - wanted).abs().max()) <= tolerance * span, name


def test_it_can_be_used_here():
    assert unsupported_reason() == ""


def as_is(network):
    return network


@pytest.mark.parametrize("change", [as_is, repeating, limited])
@pytest.mark.parametrize(
    "shape", [(2, 2, 2), (2, 4, 70), (6, 34, 16), (4, 18, 130), (30, 10, 18), (50, 52, 54)], ids=str
)
def test_blocks_of_any_even_shape_give_what_the_network_gives(network, shape, change):
    check(change(network), CompiledLucyd(change(network), 2), block(*shape))


@pytest.mark.parametrize("change", [as_is, repeating, limited])
@pytest.mark.parametrize("shape", [(2, 2), (2, 66), (34, 16), (100, 130)], ids=str)
def test_planes_give_what_the_network_gives(network_2d, shape, change):
    check(change(network_2d), CompiledLucyd(change(network_2d), 2), block(*shape))


@pytest.mark.parametrize("winograd", [True, False])
@pytest.mark.parametrize("name", ["general", "lucyd", "mixture", "planes", "lucyd-planes"])
def test_the_shipped_weights_give_what_the_network_gives(name, winograd):
    model = load_model(name)
    run = CompiledLucyd(model.network, 2, winograd=winograd)
    check(model.network, run, block(*(20, 30, 40)[-model.dimension :]), tolerance=TOLERANCE)


@pytest.mark.parametrize("change", [as_is, repeating, limited])
@pytest.mark.parametrize("y0", range(4))
@pytest.mark.parametrize("rows", [1, 2, 5])
def test_groups_of_rows_that_are_wanted_in_part_give_what_plain_convolutions_give(network, change, y0, rows):
    changed, inside = change(network), (slice(1, 4), slice(y0, y0 + rows), slice(17, 300))
    plain = CompiledLucyd(changed, 2, winograd=False)
    # Wider than a strip, and with the borders of strips and tiles among what is wanted.
    y = block(6, 16, 330)
    with torch.inference_mode():
        whole, found = plain(y), CompiledLucyd(changed, 2)(y, inside)
        for all_of_it, a, b in zip(whole, plain(y, inside), found, strict=True):
            assert float((a - b).abs().max()) <= AMPLIFIED * float(all_of_it.max() - all_of_it.min())


def test_rows_that_are_not_wanted_do_not_count(network):
    run, inside = CompiledLucyd(network, 1), (slice(0, 8), slice(30, 33), slice(0, 20))
    y, other = block(8, 64, 20), block(8, 64, 20)
    # Infinities that an earlier block left in the buffers must not spoil the next one.
    other[:, :, :, :2] = torch.inf
    with torch.inference_mode():
        before = run(y, inside)
        run(other)
        for a, b in zip(before, run(y, inside), strict=True):
            assert torch.equal(a, b)


@pytest.mark.parametrize("change", [as_is, repeating, limited])
def test_only_what_is_wanted_is_computed_and_that_is_exact(network, network_2d, change):
    network, network_2d = change(network), change(network_2d)
    run, run_2d = CompiledLucyd(network, 2), CompiledLucyd(network_2d, 2)
    y = block(20, 40, 90)
    for inside in (
        (slice(7, 12), slice(3, 38), slice(41, 50)),
        (slice(0, 1), slice(39, 40), slice(0, 90)),
        (slice(19, 20), slice(0, 1), slice(89, 90)),
    ):
        check(network, run, y, inside)
        check(network_2d, run_2d, y[:, :, 0], inside[1:])


def test_one_block_after_another_gives_the_same_bits_whatever_the_threads(network):
    run = CompiledLucyd(network, 2)
    first, other = block(12, 20, 36), block(16, 20, 34, seed=1)
    with torch.inference_mode():
        before, between, again = run(first), run(other), run(first)
        alone = CompiledLucyd(network, 1)(first)
    for a, b, c in zip(before, again, alone, strict=True):
        assert torch.equal(a, b) and torch.equal(a, c)
    check(network, run, other)
    assert between.output.shape == other.shape


@pytest.mark.parametrize(
    ("shape", "periodic"),
    [
        ((6, 10, 14), (True, True, True)),
        ((2, 16, 30), (True, True, True)),  # 16 is a whole number of registers
        ((14, 32, 6), (True, False, True)),
        ((8, 2, 48), (False, True, False)),
        ((10, 18), (True, True)),
    ],
    ids=str,
)
def test_a_block_that_is_repeated_gives_what_many_of_it_give(network, network_2d, shape, periodic):
    chosen = network if len(shape) == 3 else network_2d
    y = block(*shape)
    reach = chosen.receptive_field
    times = [2 * -(-reach // n) + 1 if along else 1 for n, along in zip(shape, periodic, strict=True)]
    tiled = y.repeat(1, 1, *times)
    starts = [(count // 2) * n for n, count in zip(shape, times, strict=True)]
    inside = tuple(slice(start, start + n - n // 3) for start, n in zip(starts, shape, strict=True))
    part = tuple(slice(0, n - n // 3) for n in shape)
    run = CompiledLucyd(chosen, 2)
    with torch.inference_mode():
        expected = CompiledLucyd(chosen, 2)(tiled, inside)
        before = run(y, part, periodic)
        # Rows are computed in groups, which begin elsewhere in the repeated block: equal but for rounding.
        for a, b, again in zip(expected, before, run(y, part, periodic), strict=True):
            assert torch.equal(b, again)
            assert float((a - b).abs().max()) <= TOLERANCE * max(float(a.max() - a.min()), 0.1)
    # Without repetition there are zeros around it again.
    check(chosen, run, y)


def test_what_a_run_released_is_used_by_the_next_one_until_a_weight_changes(network):
    y, changed = block(4, 6, 8), copy.deepcopy(network)
    first = compiled_lucyd(changed, 1)
    before = first(y).output
    first.release()
    again = compiled_lucyd(changed, 1)
    assert again is first and compiled_lucyd(changed, 1) is not first  # two runs at a time
    assert torch.equal(again(y).output, before)
    again.release()
    with torch.no_grad():
        next(changed.parameters()).mul_(2)
    other = compiled_lucyd(changed, 1)
    assert other is not first
    check(changed, other, y)
    other.release()
    changed.config = replace(changed.config, ceiling=0.5)
    check(changed, compiled_lucyd(changed, 1), y)


def forget_kernels():
    cpu_kernels.compiled.cache_clear()
    cpu_winograd.compiled.cache_clear()


@pytest.mark.parametrize(("lanes", "registers"), [(8, 16), (4, 32)])
def test_processors_with_narrower_registers_give_the_same(network, network_2d, monkeypatch, lanes, registers):
    """Code for AVX2, and with the tiles of NEON, run here."""
    own = llvm.host()
    host = llvm.Host(own.name, own.features, lanes, registers)
    monkeypatch.setattr(llvm, "host", lambda: host)
    forget_kernels()
    try:
        check(network, CompiledLucyd(network, 2), block(8, 12, 70), (slice(1, 6), slice(2, 9), slice(21, 60)))
        check(network_2d, CompiledLucyd(network_2d, 2), block(12, 70))
        check(repeating(network), CompiledLucyd(repeating(network), 2), block(8, 12, 70))
    finally:
        forget_kernels()


def test_the_network_is_left_alone_and_stays_usable(network):
    before = {name: value.clone() for name, value in network.state_dict().items()}
    CompiledLucyd(network, 1)(block(4, 4, 4))
    after = network.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)


def test_a_cancel_is_heard_between_the_steps(network):
    asked = 0

    def should_stop():
        nonlocal asked
        asked += 1
        return asked > 5

    with pytest.raises(Cancelled):
        CompiledLucyd(network, 2, should_stop)(block(8, 8, 8))
    assert asked == 6


@pytest.mark.parametrize("shape", [(1, 1, 3, 4, 4), (1, 1, 4, 4), (2, 1, 4, 4, 4), (1, 2, 4, 4, 4)], ids=str)
def test_what_it_cannot_take_is_refused_in_words(network, shape):
    with pytest.raises(ValueError, match="even sizes"):
        CompiledLucyd(network, 1)(torch.rand(shape))


@pytest.fixture
def forgotten():
    """Forget all facts about this processor, before and after."""
    unsupported_reason.cache_clear()
    yield
    unsupported_reason.cache_clear()


def test_where_there_is_no_compiler_the_reason_is_told(forgotten, monkeypatch):
    monkeypatch.setattr(compiled_module.importlib.util, "find_spec", lambda name: None)
    assert "napari-lucyd[cpu]" in unsupported_reason()


def test_a_processor_that_nothing_can_be_compiled_for_is_told(forgotten, monkeypatch):
    def fail(kernel):
        raise RuntimeError("LLVM ERROR: no such instruction\nmore")

    monkeypatch.setattr(compiled_module, "compiled", fail)
    assert unsupported_reason().endswith("processor: LLVM ERROR: no such instruction")


def test_kernels_that_do_not_agree_with_torch_are_not_used(forgotten, monkeypatch):
    real = graph._by_phase
    monkeypatch.setattr(graph, "_by_phase", lambda weight: real(weight) * 1.01)
    assert "do not agree" in unsupported_reason()
