"""Deconvolve a stack from a file, and write the output with the image's axes and voxel size.

python examples/deconvolve_a_stack.py stack.tif restored.ome.tif
"""

from __future__ import annotations

import sys

import napari_lucyd as nl
from napari_lucyd.io import read_image, write_image


def main(source: str, target: str) -> None:
    """Read `source`, deconvolve it with the default model, write the output to `target`."""
    image = read_image(source)
    result = nl.deconvolve(
        image.data,
        nl.load_model("general"),
        axes=image.axes,
        voxel_size=image.voxel_size,  # needed to resample large Z steps to isotropic voxels
        outputs=("output",),
        progress=lambda step: print(f"tile {step.done} of {step.total}"),
    )
    for warning in result.warnings:
        print("Note:", warning)
    write_image(
        target,
        result.output,
        axes=image.axes,
        voxel_size=image.voxel_size,
        unit=image.unit,
        metadata={"shows": "output", "recipe": result.recipe},
    )
    print(f"Wrote {target}")


if __name__ == "__main__":
    main(*sys.argv[1:])
