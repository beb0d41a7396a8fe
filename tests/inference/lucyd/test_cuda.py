"""LUCYD's CUDA kernels and their callers, without a CUDA device: the kernels run on the processor."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

import emulated_cuda
from napari_lucyd.compute import nvrtc
from napari_lucyd.compute.device import Device, cpu
from napari_lucyd.errors import Cancelled
from napari_lucyd.inference.forward import compile_where_possible
from napari_lucyd.inference.lucyd.cuda import CudaLucyd, buffer_numbers, unsupported_reason
from napari_lucyd.inference.lucyd.graph import LAYERS, RESULTS
from napari_lucyd.models import load_model
from random_networks import limited, repeating

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def compiler(tmp_path_factory):
    if emulated_cuda.CXX is None:
        pytest.skip("needs a C++ compiler")
    return emulated_cuda.compiler(tmp_path_factory.mktemp("kernels"))


@pytest.fixture(scope="module")
def networks(random_model, random_model_2d):
    shipped = {name: load_model(name) for name in ("general", "planes")}
    models = {"random": random_model, "random planes": random_model_2d, **shipped}
    found = {name: model.network for name, model in models.items()}
    found |= {f"{name}, repeating": repeating(found[name]) for name in ("random", "random planes")}
    return found | {"random, limited": limited(found["random"])}


def agree(found, expected):
    for name, part in expected._asdict().items():
        range_ = float(part.max() - part.min())
        # torch in 32 bits is 1e-5 of the range away from 64 bits, where a quotient magnifies the rounding.
        np.testing.assert_allclose(getattr(found, name), part, rtol=0, atol=2e-5 * range_, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "shape", "inside"),
    [
        ("random", (10, 14, 38), (slice(2, 6), slice(3, 9), slice(11, 27))),
        ("general", (6, 8, 34), (slice(0, 6), slice(7, 8), slice(0, 1))),
        ("random planes", (22, 38), (slice(3, 10), slice(11, 28))),
        ("planes", (16, 70), (slice(0, 16), slice(60, 70))),
        ("random, repeating", (10, 14, 38), (slice(2, 6), slice(0, 9), slice(11, 38))),
        ("random, limited", (10, 14, 38), (slice(2, 6), slice(0, 9), slice(11, 38))),
        ("random planes, repeating", (22, 38), (slice(3, 22), slice(0, 28))),
    ],
)
def test_kernels_compute_what_the_network_computes(compiler, networks, name, shape, inside):
    network, generator = networks[name], torch.Generator().manual_seed(0)
    kernels, exact = CudaLucyd(network, CPU, compile=compiler), copy.deepcopy(network).double()

    with torch.inference_mode():
        # The second block overwrites the rest of the first, and the third has other buffers.
        for sizes in (shape, shape, tuple(n + 2 for n in shape)):
            y = torch.rand((1, 1, *sizes), generator=generator)
            expected = exact(y.double())
            agree(kernels(y), expected)
            part = kernels(y, inside)
            agree(part, type(expected)(*(each[(..., *inside)] for each in expected)))


@pytest.mark.slow
def test_results_are_not_written_over_by_the_next_block(compiler, networks):
    kernels = CudaLucyd(networks["random"], CPU, compile=compiler)
    y = torch.rand((1, 1, 2, 4, 8))

    with torch.inference_mode():
        # One row, which lies in one piece in the buffer as well.
        first = kernels(y, (slice(0, 1), slice(0, 1), slice(0, 8)))
        before = [part.clone() for part in first]
        kernels(1 - y)

    assert all(torch.equal(a, b) for a, b in zip(before, first, strict=True))


def test_a_stop_is_heard_between_layers(networks):
    launched = []

    def compile(told):
        return lambda *arguments: launched.append(told)

    kernels = CudaLucyd(networks["random"], CPU, lambda: len(launched) == 3, compile)
    with pytest.raises(Cancelled):
        kernels(torch.rand((1, 1, 4, 4, 4)))
    assert len(launched) == 3


def test_a_block_of_a_wrong_shape_is_refused_in_words(networks):
    kernels = CudaLucyd(networks["random"], CPU, compile=lambda told: None)
    with pytest.raises(ValueError, match=r"shape \(1, 1, 4, 5, 4\).*even sizes"):
        kernels(torch.rand((1, 1, 4, 5, 4)))


def test_no_buffer_is_given_away_while_it_is_read():
    given = dict(buffer_numbers())
    assert set(given) == {layer.name for layer in LAYERS}
    holds = {}
    for layer in LAYERS:
        for name in (*layer.inputs, layer.residual):
            if name not in ("", "y"):
                assert holds[given[name]] == name, f"{layer.name} reads what was {name}"
        over = holds.get(given[layer.name])
        assert over is None or layer.buffer in ("", over) or over == layer.residual
        holds[given[layer.name]] = layer.name
    assert {holds[given[name]] for name in RESULTS} == set(RESULTS)
    kinds = {}
    for layer in LAYERS:
        kinds.setdefault(given[layer.name], set()).add((layer.channels, layer.half))
    assert all(len(kind) == 1 for kind in kinds.values())


@pytest.mark.skipif(torch.version.cuda is not None, reason="this torch is built for CUDA")
def test_without_cuda_torch_is_used_and_the_reason_is_told(random_model):
    assert unsupported_reason("cuda:0") == "torch is not built for CUDA"
    device = Device("cuda:0", "a device")
    assert compile_where_possible(random_model.network, device) == device
    with pytest.raises(OSError, match="nvrtc"):
        nvrtc._compiler()


def test_other_networks_and_devices_are_left_as_they_are(random_rln):
    for device in (cpu(), Device("cuda:0", "a device"), Device("mps", "another")):
        assert compile_where_possible(random_rln.network, device) == device
