"""State of a training run: a network, its optimiser and schedule, and the averaged weights."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from napari_lucyd.models.model import Model
from napari_lucyd.networks import LUCYD, Health, Network, network_class
from napari_lucyd.networks.health import ChannelWatch, health_of, mask_figures
from napari_lucyd.training.config import TrainingConfig
from napari_lucyd.training.convolutions import use_few_channels
from napari_lucyd.training.data import VALIDATION_PHANTOMS, MakeSpecimen, Patch, Patches
from napari_lucyd.training.initialization import (
    hold_output,
    measure_norms,
    start_from,
    start_near_identity,
)
from napari_lucyd.training.loss import (
    each_loss,
    local_flux_error,
    local_light_error,
    loss_of,
    lucyd_loss,
    squared_loss,
    ssim_global,
)


class Validation(NamedTuple):
    """Figures of the averaged weights on the validation patches."""

    psnr: float
    ssim_global: float
    health: Health


class Trainer:
    """The state of a run in memory.

    Parameters
    ----------
    config
        Configuration of the run.
    device
        Device of the network.
    start
        Model or run to start from; see `train`.
    resume
        True if the weights are loaded afterwards.
    make_specimen
        Function that makes the specimens; see `Patches`.
    """

    def __init__(
        self,
        config: TrainingConfig,
        device: torch.device,
        start: str | Path | Model | None = None,
        resume: bool = False,
        make_specimen: MakeSpecimen | None = None,
    ) -> None:
        self.config, self.device, self.make_specimen = config, device, make_specimen
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
        self.schedule: torch.optim.lr_scheduler.LRScheduler = self.cycle()
        self.forward: nn.Module = self.network
        if schedule.compile:
            self.forward = torch.compile(self.network)  # type: ignore[assignment]
        self.step = 0
        self.seconds = 0.0

    def cycle(self) -> torch.optim.lr_scheduler.OneCycleLR:
        """Return a new schedule of the learning rate for one cycle."""
        schedule = self.config.schedule
        return torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer, schedule.learning_rate, total_steps=schedule.cycle_steps, cycle_momentum=False
        )

    def train_on(self, batch: Patch) -> float:
        """Take one step; return the loss."""
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
        """Return the weighted errors of local means."""
        schedule, total = self.config.schedule, image.new_zeros(())
        weighted, truth = image * batch.weight, batch.truth * batch.weight
        if schedule.flux_weight:
            total = total + schedule.flux_weight * local_flux_error(weighted, truth)
        if schedule.light_weight:
            total = total + schedule.light_weight * local_light_error(weighted, truth)
        return total

    def validate(self, check: Callable[[], object] = lambda: None) -> Validation:
        """Evaluate the averaged weights on fixed patches of other phantoms, and return means.

        Parameters
        ----------
        check
            Called before each patch; what it raises ends the evaluation.
        """
        self.averaged.eval()
        network: Network = self.averaged.module  # type: ignore[assignment]
        psnr, ssim, masks = [], [], []
        with torch.no_grad(), ChannelWatch(network) as watch:
            for image, truth, weight in self.validation:
                check()
                y = image[None].to(self.device)
                result = network(y)
                masks += mask_figures(network, y, result)
                output = result.output[0].cpu() * weight
                psnr.append(-10 * math.log10(max((output - truth * weight).square().mean().item(), 1e-12)))
                ssim.append(ssim_global(output, truth * weight).item())
        return Validation(float(np.mean(psnr)), float(np.mean(ssim)), health_of(watch, masks))

    @cached_property
    def validation(self) -> list[Patch]:
        """A few patches from each of several phantoms outside the training data."""
        patches = Patches(self.config, VALIDATION_PHANTOMS, self.make_specimen)
        spread = self.config.data.patches_per_phantom * self.config.data.alive
        count = self.config.schedule.validation_patches
        return [patches[i // 6 * spread + i % 6] for i in range(count)]


def device_named(name: str) -> torch.device:
    """Return a device by its name; ``"auto"`` chooses."""
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
