"""Deconvolve a small part of a stack on disk first, then the whole, with the same intensity range.

The results are kept in memory. If they do not fit, use `napari_lucyd.deconvolve_to_zarr`.

python examples/region_of_a_large_stack.py stack.ome.zarr
"""

from __future__ import annotations

import sys

import numpy as np

import napari_lucyd as nl
from napari_lucyd.deconvolution import plan
from napari_lucyd.io import read_image


def main(source: str) -> tuple[np.ndarray, np.ndarray]:
    """Deconvolve the middle of a lazily read stack, then the whole stack; return both."""
    image = read_image(source, lazy=True)  # each tile reads its voxels when it needs them
    model = nl.load_model("general")
    middle = tuple(slice(size // 4, size - size // 4) for size in image.data.shape)

    # The intensity range is measured once over the whole stack, so the part equals its place in the whole.
    options = {"axes": image.axes, "voxel_size": image.voxel_size, "outputs": ("output",)}
    job = plan(image.data, model, region=middle, **options)
    statistics = job.measure()
    print(job.description, f"about {job.memory_bytes / 1e6:.0f} MB")
    part = nl.deconvolve(image.data, model, region=middle, statistics=statistics, **options).output
    whole = nl.deconvolve(image.data, model, statistics=statistics, **options).output

    print("equal:", bool(np.allclose(part, whole[middle], atol=1e-5 * float(np.ptp(whole)))))
    return part, whole


if __name__ == "__main__":
    main(*sys.argv[1:])
