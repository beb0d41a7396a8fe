"""Peak memory over size, and the panel's estimates of time and memory against the measured run.

    python benchmarks/estimates.py [--quick]

Each run has its own process, which has finished a small run before. So the peak is that of the run, without
torch's code. The input does not count, as in the panel's estimate.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import record

LUCYD, RICHARDSON_LUCY = "LUCYD", "Richardson-Lucy, 10 iterations"
CASES = (
    (LUCYD, (16, 64, 64)),
    (LUCYD, (32, 96, 96)),
    (LUCYD, (32, 128, 128)),
    (LUCYD, (64, 256, 256)),
    (LUCYD, (128, 256, 256)),
    (LUCYD, (128, 512, 512)),
    (LUCYD, (2, 64, 256, 256)),
    (RICHARDSON_LUCY, (32, 128, 128)),
    (RICHARDSON_LUCY, (64, 256, 256)),
    (RICHARDSON_LUCY, (128, 256, 256)),
)
SMOKE_CASES = ((LUCYD, (4, 16, 16)),)


def method(name: str) -> Any:
    """Return the method object for `plan`."""
    from napari_lucyd import RichardsonLucy, load_model

    if name == LUCYD:
        return load_model(record.MODEL)
    return RichardsonLucy(np.ones((5, 5, 5)), num_iter=10)


def measure(name: str, shape: tuple[int, ...]) -> dict[str, Any]:
    """Estimate and run in this process."""
    from napari_lucyd import deconvolve
    from napari_lucyd.deconvolution import plan

    chosen = method(name)
    deconvolve(record.stack((8, 16, 16)), chosen, device="cpu")
    job = plan(record.stack(shape), chosen, device="cpu")
    estimated = job.estimate_seconds()
    before = record.forget_peak()
    began = time.perf_counter()
    for _ in job.steps():
        pass
    job.result()
    return {
        "method": name,
        "shape": shape,
        "voxels": math.prod(shape),
        "work": job.work,
        "estimated_seconds": estimated,
        "seconds": time.perf_counter() - began,
        "estimated_bytes": job.memory_bytes,
        "bytes": record.peak_bytes() - before,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write the record."""
    made = record.parser(__doc__)
    made.add_argument("--only", nargs=2, metavar=("METHOD", "SHAPE"), help="one run, here; prints it")
    options = made.parse_args(arguments)
    if options.only:
        name, shape = options.only
        print(json.dumps(measure(name, tuple(int(n) for n in shape.split("x")))))
        return
    if options.quick:
        found = [measure(name, shape) for name, shape in SMOKE_CASES]
    else:
        cases = [(name, "x".join(map(str, shape))) for name, shape in CASES]
        found = [record.in_fresh_process(__file__, "--only", *case) for case in cases]
    record.save(options, "estimates", {"runs": found})


if __name__ == "__main__":
    main()
