"""Adaptation of a model to one microscope: its PSF, and the noise measured in one of its images."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from napari_lucyd import checks
from napari_lucyd.compute.device import torch_defaults
from napari_lucyd.deconvolution.named_model import model_for
from napari_lucyd.errors import Cancelled
from napari_lucyd.evaluation import Trained, TrustTable, measure_trust
from napari_lucyd.models import DEFAULT_MODEL, Model, load_model, save_model
from napari_lucyd.models.catalogue import DEFAULT_PLANES, is_told, shipped_models
from napari_lucyd.models.user_models import check_model_name, user_models_folder
from napari_lucyd.simulation.structures import StructureKind
from napari_lucyd.text import count_text
from napari_lucyd.training.adaptation_run import NO_STEP, AdaptationProgress, AdaptationRun
from napari_lucyd.training.conditions import Conditions, find_conditions, single_volume
from napari_lucyd.training.config import TrainingConfig, parse_config
from napari_lucyd.training.model_card import finish, make_card
from napari_lucyd.training.trainer import device_named

# Patches of an adaptation at its full length, and between two validations, for volumes and for planes.
_PATCHES = {3: 1280, 2: 2880}
_BATCH = 8
_VALIDATIONS = 10
# Peak of the learning rate, a quarter of the shipped models': the start is good already.
_LEARNING_RATE = 5e-4
_AVERAGE_DECAY = 0.97
# Patches cut from a specimen. Making one with a wide PSF takes as long as some steps.
_PATCHES_PER_SPECIMEN = {3: 48, 2: 96}
_VALIDATION_PATCHES = 24
# An answer outside its limits is worse than before if it lies farther outside by this share of the limit.
_TOLERANCE = 0.1
# Validation has to improve by this, in dB.
_SMALLEST_GAIN = 0.02


@dataclass(frozen=True)
class Adaptation:
    """The result of `adapt`.

    Attributes
    ----------
    model
        The adapted model, at its best validation.
    path
        File that it was saved to; None if it was not saved.
    start
        Name of the model that it started from.
    validation_psnr
        Validation in dB, on specimens that were not trained on: of the start, then at each later step.
    worse
        Questions of the trust suite to which the answers are worse than those of the start, as sentences.
    trust
        Answers of start and model; None if training did not improve the validation.
    notes
        Assumptions and measurements, as sentences.
    seconds
        Duration.
    stopped_after
        Number of training steps, if it was stopped early; otherwise None.
    """

    model: Model
    path: Path | None
    start: str
    validation_psnr: tuple[float, ...]
    worse: tuple[str, ...]
    trust: TrustTable | None
    notes: tuple[str, ...]
    seconds: float
    stopped_after: int | None = None

    @property
    def gain(self) -> float:
        """Improvement of the validation over the start, in dB; 0 if there is none."""
        return max(self.validation_psnr) - self.validation_psnr[0]

    @property
    def offered(self) -> bool:
        """True if the model is better in validation, and not worse in any question of the trust suite."""
        return self.trust is not None and not self.worse

    @property
    def summary(self) -> str:
        """Result in one to three sentences."""
        steps = self.stopped_after
        if steps is None:
            return self._findings
        return f"The training was stopped after {count_text(steps, 'step')}. {self._findings}"

    @property
    def _findings(self) -> str:
        if self.trust is None and self.stopped_after is not None:
            return (
                f"It had not improved on {self.start} yet ({self.gain:+.2f} dB in validation), so no model "
                "was saved."
            )
        if self.trust is None:
            return (
                f"Training did not improve on {self.start} for this microscope "
                f"({self.gain:+.2f} dB in validation), so no model was saved. Use {self.start}."
            )
        gained = f"{self.gain:+.2f} dB in validation compared with {self.start}"
        if self.worse:
            return (
                f"{gained}, but some answers of the trust suite are worse, so no model was saved. "
                f"{' '.join(self.worse)} Use {self.start}."
            )
        return f"{gained}, and no answer of the trust suite is worse."


@torch_defaults()
def adapt(
    image: Any,
    name: str,
    *,
    model: str | Path | Model | None = None,
    microscope: Any = None,
    psf: Any = None,
    psf_voxel_size: Sequence[float] | None = None,
    blur_sigma: float | Sequence[float] | None = None,
    voxel_size: Sequence[float] | None = None,
    axes: str | None = None,
    channel: int = 0,
    structures: StructureKind = "mixture",
    minutes: float = 8.0,
    patches: int | None = None,
    seed: int = 1,
    device: str = "auto",
    overwrite: bool = False,
    progress: Callable[[AdaptationProgress], object] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Adaptation:
    """Train a model for one microscope, and save it with the user's models if it is better.

    It continues the training of the default model on new specimens, all taken with the given PSF and with the
    noise of the image. The weights of the best validation are kept, also after Ctrl-C. Then start and result
    answer the questions of the trust suite. The result is saved only if its validation is better and no
    answer is worse. After that, ``deconvolve(image, name, …)`` uses it.

    Parameters
    ----------
    image
        Image of this microscope, in which noise is measured: (…, Z, Y, X) or (…, Y, X). The middle time point
        of one channel is used. None if there is none; the model then keeps its range of noise.
    name
        Name for the new model: letters, digits, spaces, and ``. _ -``.
    model
        Model to start from; it must be one that is told the blur. By default ``"lucyd"`` or
        ``"lucyd-planes"``, as the image is.
    microscope, psf, psf_voxel_size, blur_sigma, voxel_size, axes
        Blur and voxel size of the image, and its axes; see `deconvolve`. If no blur is given, it is found in
        the image.
    channel
        Channel of the image, counted from 0.
    structures
        Kind of the specimens; see `make_structures`.
    minutes
        Limit for the training. The questions of the trust suite take about a minute more.
    patches
        Number of training patches. By default 1280 for volumes and 2880 for planes.
    seed
        Seed of the specimens, 0 or more.
    device
        ``"auto"``, or torch's name of a device.
    overwrite
        True to replace an earlier model of the user with this name.
    progress
        Function that receives an `AdaptationProgress` after each step.
    should_stop
        Function that is asked often; True ends the training and keeps the best, like Ctrl-C.

    Returns
    -------
    Adaptation
        The model and what it gained.

    Raises
    ------
    FileExistsError
        If the user has a model of this name and `overwrite` is False.
    TypeError, ValueError
        If an argument is invalid; the message says what to do.
    Cancelled
        If `should_stop` returns True before the first step.
    KeyboardInterrupt
        If Ctrl-C comes before the first validation or during the questions of the trust suite.

    Examples
    --------
    >>> import napari_lucyd as nl
    >>> scope = nl.Microscope("widefield", numerical_aperture=1.4, refractive_index=1.515, emission_um=0.525)
    >>> done = nl.adapt(stack, "oil63", microscope=scope, voxel_size=(0.2, 0.1, 0.1))  # doctest: +SKIP
    >>> nl.deconvolve(stack, "oil63", microscope=scope, voxel_size=(0.2, 0.1, 0.1))  # doctest: +SKIP
    """
    started = time.monotonic()
    minutes = checks.number("minutes", minutes, "a number above 0", lambda value: value > 0)
    checks.function("progress", progress)
    checks.function("should_stop", should_stop)
    check_model_name(name, {str(card["name"]) for card in shipped_models()})
    path = user_models_folder() / f"{name}.safetensors"
    if not overwrite and (path.exists() or path.with_suffix(".json").exists()):
        raise FileExistsError(f"You have a model {name!r} already ({path}); give another name, or overwrite.")
    start = _start(model, image, axes, psf, blur_sigma, voxel_size)
    told = {
        "microscope": _of_channel(microscope, channel),
        "psf": _of_channel(psf, channel),
        "psf_voxel_size": psf_voxel_size,
        "blur_sigma": blur_sigma,
    }
    report = progress or (lambda _: None)
    report(AdaptationProgress("measuring", 0, 1, math.nan))
    volume = None if image is None else single_volume(image, start.dimension, axes, channel)
    # Padding, ceiling and full noise may be set after the training, so the card's configuration lacks them.
    base = replace(parse_config(start.card["training"]["config"]), network=start.network.config)
    stop = should_stop or (lambda: False)
    try:
        conditions = find_conditions(volume, start, base.data, told, voxel_size, structures, stop)
    except Cancelled as error:
        raise Cancelled(NO_STEP) from error
    count = _PATCHES[start.dimension] if patches is None else checks.integer("patches", patches, least=_BATCH)
    config = _configuration(base, conditions, name, start.name, count, seed)
    run = AdaptationRun(config, conditions, start, device_named(device), started + 60 * minutes, stop)
    run.train(report)
    best = run.best_network()
    images = torch.stack([patch.image for patch in run.trainer.validation]).to(run.trainer.device)
    metrics = {"validation": run.validation_entries(), **finish(best, images, centre=False)}
    adapted = Model.from_network(best, name=name, normalization=asdict(config.normalization))
    trust: TrustTable | None = None
    worse: tuple[str, ...] = ()
    if run.gain >= _SMALLEST_GAIN:
        trust = _ask(start, adapted, report)
        worse = tuple(compare_trust(trust, start.name, name))
        metrics["trust"] = {
            "compared_with": start.name,
            "answers": len(trust.readings_of(name)),
            "within_limits": sum(entry.within for entry in trust.readings_of(name)),
            "within_limits_before": sum(entry.within for entry in trust.readings_of(start.name)),
            "worse": list(worse),
        }
    card = make_card(
        config,
        images.cpu(),
        steps=run.best_step,
        seconds=time.monotonic() - started,
        device=run.trainer.device.type,
        command="napari_lucyd.adapt",
        started_from=run.trainer.started_from,
        metrics=metrics,
    )
    card["adapted_to"] = conditions.record
    made = Model.from_network(best, name=name, normalization=asdict(config.normalization), card=card)
    saved = None
    if trust is not None and not worse:
        path.parent.mkdir(parents=True, exist_ok=True)
        scaling = asdict(config.normalization)
        saved = save_model(path, best, normalization=scaling, card=card, overwrite=overwrite)
        made = load_model(saved)
    psnrs = tuple(entry.psnr for entry in run.validations)
    seconds = time.monotonic() - started
    stopped = run.trainer.step if run.stopped else None
    return Adaptation(made, saved, start.name, psnrs, worse, trust, conditions.notes, seconds, stopped)


def compare_trust(table: TrustTable, before: str, after: str) -> list[str]:
    """Return the answers that are worse than before, as sentences.

    An answer is worse if it lay within its limits before and is outside now, or if it lies farther outside
    than before by more than a tenth of the limit.
    """
    worse = []
    for old, new in zip(table.readings_of(before), table.readings_of(after), strict=True):
        if new.excess > (old.excess + _TOLERANCE if old.excess else 0):
            values = ("none" if entry.value is None else f"{entry.value:.3g}" for entry in (old, new))
            worse.append(f"{new.probe}, {new.quantity}: {' became '.join(values)}.")
    return worse


def _ask(start: Model, adapted: Model, report: Callable[[AdaptationProgress], object]) -> TrustTable:
    began = time.monotonic()

    def show(done: int, total: int) -> None:
        left = (time.monotonic() - began) / done * (total - done)
        report(AdaptationProgress("trust", done, total, left))

    return measure_trust([Trained(start), Trained(adapted)], progress=show)


def _start(
    model: str | Path | Model | None,
    image: Any,
    axes: str | None,
    psf: Any,
    blur_sigma: Any,
    voxel_size: Sequence[float] | None,
) -> Model:
    """Return the model to start from: the default of the image's dimension, or of the blur's."""
    if isinstance(model, Model):
        start = model
    elif model is not None and str(model) != DEFAULT_MODEL:
        start = load_model(model)
    elif image is not None:
        start = model_for(DEFAULT_MODEL, image, axes)
    else:
        sizes = {0 if psf is None else np.ndim(psf)}
        sizes |= {np.size(entry) for entry in (blur_sigma, voxel_size) if entry is not None}
        start = load_model(DEFAULT_PLANES if 2 in sizes and 3 not in sizes else DEFAULT_MODEL)
    if not is_told(start.card) or "config" not in start.card.get("training", {}):
        raise ValueError(
            f"{start.name} cannot be adapted: it does not use the blur, or its card has no training. Start "
            f"from {DEFAULT_MODEL}, {DEFAULT_PLANES} or a model adapted from them."
        )
    return start


def _of_channel(given: Any, channel: int) -> Any:
    """Return the microscope or PSF of a channel, if there is a list with one for each."""
    each = isinstance(given, (list, tuple)) and bool(given)
    if not each or np.ndim(given[0]) == 1:
        return given
    return given[channel] if channel < len(given) else given[0]


def _configuration(
    base: TrainingConfig, conditions: Conditions, name: str, start: str, patches: int, seed: int
) -> TrainingConfig:
    dimension = base.network.dimension
    data = replace(
        conditions.data,
        alive=4,
        patches_per_phantom=_PATCHES_PER_SPECIMEN[dimension],
        seed=checks.integer("seed", seed, least=0),
    )
    steps = patches // _BATCH
    schedule = replace(
        base.schedule,
        patches=patches,
        batch_size=_BATCH,
        cycles=1,
        learning_rate=_LEARNING_RATE,
        average_decay=_AVERAGE_DECAY,
        validate_every=max(1, steps // _VALIDATIONS),
        validation_patches=_VALIDATION_PATCHES,
        compile=False,
    )
    return replace(
        base,
        name=name,
        title=f"{start}, adapted to one microscope",
        description=f"{start}, trained further for one PSF and one level of noise. "
        f"{' '.join(conditions.notes)} It is for images of the microscope that it was adapted to.",
        history="Made by napari_lucyd.adapt on the user's machine.",
        data=data,
        schedule=schedule,
    )
