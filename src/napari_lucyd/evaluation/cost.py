"""The paper's Table 1: parameters counted from the networks as built, and what a volume costs to restore."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import psutil
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from napari_lucyd.deconvolution import richardson_lucy, wiener
from napari_lucyd.evaluation.records import describe_environment, write_files
from napari_lucyd.networks import CARE, LUCYD, RLN, LucydConfig, RlnConfig

SHAPE = (128, 128, 128)
ITERATIONS = 10
# Seconds between two looks at the memory.
_PAUSE = 0.002

_NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "care": CARE,
    "rln": lambda: RLN(RlnConfig(affine=False)),
    "rln, as its authors' code has it": RLN,
    "lucyd": lambda: LUCYD(LucydConfig()),
}
_PSF_SIZE = 15
_CLASSICAL: dict[str, Callable[[torch.Tensor], object]] = {
    f"richardson-lucy, {ITERATIONS} iterations": lambda y: richardson_lucy(
        y[0, 0].numpy(), _cube(), num_iter=ITERATIONS, device="cpu"
    ),
    "wiener": lambda y: wiener(y[0, 0].numpy(), _cube(), device="cpu"),
}
COST_METHODS = (*_CLASSICAL, *_NETWORKS)


@dataclass(frozen=True)
class Cost:
    """What a method has and takes.

    Parameters
    ----------
    method
        Its name.
    parameters
        How many a network learns; None for classical methods.
    operations_per_voxel
        Multiplications and additions of a network's convolutions, each counted.
    seconds, memory_mib
        For one volume of `SHAPE` with plain PyTorch on this machine's CPU: the median of three, and the
        highest rise of the process's memory.
    """

    method: str
    parameters: int | None
    operations_per_voxel: float | None
    seconds: float
    memory_mib: float


@dataclass(frozen=True)
class CostTable:
    """Table 1 with what is needed to repeat it."""

    shape: tuple[int, ...]
    threads: int
    environment: dict[str, str]
    rows: list[Cost] = field(default_factory=list)

    name = "table1"

    def markdown(self) -> str:
        """One row a method."""
        size = "×".join(str(n) for n in self.shape)
        head = ["method", "parameters", "operations a voxel", f"seconds for {size}", "memory, MiB"]
        lines = [head, ["---"] * len(head)]
        for row in self.rows:
            counts = (row.parameters, row.operations_per_voxel)
            entries = ["–" if count is None else f"{count:,.0f}" for count in counts]
            lines.append([row.method, *entries, f"{row.seconds:.2f}", f"{row.memory_mib:,.0f}"])
        return "\n".join("| " + " | ".join(line) + " |" for line in lines)

    def save(self, folder: str | Path) -> list[Path]:
        """Write ``table1.md``, ``.csv`` and ``.json``; returns the paths."""
        rows = [asdict(row) for row in self.rows]
        return write_files(folder, self.name, markdown=self.markdown(), rows=rows, record=asdict(self))


def measure_cost(
    methods: Sequence[str] = COST_METHODS,
    *,
    shape: tuple[int, int, int] = SHAPE,
    progress: Callable[[int, int], None] | None = None,
) -> CostTable:
    """Count parameters and operations, and measure time and memory, each method in a process of its own.

    Parameters
    ----------
    methods
        Of `COST_METHODS`.
    shape
        Of the volume; multiples of 4.
    progress
        Called with methods done and methods to do.

    Raises
    ------
    ValueError
        If a method is unknown.
    """
    for method in methods:
        if method not in COST_METHODS:
            raise ValueError(f"There is no method {method!r}; there are {', '.join(COST_METHODS)}.")
    table = CostTable(shape, torch.get_num_threads(), describe_environment())
    for done, method in enumerate(methods, start=1):
        # One after the other in one process, each would find the memory that the one before has left.
        command = [sys.executable, "-m", "napari_lucyd.evaluation.cost", method, *map(str, shape)]
        answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        table.rows.append(Cost(**json.loads(answer)))
        if progress:
            progress(done, len(methods))
    return table


def _measure(method: str, shape: tuple[int, ...]) -> Cost:
    torch.manual_seed(0)
    y = torch.rand(1, 1, *shape)
    if method in _CLASSICAL:
        seconds, memory = _time(lambda: _CLASSICAL[method](y))
        return Cost(method, None, None, seconds, memory)
    network = _NETWORKS[method]().eval()
    with torch.inference_mode():
        small = torch.rand(1, 1, 16, 16, 16)
        with FlopCounterMode(display=False) as counter:
            network(small)
        seconds, memory = _time(lambda: network(y))
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return Cost(method, parameters, counter.get_total_flops() / small.numel(), seconds, memory)


def _time(call: Callable[[], object]) -> tuple[float, float]:
    """Median seconds of three calls, and the highest rise of memory in MiB during any of them."""
    process = psutil.Process()
    before = highest = process.memory_info().rss
    finished = threading.Event()

    def watch() -> None:
        nonlocal highest
        while not finished.wait(_PAUSE):
            highest = max(highest, process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    seconds = []
    try:
        for _ in range(3):
            started = time.perf_counter()
            call()
            seconds.append(time.perf_counter() - started)
    finally:
        finished.set()
        watcher.join()
    return float(np.median(seconds)), (highest - before) / 2**20


def _cube() -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return np.ones((_PSF_SIZE,) * 3)


if __name__ == "__main__":
    print(json.dumps(asdict(_measure(sys.argv[1], tuple(int(n) for n in sys.argv[2:])))))
