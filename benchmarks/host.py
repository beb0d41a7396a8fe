"""Work of the CPU in `deconvolve` apart from the network: measuring, reading and storing.

    python benchmarks/host.py [--quick]

A GPU waits for this work. *Measuring* finds the extremes, two percentiles and the number of voxels that are
not finite; it is compared with ``numpy.percentile`` of the whole. *Reading* copies the block of each tile,
with its halo extended by reflection, to the buffer that the device reads; it is compared with ``numpy.pad``
of the whole and copies from that. *Storing* writes an output to its own array.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

import numpy as np
import record

SHAPE = (256, 512, 512)
TILE = (256, 256, 256)
HALO = 24
PERCENTILES = (5.0, 99.9)
TYPES = ("float32", "uint16")


def measuring(model: Any, volume: Any, repeats: int) -> dict[str, dict[str, float]]:
    """Time the measuring of an image of each type, and numpy's percentiles alone."""
    from napari_lucyd.deconvolution import plan

    found = {}
    for name in TYPES:
        image = (volume * 4000).astype(name)
        calls = {
            "ours": lambda image=image: plan(
                image,
                model,
                device="cpu",
                normalization={"method": "percentile", "low": PERCENTILES[0], "high": PERCENTILES[1]},
            ).measure(),
            "numpy": lambda image=image: np.percentile(image, PERCENTILES),
        }
        found[name] = medians(record.interleaved(calls, repeats))
    return found


def reading(volume: Any, tile_shape: tuple[int, ...], repeats: int) -> dict[str, float]:
    """Time the reading of all blocks of a volume."""
    from napari_lucyd.deconvolution.blocks import read_block
    from napari_lucyd.deconvolution.image.source import Source
    from napari_lucyd.deconvolution.statistics.scaling import Group
    from napari_lucyd.deconvolution.tiling.geometry import Geometry
    from napari_lucyd.deconvolution.tiling.tiles import cut
    from napari_lucyd.spans import Span

    source, geometry = Source(volume, 3), Geometry(volume.shape, HALO)
    group = Group((), 0.0, 1.0, 0.0, 1.0, volume.size, 0, 0)
    tiles = list(cut([Span(0, size) for size in volume.shape], tile_shape))
    # As on a device, the memory is reused from block to block.
    room = np.zeros([size + 2 * HALO for size in tile_shape], dtype=np.float32)

    def ours() -> None:
        for tile in tiles:
            sizes = [span.size for span in geometry.block(tile)]
            read_block(source, (), tile, geometry, group, room[tuple(slice(size) for size in sizes)])

    def padded() -> None:
        whole = np.pad(volume, HALO, mode="reflect")
        for tile in tiles:
            block = whole[tuple(slice(span.start, span.stop + 2 * HALO) for span in tile.spans)]
            room[tuple(slice(size) for size in block.shape)] = block

    return medians(record.interleaved({"ours": ours, "numpy": padded}, repeats))


def storing(volume: Any, repeats: int) -> dict[str, float]:
    """Time the allocation and filling of an output array."""
    from napari_lucyd.compute.threads import copy_into

    def ours() -> None:
        copy_into(np.empty(volume.shape, dtype=np.float32), volume)

    def plain() -> None:
        np.empty(volume.shape, dtype=np.float32)[...] = volume

    return medians(record.interleaved({"ours": ours, "numpy": plain}, repeats))


def medians(seconds: dict[str, list[float]]) -> dict[str, float]:
    """Return the median of each candidate."""
    return {name: statistics.median(times) for name, times in seconds.items()}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write the record."""
    options = record.parser(__doc__).parse_args(arguments)
    import torch

    from napari_lucyd import load_model

    shape, tile, repeats = ((32, 64, 64), (32, 32, 32), 1) if options.quick else (SHAPE, TILE, 3)
    volume = np.random.default_rng(0).gamma(2, 0.05, shape).astype(np.float32)
    measured = {
        "shape": shape,
        "tile": tile,
        "voxels": volume.size,
        "threads": torch.get_num_threads(),
        "measuring": measuring(load_model(record.MODEL), volume, repeats),
        "reading": reading(volume, tile, repeats),
        "storing": storing(volume, repeats),
    }
    record.save(options, "host", measured)


if __name__ == "__main__":
    main()
