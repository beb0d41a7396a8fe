"""Measurement of the trust suite: every probe on every method, and the table of the results."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch

from napari_lucyd.deconvolution import DeconvolutionError, plan
from napari_lucyd.evaluation.compared_methods import INPUT, Classical, Competitor, Input, Trained
from napari_lucyd.evaluation.protocols import TEST_SEEDS, TUNING_SEED, Sample, gaussian_psf
from napari_lucyd.evaluation.records import describe_environment, write_files
from napari_lucyd.evaluation.trust.images import BLUR, NOISE, SHAPE
from napari_lucyd.evaluation.trust.limits import PROBES, Probe, Quantity
from napari_lucyd.evaluation.trust.probes import Numbers
from napari_lucyd.networks import LUCYD, division_share
from napari_lucyd.simulation.degradation import REACH, degrade
from napari_lucyd.simulation.phantoms import FloatImage, make_phantom

TRUTH = "truth"
# Called with the name of a method, the name of a probe, and each sample of the probe with its output.
Keep = Callable[[str, str, Sample, FloatImage], object]


@dataclass(frozen=True)
class Reading:
    """One number of one method.

    Parameters
    ----------
    method, sha256, setting
        Method, as in the tables.
    probe, quantity, unit
        Measured quantity; see `PROBES`.
    low, high
        Limits of the value; None for no limit.
    value
        Measured value; None if the output has no such number.
    """

    method: str
    sha256: str
    setting: str
    probe: str
    quantity: str
    unit: str
    low: float | None
    high: float | None
    value: float | None

    @property
    def within(self) -> bool:
        """True inside the limits; a missing value is outside its limits."""
        if self.low is None and self.high is None:
            return True
        if self.value is None:
            return False
        low = -float("inf") if self.low is None else self.low
        high = float("inf") if self.high is None else self.high
        return low <= self.value <= high

    @property
    def excess(self) -> float:
        """Distance from the limits as a share of the larger limit: 0 inside, infinite without a value."""
        if self.within:
            return 0.0
        if self.value is None:
            return float("inf")
        limits = [limit for limit in (self.low, self.high) if limit is not None]
        return min(abs(self.value - limit) for limit in limits) / max(abs(limit) for limit in limits)


@dataclass(frozen=True)
class TrustTable:
    """Readings of all methods, with the data needed to repeat them.

    Parameters
    ----------
    shape
        Shape of the volumes; planes have the last two.
    blur, noise
        Standard deviations of the Gaussian PSF in voxels, and of the noise as a share of the brightest voxel.
    failures
        Messages of the runs that ended with an error; their readings have no value.
    """

    shape: tuple[int, ...]
    blur: float
    noise: float
    environment: dict[str, str]
    readings: list[Reading] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    name = "trust"

    @property
    def methods(self) -> list[str]:
        """Names of the methods in the order of the rows, truth and input first."""
        return list(dict.fromkeys(reading.method for reading in self.readings))

    @property
    def settings(self) -> dict[str, str]:
        """Settings of the classical methods."""
        return {reading.method: reading.setting for reading in self.readings if reading.setting}

    def row(self, probe: str, method: str) -> list[Reading]:
        """Return the readings of a method in the order of a probe's quantities."""
        return [entry for entry in self.readings if (entry.probe, entry.method) == (probe, method)]

    def readings_of(self, method: str) -> list[Reading]:
        """Return all readings of a method."""
        return [entry for entry in self.readings if entry.method == method]

    def outside(self, probe: str) -> dict[str, list[Reading]]:
        """Return the readings outside their limits by method, except for truth and input."""
        found: dict[str, list[Reading]] = {}
        for entry in self.readings:
            if entry.probe == probe and not entry.within and not is_reference(entry.method):
                found.setdefault(entry.method, []).append(entry)
        return found

    def markdown(self) -> str:
        """Return a Markdown table for each probe; numbers outside their limits are bold."""
        return "\n\n".join(f"### {probe.title}\n\n{self.grid(probe)}" for probe in PROBES if self._has(probe))

    def grid(self, probe: Probe) -> str:
        """Return the table of one probe: a row of limits, then one row per method."""
        quantities = probe.quantities
        heads = [f"{entry.heading}{f', {entry.unit}' if entry.unit else ''}" for entry in quantities]
        lines = [["", *heads], ["---"] * (len(heads) + 1), ["*limits*", *map(_limits, quantities)]]
        for method in self.methods:
            entries = [_cell(entry) for entry in self.row(probe.name, method)]
            if entries:
                lines.append([method, *entries])
        return "\n".join("| " + " | ".join(line) + " |" for line in lines)

    def _has(self, probe: Probe) -> bool:
        return any(entry.probe == probe.name for entry in self.readings)

    @classmethod
    def load(cls, path: str | Path) -> TrustTable:
        """Read a ``.json`` file that `save` has written."""
        entries = json.loads(Path(path).read_text("utf-8"))
        readings = [Reading(**reading) for reading in entries.pop("readings")]
        return cls(**entries | {"shape": tuple(entries["shape"])}, readings=readings)

    def save(self, folder: str | Path) -> list[Path]:
        """Write ``trust.md``, ``.csv`` and ``.json``; return the paths."""
        rows = [asdict(entry) | {"within": entry.within} for entry in self.readings]
        return write_files(folder, self.name, markdown=self.markdown(), rows=rows, record=asdict(self))


def measure_trust(
    competitors: Sequence[Competitor],
    *,
    probes: Sequence[Probe] = PROBES,
    keep: Keep | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> TrustTable:
    """Run every probe on every method, each by `deconvolve` with its defaults.

    Parameters
    ----------
    competitors
        Methods from `load_competitor`. 2D models receive single planes. Classical methods receive the true
        PSF, and the number of iterations or the balance that is best on an ordinary phantom with the same
        blur and noise.
    probes
        Members of `PROBES`.
    keep
        Called with the names of method and probe, and with each sample and its output, to draw them.
    progress
        Called with the number of finished probes and the total.

    Returns
    -------
    TrustTable
        Rows for the truth (a perfect method) and for the unchanged image, then one per method.

    Raises
    ------
    ValueError
        If two methods have one name.
    """
    table = TrustTable(SHAPE, BLUR, NOISE, describe_environment())
    rows = _rows(competitors)
    names = [name for name, _, _ in rows]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"Two methods are called {name!r}; rename one of the files.")
    done, total = 0, len(rows) * len(probes)
    for name, entry, dimension in rows:
        for probe in probes:
            table.readings.extend(_put(probe, name, entry, dimension, keep, table.failures))
            done += 1
            if progress:
                progress(done, total)
    return table


def is_reference(method: str) -> bool:
    """Return True for the truth and the input, which are not methods."""
    return method.split(",")[0] in (TRUTH, INPUT)


def _rows(competitors: Sequence[Competitor]) -> list[tuple[str, Competitor | None, int]]:
    """Return names, methods (None for the truth) and numbers of axes; label 2D ones beside 3D ones."""
    models = {entry.model.dimension for entry in competitors if isinstance(entry, Trained)}
    most = max(models, default=3)
    rows: list[tuple[str, Competitor | None, int]] = []
    for dimension in sorted(models or {3}, reverse=True):
        label = ", 2D" if dimension < most else ""
        members = [entry for entry in competitors if _axes(entry, most) == dimension]
        references: list[tuple[str, Competitor | None]] = [(TRUTH, None), (INPUT, Input())]
        named = [*references, *((entry.name, _tuned(entry, dimension)) for entry in members)]
        rows.extend((name + label, entry, dimension) for name, entry in named)
    return rows


def _axes(entry: Competitor, default: int) -> int:
    return entry.model.dimension if isinstance(entry, Trained) else default


def _tuned(entry: Competitor, dimension: int) -> Competitor:
    return entry.tuned([_phantom(dimension, TUNING_SEED)]) if isinstance(entry, Classical) else entry


def _phantom(dimension: int, seed: int) -> Sample:
    """Make an ordinary phantom with the blur and noise of the probes."""
    phantom = make_phantom(SHAPE[-dimension:], rng=seed)
    taken = degrade(phantom, blur_sigma=BLUR, noise_sigma=NOISE, photometric=True, rng=seed)
    return Sample(taken.image, taken.truth, gaussian_psf(BLUR, 2 * round(REACH * BLUR) + 1, dimension))


def _put(
    probe: Probe,
    name: str,
    entry: Competitor | None,
    dimension: int,
    keep: Keep | None,
    failures: list[str],
) -> list[Reading]:
    if probe.measure is None:
        if not (isinstance(entry, Trained) and isinstance(entry.model.network, LUCYD)):
            return []
        return _readings(probe, name, entry, {"share": _division(entry, dimension)})

    def restore(sample: Sample) -> FloatImage:
        output = sample.truth if entry is None else entry.restore(sample, bare=False)
        if keep:
            keep(name, probe.name, sample, output)
        return output

    try:
        numbers = probe.measure(restore, dimension)
    except DeconvolutionError as error:
        failures.append(f"{name}, {probe.title.lower()}: {error}")
        numbers = {}
    return _readings(probe, name, entry, numbers)


def _readings(probe: Probe, name: str, entry: Competitor | None, numbers: Numbers) -> list[Reading]:
    whose = (name, entry.sha256, entry.setting) if entry else (name, "", "")
    return [
        Reading(*whose, probe.name, asked.name, asked.unit, asked.low, asked.high, numbers.get(asked.name))
        for asked in probe.quantities
    ]


def _division(entry: Trained, dimension: int) -> float:
    """Measure the share of x' that depends on the division, on a phantom normalized for the model."""
    sample = _phantom(dimension, TEST_SEEDS[0])
    (group,) = plan(sample.image, entry.model, device="cpu", **entry.blur(sample)).measure().groups
    y = torch.from_numpy((sample.image - group.lo) / group.s)[None, None]
    network = entry.model.network
    assert isinstance(network, LUCYD)
    return division_share(network, y)


def _limits(quantity: Quantity) -> str:
    low, high = (None if n is None else f"{n:.3g}" for n in (quantity.low, quantity.high))
    if low is None:
        return "" if high is None else f"≤ {high}"
    return f"≥ {low}" if high is None else f"{low} to {high}"


def _cell(entry: Reading) -> str:
    text = "none" if entry.value is None else show(entry.value)
    return text if entry.within or is_reference(entry.method) else f"**{text}**"


def show(value: float) -> str:
    """Format a number: three digits, at most three decimals, whole numbers in full."""
    # Adding 0 turns -0 into 0.
    return f"{value:,.0f}" if abs(value) >= 100 else f"{round(value, 3) + 0.0:.3g}"
