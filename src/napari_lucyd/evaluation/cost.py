"""The paper's Table 1: the networks' parameters, and the time and memory to restore a volume."""

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
# Seconds between two readings of the memory.
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
    """Size and cost of one method.

    Parameters
    ----------
    method
        Name of the method.
    parameters
        Number of learnt parameters; None for classical methods.
    operations_per_voxel
        Multiplications and additions of a network's convolutions, each counted as one.
    seconds, memory_mb
        Time and memory for one volume of `SHAPE` with plain PyTorch on this machine's CPU: the median of
        three runs, and the largest increase of the process's memory in MB (10⁶ bytes).
    """

    method: str
    parameters: int | None
    operations_per_voxel: float | None
    seconds: float
    memory_mb: float


@dataclass(frozen=True)
class CostTable:
    """Table 1, with the data needed to repeat it."""

    shape: tuple[int, ...]
    threads: int
    environment: dict[str, str]
    rows: list[Cost] = field(default_factory=list)

    name = "table1"

    def markdown(self) -> str:
        """Return the table as Markdown, one row per method."""
        size = "×".join(str(n) for n in self.shape)
        head = ["method", "parameters", "operations per voxel", f"seconds for {size}", "memory, MB"]
        lines = [head, ["---"] * len(head)]
        for row in self.rows:
            counts = (row.parameters, row.operations_per_voxel)
            entries = ["–" if count is None else f"{count:,.0f}" for count in counts]
            lines.append([row.method, *entries, f"{row.seconds:.2f}", f"{row.memory_mb:,.0f}"])
        return "\n".join("| " + " | ".join(line) + " |" for line in lines)

    @classmethod
    def load(cls, path: str | Path) -> CostTable:
        """Read a ``.json`` file that `save` has written."""
        entries = json.loads(Path(path).read_text("utf-8"))
        rows = [Cost(**row) for row in entries.pop("rows")]
        return cls(**entries | {"shape": tuple(entries["shape"])}, rows=rows)

    def save(self, folder: str | Path) -> list[Path]:
        """Write ``table1.md``, ``.csv`` and ``.json``; return the paths."""
        rows = [asdict(row) for row in self.rows]
        return write_files(folder, self.name, markdown=self.markdown(), rows=rows, record=asdict(self))


def measure_cost(
    methods: Sequence[str] = COST_METHODS,
    *,
    shape: tuple[int, int, int] = SHAPE,
    progress: Callable[[int, int], None] | None = None,
) -> CostTable:
    """Count parameters and operations, and measure time and memory, each method in its own process.

    Parameters
    ----------
    methods
        Names from `COST_METHODS`.
    shape
        Shape of the volume; multiples of 4.
    progress
        Called with the number of finished methods and the total.

    Raises
    ------
    ValueError
        If a method is unknown.
    """
    for method in methods:
        if method not in COST_METHODS:
            raise ValueError(f"There is no method {method!r}; choose from {', '.join(COST_METHODS)}.")
    table = CostTable(shape, torch.get_num_threads(), describe_environment())
    for done, method in enumerate(methods, start=1):
        # In one process, each method would find the memory that the one before has left.
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
    """Return the median seconds of three calls, and the largest increase of memory in MB."""
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
    return float(np.median(seconds)), (highest - before) / 1e6


def _cube() -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return np.ones((_PSF_SIZE,) * 3)


if __name__ == "__main__":
    print(json.dumps(asdict(_measure(sys.argv[1], tuple(int(n) for n in sys.argv[2:])))))
