"""CUDA kernels on the processor: built by its own C++ compiler, their threads run one after another."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from functools import cache
from importlib.resources import files
from pathlib import Path

CXX = shutil.which("c++")

# Every thread is a block of its own: it copies all weights, and waits for no other thread.
_AROUND = """
#include <cmath>
#define __global__
#define __device__ static
#define __shared__ static
#define __align__(bytes)
#define __launch_bounds__(threads)
#define __syncthreads()
struct Place { int x, y, z; };
static Place threadIdx = {0, 0, 0}, blockDim = {1, 1, 1}, blockIdx;
#include SOURCE
extern "C" void run(int x, int y, int z, void **given) {
  for (blockIdx.z = 0; blockIdx.z < z; ++blockIdx.z)
    for (blockIdx.y = 0; blockIdx.y < y; ++blockIdx.y)
      for (blockIdx.x = 0; blockIdx.x < x; ++blockIdx.x)
        layer(*(Tensor *)given[0], *(Tensor *)given[1], *(Tensor *)given[2], *(Tensor *)given[3],
              *(const float **)given[4], *(const float **)given[5], *(int *)given[6], *(int *)given[7],
              *(int *)given[8], *(int *)given[9], *(int *)given[10], *(int *)given[11],
              *(int *)given[12], *(int *)given[13], *(int *)given[14]);
}
"""


def compiler(folder: Path):
    """Replace the `compiler` of `inference.lucyd.cuda` by one that works in a folder."""

    @cache
    def compiled(told):
        name = folder / f"layer{abs(hash(told))}"
        source = name.with_suffix(".cpp")
        source.write_text(_AROUND)
        kernel = files("napari_lucyd.inference.lucyd").joinpath("lucyd.cu")
        macros = [f"-D{key}={value}" for key, value in told] + [f'-DSOURCE="{kernel}"']
        command = [CXX, "-O2", "-w", "-shared", "-fPIC", *macros, str(source), "-o", f"{name}.so"]
        subprocess.run(command, check=True, capture_output=True)
        function = ctypes.CDLL(f"{name}.so").run

        def launch(grid, block, arguments, stream):
            given = (ctypes.c_void_p * len(arguments))(*(ctypes.addressof(each) for each in arguments))
            function(*(blocks * threads for blocks, threads in zip(grid, block, strict=True)), given)

        return launch

    return compiled
