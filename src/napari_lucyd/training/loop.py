"""Training loop for any network, with patches, a loss and an optimiser."""

from __future__ import annotations

import copy
import csv
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader

from napari_lucyd.compute.device import torch_defaults
from napari_lucyd.models.model import save_model
from napari_lucyd.networks import LUCYD, Health, Network, network_class
from napari_lucyd.networks.health import ChannelWatch, health_of, mask_figures
from napari_lucyd.training.config import TrainingConfig, load_config, parse_config
from napari_lucyd.training.convolutions import use_few_channels
from napari_lucyd.training.data import VALIDATION_PHANTOMS, Patch, Patches
from napari_lucyd.training.initialization import (
    hold_output,
    measure_norms,
    start_from,
    start_near_identity,
)
from napari_lucyd.training.loss import (
    each_loss,
    local_flux_error,
    loss_of,
    lucyd_loss,
    squared_loss,
    ssim_global,
)
from napari_lucyd.training.model_card import finish, trained_for

LOG_COLUMNS = (
    "step", "patches", "learning_rate", "loss", "validation_psnr", "validation_ssim_global",
    "dead_channels", "mask_share", "mask_spread",
)  # fmt: skip
# Seconds between checkpoints, which is the most that a crash can cost.
CHECKPOINT_SECONDS = 120.0
# Source of the patches, for the card: first estimates, or other images.
_DATA = {
    True: "first estimates of new structures (napari_lucyd.simulation)",
    False: "new phantoms after Li et al. 2022 (napari_lucyd.simulation)",
}
# Number of steps after which statistics gathered from batches describe the layers well.
SETTLED = 200


class DeadLayerError(RuntimeError):
    """A layer of the network has no living channel, and training cannot revive it."""


class TrainingProgress(NamedTuple):
    """The state of a run after a step; the figures of the validation are None unless it was validated."""

    step: int
    steps: int
    loss: float
    seconds_left: float
    validation_psnr: float | None
    validation_ssim_global: float | None
    health: Health | None = None


class _Validation(NamedTuple):
    """Figures of the averaged weights on the validation patches."""

    psnr: float
    ssim_global: float
    health: Health


@torch_defaults()
def train(
    config: TrainingConfig | str | Path,
    folder: str | Path,
    *,
    device: str = "auto",
    workers: int = 0,
    resume: bool = False,
    start: str | Path | None = None,
    stop_after: int | None = None,
    progress: Callable[[TrainingProgress], None] | None = None,
) -> Path | None:
    """Train a network and save it with its card.

    Parameters
    ----------
    config
        Configuration of the run, or its TOML file.
    folder
        Folder for ``checkpoint.pt``, ``log.csv`` and at the end the model, ``NAME.safetensors`` and
        ``NAME.json``.
    device
        ``"auto"`` (CUDA, otherwise MPS, otherwise CPU) or torch's name of a device.
    workers
        Number of additional processes that prepare patches. The patches are the same for any number.
    resume
        True to continue from the folder's checkpoint. On the CPU the result is bit for bit that of an
        uninterrupted run.
    start
        Model to start from: one with the same network and configuration, as a shipped name or a path; or the
        folder of a stopped run, whose averaged weights are used.
    stop_after
        Step of the whole run after which to save and return.
    progress
        Function that is called after each step.

    Returns
    -------
    Path or None
        Path of the model; None if `stop_after` ended the run. Ctrl-C saves a checkpoint and then raises
        KeyboardInterrupt.

    Raises
    ------
    FileExistsError
        If the folder already holds a run or a model of that name and `resume` is False.
    ValueError
        If the checkpoint to resume is damaged or belongs to another configuration, or the device cannot be
        used.
    FloatingPointError
        If the loss is not finite.
    DeadLayerError
        If a validation after step 200 finds a layer without a living channel, unless the schedule's
        ``stop_dead`` is False. The checkpoint and the log are kept.
    """
    if not isinstance(config, TrainingConfig):
        config = load_config(config)
    folder = Path(folder)
    if resume and start is not None:
        raise ValueError(
            f"resume is True and start is {str(start)!r}; give only one of them, because a resumed run "
            "continues from its own weights."
        )
    if not resume:
        _refuse_taken(folder, config.name)
    run = _Run(config, folder, _device(device), start, resume)
    if resume:
        run.load()
    folder.mkdir(parents=True, exist_ok=True)
    schedule = config.schedule
    last = min(schedule.steps, schedule.steps if stop_after is None else stop_after)
    first, started, saved = run.step, time.monotonic(), time.monotonic()
    try:
        for batch in _batches(config, run.step, last, workers):
            with _finished_before_interrupt():
                loss = run.train_on(batch)
                validation = (
                    run.validate()
                    if run.step % schedule.validate_every == 0 or run.step == schedule.steps
                    else None
                )
                run.log(loss, validation)
            if time.monotonic() - saved > CHECKPOINT_SECONDS:
                run.save()
                saved = time.monotonic()
            if progress:
                pace = (time.monotonic() - started) / (run.step - first)
                figures = validation or (None, None, None)
                progress(TrainingProgress(run.step, schedule.steps, loss, pace * (last - run.step), *figures))
            if validation and schedule.stop_dead and run.step >= SETTLED:
                _refuse_dead(validation.health, run.step)
    finally:
        # Saves also if Ctrl-C or an error ends the run, so that only the current step is lost.
        if run.step > first:
            run.save()
    return run.finish() if run.step == schedule.steps else None


class _Run:
    """The state of a run, with its files."""

    def __init__(
        self,
        config: TrainingConfig,
        folder: Path,
        device: torch.device,
        start: str | Path | None = None,
        resume: bool = False,
    ) -> None:
        self.config, self.folder, self.device = config, folder, device
        schedule = config.schedule
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(schedule.seed)
            network = network_class(config.network)(config.network)
        if isinstance(network, LUCYD) and schedule.identity_output:
            hold_output(network)
        if isinstance(network, LUCYD) and schedule.near_identity:
            start_near_identity(network)
        self.started_from: dict[str, Any] | None = None
        if start is not None:
            self.started_from = start_from(network, start)
        elif schedule.measured_norms and not resume:
            measure_norms(network, torch.stack([patch.image for patch in self.validation]))
        self.layout = torch.channels_last_3d if config.network.dimension == 3 else torch.channels_last
        # torch's annotations do not know this overload.
        self.network: Network = network.to(device).to(memory_format=self.layout)  # type: ignore[call-overload]
        kind = nn.modules.batchnorm._BatchNorm
        self.norms = [module for module in self.network.modules() if isinstance(module, kind)]
        # These norms never use the statistics of the batch.
        self.held = [network.rescale] if isinstance(network, LUCYD) and schedule.identity_output else []
        # The running statistics of batch norms are averaged too, so that they suit the averaged weights.
        self.averaged = AveragedModel(self.network, use_buffers=True)
        if device.type == "cpu":
            use_few_channels(self.network)
        self.loss = loss_of(network.name, schedule.loss)
        self.optimizer = torch.optim.Adam(self.network.parameters(), betas=(0.9, 0.999))
        self.schedule = self.cycle()
        self.forward: nn.Module = self.network
        if schedule.compile:
            self.forward = torch.compile(self.network)  # type: ignore[assignment]
        self.step = 0
        self.seconds = 0.0
        self.rows: list[dict[str, Any]] = []

    def cycle(self) -> torch.optim.lr_scheduler.OneCycleLR:
        """Return a new schedule of the learning rate for one cycle."""
        schedule = self.config.schedule
        return torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer, schedule.learning_rate, total_steps=schedule.cycle_steps, cycle_momentum=False
        )

    def train_on(self, batch: Patch) -> float:
        started = time.monotonic()
        batch = Patch(*(tensor.to(self.device, non_blocking=True) for tensor in batch))
        self.network.train()
        schedule = self.config.schedule
        frozen = self.step >= schedule.free_norms * schedule.steps
        for norm in self.norms if frozen else self.held:
            norm.eval()
        self.optimizer.zero_grad(set_to_none=True)
        result = self.forward(batch.image.contiguous(memory_format=self.layout))
        loss = self.total_loss(result, batch)
        value = loss.item()
        if not math.isfinite(value):
            raise FloatingPointError(
                f"The loss became {value} at step {self.step + 1}; choose a lower schedule.learning_rate."
            )
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.network.parameters(), self.config.schedule.clip)
        self.optimizer.step()
        self.schedule.step()
        # Average over at most the last tenth of the steps; otherwise a short run would keep its start.
        decay = min(self.config.schedule.average_decay, (1 + self.step) / (10 + self.step))
        self.averaged.multi_avg_fn = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
        self.averaged.update_parameters(self.network)
        if frozen:
            # Early variances are huge and would dominate the average for a long time.
            for kept, current in zip(self.averaged.module.buffers(), self.network.buffers(), strict=True):
                kept.copy_(current)
        self.step += 1
        if self.step % self.config.schedule.cycle_steps == 0 and self.step < self.config.schedule.steps:
            self.schedule = self.cycle()
        self.seconds += time.monotonic() - started
        return value

    def total_loss(self, result: Any, batch: Patch) -> Tensor:
        """Return the loss on the output, and on LUCYD's intermediate estimate if that is trained too."""
        schedule = self.config.schedule
        mask_alone = self.step < schedule.mask_first * schedule.steps
        terms = [] if mask_alone else [self.loss(result, batch) + self.flux_loss(result.output, batch)]
        weight = 1.0 if mask_alone else schedule.intermediate_weight
        if weight:
            error = {"lucyd_each": each_loss, "squared": squared_loss}.get(schedule.loss, lucyd_loss)
            estimate, truth = result.intermediate * batch.weight, batch.truth * batch.weight
            terms.append(weight * (error(estimate, truth) + self.flux_loss(result.intermediate, batch)))
        return torch.stack(terms).sum()

    def flux_loss(self, image: Tensor, batch: Patch) -> Tensor:
        """Return the weighted error of local means."""
        if not self.config.schedule.flux_weight:
            return image.new_zeros(())
        flux = local_flux_error(image * batch.weight, batch.truth * batch.weight)
        return self.config.schedule.flux_weight * flux

    def validate(self) -> _Validation:
        """Evaluate the averaged weights on fixed patches of other phantoms, and return means."""
        self.averaged.eval()
        network: Network = self.averaged.module  # type: ignore[assignment]
        psnr, ssim, masks = [], [], []
        with torch.no_grad(), ChannelWatch(network) as watch:
            for image, truth, weight in self.validation:
                y = image[None].to(self.device)
                result = network(y)
                masks += mask_figures(network, y, result)
                output = result.output[0].cpu() * weight
                psnr.append(-10 * math.log10(max((output - truth * weight).square().mean().item(), 1e-12)))
                ssim.append(ssim_global(output, truth * weight).item())
        return _Validation(float(np.mean(psnr)), float(np.mean(ssim)), health_of(watch, masks))

    @cached_property
    def validation(self) -> list[Patch]:
        """A few patches from each of several phantoms outside the training data."""
        patches = Patches(self.config, VALIDATION_PHANTOMS)
        spread = self.config.data.patches_per_phantom * self.config.data.alive
        count = self.config.schedule.validation_patches
        return [patches[i // 6 * spread + i % 6] for i in range(count)]

    def log(self, loss: float, validation: _Validation | None) -> None:
        rate = self.schedule.get_last_lr()[0]
        patches = self.step * self.config.schedule.batch_size
        row = [self.step, patches, f"{rate:.4e}", f"{loss:.6f}"]
        if validation is None:
            row += [""] * (len(LOG_COLUMNS) - len(row))
        else:
            psnr, ssim, health = validation
            masks = (health.mask_share, health.mask_spread)
            row += [f"{value:.4f}" for value in (psnr, ssim, health.dead_channels)]
            row += ["" if value is None else f"{value:.4g}" for value in masks]
        self.rows.append(dict(zip(LOG_COLUMNS, row, strict=True)))

    def save(self) -> None:
        """Write checkpoint and log; an interruption while writing leaves the previous ones intact."""
        state = {
            "config": self.config.as_dict(),
            "started_from": self.started_from,
            "step": self.step,
            "seconds": self.seconds,
            "rows": self.rows,
            "network": self.network.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
        }
        unfinished = self.folder / "checkpoint.pt.partial"
        torch.save(state, unfinished)
        os.replace(unfinished, self.folder / "checkpoint.pt")
        unfinished = self.folder / "log.csv.partial"
        with unfinished.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, LOG_COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(self.rows)
        os.replace(unfinished, self.folder / "log.csv")

    def load(self) -> None:
        path = self.folder / "checkpoint.pt"
        if not path.is_file():
            raise FileNotFoundError(
                f"{path} does not exist, so there is no run to resume; give the folder of a run, or start a "
                f"new one."
            )
        try:
            state = torch.load(path, map_location=self.device, weights_only=True)
            same = _without_texts(parse_config(state["config"])) == _without_texts(self.config)
            if same:
                self.started_from = state["started_from"]
                self.step, self.seconds, self.rows = state["step"], state["seconds"], state["rows"]
                self.network.load_state_dict(state["network"])
                self.averaged.load_state_dict(state["averaged"])
                self.optimizer.load_state_dict(state["optimizer"])
                self.schedule.load_state_dict(state["schedule"])
        # torch may raise any error for a damaged file; they all mean the same.
        except Exception as error:
            lines = str(error).strip().splitlines()
            raise ValueError(
                f"{path} is damaged, or not a checkpoint of this version "
                f"({type(error).__name__}{': ' + lines[0] if lines else ''}). "
                "Start the training again in another folder."
            ) from error
        if not same:
            raise ValueError(
                f"{path} belongs to a run with another configuration; resume with that configuration, or "
                "train into another folder."
            )

    def finish(self) -> Path:
        config, data = self.config, self.config.data
        images = torch.stack([patch.image for patch in self.validation]).to(self.device)
        # The averaged weights become the model.
        network: Network = copy.deepcopy(self.averaged.module).eval()  # type: ignore[assignment]
        measured = finish(network, images, centre=not config.schedule.identity_output)
        validated = [row for row in self.rows if row["validation_psnr"]]
        card = {
            "title": config.title,
            "description": config.description,
            **trained_for(data, images),
            "poisson_noise": data.photometric,
            # Part of a surrogate's light falls outside the image, and a network may restore it.
            "flux_kept": data.track in ("open", "estimates") and config.schedule.flux_weight > 0,
            "training": {
                "track": data.track,
                "history": config.history,
                "data": _DATA[data.track == "estimates"],
                "patches": self.step * config.schedule.batch_size,
                "steps": self.step,
                "seed": config.schedule.seed,
                "seconds": round(self.seconds),
                "device": str(self.device.type),
                "torch": torch.__version__.split("+")[0],
                "config": config.as_dict(),
                "command": self.command(),
                **({"started_from": self.started_from} if self.started_from else {}),
            },
            "metrics": {
                "validation": {
                    "psnr": float(validated[-1]["validation_psnr"]),
                    "ssim_global": float(validated[-1]["validation_ssim_global"]),
                    "on": f"{config.schedule.validation_patches} patches of phantoms not trained on",
                },
                **measured,
            },
            "license": "BSD-3-Clause",
        }
        return save_model(
            self.folder / f"{config.name}.safetensors",
            network.to(memory_format=torch.contiguous_format),  # type: ignore[call-overload]
            normalization=asdict(config.normalization),
            card=card,
            half_precision=config.half_precision,
            overwrite=True,
        )

    def command(self) -> str:
        command = f"lucyd train configs/{self.config.name}.toml"
        if self.started_from:
            command += f" --start {self.started_from['given']}"
        return command


def _batches(config: TrainingConfig, first: int, last: int, workers: int) -> Iterator[Patch]:
    size = config.schedule.batch_size
    indices = [list(range(step * size, (step + 1) * size)) for step in range(first, last)]
    loader = DataLoader(Patches(config), batch_sampler=indices, num_workers=workers)
    for image, truth, weight in loader:
        yield Patch(image, truth, weight)


@contextmanager
def _finished_before_interrupt() -> Iterator[None]:
    """Delay Ctrl-C and SIGTERM until a step is complete, since half a step cannot be resumed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    # A handler that is not a function ends the process at once, or ignores the signal.
    held = {number: handler for number, handler in handlers.items() if callable(handler)}
    for number in held:
        signal.signal(number, lambda number, _: came.append(number))
    try:
        yield
    finally:
        for number, handler in held.items():
            signal.signal(number, handler)
    if came:
        signal.raise_signal(came[0])


def _without_texts(config: TrainingConfig) -> TrainingConfig:
    """Return the configuration without its texts, which may change while a run is stopped."""
    return replace(config, title="", description="", history="")


def _refuse_dead(health: Health, step: int) -> None:
    """Raise an error if a layer has no living channel."""
    if health.dead_layers:
        raise DeadLayerError(
            f"At step {step} all channels of {', '.join(health.dead_layers)} are dead, as are "
            f"{health.dead_channels:.0%} of all channels, and training cannot revive them. Start again with "
            "a lower learning_rate, or with measured_norms = true and free_norms = 0. A run with "
            "stop_dead = false continues nevertheless."
        )


def _refuse_taken(folder: Path, name: str) -> None:
    """Raise an error if a new run would replace files of another run or of the user."""
    if (folder / "checkpoint.pt").exists():
        raise FileExistsError(f"{folder} already holds a run; resume it, or choose another folder.")
    for file in (f"{name}.safetensors", f"{name}.json"):
        if (folder / file).exists():
            raise FileExistsError(
                f"{folder / file} already exists, and the trained model would replace it; choose another "
                "folder, or another name in the configuration."
            )


def _device(name: str) -> torch.device:
    if name != "auto":
        try:
            device = torch.device(name)
            torch.zeros(1, device=device)  # only its use shows if it is available
        # The type of the error depends on the build of torch.
        except Exception as error:
            lines = str(error).strip().splitlines() or [type(error).__name__]
            raise ValueError(
                f"device is {name!r}, which cannot be used here ({lines[0]}); give 'auto' or 'cpu'. lucyd "
                "info lists the devices."
            ) from error
        return device
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
