"""Training loop for any network, with patches, a loss and an optimiser."""

from __future__ import annotations

import copy
import csv
import io
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch.utils.data import DataLoader

from napari_lucyd.compute.device import torch_defaults
from napari_lucyd.io.atomic import replacing
from napari_lucyd.models.model import save_model
from napari_lucyd.networks import Health, Network
from napari_lucyd.text import count_text, percent_text
from napari_lucyd.training.config import TrainingConfig, load_config, parse_config
from napari_lucyd.training.data import Patch, Patches
from napari_lucyd.training.model_card import finish, make_card
from napari_lucyd.training.trainer import Trainer, Validation, device_named

LOG_COLUMNS = (
    "step", "patches", "learning_rate", "loss", "validation_psnr", "validation_ssim_global",
    "dead_channels", "mask_share", "mask_spread",
)  # fmt: skip
# Seconds between checkpoints, which is the most that a crash can cost.
CHECKPOINT_SECONDS = 120.0
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
        Model to start from: one with the same network and configuration (LUCYD's padding, ceiling
        and full noise may differ), as a shipped name or a path; or the folder of a stopped run: its
        averaged weights are used.
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
    ImageFileError
        If the checkpoint, the log or the model cannot be written, for example because the disk is full. The
        files of the last save are kept.
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
    run = _Run(config, folder, device_named(device), start, resume)
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


class _Run(Trainer):
    """The state of a run, with its files."""

    def __init__(
        self,
        config: TrainingConfig,
        folder: Path,
        device: torch.device,
        start: str | Path | None = None,
        resume: bool = False,
    ) -> None:
        super().__init__(config, device, start, resume)
        self.folder = folder
        self.rows: list[dict[str, Any]] = []

    def log(self, loss: float, validation: Validation | None) -> None:
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
        """Write checkpoint and log; an interruption or a full disk leaves the previous ones intact."""
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
        # Made in memory, so that a full disk is an error of the system and not one of torch.
        checkpoint, log = io.BytesIO(), io.StringIO()
        torch.save(state, checkpoint)
        writer = csv.DictWriter(log, LOG_COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        for name, data in (("checkpoint.pt", checkpoint.getvalue()), ("log.csv", log.getvalue().encode())):
            with replacing(self.folder / name, overwrite=True) as unfinished:
                unfinished.write_bytes(data)

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
        config = self.config
        images = torch.stack([patch.image for patch in self.validation]).to(self.device)
        # The averaged weights become the model.
        network: Network = copy.deepcopy(self.averaged.module).eval()  # type: ignore[assignment]
        measured = finish(network, images, centre=not config.schedule.identity_output)
        patches = count_text(config.schedule.validation_patches, "patch", "patches")
        validated = [row for row in self.rows if row["validation_psnr"]]
        card = make_card(
            config,
            images,
            steps=self.step,
            seconds=self.seconds,
            device=self.device.type,
            command=self.command(),
            started_from=self.started_from,
            metrics={
                "validation": {
                    "psnr": float(validated[-1]["validation_psnr"]),
                    "ssim_global": float(validated[-1]["validation_ssim_global"]),
                    "on": f"{patches} of phantoms not trained on",
                },
                **measured,
            },
        )
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
            f"{percent_text(health.dead_channels)} of all channels, and training cannot revive them. Start "
            "again with "
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
