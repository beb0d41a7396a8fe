"""RLN and CARE on the CPU, as they are run, against PyTorch's plain pass of the same layers.

    python benchmarks/other_networks.py [--repeats 3] [--quick]

Ways take turns. *Plain* is eager, contiguous, float32, with batch norms. *As it is run* is CARE by compiled
kernels, and RLN with its batch norms folded. *The middle of a block* is what a tile of a large volume needs:
the block without its halo.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import Any

import record

SHAPE, QUICK_SHAPE = (96, 128, 128), (8, 16, 16)
NETWORKS = {"CARE": "nuclei-care", "RLN": "nuclei-rln"}


def ways(name: str, shape: Sequence[int]) -> dict[str, Callable[[], Any]]:
    """Prepare the ways to compute a network, each of which returns its output."""
    import torch

    from napari_lucyd import load_model
    from napari_lucyd.compute.device import cpu
    from napari_lucyd.inference.forward import compile_where_possible, prepare, run_network

    network = load_model(name).network
    torch.manual_seed(0)
    y = torch.rand((1, 1, *shape))
    ready = prepare(network, compile_where_possible(network, cpu()))
    margin = min(24, min(shape) // 4)
    middle = [slice(margin, size - margin) for size in shape]
    return {
        "plain": lambda: network(y).output,
        "as it is run": lambda: run_network(ready, y).output,
        "the middle of a block": lambda: run_network(ready, y, middle).output,
    }


def measure(name: str, shape: Sequence[int], repeats: int) -> dict[str, Any]:
    """Measure the ways of one network."""
    import torch

    with torch.inference_mode():
        found = ways(name, shape)
        expected, output = found["plain"](), found["as it is run"]()
        deviation = float((output - expected).abs().max() / (expected.max() - expected.min()))
        seconds = record.interleaved(found, repeats)
    return {
        "deviation": deviation,
        "ways": {
            way: {
                "seconds": statistics.median(times),
                "times_as_fast": record.ratio(seconds["plain"], times),
            }
            for way, times in seconds.items()
        },
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write the record."""
    parser = record.parser(__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args(arguments)
    import torch

    shape, repeats = (QUICK_SHAPE, 1) if options.quick else (SHAPE, options.repeats)
    found = {title: measure(name, shape, repeats) for title, name in NETWORKS.items()}
    for title, measured in found.items():
        for way, row in measured["ways"].items():
            print(f"{title}, {way}: {row['seconds']:.2f} s, {row['times_as_fast']:.2f} times as fast")
        print(f"{title}: deviation {measured['deviation']:.1e} of the range")
    record.save(
        options, "other_networks", {"shape": shape, "threads": torch.get_num_threads(), "networks": found}
    )


if __name__ == "__main__":
    main()
