"""Extra work by halos in a large volume (512³), and the memory of its run.

    python benchmarks/halo.py [--quick]

*Work* is the work of the network's layers for all blocks, divided by that for the volume without halos. A
margin costs less than its voxels suggest, because the kernels compute only the part of each layer that the
result needs. With PyTorch's pass, whole blocks count. Memory is the increase of the peak in its own process,
without the input; it is given with and without the float32 result.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from typing import Any

import record

SHAPE = (512, 512, 512)
# Upper limit of a run's memory, as in the aim.
LIMIT = 2 * 2**30


def work_ratio(job: Any) -> float:
    """Return the network's work for the planned blocks, divided by that for the volume without halos."""
    from napari_lucyd.inference.forward import equivalent_voxels

    voxels = equivalent_voxels(job._model.network, job.device, job._blocks())
    return float(voxels / math.prod(job.output_shape))


def largest_tile(volume: Any, model: Any) -> tuple[int, ...] | None:
    """Return the automatic tile shape for a machine with `LIMIT` of free memory."""
    from napari_lucyd.deconvolution import plan
    from napari_lucyd.deconvolution.learned import job

    free = job.free_memory
    job.free_memory = lambda device: LIMIT
    try:
        return tuple(plan(volume, model, device="cpu", outputs=("output",)).tile_shape)
    finally:
        job.free_memory = free


def measure(shape: tuple[int, ...], limited: bool) -> dict[str, Any]:
    """Plan and run in this process."""
    from napari_lucyd import deconvolve, load_model
    from napari_lucyd.deconvolution import plan

    model = load_model(record.MODEL)
    deconvolve(record.stack((8, 16, 16)), model, device="cpu")
    volume = record.stack(shape)
    tile = largest_tile(volume, model) if limited else None
    job = plan(volume, model, device="cpu", outputs=("output",), tile_shape=tile)
    ratio, before = work_ratio(job), record.forget_peak()
    began = time.perf_counter()
    for _ in job.steps():
        pass
    job.result()
    seconds = time.perf_counter() - began
    peak = record.peak_bytes() - before
    return {
        "tiles": f"chosen for {LIMIT / 1e9:.2f} GB of free memory"
        if limited
        else "chosen for the memory of the machine",
        "work": job.work,
        "work_ratio": ratio,
        "estimated_bytes": job.memory_bytes,
        "bytes": peak,
        "bytes_without_result": peak - 4 * math.prod(shape),
        "seconds": seconds,
        "cost": 1e6 * seconds / math.prod(shape),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write the record."""
    made = record.parser(__doc__)
    made.add_argument("--only", nargs=2, metavar=("SHAPE", "LIMITED"), help="one run, here; prints it")
    options = made.parse_args(arguments)
    if options.only:
        shape = tuple(int(n) for n in options.only[0].split("x"))
        print(json.dumps(measure(shape, options.only[1] == "limited")))
        return
    shape = (8, 16, 16) if options.quick else SHAPE
    if options.quick:
        runs = [measure(shape, limited=True)]
    else:
        text = "x".join(map(str, shape))
        runs = [record.in_fresh_process(__file__, "--only", text, choice) for choice in ("free", "limited")]
    record.save(options, "halo", {"shape": shape, "limit_bytes": LIMIT, "runs": runs})


if __name__ == "__main__":
    main()
