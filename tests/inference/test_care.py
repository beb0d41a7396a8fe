"""CARE by compiled kernels gives the network's result, for any block and processor."""

from __future__ import annotations

import pytest
import torch

from napari_lucyd import load_model
from napari_lucyd.compute import llvm
from napari_lucyd.compute.device import Device, cpu
from napari_lucyd.deconvolution import deconvolve, plan
from napari_lucyd.errors import Cancelled
from napari_lucyd.inference import care, forward
from napari_lucyd.inference.care import STEPS, CompiledCare, equivalent_voxels, needed, unsupported_reason
from napari_lucyd.inference.forward import compile_where_possible, prepare, run_network
from napari_lucyd.inference.lucyd import cpu_kernels, cpu_winograd
from napari_lucyd.spans import Span

# The acceptance tolerance, as a share of the range.
TOLERANCE = 1e-5


def block(*shape, seed=0):
    return torch.rand((1, 1, *shape), generator=torch.Generator().manual_seed(seed))


@torch.inference_mode()
def check(network, run, y, inside=None):
    crop = (..., *inside) if inside else ...
    for name, expected, found in zip(("output", "residual"), network(y), run(y, inside), strict=True):
        assert found.shape == expected[crop].shape
        assert float((found - expected[crop]).abs().max()) <= TOLERANCE * float(
            expected.max() - expected.min()
        ), name


def test_it_can_be_used_here():
    assert unsupported_reason() == ""


@pytest.mark.parametrize("shape", [(4, 4, 4), (4, 8, 72), (8, 36, 16), (12, 20, 132), (48, 52, 56)], ids=str)
def test_blocks_of_any_shape_give_what_the_network_gives(slim_care, shape):
    check(slim_care.network, CompiledCare(slim_care.network, 2), block(*shape))


@pytest.mark.parametrize("name", ["nuclei-care", "membranes-care", "mixture-care"])
def test_the_shipped_weights_give_what_the_network_gives(name):
    network = load_model(name).network
    run = CompiledCare(network, 2)
    check(network, run, block(8, 20, 68))
    check(network, run, block(8, 20, 68), (slice(3, 6), slice(1, 9), slice(30, 68)))


@pytest.mark.parametrize("along_y", [slice(0, 1), slice(5, 7), slice(31, 38), slice(39, 40)], ids=str)
def test_only_what_is_wanted_is_computed_and_that_is_exact(slim_care, along_y):
    run, y = CompiledCare(slim_care.network, 2), block(24, 40, 92)
    for inside in (
        (slice(7, 12), along_y, slice(41, 50)),
        (slice(0, 1), along_y, slice(0, 92)),
        (slice(23, 24), along_y, slice(91, 92)),
    ):
        check(slim_care.network, run, y, inside)


def test_what_is_not_wanted_does_not_count(slim_care):
    run, inside = CompiledCare(slim_care.network, 1), (slice(0, 8), slice(60, 64), slice(0, 20))
    y, other = block(8, 120, 20), block(8, 120, 20)
    # Infinities that an earlier block left in the buffers must not spoil the next one.
    other[:, :, :, :20] = torch.inf
    with torch.inference_mode():
        before = run(y, inside)
        run(other)
        for a, b in zip(before, run(y, inside), strict=True):
            assert torch.equal(a, b)


def test_one_block_after_another_gives_the_same_bits_whatever_the_threads(slim_care):
    run = CompiledCare(slim_care.network, 2)
    first, other = block(12, 20, 36), block(16, 20, 32, seed=1)
    with torch.inference_mode():
        before, _, again = run(first), run(other), run(first)
        alone = CompiledCare(slim_care.network, 1)(first)
    for a, b, c in zip(before, again, alone, strict=True):
        assert torch.equal(a, b) and torch.equal(a, c)


@pytest.mark.parametrize(("lanes", "registers"), [(8, 16), (4, 32)])
def test_processors_with_narrower_registers_give_the_same(slim_care, monkeypatch, lanes, registers):
    own = llvm.host()
    monkeypatch.setattr(llvm, "host", lambda: llvm.Host(own.name, own.features, lanes, registers))
    for module in (cpu_kernels, cpu_winograd):
        module.compiled.cache_clear()
    try:
        run = CompiledCare(slim_care.network, 2)
        check(slim_care.network, run, block(8, 12, 72))
        check(slim_care.network, run, block(8, 12, 72), (slice(1, 6), slice(2, 9), slice(21, 60)))
    finally:
        for module in (cpu_kernels, cpu_winograd):
            module.compiled.cache_clear()


def test_the_needed_spans_reach_as_far_as_the_network_does():
    found = needed(1024, Span(512, 513))
    assert 512 - found["y"].start <= 23 and found["y"].stop - 513 <= 23
    assert needed(64, Span(0, 64)) == {
        "y": Span(0, 64),
        **{step.name: Span(0, 64 >> step.level) for step in STEPS},
    }


def test_equivalent_voxels_are_those_of_the_block_if_all_is_wanted(slim_care):
    network = slim_care.network
    assert equivalent_voxels(network, [[(64, Span(0, 64))]] * 3) == pytest.approx(64**3)
    with_margin = equivalent_voxels(network, [[(112, Span(24, 88))]] * 3)
    assert 64**3 < with_margin < 0.6 * 112**3


def test_a_cancel_is_heard_between_the_layers(slim_care):
    asked = []

    def should_stop():
        asked.append(1)
        return len(asked) > 5

    with pytest.raises(Cancelled):
        CompiledCare(slim_care.network, 1, should_stop)(block(8, 8, 8))
    assert len(asked) == 6


@pytest.mark.parametrize("shape", [(1, 1, 6, 8, 8), (1, 1, 8, 8), (2, 1, 8, 8, 8)], ids=str)
def test_what_it_cannot_take_is_refused_in_words(slim_care, shape):
    with pytest.raises(ValueError, match="multiples of 4"):
        CompiledCare(slim_care.network, 1)(torch.rand(shape))


@pytest.fixture
def forgotten():
    """Forget all facts about this processor, before and after."""
    unsupported_reason.cache_clear()
    yield
    unsupported_reason.cache_clear()


def test_kernels_that_do_not_agree_with_torch_are_not_used(forgotten, monkeypatch, slim_care):
    real = care._halve
    monkeypatch.setattr(care, "_halve", lambda a, b, z, rows, columns: real(a, b + 0, z, rows, columns))
    assert "do not agree" in unsupported_reason()
    assert not compile_where_possible(slim_care.network, cpu()).compiled


def test_the_processor_runs_care_by_compiled_kernels_and_a_gpu_does_not(slim_care):
    device = compile_where_possible(slim_care.network, cpu())
    assert device.compiled and device.name.endswith("(compiled kernels)")
    assert isinstance(prepare(slim_care.network, device), CompiledCare)
    other = Device("cuda:0", "a device")
    assert compile_where_possible(slim_care.network, other) == other
    found = run_network(prepare(slim_care.network, device), block(8, 8, 8), (slice(2, 4),) * 3)
    assert found.output.shape == (1, 1, 2, 2, 2)


def test_tiles_by_compiled_kernels_and_by_torch_give_the_whole_volume(slim_care, monkeypatch):
    volume = block(20, 50, 44)[0, 0].numpy()
    whole = deconvolve(volume, slim_care, device="cpu")
    tiled = deconvolve(volume, slim_care, device="cpu", tile_shape=(12, 24, 44))
    assert whole.recipe["device"]["name"].endswith("(compiled kernels)")
    monkeypatch.setattr(forward.care, "unsupported_reason", lambda: "llvmlite is not installed")
    plain = deconvolve(volume, slim_care, device="cpu")
    assert "compiled" not in plain.recipe["device"]["name"]
    span = float(plain.output.max() - plain.output.min())
    for each in (whole, tiled):
        assert abs(each.output - plain.output).max() <= TOLERANCE * span


def test_the_estimated_time_of_a_block_leaves_out_what_is_not_needed(slim_care, monkeypatch):
    monkeypatch.setattr("napari_lucyd.deconvolution.learned.job.seconds_per_voxel", lambda *_: 1.0)
    job = plan(block(64, 64, 64)[0, 0].numpy(), slim_care, device="cpu")
    assert 64**3 < job.estimate_seconds() < 0.6 * 112**3
