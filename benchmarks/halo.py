"""How much work halos add to a large volume, and how much memory its run takes: 512³.

    python benchmarks/halo.py [--quick]

*Work* is that of the network's layers for all blocks over that for the bare volume. Margins cost less than
their voxels, for the kernels compute of each layer only what the result needs; with PyTorch's pass, whole
blocks count. Memory is the rise of the peak in a process of its own, with the input there already; the
result, which is float32, is counted both in and out.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from typing import Any

import record

SHAPE = (512, 512, 512)
# Of what a run may take, as the aim has it.
LIMIT = 2 * 2**30


def work_ratio(job: Any) -> float:
    """The network's work for the planned blocks over that for the volume without halos."""
    from napari_lucyd.inference.lucyd.schedule import equivalent_voxels

    if job.device.compiled:
        voxels = equivalent_voxels(job._blocks())
    else:
        voxels = math.prod(sum(sizes) for sizes in job._block_sizes())
    return float(voxels / math.prod(job.output_shape))


def largest_tile(volume: Any, model: Any) -> tuple[int, ...] | None:
    """The automatic tile shape that the engine takes where no more than the limit is free."""
    from napari_lucyd.deconvolution import plan
    from napari_lucyd.deconvolution.learned import job

    free = job.free_memory
    job.free_memory = lambda device: LIMIT
    try:
        return tuple(plan(volume, model, device="cpu", outputs=("output",)).tile_shape)
    finally:
        job.free_memory = free


def measure(shape: tuple[int, ...], limited: bool) -> dict[str, Any]:
    """Plan and run, in this process."""
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
        "tiles": "chosen for 2 GiB of free memory" if limited else "chosen for the memory of the machine",
        "work": job.work,
        "work_ratio": ratio,
        "estimated_bytes": job.memory_bytes,
        "bytes": peak,
        "bytes_without_result": peak - 4 * math.prod(shape),
        "seconds": seconds,
        "cost": 1e6 * seconds / math.prod(shape),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and write the record."""
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
