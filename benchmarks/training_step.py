"""A training step of `lucyd train` against the usual step in plain PyTorch.

    python benchmarks/training_step.py [--quick]

Both have the same network, loss, batch, gradient clipping and Adam. *Plain* is eager and contiguous. Ours
keeps channels last, averages the weights, and is compiled by torch if configs/mixture.toml asks for it and
there is a C++ compiler. Times are medians of interleaved steps; the patches are made before and do not count.
Then follow single convolutions of three taps, by torch and compiled for this CPU.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import record

CONFIG = record.ROOT / "configs" / "mixture.toml"
# In addition to the batch of the configuration: the batch of the models for one specimen.
SMALL_BATCH = 2
# Inputs and outputs of LUCYD's convolutions, and the factor by which their tensors are smaller per axis.
CONVOLUTIONS = ((1, 4, 1), (4, 4, 1), (8, 4, 1), (4, 1, 1), (8, 8, 2))


def plain_step(config: Any, device: str = "cpu") -> Callable[[Any], object]:
    """Make the step of PyTorch's tutorials."""
    import torch

    from napari_lucyd.networks import network_class
    from napari_lucyd.training.loss import loss_of

    torch.manual_seed(config.schedule.seed)
    network = network_class(config.network)(config.network).train().to(device)
    optimizer = torch.optim.Adam(network.parameters(), lr=config.schedule.learning_rate)
    own = loss_of(network.name)

    def step(batch: Any) -> None:
        optimizer.zero_grad()
        loss = own(network(batch.image), batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), config.schedule.clip)
        optimizer.step()

    return step


def our_step(config: Any, compiled: bool, device: str = "cpu") -> Callable[[Any], object]:
    """Make the step of the training loop."""
    import torch

    from napari_lucyd.training.loop import _Run

    chosen = replace(config, schedule=replace(config.schedule, compile=compiled))
    run = _Run(chosen, Path(tempfile.gettempdir()), torch.device(device))
    return run.train_on


def random_batch(config: Any) -> Any:
    """Make a random batch of the right shape; the values do not affect the time."""
    import torch

    from napari_lucyd.training.data import Patch

    size = (config.schedule.batch_size, 1, *config.data.patch_shape)
    weight = torch.ones(config.schedule.batch_size, *[1] * (len(size) - 1))
    return Patch(torch.rand(size), torch.rand(size), weight)


def convolutions(shape: Sequence[int], repeats: int) -> list[dict[str, Any]]:
    """Time the forward pass and both gradients of single layers; none without kernels."""
    import torch

    from napari_lucyd.training.convolutions import few_channels, few_channels_gradient, reliable

    if not reliable(4, 4):
        return []

    def tensor(*size: int) -> Any:
        return torch.rand(size).contiguous(memory_format=torch.channels_last_3d)

    found = []
    for inputs, outputs, smaller in CONVOLUTIONS:
        space = [extent // smaller for extent in shape]
        x, gradient = tensor(SMALL_BATCH, inputs, *space), tensor(SMALL_BATCH, outputs, *space)
        weight = tensor(outputs, inputs, 3, 3, 3)

        def backward(*wanted: bool, x: Any = x, gradient: Any = gradient, weight: Any = weight) -> object:
            ones = [1, 1, 1]
            return torch.ops.aten.convolution_backward(
                gradient, x, weight, None, ones, ones, ones, False, [0, 0, 0], 1, [*wanted, False]
            )

        turned = weight.transpose(0, 1).flip((2, 3, 4))
        pairs: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
            "forward": (
                lambda x=x, weight=weight: torch.nn.functional.conv3d(x, weight, padding=1),
                lambda x=x, weight=weight: few_channels(x, weight),
            ),
            "gradient by the input": (
                lambda backward=backward: backward(True, False),
                lambda gradient=gradient, turned=turned: few_channels(gradient, turned),
            ),
            "gradient by the weights": (
                lambda backward=backward: backward(False, True),
                lambda x=x, gradient=gradient: few_channels_gradient(x, gradient),
            ),
        }
        row: dict[str, Any] = {"inputs": inputs, "outputs": outputs, "shape": (SMALL_BATCH, *space)}
        for name, (torchs, ours) in pairs.items():
            seconds = record.interleaved({"torch": torchs, "ours": ours}, repeats)
            row[name] = {kind: statistics.median(times) for kind, times in seconds.items()}
        found.append(row)
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write the record."""
    options = record.parser(__doc__).parse_args(arguments)
    import torch

    from napari_lucyd.training import load_config

    config = load_config(CONFIG)
    if options.quick:
        config = replace(config, data=replace(config.data, patch_shape=(8, 16, 16)))
    layers = convolutions(config.data.patch_shape, 1 if options.quick else 15)
    not_compiled, batches = "a smoke run" if options.quick else "", []
    for batch_size in (config.schedule.batch_size, SMALL_BATCH):
        chosen = replace(config, schedule=replace(config.schedule, batch_size=batch_size))
        batch = random_batch(chosen)
        steps = {"plain PyTorch": plain_step(chosen), "ours, not compiled": our_step(chosen, compiled=False)}
        if not not_compiled:
            compiled = our_step(chosen, compiled=True)
            try:
                compiled(batch)
                steps["ours"] = compiled
            except Exception as error:  # torch has several errors for a missing compiler
                not_compiled = str(error).strip().splitlines()[0]
        calls = {name: lambda step=step, batch=batch: step(batch) for name, step in steps.items()}
        seconds = record.interleaved(calls, 1 if options.quick else 5)
        rows = {
            name: {
                "seconds": statistics.median(times),
                "times_as_fast": record.ratio(seconds["plain PyTorch"], times),
            }
            for name, times in seconds.items()
        }
        batches.append({"batch": tuple(batch.image.shape), "steps": rows})
    record.save(
        options,
        "training_step",
        {
            "threads": torch.get_num_threads(),
            "batches": batches,
            "not_compiled": not_compiled,
            "convolutions": layers,
        },
    )


if __name__ == "__main__":
    main()
