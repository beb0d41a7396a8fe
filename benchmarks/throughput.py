"""Time per voxel of LUCYD over size, tile, halo, threads, precision, input type and device.

    python benchmarks/throughput.py [--quick]

Times are medians of interleaved repeats. *Cost* is the time per million voxels of the image, without its
halo. It should stay constant over size; small stacks pay for their halo. A halo below the network's reach is
faster but inexact: the deviation shows this as a share of the range.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import record

SIZES = ((16, 64, 64), (32, 128, 128), (64, 256, 256), (128, 256, 256), (128, 512, 512))
SHAPE = (64, 256, 256)
TILES = ((64, 256, 256), (64, 128, 128), (32, 64, 64))
HALOS = (24, 16, 8, 0)
# As many voxels in a thick stack and in a thin one.
THICK, THIN = (64, 512, 512), (16, 1024, 1024)


def rows(
    seconds: dict[str, list[float]], voxels: float, **extra: dict[str, Any]
) -> dict[str, dict[str, Any]]:
    """Return the median, the cost and further values for each candidate."""
    found = {}
    for name, times in seconds.items():
        middle = statistics.median(times)
        found[name] = {"seconds": middle, "cost": 1e6 * middle / voxels}
        found[name] |= {key: values[name] for key, values in extra.items() if name in values}
    return found


def over_size(model: Any, sizes: Sequence[tuple[int, ...]], repeats: int) -> list[dict[str, Any]]:
    """Measure the cost of `deconvolve` with its defaults, with few repeats for large sizes."""
    from napari_lucyd import deconvolve

    found = []
    for shape in sizes:
        volume, voxels = record.stack(shape), int(np.prod(shape))
        turns = repeats if voxels < 10**7 else 1
        call = {"": lambda volume=volume: deconvolve(volume, model, device="cpu")}
        middle = statistics.median(record.interleaved(call, turns)[""])
        found.append({"shape": shape, "voxels": voxels, "seconds": middle, "cost": 1e6 * middle / voxels})
    return found


def over_thickness(model: Any, shapes: Sequence[tuple[int, ...]], repeats: int) -> dict[str, dict[str, Any]]:
    """Measure the cost of stacks of as many voxels, with the borders reflected or repeated."""
    from napari_lucyd import deconvolve

    calls: dict[str, Callable[[], object]] = {}
    for borders, chosen in (("repeated", record.repeating(model)), ("reflected", model)):
        for shape in shapes:
            volume, name = record.stack(shape), f"{record.shape_text(shape)}, borders {borders}"
            calls[name] = lambda volume=volume, chosen=chosen: deconvolve(volume, chosen, device="cpu")
    return rows(record.interleaved(calls, repeats), math.prod(shapes[0]))


def over_choice(
    model: Any, volume: Any, choices: dict[str, dict[str, Any]], repeats: int
) -> dict[str, dict[str, Any]]:
    """Measure the cost with other tiles or halos, and the deviation from the first output."""
    from napari_lucyd import deconvolve

    outputs: dict[str, Any] = {}

    def call(name: str) -> None:
        chosen = choices[name]
        outputs[name] = deconvolve(volume, model, device="cpu", outputs=("output",), **chosen).output

    seconds = record.interleaved({name: lambda name=name: call(name) for name in choices}, repeats)
    reference = next(iter(outputs.values()))
    deviations = {
        name: float(np.abs(output - reference).max() / np.ptp(reference)) for name, output in outputs.items()
    }
    return rows(seconds, volume.size, deviation=deviations)


def over_threads(model: Any, volume: Any, repeats: int) -> dict[str, dict[str, Any]]:
    """Measure the cost on 1, 2, 4, … threads, up to the number of cores."""
    import torch

    from napari_lucyd import deconvolve

    before = torch.get_num_threads()
    counts = [n for n in (1, 2, 4, 8, 16, 32, 64) if n <= record.cores()]

    def call(count: int) -> None:
        torch.set_num_threads(count)
        deconvolve(volume, model, device="cpu")

    try:
        calls = {str(count): lambda count=count: call(count) for count in counts}
        return rows(record.interleaved(calls, repeats), volume.size)
    finally:
        torch.set_num_threads(before)


def over_precision(model: Any, shape: tuple[int, ...], repeats: int) -> dict[str, dict[str, Any]]:
    """Measure one pass in other precisions with torch, and with the kernels of `deconvolve`."""
    import torch

    from napari_lucyd.compute.device import cpu
    from napari_lucyd.inference.forward import compile_where_possible, prepare, run_network
    from napari_lucyd.inference.fusion import fold

    y = torch.rand(1, 1, *shape)
    outputs: dict[str, Any] = {}

    def keep(name: str, network: Any, image: Any) -> None:
        outputs[name] = run_network(network, image).output.double()

    def automatic() -> None:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            keep("bfloat16, torch's autocast", folded, y)

    folded, exact = fold(model.network), fold(model.network).double()
    device = compile_where_possible(model.network, cpu())
    calls: dict[str, Callable[[], object]] = {
        "float64, torch": lambda: keep("float64, torch", exact, y.double()),
        "float32, torch": lambda: keep("float32, torch", folded, y),
    }
    # Without the CPU instructions for it, torch emulates it and takes minutes.
    if torch.ops.mkldnn._is_mkldnn_bf16_supported():
        calls["bfloat16, torch's autocast"] = automatic
    if device.compiled:
        ready = prepare(model.network, device)
        calls["float32, compiled kernels"] = lambda: keep("float32, compiled kernels", ready, y)
    seconds = record.interleaved(calls, repeats)
    reference = outputs["float64, torch"]
    span = float(reference.max() - reference.min())
    deviations = {name: float((output - reference).abs().max()) / span for name, output in outputs.items()}
    return rows(seconds, y.numel(), deviation=deviations)


def over_type(model: Any, volume: Any, repeats: int) -> dict[str, dict[str, Any]]:
    """Measure the cost for the common image types."""
    from napari_lucyd import deconvolve

    images = {name: volume.astype(name) for name in ("uint8", "uint16", "float32", "float64")}
    calls = {
        name: lambda image=image: deconvolve(image, model, device="cpu") for name, image in images.items()
    }
    return rows(record.interleaved(calls, repeats), volume.size)


def over_device(model: Any, volume: Any, repeats: int) -> dict[str, dict[str, Any]]:
    """Measure the cost with compiled kernels, with torch, and on a GPU if there is one."""
    import torch

    from napari_lucyd import deconvolve
    from napari_lucyd.compute.device import choose_device
    from napari_lucyd.deconvolution.learned import job

    compile_where_possible = job.compile_where_possible

    def by_torch() -> None:
        job.compile_where_possible = lambda network, device: device
        try:
            deconvolve(volume, model, device="cpu")
        finally:
            job.compile_where_possible = compile_where_possible

    calls: dict[str, Callable[[], object]] = {}
    if compile_where_possible(model.network, choose_device("cpu")).compiled:
        calls["CPU, compiled kernels"] = lambda: deconvolve(volume, model, device="cpu")
    calls["CPU, torch"] = by_torch
    if torch.cuda.is_available():
        calls[choose_device("cuda").name] = lambda: deconvolve(volume, model, device="cuda")
    return rows(record.interleaved(calls, repeats), volume.size)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write the record."""
    options = record.parser(__doc__).parse_args(arguments)
    import torch

    from napari_lucyd import load_model

    quick = options.quick
    model, repeats = load_model(record.MODEL), 1 if quick else 3
    shape = (4, 16, 16) if quick else SHAPE
    volume = record.stack(shape)
    tiles = ((4, 16, 16), (4, 8, 8)) if quick else TILES
    halos = (24, 0) if quick else HALOS
    tile_choices = {record.shape_text(tile): {"tile_shape": tile} for tile in tiles}
    # A halo below the reach needs several tiles, or there would be no seams.
    halo_choices = {str(halo): {"halo": halo, "tile_shape": tiles[1]} for halo in halos}
    record.save(
        options,
        "throughput",
        {
            "shape": shape,
            "threads": torch.get_num_threads(),
            "sizes": over_size(model, (shape,) if quick else SIZES, repeats),
            "thickness": over_thickness(model, (shape, shape) if quick else (THICK, THIN), repeats),
            "tiles": over_choice(model, volume, tile_choices, repeats),
            "halos": over_choice(model, volume, halo_choices, repeats),
            "thread_counts": over_threads(model, volume, repeats),
            "precisions": over_precision(model, shape if quick else (32, 256, 256), repeats),
            "types": over_type(model, volume, repeats),
            "devices": over_device(model, volume, repeats),
        },
    )


if __name__ == "__main__":
    main()
