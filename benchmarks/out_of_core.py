"""Peak memory and time of the command line for images larger than memory, OME-Zarr to OME-Zarr.

    python benchmarks/out_of_core.py [--quick] [--scratch FOLDER]

The images are repeats of a degraded phantom, made for the run and removed afterwards. The largest, with 1024³
voxels, takes up to 2.2 GB of disk, and its result up to 5.4 GB. Each run has its own process.
"""

from __future__ import annotations

import itertools
import json
import math
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import record

SIZES = ((256, 512, 512), (1024, 1024, 1024))
QUICK = ((8, 32, 32), (16, 64, 64))
# Upper limit of the peak memory for the largest image.
BAR_BYTES = 3 * 2**30


def make(path: Path, shape: Sequence[int]) -> None:
    """Write a uint16 image of any size, chunk by chunk."""
    import numpy as np
    import zarr

    from napari_lucyd import degrade, make_phantom

    truth = make_phantom((64, 128, 128), rng=0).image
    values = degrade(truth, blur_sigma=1.5, noise_sigma=20 / 255, rng=0).image
    values = values - values.min()
    block = np.tile((values / values.max() * 4000).astype(np.uint16), (1, 2, 2))
    axes = [{"name": name, "type": "space", "unit": "micrometer"} for name in "zyx"]
    level = {"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [0.1, 0.1, 0.1]}]}
    ome = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": [level]}]}
    group = zarr.create_group(path, attributes={"ome": ome})
    array = group.create_array("0", shape=tuple(shape), chunks=(64, 256, 256), dtype="uint16")
    starts = [range(0, whole, step) for whole, step in zip(shape, block.shape, strict=True)]
    for corner in itertools.product(*starts):
        ends = [min(a + n, whole) for a, n, whole in zip(corner, block.shape, shape, strict=True)]
        part = tuple(slice(a, b) for a, b in zip(corner, ends, strict=True))
        array[part] = block[tuple(slice(0, b - a) for a, b in zip(corner, ends, strict=True))]


def one(source: str, out: str) -> None:
    """Run the command in this process; print its time and peak memory."""
    from napari_lucyd.cli import app

    began = time.perf_counter()
    app(["deconvolve", source, "-o", out, "--device", "cpu", "--quiet"], standalone_mode=False)
    print(json.dumps({"seconds": time.perf_counter() - began, "peak": record.peak_bytes()}))


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure all sizes."""
    made = record.parser(__doc__)
    made.add_argument("--scratch", type=Path, help="folder for the images")
    made.add_argument("--one", nargs=2, metavar=("IN", "OUT"), help="one run, for the benchmark itself")
    options = made.parse_args(arguments)
    if options.one:
        one(*options.one)
        return
    rows = []
    for shape in QUICK if options.quick else SIZES:
        folder = Path(tempfile.mkdtemp(prefix="lucyd-bench-", dir=options.scratch))
        try:
            make(folder / "in.ome.zarr", shape)
            paths = (str(folder / "in.ome.zarr"), str(folder / "out.ome.zarr"))
            took = record.in_fresh_process(__file__, "--one", *paths)
        finally:
            shutil.rmtree(folder)
        voxels = math.prod(shape)
        rows.append({"shape": list(shape), **took, "ns_per_voxel": took["seconds"] / voxels * 1e9})
        print(
            f"out_of_core: {record.shape_text(shape)}: {took['seconds']:.1f} s, "
            f"{took['peak'] / 1e9:.2f} GB, {rows[-1]['ns_per_voxel']:.0f} ns per voxel",
            flush=True,
        )
    record.save(options, "out_of_core", {"rows": rows, "bar_bytes": BAR_BYTES})


if __name__ == "__main__":
    main()
