"""Peak rates of the machine for matrix products and memory, and LUCYD's share of them.

    python benchmarks/roofline.py [--quick]

The peaks are measured: the best float32 matrix product of torch and numpy, and the best copy between two
arrays that are larger than the cache. Operations are the multiplications and additions of the network's
convolutions. *Layer traffic* is the memory traffic if every layer reads its inputs from memory and writes its
result there, as PyTorch's plain pass does. Kernels that keep planes in cache move much less, so their share
can exceed 1.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import record


def best_rate(call: Callable[[], object], amount: float, repeats: int) -> float:
    """Return the highest rate of several calls, which other work on the machine disturbs least."""
    call()
    shortest = float("inf")
    for _ in range(repeats):
        began = time.perf_counter()
        call()
        shortest = min(shortest, time.perf_counter() - began)
    return amount / shortest


def matrix_rate(size: int, repeats: int) -> float:
    """Measure the operations per second of a float32 matrix product."""
    import torch

    a, b = torch.rand(size, size), torch.rand(size, size)
    x, y = a.numpy(), b.numpy()
    calls = (lambda: torch.mm(a, b), lambda: x @ y)
    return max(best_rate(call, 2.0 * size**3, repeats) for call in calls)


def memory_rate(count: int, repeats: int) -> float:
    """Measure the bytes per second that a copy reads and writes, on all threads of torch."""
    import torch

    source, target = torch.rand(count), torch.empty(count)
    return best_rate(lambda: target.copy_(source), 2.0 * 4 * count, repeats)


def operations_per_voxel(network: Any) -> float:
    """Count the multiplications and additions of the convolutions."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    y = torch.rand(1, 1, 16, 16, 16)
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        network(y)
    return float(counter.get_total_flops()) / y.numel()


def traffic_per_voxel(network: Any) -> float:
    """Count the bytes that the convolutions read and write if nothing stays in cache."""
    import torch
    from torch import nn

    moved = 0

    def count(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        nonlocal moved
        moved += 4 * (inputs[0].numel() + output.numel())

    layers = [m for m in network.modules() if isinstance(m, nn.Conv3d | nn.ConvTranspose3d)]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    y = torch.rand(1, 1, 16, 16, 16)
    with torch.inference_mode():
        network(y)
    for hook in hooks:
        hook.remove()
    return moved / y.numel()


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write the record."""
    options = record.parser(__doc__).parse_args(arguments)
    import torch

    from napari_lucyd import load_model
    from napari_lucyd.compute.device import cpu
    from napari_lucyd.inference.forward import compile_where_possible, prepare, run_network
    from napari_lucyd.inference.fusion import fold

    shape = (8, 16, 16) if options.quick else (64, 256, 256)
    repeats = 1 if options.quick else 5
    network = load_model(record.MODEL).network
    plain, folded = network, fold(network)
    device = compile_where_possible(network, cpu())
    y = torch.rand(1, 1, *shape)
    passes: dict[str, Callable[[], Any]] = {
        "PyTorch, plain": lambda: run_network(plain, y),
        "PyTorch, batch norms folded": lambda: run_network(folded, y),
    }
    if device.compiled:
        compiled = prepare(network, device)
        passes["compiled kernels"] = lambda: run_network(compiled, y)
    seconds = record.interleaved(passes, repeats)
    each, moved = operations_per_voxel(network), traffic_per_voxel(network)
    voxels = float(np.prod(shape))
    rows = {}
    for name, times in seconds.items():
        taken = statistics.median(times)
        rows[name] = {
            "seconds": taken,
            "operations_per_second": each * voxels / taken,
            "layer_bytes_per_second": moved * voxels / taken,
        }
    matrix, copied = (128, 2**16) if options.quick else (3072, 2**27)
    record.save(
        options,
        "roofline",
        {
            "shape": shape,
            "threads": torch.get_num_threads(),
            "matrix_operations_per_second": matrix_rate(matrix, 2 * repeats),
            "memory_bytes_per_second": memory_rate(copied, 2 * repeats),
            "operations_per_voxel": each,
            "layer_bytes_per_voxel": moved,
            "passes": rows,
        },
    )


if __name__ == "__main__":
    main()
