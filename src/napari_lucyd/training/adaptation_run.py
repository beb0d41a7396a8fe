"""Training of an adaptation: for a limited time, keeping the weights of the best validation."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from napari_lucyd.errors import Cancelled
from napari_lucyd.models import Model
from napari_lucyd.networks import Network
from napari_lucyd.text import count_text
from napari_lucyd.training.conditions import Conditions
from napari_lucyd.training.config import TrainingConfig
from napari_lucyd.training.data import TRAINING_PHANTOMS, VALIDATION_PHANTOMS, MakeSpecimen, Patch, Patches
from napari_lucyd.training.estimates import EstimateSpecimen
from napari_lucyd.training.trainer import Trainer, Validation

# The rate rises over this share of the run, and then falls to nearly zero.
_WARM_UP = 0.1
# One in this number of specimens has a Gaussian blur within these limits instead of the microscope's PSF, so
# that the model keeps what it has learned about other images.
_OTHER_EVERY = 3
_OTHER_BLURS, _OTHER_RATIOS = (0.7, 3.0), (0.8, 2.2)

Stage = Literal["measuring", "training", "trust"]


class PatchPictures(NamedTuple):
    """The middle plane of a validation patch, (Y, X) float32: first estimate, model before, after, truth."""

    estimate: npt.NDArray[np.float32]
    before: npt.NDArray[np.float32]
    after: npt.NDArray[np.float32]
    truth: npt.NDArray[np.float32]


class AdaptationProgress(NamedTuple):
    """The state of an adaptation.

    Attributes
    ----------
    stage
        ``"measuring"`` (blur and noise), ``"training"`` or ``"trust"`` (the questions of the trust suite).
    done, total
        Steps of this stage; the total is that of the steps for which there is time.
    seconds_left
        Time left in this stage; NaN if unknown.
    validation_psnr
        Validations in dB, from that of the start to the last one.
    pictures
        Pictures of a validation patch, if there was a validation.
    """

    stage: Stage
    done: int
    total: int
    seconds_left: float
    validation_psnr: tuple[float, ...] = ()
    pictures: PatchPictures | None = None


NO_STEP = "The training was stopped before its first step, so no model was saved."


class AdaptationRun:
    """The training of an adaptation, in memory.

    Parameters
    ----------
    config
        Configuration.
    conditions
        Microscope and noise.
    start
        Model to start from.
    device
        Device of the network.
    until
        Time of `time.monotonic` at which the training ends.
    should_stop
        Function that is asked often; True ends the training.

    Raises
    ------
    Cancelled
        If ``should_stop`` returns True, here or before the first step of `train`.
    """

    def __init__(
        self,
        config: TrainingConfig,
        conditions: Conditions,
        start: Model,
        device: torch.device,
        until: float,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> None:
        self.config, self._until, self._should_stop = config, until, should_stop
        self._check()
        make = _specimens(config, conditions)
        self.trainer = Trainer(config, device, start, make_specimen=make)
        self.trainer.validation = _validation_patches(config, make, self._check)
        self._patches = Patches(config, make_specimen=make)
        self.validations: list[Validation] = []
        self.best_step = self._validated = 0
        self.stopped = False
        self._best: dict[str, torch.Tensor] = {}
        self._began = time.monotonic()
        self.trainer.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.trainer.optimizer, lambda _: self._rate()
        )

    def train(self, report: Callable[[AdaptationProgress], object]) -> None:
        """Train to the end, until the time is over, or until Ctrl-C or ``should_stop``."""
        trainer, steps = self.trainer, self.config.schedule.steps
        pictures = self._pictures(None)
        self._validate(self._check)
        self._began = time.monotonic()
        try:
            report(self._state(steps, pictures))
            while trainer.step < steps and time.monotonic() < self._until:
                batch = self._batch(trainer.step)
                if batch is None:
                    self.stopped = True
                    break
                trainer.train_on(batch)
                if trainer.step % self.config.schedule.validate_every == 0:
                    self._validate()
                    pictures = self._pictures(pictures)
                report(self._state(steps, pictures))
        except KeyboardInterrupt:
            self.stopped = True  # the best is kept
        if self.stopped and not trainer.step:
            self._check()
        if trainer.step > self._validated:
            self._validate()
            report(self._state(trainer.step, self._pictures(pictures)))

    @property
    def gain(self) -> float:
        """Improvement of the validation, in dB."""
        psnrs = [entry.psnr for entry in self.validations]
        return max(psnrs) - psnrs[0]

    def best_network(self) -> Network:
        """Return the network of the best validation."""
        network: Network = copy.deepcopy(self.trainer.averaged.module)  # type: ignore[assignment]
        network.load_state_dict(self._best)
        network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        return network.eval()

    def validation_entries(self) -> dict[str, Any]:
        """Return the card's entries on the validation."""
        best = max(self.validations, key=lambda entry: entry.psnr)
        patches = self.config.schedule.validation_patches
        return {
            "psnr": round(best.psnr, 4),
            "ssim_global": round(best.ssim_global, 4),
            "psnr_before": round(self.validations[0].psnr, 4),
            "on": f"{count_text(patches, 'patch', 'patches')} of specimens not trained on",
        }

    def _batch(self, step: int) -> Patch | None:
        """Return the patches of a step, or None if the training has to end: new specimens take a while."""
        size, members = self.config.schedule.batch_size, []
        for number in range(step * size, (step + 1) * size):
            if self._should_stop():
                return None
            members.append(self._patches[number])
        return Patch(*(torch.stack(tensors) for tensors in zip(*members, strict=True)))

    def _check(self) -> None:
        if self._should_stop():
            raise Cancelled(NO_STEP)

    def _validate(self, check: Callable[[], object] = lambda: None) -> None:
        found = self.trainer.validate(check)
        if not self.validations or found.psnr > max(entry.psnr for entry in self.validations):
            state = self.trainer.averaged.module.state_dict()
            self._best = {name: tensor.detach().cpu().clone() for name, tensor in state.items()}
            self.best_step = self.trainer.step
        self.validations.append(found)
        self._validated = self.trainer.step

    def _rate(self) -> float:
        """Return the factor of the learning rate, by the share of steps or time that has passed."""
        now = time.monotonic()
        passed = (now - self._began) / max(self._until - self._began, 1e-9)
        done = min(max(self.trainer.step / self.config.schedule.steps, passed), 1.0)
        if done < _WARM_UP:
            return 0.1 + 0.9 * done / _WARM_UP
        return 0.01 + 0.99 * (1 + math.cos(math.pi * (done - _WARM_UP) / (1 - _WARM_UP))) / 2

    def _state(self, steps: int, pictures: PatchPictures) -> AdaptationProgress:
        done = self.trainer.step
        psnrs = tuple(entry.psnr for entry in self.validations)
        if not done:
            return AdaptationProgress("training", 0, steps, math.nan, psnrs, pictures)
        now = time.monotonic()
        pace, limit = (now - self._began) / done, max(self._until - now, 0.0)
        total = min(steps, done + math.ceil(limit / pace))
        return AdaptationProgress("training", done, total, min(pace * (steps - done), limit), psnrs, pictures)

    def _pictures(self, earlier: PatchPictures | None) -> PatchPictures:
        """Return the middle plane of the first validation patch, restored by the averaged weights."""
        patch = self.trainer.validation[0]
        with torch.no_grad():
            network = self.trainer.averaged.eval()
            output = network(patch.image[None].to(self.trainer.device)).output[0].cpu()
        planes = [tensor[0].numpy() for tensor in (patch.image, output, patch.truth)]
        image, now, truth = (plane if plane.ndim == 2 else plane[len(plane) // 2] for plane in planes)
        return PatchPictures(image, now if earlier is None else earlier.before, now, truth)


def _specimens(config: TrainingConfig, conditions: Conditions) -> MakeSpecimen:
    """Return a function that makes specimens of the microscope, and in between some with other blurs."""
    scaling, microscope = config.normalization, conditions.known
    others = replace(
        config.data, modalities=("gaussian",), blur_sigma=_OTHER_BLURS, axial_ratio=_OTHER_RATIOS, misled=0.0
    )

    def make(seed: int) -> EstimateSpecimen:
        if seed >= TRAINING_PHANTOMS and seed % _OTHER_EVERY == 0:
            return EstimateSpecimen(others, scaling, seed)
        return EstimateSpecimen(config.data, scaling, seed, microscope)

    return make


def _validation_patches(
    config: TrainingConfig, make_specimen: MakeSpecimen, check: Callable[[], object]
) -> list[Patch]:
    """Return six patches from each of some specimens outside the training data; `check` may end it."""
    one_by_one = replace(config, data=replace(config.data, alive=1))
    patches = Patches(one_by_one, VALIDATION_PHANTOMS, make_specimen)
    spread = config.data.patches_per_phantom
    found = []
    for i in range(config.schedule.validation_patches):
        check()
        found.append(patches[i // 6 * spread + i % 6])
    return found
