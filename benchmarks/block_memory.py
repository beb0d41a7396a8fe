"""Measure the memory that the network takes for each voxel of a block.

The numbers are kept in deconvolution/learned/block_memory.py.

    python benchmarks/block_memory.py [cpu | torch | cuda:0] [2 | 3] [lucyd | rln | care]

``torch`` is the CPU without compiled kernels. On the CPU each size runs in its own process, and the growth of
its peak resident memory counts; on a GPU torch counts. The slope between two sizes is the memory per voxel.
"""

from __future__ import annotations

import subprocess
import sys

SHAPES = {
    3: ((64, 96, 96), (96, 128, 128), (112, 176, 176), (112, 304, 304)),
    2: ((1024, 1024), (1024, 2048), (2048, 2048)),
}


def measure(device: str, name: str, shape: tuple[int, ...]) -> int:
    """Measure the peak bytes of one pass in this process."""
    import torch

    from napari_lucyd.compute.device import choose_device
    from napari_lucyd.inference.forward import compile_where_possible, prepare, run_network
    from napari_lucyd.networks import config_class, network_class

    chosen = choose_device("cpu" if device == "torch" else device)
    config = config_class(name)(dimension=len(shape))
    plain = network_class(config)(config).eval()
    if device != "torch":
        chosen = compile_where_possible(plain, chosen)
    network = prepare(plain, chosen)
    run_network(network, torch.rand((1, 1, *[16] * len(shape)), device=chosen.torch))
    y = torch.rand((1, 1, *shape), device=chosen.torch)
    if chosen.kind == "cuda":
        torch.cuda.reset_peak_memory_stats()
        run_network(network, y)
        return torch.cuda.max_memory_allocated()
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    run_network(network, y)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit - before


def main() -> None:
    """Print a table."""
    device = sys.argv[1] if len(sys.argv) > 1 else "cpu"
    dimension = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    name = sys.argv[3] if len(sys.argv) > 3 else "lucyd"
    if len(sys.argv) > 4:
        print(measure(device, name, tuple(int(n) for n in sys.argv[4].split("x"))))
        return
    for shape in SHAPES[dimension]:
        text = "x".join(map(str, shape))
        command = [sys.executable, __file__, device, str(dimension), name, text]
        peak = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        voxels = 1
        for n in shape:
            voxels *= n
        print(f"{text}: {peak / 1e6:.0f} MB, {peak / voxels:.0f} bytes per voxel")


if __name__ == "__main__":
    main()
