"""Compared methods: networks, and classical methods with the true PSF and a number chosen for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch

from napari_lucyd.deconvolution import RichardsonLucy, SemiBlind, Wiener, deconvolve
from napari_lucyd.evaluation.metrics import psnr
from napari_lucyd.evaluation.protocols import Protocol, Sample
from napari_lucyd.models import Model, load_model
from napari_lucyd.models.catalogue import is_told
from napari_lucyd.simulation.phantoms import FloatImage

Metric = Callable[[FloatImage, FloatImage], float]
"""A measure of an image against its truth; higher is better."""
INPUT = "input"
UNTOLD = "untold:"
"""Prefix of the name of a model that is told the blur, if it has to find it in the image."""
ACCELERATED = "accelerated:"
"""Prefix of the name of Richardson-Lucy with accelerated iterations."""


@dataclass(frozen=True)
class Input:
    """The unchanged image, which every method has to improve."""

    name: str = INPUT
    sha256: str = ""
    setting: str = ""

    def restore(self, sample: Sample, bare: bool) -> FloatImage:
        """Return the sample's image."""
        return sample.image


@dataclass(frozen=True)
class Trained:
    """A model.

    Parameters
    ----------
    model
        Model.
    told
        True to give the true PSF to a model that is told the blur; False to have it found in the image.
    """

    model: Model
    told: bool = True
    setting: ClassVar[str] = ""

    @property
    def name(self) -> str:
        """Name of the model; ``"untold:NAME"`` if the blur is found in the image."""
        return self.model.name if self.told else f"{UNTOLD}{self.model.name}"

    @property
    def sha256(self) -> str:
        """SHA-256 of the model's weights."""
        return self.model.sha256

    def blur(self, sample: Sample) -> dict[str, Any]:
        """Return what `deconvolve` is told about the blur of a sample, as keywords."""
        return {"psf": sample.psf} if self.told and is_told(self.model.card) else {}

    def restore(self, sample: Sample, bare: bool, **options: Any) -> FloatImage:
        """Return the output (float32) of the bare network, or of `deconvolve` with these options."""
        if not bare:
            return _output(sample.image, self.model, **self.blur(sample), **options)
        with torch.inference_mode():
            y = torch.from_numpy(np.ascontiguousarray(sample.image))[None, None]
            output: FloatImage = self.model.network(y).output[0, 0].numpy()
        return output


@dataclass(frozen=True)
class Classical:
    """Richardson-Lucy or Wiener with the true PSF, its best case.

    Parameters
    ----------
    method
        Class of the method.
    number
        Name of the argument that is chosen.
    candidates
        Values to choose from, in rising order. The search continues beyond either end while that is better.
    chosen
        Value that `restore` uses.
    fixed
        Further arguments of the method.
    prefix
        Beginning of the name on the command line.
    """

    method: type[RichardsonLucy] | type[Wiener]
    number: str
    candidates: tuple[Any, ...]
    chosen: Any = None
    fixed: tuple[tuple[str, Any], ...] = ()
    prefix: str = ""

    @property
    def name(self) -> str:
        """Name of the method on the command line."""
        return self.prefix + self.method.name

    @property
    def sha256(self) -> str:
        """Empty string, since there is no file."""
        return ""

    @property
    def setting(self) -> str:
        """Number in use."""
        return f"{self.number}={self.chosen}"

    def tuned(self, samples: Sequence[Sample], psnr: Metric = psnr) -> Classical:
        """Choose the candidate with the highest mean PSNR over samples; return a copy that uses it."""
        return _tuned(self, lambda candidate: replace(self, chosen=candidate), samples, psnr)

    def restore(self, sample: Sample, bare: bool, **options: Any) -> FloatImage:
        """Return the object (float32), restored by `deconvolve` with these options."""
        numbers = {**dict(self.fixed), self.number: self.chosen}
        return _output(sample.image, self.method(sample.psf, **numbers), **options)


@dataclass(frozen=True)
class Untold:
    """Semi-blind Richardson-Lucy, which gets neither the PSF nor a number chosen for it."""

    name: ClassVar[str] = SemiBlind.name
    sha256: ClassVar[str] = ""
    setting: ClassVar[str] = "blur and iterations found in the image"

    def restore(self, sample: Sample, bare: bool, **options: Any) -> FloatImage:
        """Return the object (float32), restored by `deconvolve` with these options."""
        return _output(sample.image, SemiBlind(), **options)


@dataclass(frozen=True)
class WithOptions:
    """A method that `deconvolve` runs with options; networks receive the image without normalization.

    Parameters
    ----------
    entry
        Method.
    options
        Names and values of the options.
    """

    entry: Trained | Classical | Untold
    options: tuple[tuple[str, Any], ...] = ()

    @property
    def name(self) -> str:
        """Name of the method, with the names of the options."""
        return " + ".join([self.entry.name, *(name for name, _ in self.options)])

    @property
    def sha256(self) -> str:
        """SHA-256 of the model's weights."""
        return self.entry.sha256

    @property
    def setting(self) -> str:
        """Setting of the method."""
        return self.entry.setting

    def tuned(self, samples: Sequence[Sample], psnr: Metric = psnr) -> WithOptions:
        """Choose the best candidate of a classical method with these options; return a copy that uses it."""
        entry = self.entry
        if not isinstance(entry, Classical):
            return self
        return _tuned(entry, lambda number: replace(self, entry=replace(entry, chosen=number)), samples, psnr)

    def restore(self, sample: Sample, bare: bool) -> FloatImage:
        """Return the output, float32."""
        options = dict(self.options)
        if isinstance(self.entry, Trained) and not is_told(self.entry.model.card):
            options["normalization"] = "none"
        return self.entry.restore(sample, bare, **options)


Competitor = Input | Trained | Classical | Untold | WithOptions
_Tunable = TypeVar("_Tunable", Classical, WithOptions)

_CLASSICAL = {
    entry.name: entry
    for entry in (
        # Without acceleration, so that iterations count as in the paper.
        Classical(
            RichardsonLucy,
            "num_iter",
            (1, 2, 5, 10, 20, 50, 100),
            fixed=(("acceleration", False),),
        ),
        # A wide PSF takes thousands of plain iterations, and a tenth of that with acceleration.
        Classical(
            RichardsonLucy,
            "num_iter",
            (1, 2, 3, 5, 8, 12, 18, 27, 40, 60, 90, 135),
            fixed=(("acceleration", True),),
            prefix=ACCELERATED,
        ),
        Classical(Wiener, "balance", (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)),
    )
}
# Beyond either end of the candidates, each further one differs by this factor. The search stops when the gain
# falls below this many dB.
_FACTOR, _WORTHWHILE = 2, 0.05


def load_competitor(name: str | Path) -> Competitor:
    """Load a method by name: ``"richardson-lucy"``, ``"wiener"``, ``"semi-blind"``, a model or its file.

    Iterations of ``"richardson-lucy"`` are plain, as in the paper; with ``"accelerated:"`` before the name,
    they are accelerated, as in use. A model that is told the blur gets the true PSF. With ``"untold:"``
    before its name, it has to find the blur in the image.

    Raises
    ------
    FileNotFoundError, ValueError
        As `load_model`; ValueError also for ``untold`` with a model that does not use the blur.
    """
    if str(name) == SemiBlind.name:
        return Untold()
    if str(name) in _CLASSICAL:
        return _CLASSICAL[str(name)]
    if not str(name).startswith(UNTOLD):
        return Trained(load_model(name))
    model = load_model(str(name).removeprefix(UNTOLD))
    if not is_told(model.card):
        raise ValueError(f"{model.name} does not use the blur; leave out {UNTOLD!r}.")
    return Trained(model, told=False)


def with_options(entry: Competitor) -> list[Competitor]:
    """Return a method alone, with flips, with an automatic prefilter, and with both.

    Flips do not change classical methods; these come alone and with the prefilter.
    """
    if not isinstance(entry, Trained | Classical | Untold):
        return [entry]
    flips, prefilter = ("flips", True), ("prefilter", "auto")
    chosen = [(), (flips,), (prefilter,), (prefilter, flips)]
    return [
        WithOptions(entry, options)
        for options in chosen
        if flips not in options or isinstance(entry, Trained)
    ]


def is_tunable(entry: Competitor) -> bool:
    """Return True for a method that needs a number chosen for it."""
    return isinstance(entry, Classical) or (
        isinstance(entry, WithOptions) and isinstance(entry.entry, Classical)
    )


def check_dimensions(competitors: Sequence[Competitor], protocol: Protocol) -> None:
    """Refuse models that cannot take the images of a protocol.

    Raises
    ------
    ValueError
        If there is one; the message names the first.
    """
    for competitor in competitors:
        entry = competitor.entry if isinstance(competitor, WithOptions) else competitor
        if isinstance(entry, Trained) and entry.model.dimension != protocol.dimension:
            raise ValueError(
                f"{entry.name} is a {entry.model.dimension}D model, and {protocol.name} has "
                f"{protocol.dimension}D images; leave it out, or choose another table."
            )


def _tuned(
    entry: Classical, make: Callable[[Any], _Tunable], samples: Sequence[Sample], psnr: Metric
) -> _Tunable:
    """Return the trial with the highest mean PSNR, never at an end of the tried range.

    One iteration may be the best, since there are no fewer.
    """
    scores = {number: _mean_psnr(make(number), samples, psnr) for number in entry.candidates}
    while True:
        low, high = min(scores), max(scores)
        inner = max(score for number, score in scores.items() if number not in (low, high))
        if scores[high] > inner + _WORTHWHILE:
            further = _FACTOR * high
        elif scores[low] > inner + _WORTHWHILE and entry.number != "num_iter":
            further = low / _FACTOR
        else:
            ends = {high} if entry.number == "num_iter" else {low, high}
            return make(max((number for number in scores if number not in ends), key=scores.__getitem__))
        scores[further] = _mean_psnr(make(further), samples, psnr)


def _mean_psnr(trial: _Tunable, samples: Sequence[Sample], psnr: Metric) -> float:
    return float(np.mean([psnr(trial.restore(sample, bare=False), sample.truth) for sample in samples]))


def _output(image: FloatImage, model: Any, **options: Any) -> FloatImage:
    output = deconvolve(image, model, outputs=("output",), device="cpu", **options).output
    assert output is not None
    return output
