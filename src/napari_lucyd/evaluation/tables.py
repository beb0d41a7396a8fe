"""Tables of methods against the truth: the paper's Tables 2 and 3, and one for the open track."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from napari_lucyd.evaluation.compared_methods import (
    INPUT,
    Classical,
    Competitor,
    Input,
    WithOptions,
    check_dimensions,
    is_tunable,
)
from napari_lucyd.evaluation.metrics import ssim_global, ssim_windowed
from napari_lucyd.evaluation.protocols import TEST_SEEDS, TUNING_SEED, Protocol, Sample
from napari_lucyd.evaluation.records import describe_environment, write_files
from napari_lucyd.io.atomic import replacing

_HEADINGS = {"psnr": "PSNR", "ssim_windowed": "windowed SSIM"}


@dataclass(frozen=True)
class Cell:
    """One method in one column: means and standard deviations over all images."""

    method: str
    sha256: str
    setting: str
    column: str
    images: int
    psnr: float
    psnr_std: float
    ssim_global: float
    ssim_global_std: float
    ssim_windowed: float
    ssim_windowed_std: float
    # Total intensity of the output divided by that of the input; only if both have the same units.
    flux: float | None = None


@dataclass(frozen=True)
class Table:
    """A table, with the data needed to repeat it."""

    name: str
    title: str
    columns: tuple[str, ...]
    seeds: tuple[int, ...]
    environment: dict[str, str]
    cells: list[Cell] = field(default_factory=list)

    @property
    def methods(self) -> list[str]:
        """Names of the methods in the order of the rows."""
        return list(dict.fromkeys(cell.method for cell in self.cells))

    def row(self, method: str) -> list[Cell]:
        """Return the cells of a method in the order of the columns."""
        return [cell for cell in self.cells if cell.method == method]

    def mean(self, method: str, metric: str = "psnr") -> float:
        """Return the mean of a metric over the cells of a method."""
        return float(np.mean([getattr(cell, metric) for cell in self.row(method)]))

    def summary(self, method: str) -> dict[str, Any]:
        """Return the figures of a method for its card, with the mean PSNR of the input."""
        names = ("psnr", "ssim_global", "ssim_windowed", "flux")
        cells = {
            cell.column: {
                name: round(value, 4) for name in names if (value := getattr(cell, name)) is not None
            }
            for cell in self.row(method)
        }
        means = {"psnr": round(self.mean(method), 3), "psnr_of_the_input": round(self.mean(INPUT), 3)}
        return {"columns": self.title, "mean": means, "cells": cells, "phantom_seeds": list(self.seeds)}

    def record(self, card: Path, method: str) -> None:
        """Write the figures of a method to a card, with the command that measures them again."""
        entries = json.loads(card.read_text("utf-8"))
        seeds = ",".join(str(seed) for seed in self.seeds)
        command = f"lucyd evaluate {self.name} --methods {method} --seeds {seeds}"
        entries.setdefault("metrics", {})[self.name] = self.summary(method) | {"command": command}
        with replacing(card, overwrite=True) as unfinished:
            unfinished.write_text(json.dumps(entries, indent=2) + "\n", "utf-8")

    def markdown(self) -> str:
        """Return two tables: global SSIM and PSNR, then windowed SSIM with the deviation of the PSNR."""
        both = (f"{cell.ssim_global:.4f}/{cell.psnr:.2f}" for cell in self.cells)
        spread = (f"{cell.ssim_windowed:.3f} (±{cell.psnr_std:.2f} dB)" for cell in self.cells)
        first = self._grid("global SSIM/PSNR in dB", both, "psnr", 2)
        second = self._grid("windowed SSIM (standard deviation of PSNR)", spread, "ssim_windowed", 3)
        settings = [
            f"Settings of {method}, {_by_column([cell.setting for cell in self.row(method)])}."
            for method in self.methods
            if self.row(method)[0].setting
        ]
        return "\n\n".join([first, second, *settings])

    def _grid(self, title: str, entries: Iterable[str], metric: str, digits: int) -> str:
        """Return a grid of methods and columns, with the mean of a metric in the last column."""
        following = iter(entries)
        lines = [[title, *self.columns, f"mean {_HEADINGS[metric]}"], ["---"] * (len(self.columns) + 2)]
        for method in self.methods:
            mean = f"{self.mean(method, metric):.{digits}f}"
            lines.append([method, *(next(following) for _ in self.row(method)), mean])
        return "\n".join("| " + " | ".join(line) + " |" for line in lines)

    @classmethod
    def load(cls, path: str | Path) -> Table:
        """Read a ``.json`` file that `save` has written."""
        entries = json.loads(Path(path).read_text("utf-8"))
        cells = [Cell(**cell) for cell in entries.pop("cells")]
        entries |= {name: tuple(entries[name]) for name in ("columns", "seeds")}
        return cls(**entries, cells=cells)

    def save(self, folder: str | Path) -> list[Path]:
        """Write ``NAME.md``, ``.csv`` and ``.json``; return the paths."""
        rows = [asdict(cell) for cell in self.cells]
        return write_files(folder, self.name, markdown=self.markdown(), rows=rows, record=asdict(self))


def evaluate(
    protocol: Protocol,
    competitors: Sequence[Competitor],
    *,
    seeds: Sequence[int] = TEST_SEEDS,
    progress: Callable[[int, int], None] | None = None,
) -> Table:
    """Measure methods against the truth, each on the same images.

    Parameters
    ----------
    protocol
        Test: `strict_protocol`, `open_protocol` or `surrogate_protocol`.
    competitors
        Methods from `load_competitor`. Classical methods receive the true PSF, and for each column the number
        that is best on another phantom.
    seeds
        Seeds of the test phantoms.
    progress
        Called with the number of finished steps and the total; a step is one column of one phantom.

    Returns
    -------
    Table
        One row for the unchanged input, then one per method.

    Raises
    ------
    ValueError
        If a model does not fit the protocol, or two methods have one name.
    """
    check_dimensions(competitors, protocol)
    rows: list[Competitor] = [Input(), *competitors]
    names = [entry.name for entry in rows]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"Two methods are called {name!r}; rename one of the files.")
    columns = range(len(protocol.columns))
    tuning = [TUNING_SEED] if any(map(is_tunable, rows)) else []
    total, done = len(columns) * (len(seeds) + len(tuning)), 0
    tuned: dict[int, list[Competitor]] = dict.fromkeys(columns, rows)
    measured: dict[tuple[str, int], list[list[float]]] = {}
    for seed in [*tuning, *seeds]:
        for column in columns:
            samples = protocol.samples(column, seed)
            if seed in tuning:
                tuned[column] = [
                    entry.tuned(samples, protocol.psnr)
                    if isinstance(entry, Classical | WithOptions)
                    else entry
                    for entry in rows
                ]
            else:
                for entry in tuned[column]:
                    values = [_measure(entry, sample, protocol) for sample in samples]
                    measured.setdefault((entry.name, column), []).extend(values)
            done += 1
            if progress:
                progress(done, total)
    table = Table(protocol.name, protocol.title, protocol.columns, tuple(seeds), describe_environment())
    for number, name in enumerate(names):
        for column, heading in enumerate(protocol.columns):
            figures = np.array(measured[name, column])
            mean, deviation = figures.mean(axis=0).tolist(), figures.std(axis=0).tolist()
            table.cells.append(
                Cell(
                    name,
                    tuned[column][number].sha256,
                    tuned[column][number].setting,
                    heading,
                    len(figures),
                    *(mean[0], deviation[0]),
                    *(mean[1], deviation[1]),
                    *(mean[2], deviation[2]),
                    mean[3] if protocol.photometric else None,
                )
            )
    return table


def _measure(entry: Competitor, sample: Sample, protocol: Protocol) -> list[float]:
    """Measure PSNR, global and windowed SSIM, and flux."""
    output = entry.restore(sample, protocol.bare)
    flux = float(output.sum(dtype=np.float64) / sample.image.sum(dtype=np.float64))
    # The constants of the global SSIM suit a truth between 0 and 1; surrogates have a larger range.
    span = np.float32(sample.truth.max()) if protocol.photometric else np.float32(1)
    image, truth = output / span, sample.truth / span
    return [metric(image, truth) for metric in (protocol.psnr, ssim_global, ssim_windowed)] + [flux]


def _by_column(settings: Sequence[str]) -> str:
    """Return the settings of all columns as text, one that all share only once."""
    if len(set(settings)) == 1:
        return f"in all columns: {settings[0]}"
    return f"by column: {', '.join(settings)}"
