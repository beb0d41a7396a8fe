"""Parameters that are found in the image: background, blur and number of iterations of each volume."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from threading import Event
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_lucyd.compute.device import Device
from napari_lucyd.compute.threads import follow
from napari_lucyd.deconvolution.classical.dark_level import find_dark_level
from napari_lucyd.deconvolution.classical.methods import (
    AUTO,
    MOST_ITERATIONS,
    USUAL_ITERATIONS,
    ClassicalMethod,
    RichardsonLucy,
)
from napari_lucyd.deconvolution.classical.semi_blind import USUAL_BLUR, SemiBlind
from napari_lucyd.deconvolution.classical.solvers import Halves, Scale, start_richardson_lucy
from napari_lucyd.deconvolution.statistics.spectrum import assumed_blur
from napari_lucyd.deconvolution.statistics.volume_numbers import VolumeNumbers
from napari_lucyd.photons import (
    Candidate,
    Choice,
    NoiseModel,
    Score,
    SplitImage,
    estimate_noise,
    score_held_out,
    search_held_out,
    thin,
    without_empty_ends,
)
from napari_lucyd.photons.search import Parameters
from napari_lucyd.psf.cleaning import cropped

# Each is about a third larger than the last. Finer steps gain nothing, as the likelihood's maximum is flat.
CHECKPOINTS = (1, 2, 3, 4, 6, 8, 11, 15, 20, 27, 36, 48, MOST_ITERATIONS)
# The search ends after this number of checkpoints in a row that are worse than the best one.
_PATIENCE = 2
# Share of the photons that estimates are made from. It is large, so that their best number of iterations also
# suits the whole image.
SHARE = 0.8
# Number of voxels of the sample that represents a volume.
_SAMPLE_VOXELS = 2**21
# The same for a search of the blur, which tries dozens of them.
_SEARCH_VOXELS = 2**19
# Smallest size of the sample along each axis, in voxels.
_SMALLEST_SIDE = 32

Values = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Decided:
    """A method with all its parameters, for one volume.

    Attributes
    ----------
    method
        Method whose parameters are all numbers.
    floor
        Constant to subtract from the volume before the method.
    level
        Constant to add to the method's result.
    record
        Parameters found, for the recipe: plain JSON data.
    warning
        Sentence for the user; empty for none.
    noise
        Noise model of the volume, for a method with ``local_stopping``; otherwise None.
    """

    method: ClassicalMethod
    floor: float = 0.0
    level: float = 0.0
    record: dict[str, Any] = field(default_factory=dict)
    warning: str = ""
    noise: NoiseModel | None = None

    def halves(self, values: Values) -> Halves | None:
        """Return the function that divides the photons of these voxels; None where it is not needed."""
        return None if self.noise is None else halves_of(values, self.noise)

    def scale(self, values: Values) -> Scale:
        """Return the scale of the volume with these voxels, which are not yet prepared."""
        ready = self.prepared(values)
        return Scale(float(ready.max()), float(ready.mean(dtype=np.float64)))

    def prepared(self, values: Values) -> Values:
        """Return the voxels for the method: a new array, from which the floor is subtracted."""
        if not isinstance(self.method, RichardsonLucy):
            return values.copy()
        ready: Values = np.maximum(values - np.float32(self.floor), 0)
        return ready

    def of_constant(self, values: Values) -> Values:
        """Return the result for a constant volume, as prepared."""
        if not isinstance(self.method, RichardsonLucy):
            return values
        object_ = np.maximum(values - np.float32(float(self.method.background)), 0)
        result: Values = object_ + np.float32(self.level)
        return result


@dataclass(frozen=True)
class Checkpoint:
    """The held-out likelihood after some iterations.

    Attributes
    ----------
    num_iter
        Number of iterations.
    likelihood, standard_error
        Mean natural logarithm for each voxel of the sample, without terms that are equal for all
        candidates, and its standard error.
    parameters
        Parameters of the blur; empty unless the blur is searched. See `Family`.
    """

    num_iter: int
    likelihood: float
    standard_error: float
    parameters: tuple[float, ...] = ()

    @classmethod
    def of(cls, candidate: Candidate) -> Checkpoint:
        """Return the checkpoint for a candidate of the search."""
        score = candidate.score
        return cls(candidate.num_iter, score.mean, score.standard_error, candidate.parameters)


Search = Generator[Checkpoint, bool | None, Decided]
"""A search for the numbers of a method; see `decide`."""


def decide(method: ClassicalMethod, values: Values, device: Device, ask: Callable[[], object]) -> Search:
    """Find the parameters that are ``"auto"``; yield the likelihoods of the search.

    To send True ends the search with the best numbers so far.

    Parameters
    ----------
    method
        Method whose PSF is ready for use.
    values
        The volume, (Y, X) or (Z, Y, X), finite.
    device
        Device that computes the trial iterations.
    ask
        Function that is called often; an error that it raises ends the search.
    """
    if isinstance(method, SemiBlind):
        return (yield from _with_blur(method, values, device, ask))
    if not isinstance(method, RichardsonLucy):
        return Decided(method)
    decided = _with_background(method, values)
    if values.min() == values.max():
        return decided
    if method.local_stopping:
        decided = _with_noise(decided, values)
        if decided.noise is not None:
            # The voxels stop by themselves.
            known = cast("RichardsonLucy", decided.method)
            return replace(decided, method=replace(known, num_iter=method.iterations))
    if method.num_iter != AUTO:
        return decided
    return (yield from _with_iterations(decided, values, device, ask))


def numbers_of(decided: Decided, method: ClassicalMethod, lead: Sequence[int], scale: Scale) -> VolumeNumbers:
    """Return the numbers of a volume as plain data.

    Parameters
    ----------
    decided
        Decision for the volume.
    method
        Method that was decided for.
    lead
        Indices of the volume along the leading axes.
    scale
        Scale of the volume.
    """
    found = decided.method
    assert isinstance(found, RichardsonLucy)
    blur: Sequence[float] = ()
    if isinstance(method, SemiBlind):
        blur = decided.record.get(method.family.name, method.family.usual)
    return VolumeNumbers(
        tuple(lead),
        float(found.background),
        decided.floor,
        decided.level,
        found.iterations,
        scale.peak,
        scale.mean,
        tuple(blur),
        decided.record,
        decided.warning,
    )


def decided_before(method: ClassicalMethod, numbers: VolumeNumbers) -> Decided:
    """Return the decision that `numbers_of` turned into plain data."""
    found = method.with_psf(method.family.psf(numbers.blur)) if isinstance(method, SemiBlind) else method
    assert isinstance(found, RichardsonLucy)
    found = replace(found, background=numbers.background, num_iter=numbers.num_iter)
    return Decided(found, numbers.floor, numbers.level, numbers.record)


def predictions(
    method: RichardsonLucy,
    split: SplitImage,
    floor: float,
    checkpoints: Sequence[int],
    device: Device,
    ask: Callable[[], object],
) -> Iterator[Values]:
    """Restore the fitted part of a thinned image; yield the image predicted at each checkpoint.

    Parameters
    ----------
    method
        Method with a ready PSF, and a background in the units of ``split`` before thinning.
    split
        The two parts of the thinned image.
    floor
        Level in the units of ``split`` before thinning; darker voxels of the fitted part are set to it.
    checkpoints
        Numbers of iterations, in rising order.
    device, ask
        See `decide`.
    """
    base = np.float32(split.share * floor)
    thinned = replace(
        method,
        num_iter=checkpoints[-1],
        background=split.share * float(method.background),
        tolerance=None,
        local_stopping=False,
    )
    observed = np.maximum(split.fitted - base, 0)
    if not observed.any():
        return
    restoration = start_richardson_lucy(thinned, observed, device, ask)
    for number in range(1, checkpoints[-1] + 1):
        ask()
        restoration.advance()
        if number in checkpoints:
            yield restoration.predicted() + base


def sample_shape(shape: Sequence[int], voxels: int = _SAMPLE_VOXELS) -> tuple[int, ...]:
    """Return the shape of the part that `sample_of` takes of a volume."""
    axes = sum(n > 1 for n in shape) or 1
    share = (voxels / math.prod(shape)) ** (1 / axes)
    if share >= 1:
        return tuple(shape)
    return tuple(max(min(n, _SMALLEST_SIDE), int(n * share)) for n in shape)


def sample_of(values: Values, voxels: int = _SAMPLE_VOXELS) -> tuple[slice, ...]:
    """Return the part of a volume with the most contrast with about this number of voxels."""
    sizes = sample_shape(values.shape, voxels)
    if sizes == values.shape:
        return tuple(slice(0, n) for n in sizes)
    steps = [max(1, size // 16) for size in sizes]
    coarse = ndimage.uniform_filter(values, steps)[tuple(slice(step // 2, None, step) for step in steps)]
    spread = np.square(coarse - np.median(coarse))
    boxes = [max(1, size // step) for size, step in zip(sizes, steps, strict=True)]
    light = ndimage.uniform_filter(spread, boxes, mode="constant")
    centre = np.unravel_index(int(np.argmax(light)), light.shape)
    starts = [
        int(np.clip(at * step - size // 2, 0, n - size))
        for at, step, size, n in zip(centre, steps, sizes, values.shape, strict=True)
    ]
    return tuple(slice(low, low + size) for low, size in zip(starts, sizes, strict=True))


def photons_of(values: Values) -> NoiseModel | str:
    """Return the noise model of a volume with photon noise, or the reason why there is none."""
    try:
        noise = estimate_noise(values)
    except ValueError:
        return "The image is too small to measure its noise."
    return noise if noise.poisson else noise.reason


def halves_of(values: Values, noise: NoiseModel) -> Halves:
    """Return the function that divides the photons of a volume into two halves; see `Halves`.

    Parameters
    ----------
    values
        The volume, (Y, X) or (Z, Y, X), finite.
    noise
        Its noise model.
    """

    def difference(number: int) -> Values:
        split = thin(values, noise, share=0.5, seed=number)
        result: Values = (split.fitted - split.held_out) * np.float32(noise.gain)
        return result

    return difference


def level_in_photons(level: float, noise: NoiseModel, split: SplitImage) -> float:
    """Convert a grey level into the units of a split image before thinning."""
    shift = split.background - (noise.offset - noise.zero_level) / noise.gain
    return (level - noise.zero_level) / noise.gain + shift


def _with_blur(method: SemiBlind, values: Values, device: Device, ask: Callable[[], object]) -> Search:
    """Find the parameters of the PSF and the number of iterations on a sample."""
    family, values = method.family, without_empty_ends(values)
    decided = _with_background(method.with_psf(family.psf(family.usual)), values)
    restoring = cast("RichardsonLucy", decided.method)
    if values.min() == values.max():
        return replace(decided, method=replace(restoring, num_iter=1))
    noise = photons_of(values[0] if values.shape[0] == 1 else values)
    if isinstance(noise, str):
        taken = "The PSF was computed from the optics as they are."
        if method.microscope is None:
            sigmas, taken = assumed_blur(values[sample_of(values)], USUAL_BLUR)
            decided = _with_background(method.with_psf(family.psf(sigmas)), values)
            restoring = cast("RichardsonLucy", decided.method)
        warning = (
            f"The photons do not show how wide the blur is: {noise} {taken} {USUAL_ITERATIONS} iterations "
            "were made. If you know the PSF, use Richardson-Lucy with it."
        )
        return replace(decided, method=replace(restoring, num_iter=USUAL_ITERATIONS), warning=warning)
    part = values[sample_of(values, _SEARCH_VOXELS)]
    split = thin(part, noise, share=SHARE, seed=method.seed)
    floor = level_in_photons(decided.floor, noise, split)
    pedestal = float(restoring.background) / noise.gain

    tried: list[Candidate] = []
    enough = Event()

    def ask_on() -> None:
        ask()
        if enough.is_set():
            raise _EnoughError

    def work(report: Callable[[Checkpoint], None], check: Callable[[], None]) -> Choice:
        def trajectory(blur: Parameters, halves: SplitImage, steps: Sequence[int]) -> Iterator[Values]:
            # Light from beyond the sample's own size is part of its background.
            psf = cropped(family.psf(blur), part.shape)
            trial = replace(restoring, psf=psf, background=pedestal)
            return predictions(trial, halves, floor, steps, device, check)

        def note(candidate: Candidate) -> None:
            tried.append(candidate)
            report(Checkpoint.of(candidate))

        return search_held_out(trajectory, [split], family.ranges, steps=CHECKPOINTS, on_candidate=note)

    following = follow(work, ask_on)
    best: Candidate
    try:
        while True:
            try:
                point = next(following)
            except StopIteration as end:
                choice: Choice = end.value
                best, curve, blurs = choice.best, choice.curve, choice.blurs
                break
            if (yield point):
                enough.set()
    except _EnoughError:
        best = max(tried, key=lambda candidate: candidate.score.mean)
        curve = tuple(candidate for candidate in tried if candidate.parameters == best.parameters)
        blurs = (best,)
    record = {
        **decided.record,
        family.name: list(best.parameters),
        "held_out": [_entry(Checkpoint.of(candidate)) for candidate in curve],
        "blurs_tried": [
            [list(candidate.parameters), *_entry(Checkpoint.of(candidate))] for candidate in blurs
        ],
    }
    found = replace(restoring, psf=family.psf(best.parameters), num_iter=best.num_iter)
    return replace(decided, method=found, record=record)


class _EnoughError(Exception):
    """Ends a search with the best numbers so far."""


def _entry(point: Checkpoint) -> list[float]:
    return [point.num_iter, point.likelihood, point.standard_error]


def _with_background(method: RichardsonLucy, values: Values) -> Decided:
    if method.background != AUTO:
        return Decided(method)
    dark = find_dark_level(values)
    if not math.isfinite(dark.pedestal):
        raise ValueError(
            "The image's values are too large to find the background automatically. Divide the image by a "
            "constant, or give the background as a number."
        )
    # Voxels below the level by chance stay above the floor, so none is cut off.
    decided = replace(method, background=dark.pedestal)
    return Decided(decided, dark.floor, dark.level, {"background_found": dark.level})


def _with_noise(decided: Decided, values: Values) -> Decided:
    """Add the noise model that local stopping needs; without one, say that there is no local stopping."""
    noise = photons_of(values)
    if not isinstance(noise, str):
        return replace(decided, noise=noise)
    method = replace(cast("RichardsonLucy", decided.method), local_stopping=False)
    return replace(decided, method=method, warning=f"Local stopping is not used: {noise}")


def _with_iterations(decided: Decided, values: Values, device: Device, ask: Callable[[], object]) -> Search:
    method = decided.method
    assert isinstance(method, RichardsonLucy)
    values = without_empty_ends(values)
    noise = photons_of(values)
    if isinstance(noise, str):
        warning = (
            f"{decided.warning} The number of iterations could not be found in the image: {noise} "
            f"{USUAL_ITERATIONS} iterations are used. Compare with fewer and more."
        ).lstrip()
        return replace(decided, method=replace(method, num_iter=USUAL_ITERATIONS), warning=warning)
    split = thin(values[sample_of(values)], noise, share=SHARE)
    floor = level_in_photons(decided.floor, noise, split)
    in_photons = replace(method, background=float(method.background) / noise.gain)
    curve: list[Checkpoint] = []
    best, worse = None, 0
    predicted = predictions(in_photons, split, floor, CHECKPOINTS, device, ask)
    for number, means in zip(CHECKPOINTS, predicted, strict=False):
        score: Score = score_held_out(means, split)
        curve.append(Checkpoint(number, score.mean, score.standard_error))
        ended = yield curve[-1]
        if best is None or curve[-1].likelihood > best.likelihood:
            best, worse = curve[-1], 0
        else:
            worse += 1
        if ended or worse >= _PATIENCE:
            break
    chosen = best.num_iter if best is not None else USUAL_ITERATIONS
    record = {
        **decided.record,
        "held_out": [_entry(point) for point in curve],
    }
    return replace(decided, method=replace(method, num_iter=chosen), record=record)
