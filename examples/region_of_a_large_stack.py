"""Look at a small part of a stack on disk first, then do the same for the rest, with the same numbers.

The results are kept in memory; `napari_lucyd.deconvolve_to_zarr` writes those that do not fit.

python examples/region_of_a_large_stack.py stack.ome.zarr
"""

from __future__ import annotations

import sys

import numpy as np

import napari_lucyd as nl
from napari_lucyd.deconvolution import plan
from napari_lucyd.io import read_image


def main(source: str) -> tuple[np.ndarray, np.ndarray]:
    """Deconvolve the middle of a lazily read stack, then all of it; return both."""
    image = read_image(source, lazy=True)  # voxels are read when a tile needs them
    model = nl.load_model("general")
    middle = tuple(slice(size // 4, size - size // 4) for size in image.data.shape)

    # Scaling is measured once, over the whole stack, so the part looks just as it will in the whole.
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
