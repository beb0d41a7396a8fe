"""Choice of the method for an image: a contest on a sample of it, judged by held-out photons."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np

from napari_lucyd import checks
from napari_lucyd.compute.device import Device, choose_device
from napari_lucyd.deconvolution.api import plan
from napari_lucyd.deconvolution.arguments import check_voxel_size
from napari_lucyd.deconvolution.classical.automatic import decide
from napari_lucyd.deconvolution.classical.methods import ClassicalMethod, RichardsonLucy, Unchanged
from napari_lucyd.deconvolution.classical.semi_blind import USUAL_BLUR, SemiBlind
from napari_lucyd.deconvolution.first_stage.blur import NARROWEST, WIDEST, Blur, check_blur
from napari_lucyd.deconvolution.image.source import Source
from napari_lucyd.deconvolution.method_choice import MethodChoice
from napari_lucyd.deconvolution.statistics.irregularities import flash_times
from napari_lucyd.deconvolution.statistics.noise import noise_of
from napari_lucyd.deconvolution.statistics.spectrum import SAFE
from napari_lucyd.errors import Cancelled
from napari_lucyd.models import load_model
from napari_lucyd.models.catalogue import DEFAULT_MODEL, DEFAULT_PLANES, is_told, list_models, network_type
from napari_lucyd.photons import NoiseModel, estimate_noise, without_empty_ends
from napari_lucyd.photons.likelihood import Score as BlockScore
from napari_lucyd.psf.gaussian import gaussian_psf
from napari_lucyd.psf.spectral_blur import SMALLEST, UNKNOWN_NOISE_ERROR, find_blur
from napari_lucyd.referee.advice import is_sharp
from napari_lucyd.referee.sample import draw_volume_sample, middle_volume
from napari_lucyd.referee.scores.reblur import Reblur
from napari_lucyd.referee.scores.samples import Values, contrast_part, halves_of
from napari_lucyd.referee.scores.score import explained
from napari_lucyd.text import steps_text

# Voxels of the sample of all channels together, and of the part in which noise and blur are measured.
_VOXELS, _MEASURED_VOXELS = 2**17, 2**22
# Voxels of the part of the sample in which semi-blind Richardson-Lucy looks for its numbers.
_SEARCH_VOXELS = 2**16
# Channels that take part, evenly chosen: one method must suit all of them.
_MOST_CHANNELS = 3
# A difference counts if it is larger than this number of its standard errors.
_SIGNIFICANT = 2.0
# Another method must be better than "lucyd" by this share of the gain of "lucyd". Less is a tie, because
# scores differ by more than that if the blur is known to a tenth only.
_NOTABLE = 0.1
# Squared transfer above which the second look at the image counts an error. It sees less detail than the
# score itself, and has less noise.
_COARSE = 0.1
_TOLD = ("microscope", "psf", "psf_voxel_size", "blur_sigma")
ANYWAY = "To deconvolve it anyway, name a method, such as 'lucyd' (--method lucyd, or Run anyway)."
"""Sentence that says how to deconvolve an image that was left alone."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """One method in the contest.

    Attributes
    ----------
    name
        Name of the model or method; ``"nothing"`` for the image itself.
    score
        Share of the specimen's visible structure that its result explains, by blocks of the sample.
    coarse
        The same for coarser structure alone, which has less noise; None for no second look.
    """

    name: str
    score: BlockScore
    coarse: BlockScore | None = None


@dataclass(frozen=True, eq=False)
class _Entry:
    """A candidate's method, the options that tell it the blur, and how it restores a part of a channel."""

    name: str
    method: Any
    told: Mapping[str, Any]
    restore: Callable[[_Part, Values], Values]


@dataclass(frozen=True, eq=False)
class _Part:
    """A sample of one channel: its halves, the blur, and the channel's number among the channels."""

    values: Values
    halves: tuple[Values, Values]
    kernel: Values
    sigmas: tuple[float, ...]
    channel: int
    searched: dict[str, RichardsonLucy]


def choose_method(
    volume: Any,
    *,
    axes: str | None = None,
    voxel_size: Sequence[float] | None = None,
    microscope: Any = None,
    psf: Any = None,
    psf_voxel_size: Sequence[float] | None = None,
    blur_sigma: Any = None,
    device: Any = "auto",
    seed: int = 0,
    progress: Callable[[int, int, str], object] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> MethodChoice:
    """Choose the method for an image by held-out photons.

    The photons of a sample of the image are divided at random into two halves. ``"lucyd"``, the other
    LUCYD models of this dimension, Richardson-Lucy and *nothing* restore each half, and each result is judged
    by the other half, as in `score`. Richardson-Lucy uses the given PSF. With a given microscope, it is
    semi-blind with that microscope. With nothing given, it competes twice: semi-blind, and with the blur that
    was found in the image's spectrum.

    The best method is chosen, with an advantage for ``"lucyd"``: another method must be better than it by
    twice the standard error, and by a tenth of the gain of ``"lucyd"`` over the image. If none is better than
    the image by twice the standard error, the image is left alone. If the noise hides the structure at the
    finest detail, a coarser look decides. If the noise is not photon noise, there is no contest, and
    ``"lucyd"`` is chosen.

    Parameters
    ----------
    volume, axes, voxel_size, microscope, psf, psf_voxel_size, blur_sigma, device
        See `napari_lucyd.deconvolve`. The choice does not depend on a region that is deconvolved.
    seed
        Seed of the division of the photons, 0 or more. The same seed gives the same choice.
    progress
        Function that receives the number of candidates done, their total, and the name of the next one.
    should_stop
        Called between the candidates and within the runs of each; True stops.

    Returns
    -------
    MethodChoice
        The method; `deconvolve` and `plan` take it in place of a model.

    Raises
    ------
    TypeError, ValueError
        If an argument is invalid; the message says what to do.
    Cancelled
        When ``should_stop`` returns True.

    Examples
    --------
    >>> import numpy as np, napari_lucyd as nl
    >>> image = np.random.default_rng(0).poisson(50, (16, 64, 64))
    >>> nl.choose_method(image, device="cpu").left_alone
    True
    """
    told = {
        "microscope": microscope,
        "psf": psf,
        "psf_voxel_size": psf_voxel_size,
        "blur_sigma": blur_sigma,
    }
    contest = run_contest(volume, told, axes, voxel_size, device, seed, should_stop)
    while True:
        try:
            step = next(contest)
        except StopIteration as end:
            return cast("MethodChoice", end.value)
        if progress is not None:
            progress(*step)


def run_contest(
    volume: Any,
    told: Mapping[str, Any],
    axes: str | None = None,
    voxel_size: Sequence[float] | None = None,
    device: Any = "auto",
    seed: int = 0,
    should_stop: Callable[[], bool] | None = None,
) -> Generator[tuple[int, int, str], None, MethodChoice]:
    """Choose the method step by step; see `choose_method`.

    Parameters
    ----------
    told
        The options that describe the blur, each None if it is not given.

    Yields
    ------
    tuple of int, int and str
        Number of candidates done, their total, and the name of the next one.
    """

    def ask() -> bool:
        if should_stop is not None and should_stop():
            raise Cancelled("Stopped while the method was chosen.")
        return False

    told = dict(told)
    source = Source(volume, 3, axes)
    source.refuse_mask()
    if source.axes.size("Z") == 1:
        source = Source(volume, 2, axes)
    steps = check_voxel_size(voxel_size, source.axes)
    blur = check_blur(**told, axes=source.axes, steps=steps)
    model = load_model(DEFAULT_PLANES if source.axes.dimension == 2 else DEFAULT_MODEL)
    seed = checks.integer("seed", seed, least=0)
    parts: list[_Part] = []
    reasons: list[str] = []
    for lead in _channels(source, should_stop):
        found = _part(source, lead, steps, blur, seed)
        if isinstance(found, _Part):
            parts.append(found)
        else:
            reasons.append(found)
    # One channel that has something to restore is enough to restore all of them.
    reason = next((each for each in reasons if each not in _LEFT_ALONE), reasons[-1] if reasons else "")
    known = {"told": blur.record} if blur.told else {}
    if not parts and reason in _LEFT_ALONE:
        record = _record([], "nothing", reason) | known
        return MethodChoice(Unchanged(), {}, record, reason, f"{reason} {ANYWAY}")
    if not parts:
        text = f"{model.name} was chosen without a comparison: {reason}"
        return MethodChoice(model, told, _record([], model.name, text) | known, text)
    if not blur.told:
        told["blur_sigma"] = _shared_blur(parts)
    chosen = choose_device(device) if isinstance(device, str) else device
    entries = list(_entries(model, told, blur, parts[0].values.ndim, steps, chosen, seed, ask))
    candidates = []
    for number, entry in enumerate(entries):
        ask()
        yield number, len(entries), entry.name
        candidates.append(_score(entry, parts))
    yield len(entries), len(entries), ""
    decided = _decide(entries, candidates)
    if blur.told:
        return replace(decided, record={**decided.record, **known})
    sigmas = tuple(told["blur_sigma"])
    reason = f"{decided.reason} {_blur_text(sigmas)}"
    return replace(
        decided, reason=reason, record={**decided.record, "reason": reason, "blur_sigma": list(sigmas)}
    )


_CONSTANT = "The image was left as it is: it is constant."
_EMPTY = "The image was left as it is: nothing stands out from its noise."
_SHARP = "The image was left as it is: it is as sharp as its voxels allow."
_LEFT_ALONE = (_CONSTANT, _EMPTY, _SHARP)


def _channels(source: Source, should_stop: Callable[[], bool] | None) -> Iterator[tuple[int, ...]]:
    """Yield the volumes that take part: the middle one along each leading axis, and several channels."""
    axes = source.axes
    several = "C" in axes.leading
    channels = axes.size("C") if several else 1
    for number in sorted({round(at) for at in np.linspace(0, channels - 1, min(_MOST_CHANNELS, channels))}):
        flashes, _ = flash_times(source, (("C", number),) if several else (), should_stop)
        yield middle_volume(axes, number, flashes)


def _part(
    source: Source,
    lead: tuple[int, ...],
    steps: tuple[float, ...] | None,
    blur: Blur,
    seed: int,
) -> _Part | str:
    """Return the sample of a channel, or the reason why there is none."""
    measured = without_empty_ends(_finite(draw_volume_sample(source, lead, _MEASURED_VOXELS).values))
    if measured.min() == measured.max():
        return _CONSTANT
    try:
        noise = estimate_noise(measured)
    except ValueError:
        return "The image is too small to measure its noise."
    if not noise.poisson:
        return _reason_to_leave(measured) or noise.reason
    values = np.ascontiguousarray(measured[contrast_part(measured, _VOXELS)], np.float32)
    if values.min() == values.max():
        return _CONSTANT
    channel = source.axes.lead_index(lead).get("C", 0)
    sigmas: tuple[float, ...] = ()
    if not blur.told:
        sigmas = _found_sigmas(measured, noise, steps)
    kernel = blur.kernel(channel, sigmas)
    return _Part(values, halves_of(values, noise, seed), kernel, sigmas, channel, {})


def _finite(values: Any) -> Any:
    if values.dtype.kind != "f":
        return values
    known = np.isfinite(values)
    return values if known.all() else np.where(known, values, np.median(values[known]) if known.any() else 0)


def _reason_to_leave(values: Any) -> str:
    """Say why an image without photon noise is left as it is, as its examination does; empty otherwise."""
    variance = noise_of(np.asarray(values, np.float32)) ** 2
    if min(values.shape[-2:]) < SMALLEST or not variance:
        return ""
    found = find_blur(values, variance, noise_error=UNKNOWN_NOISE_ERROR)
    if found is None:
        return _EMPTY
    return _SHARP if is_sharp(found.sigma, found.error) else ""


def _found_sigmas(values: Any, noise: NoiseModel, steps: tuple[float, ...] | None) -> tuple[float, ...]:
    ratio = 1.0 if steps is None or values.ndim == 2 else steps[-1] / steps[0]
    found = find_blur(values, noise.variance(values), ratio)
    widths = (USUAL_BLUR,) * values.ndim if found is None else found.sigma
    # The run checks a blur that it is told; a sharp step in an image can look narrower than it allows.
    return tuple(float(f"{min(max(NARROWEST, SAFE * width), WIDEST):.3g}") for width in widths)


def _blur_text(sigmas: tuple[float, ...]) -> str:
    """Say which blur was taken, and why an examination names another one."""
    usual = all(width == float(f"{SAFE * USUAL_BLUR:.3g}") for width in sigmas)
    why = (
        "a usual width, since none was found in the image"
        if usual
        else "a tenth narrower than found in the image"
    )
    return f"No blur was given: {steps_text(sigmas, 2)} voxels were taken (standard deviation), {why}."


def _shared_blur(parts: Sequence[_Part]) -> tuple[float, ...]:
    """Return one blur for all channels: the narrowest, since too wide a one invents structure."""
    return tuple(min(widths) for widths in zip(*(part.sigmas for part in parts), strict=True))


def _entries(
    model: Any,
    told: Mapping[str, Any],
    blur: Blur,
    dimension: int,
    steps: tuple[float, ...] | None,
    device: Device,
    seed: int,
    ask: Callable[[], bool],
) -> Iterator[_Entry]:
    def of(network: Any, **more: Any) -> Callable[[_Part, Values], Values]:
        def restore(part: _Part, half: Values) -> Values:
            return _restored(half, network, ask, device=device, **more)

        return restore

    def with_blur(part: _Part, half: Values) -> Values:
        return _restored(half, model, ask, device=device, psf=part.kernel)

    yield _Entry(model.name, model, told, with_blur)
    for card in list_models():
        direct = not is_told(card) and network_type(card) == "lucyd"
        if direct and card["network"].get("dimension") == dimension:
            other = load_model(card["name"])
            yield _Entry(other.name, other, {}, of(other, voxel_size=steps))
    yield _richardson_lucy(told, blur, steps, device, seed, ask)
    if not blur.told:
        found = RichardsonLucy(gaussian_psf(told["blur_sigma"]), center_psf=False)
        yield _deconvolving(found, steps, device, ask)
    yield _Entry("nothing", Unchanged(), {}, lambda part, half: half)


def _richardson_lucy(
    told: Mapping[str, Any],
    blur: Blur,
    steps: tuple[float, ...] | None,
    device: Device,
    seed: int,
    ask: Callable[[], bool],
) -> _Entry:
    """Return Richardson-Lucy: semi-blind, or with the PSF where it was told as an array or a width."""
    microscope = told["microscope"]
    single = None if isinstance(microscope, (list, tuple)) else microscope
    known = blur.told and (single is None or told["psf"] is not None)
    method: ClassicalMethod = (
        RichardsonLucy(list(blur.kernels), center_psf=False)
        if known
        else SemiBlind(seed=seed, microscope=single)
    )

    return _deconvolving(method, steps, device, ask)


def _deconvolving(
    method: ClassicalMethod, steps: tuple[float, ...] | None, device: Device, ask: Callable[[], bool]
) -> _Entry:
    """Return the entry of a kind of Richardson-Lucy, which looks for its numbers once in each channel."""

    def restore(part: _Part, half: Values) -> Values:
        if method.name not in part.searched:
            part.searched[method.name] = _searched(method, part, steps, device, ask)
        ready = part.searched[method.name]
        return _restored(half, ready, ask, device=device)

    return _Entry(method.name, method, {}, restore)


def _restored(
    half: Values, method: Any, ask: Callable[[], bool], *, device: Device, **options: Any
) -> Values:
    """Return the output for one half. ``ask`` is called within the run too: a large PSF makes it long."""
    job = plan(half, method, device=device.torch, axes="ZYX"[-half.ndim :], outputs=("output",), **options)
    for _ in job.steps(ask):
        pass
    output = job.result().output
    assert output is not None
    return output


def _searched(
    method: ClassicalMethod,
    part: _Part,
    steps: tuple[float, ...] | None,
    device: Device,
    ask: Callable[[], bool],
) -> RichardsonLucy:
    """Return Richardson-Lucy with the numbers that the method finds in the sample."""
    values = part.values
    if isinstance(method, SemiBlind):
        values = values[contrast_part(values, _SEARCH_VOXELS)]
        values = values if values.ndim == 3 else values[None]
        method, _ = method.prepared(steps, values.shape)
    else:
        method = RichardsonLucy(part.kernel, center_psf=False)
    search = decide(method, values, device, ask)
    while True:
        try:
            next(search)
        except StopIteration as end:
            found = end.value.method
            break
    kernel = found.kernel
    if kernel.ndim > part.values.ndim:
        kernel = kernel[len(kernel) // 2]
    return RichardsonLucy(kernel, num_iter=found.iterations, center_psf=False)


def _score(entry: _Entry, parts: Sequence[_Part]) -> Candidate:
    fine, coarse = [], []
    for part in parts:
        first, second = (entry.restore(part, half) for half in part.halves)
        shape = part.values.shape
        fine.append(explained(Reblur(part.kernel, shape), part.halves, (first, second)))
        coarse.append(explained(Reblur(part.kernel, shape, _COARSE), part.halves, (first, second)))
    return Candidate(entry.name, _joined(fine), _joined(coarse))


def _joined(scores: Sequence[BlockScore]) -> BlockScore:
    """Join the scores of channels; each counts equally, whatever its brightness."""
    totals = [float(score.voxels.sum()) for score in scores]
    return BlockScore(
        np.concatenate([score.sums / total for score, total in zip(scores, totals, strict=True)]),
        np.concatenate([score.voxels / total for score, total in zip(scores, totals, strict=True)]),
    )


def _decide(entries: Sequence[_Entry], candidates: Sequence[Candidate]) -> MethodChoice:
    candidates = _judgeable(candidates)
    preferred, nothing = candidates[0], candidates[-1]
    best = max(candidates[:-1], key=lambda one: one.score.mean)
    ahead = preferred.score.minus(nothing.score).mean
    if best is not preferred and not _better(best, preferred, _NOTABLE * max(0.0, ahead)):
        best = preferred
    gain = best.score.minus(nothing.score)
    numbers = f"{best.score.mean:.3f} against {nothing.score.mean:.3f} of the image"
    if not _helps(best, nothing):
        reason = (
            "The image was left as it is: no method explains its held-out photons better than the image "
            f"itself ({best.name}: {numbers})."
        )
        record = _record(candidates, nothing.name, reason)
        return MethodChoice(Unchanged(), {}, record, reason, f"{reason} {ANYWAY}")
    entry = entries[candidates.index(best)]
    reason = (
        f"{best.name} was chosen by held-out photons: it explains {numbers} "
        f"(difference {gain.mean:.3f} ± {gain.standard_error:.3f})."
    )
    warning = ""
    if not isinstance(entry.method, ClassicalMethod) and entry.method.card.get("flux_kept") is False:
        warning = f"{best.name} changes intensities: do not quantify the result."
    return MethodChoice(entry.method, entry.told, _record(candidates, best.name, reason), reason, warning)


def _judgeable(candidates: Sequence[Candidate]) -> Sequence[Candidate]:
    """Return the candidates with the second look alone, if the noise hides the structure from the first.

    The share of an invisible structure is no score. The second look has less noise, and may see structure.
    """
    nothing = candidates[-1]
    if nothing.coarse is None or _has_structure(nothing.score) or not _has_structure(nothing.coarse):
        return candidates
    return [Candidate(one.name, one.coarse) for one in candidates if one.coarse is not None]


def _better(one: Candidate, other: Candidate, least: float = 0.0) -> bool:
    """Return True if a candidate is better by twice the standard error, and by a least amount."""
    difference = one.score.minus(other.score)
    error = difference.standard_error
    return math.isfinite(error) and difference.mean > max(least, _SIGNIFICANT * error)


def _helps(one: Candidate, nothing: Candidate) -> bool:
    """Return True if a candidate is better than the image in one of two looks, and worse in none."""
    if not _has_structure(nothing.score):
        return False
    looks = [_errors_from_zero(one.score.minus(nothing.score))]
    if one.coarse is not None and nothing.coarse is not None:
        looks.append(_errors_from_zero(one.coarse.minus(nothing.coarse)))
    return max(looks) > _SIGNIFICANT and min(looks) > -_SIGNIFICANT


def _errors_from_zero(difference: BlockScore) -> float:
    """Return the mean of a difference in standard errors; 0 if they are unknown.

    The standard error of the score assumes that the gain of a block is proportional to its structure. It is
    far too large if a few blocks hold all the structure, and all blocks gain because they lose noise. A
    second standard error assumes that all blocks gain the same, and the smaller of the two counts.
    """
    count = len(difference.sums)
    if count < 2:
        return 0.0
    even = math.sqrt(count * float(difference.sums.var(ddof=1))) / abs(float(difference.voxels.sum()))
    error = min(even, difference.standard_error)
    return difference.mean / error if error > 0 else 0.0


def _has_structure(score: BlockScore) -> bool:
    """Return True if the structure of the sample rises above its noise, which most blocks share."""
    blocks = score.voxels
    spread = float(np.median(np.abs(blocks - np.median(blocks)))) * 1.4826
    return float(blocks.sum()) > _SIGNIFICANT * spread * math.sqrt(len(blocks))


def _record(candidates: Sequence[Candidate], chosen: str, reason: str) -> dict[str, Any]:
    """Return the entry of the recipe."""
    rows = [
        {"name": one.name, "held_out": one.score.mean, "standard_error": one.score.standard_error}
        for one in candidates
    ]
    return {"chosen": chosen, "reason": reason, "candidates": rows}
