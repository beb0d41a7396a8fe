"""Measure the memory of the classical methods per voxel of their grid.

The numbers are kept in deconvolution/classical/job.py.

    python benchmarks/classical_memory.py [cpu | cuda:0]

Memory is counted as in block_memory.py. The volumes are chosen so that the grid is hardly larger.
"""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import replace

METHODS = ("richardson-lucy", "accelerated", "total-variation", "wiener")
SHAPES = ((2046, 2046), (62, 254, 254), (126, 254, 254))


def measure(device: str, name: str, shape: tuple[int, ...]) -> float:
    """Measure the peak bytes per voxel of the grid in this process, including the volume and its result."""
    import numpy as np
    import torch

    from napari_lucyd.compute.device import choose_device
    from napari_lucyd.deconvolution.classical.methods import RichardsonLucy, Wiener
    from napari_lucyd.deconvolution.classical.solvers import grid_shape, start

    sizes = shape
    psf = np.ones([3] * len(sizes))
    plain = RichardsonLucy(psf, num_iter=10, background=0, tolerance=1e-9, acceleration=False)
    method = {
        "richardson-lucy": plain,
        "accelerated": replace(plain, acceleration=True),
        "total-variation": replace(plain, acceleration=True, total_variation=0.002),
        "wiener": Wiener(psf),
    }[name]
    chosen = choose_device(device)

    def run(size: tuple[int, ...]) -> None:
        volume = np.random.default_rng(0).random(size, dtype=np.float32)
        work = start(method, volume, chosen)
        for _ in range(3):  # the second is the first that extrapolates
            if work.advance():
                break
        work.restored()

    run((16,) * len(sizes))
    voxels = math.prod(grid_shape(method, sizes))
    if chosen.kind == "cuda":
        torch.cuda.reset_peak_memory_stats()
        run(sizes)
        return torch.cuda.max_memory_allocated() / voxels
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    run(sizes)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit - before) / voxels


def main() -> None:
    """Print a table."""
    device = sys.argv[1] if len(sys.argv) > 1 else "cpu"
    if len(sys.argv) > 2:
        print(measure(device, sys.argv[2], tuple(int(n) for n in sys.argv[3].split("x"))))
        return
    for name in METHODS:
        for shape in SHAPES:
            text = "x".join(map(str, shape))
            command = [sys.executable, __file__, device, name, text]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            print(f"{name}, {text}: {float(done.stdout):.0f} bytes per voxel of the grid")


if __name__ == "__main__":
    main()
