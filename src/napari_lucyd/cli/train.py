"""The command ``lucyd train``: train a network from a configuration file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_lucyd.cli.shared.console import Console, fail, print_path
from napari_lucyd.text import duration_text, percent_text

if TYPE_CHECKING:
    from napari_lucyd.networks import Health


def train(
    config: Annotated[
        Path, typer.Argument(metavar="CONFIG.toml", help="The training configuration; see configs/.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--out",
            metavar="FOLDER",
            help="Folder for checkpoint, log and model.",
            show_default="runs/NAME",
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = "auto",
    workers: Annotated[
        int,
        typer.Option(
            min=0, help="Number of processes that prepare patches; the result does not depend on it."
        ),
    ] = 0,
    resume: Annotated[
        bool, typer.Option("--resume", help="Resume from the checkpoint in the folder.")
    ] = False,
    start: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="Start from the weights of a model (a shipped name or a file) or of a run's folder.",
        ),
    ] = None,
) -> None:
    """Train a network on simulated phantoms.

    Writes checkpoint.pt and log.csv, and at the end NAME.safetensors with its
    card NAME.json, which lucyd deconvolve --model takes. Ctrl-C saves the
    state; --resume continues from it. On the CPU the weights are then the same
    as without the interruption.

    \b
    Examples:
      lucyd train configs/planes.toml -o runs/planes --workers 4
      lucyd train configs/planes.toml -o runs/planes --resume
      lucyd train my.toml --start general
    """
    from napari_lucyd.training import TrainingProgress, load_config
    from napari_lucyd.training import train as run

    console = Console()
    try:
        loaded = load_config(config)
    except (OSError, ValueError) as error:
        fail(error)
    folder = out or Path("runs") / loaded.name
    steps = loaded.schedule.steps
    with console.progress() as bar:
        task = bar.add_task(loaded.name, total=steps)

        def show(progress: TrainingProgress) -> None:
            bar.update(task, completed=progress.step, description=f"{loaded.name}: loss {progress.loss:.4f}")
            if progress.validation_psnr is not None:
                console.say(
                    f"step {progress.step} of {steps}: loss {progress.loss:.4f}, validation "
                    f"{progress.validation_psnr:.2f} dB, global SSIM {progress.validation_ssim_global:.4f}, "
                    f"{_health_text(progress.health)}"
                    f"{duration_text(progress.seconds_left)} left"
                )

        try:
            path = run(
                loaded, folder, device=device, workers=workers, resume=resume, start=start, progress=show
            )
        except KeyboardInterrupt:
            saved = (folder / "checkpoint.pt").exists()
            fail(
                f"interrupted; {'saved: --resume continues' if saved else 'nothing was done yet'}",
                status=130,
            )
        except (OSError, ValueError, FloatingPointError, RuntimeError) as error:
            fail(error)
    if path is not None:
        print_path(path)


def _health_text(health: Health | None) -> str:
    if health is None:
        return ""
    text = f"{percent_text(health.dead_channels, '.1f')} of the channels dead, "
    if health.mask_spread is not None:
        text += f"mask beyond a line {health.mask_spread:.3f} of the range, "
    return text
