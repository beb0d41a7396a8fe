"""Time of each of many small volumes: one call for each, and all in one series.

    python benchmarks/small_volumes.py [--quick]

Most of a small volume's time is not the network: planning, statistics, tables and the recipe. Each number is
the best of several rounds, as in Python's ``timeit``, because other programs only ever add to a short time.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import record

SIZES = ((8, 16, 16), (16, 16, 16), (16, 32, 32))
# A direct network, and the default, which is told the blur.
MODELS: dict[str, dict[str, Any]] = {"nuclei": {}, "lucyd": {"blur_sigma": 1.5}}


def best(call: Callable[[], object], rounds: int) -> float:
    """Return the seconds of the fastest call, after one that does not count."""
    call()
    seconds = []
    for _ in range(rounds):
        began = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def measure(name: str, shape: tuple[int, ...], count: int, rounds: int) -> dict[str, Any]:
    """Measure the seconds for each volume of a shape."""
    from napari_lucyd import deconvolve, load_model

    model, options = load_model(name), {**MODELS[name], "device": "cpu"}
    series = record.stack((count, *shape))

    def one_by_one() -> None:
        for volume in series:
            deconvolve(volume, model, **options)

    def together() -> None:
        deconvolve(series, model, axes="TZYX", **options)

    return {
        "model": name,
        "shape": shape,
        "voxels": math.prod(shape),
        "calls": best(one_by_one, rounds) / count,
        "series": best(together, rounds) / count,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write the record."""
    options = record.parser(__doc__).parse_args(arguments)
    sizes, count, rounds = (SIZES[:1], 2, 1) if options.quick else (SIZES, 10, 7)
    found = [measure(name, shape, count, rounds) for name in MODELS for shape in sizes]
    record.save(options, "small_volumes", {"volumes": found})


if __name__ == "__main__":
    main()
