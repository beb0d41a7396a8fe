"""Terminal output of the commands: results go to standard output, messages to standard error."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

import typer

from napari_lucyd.cli.shared.words import in_options
from napari_lucyd.text import error_text, group_messages, printable

if TYPE_CHECKING:
    from rich import console as rich_console
    from rich.progress import Progress


class Console:
    """Messages, warnings and progress bars for a person at a terminal; plain lines where there is none.

    Parameters
    ----------
    quiet
        Print warnings and errors only.
    """

    def __init__(self, quiet: bool = False) -> None:
        from rich import console as rich_console

        self.quiet = quiet
        self.terminal: rich_console.Console = rich_console.Console(
            stderr=True, highlight=False, soft_wrap=True
        )

    def say(self, text: str) -> None:
        """Print a line unless quiet."""
        if not self.quiet:
            self.terminal.print(printable(text), markup=False)

    def warn(self, text: str) -> None:
        """Print a warning."""
        self.terminal.print(f"Warning: {printable(in_options(text))}", markup=False, style="yellow")

    def warn_all(self, texts: Iterable[str]) -> None:
        """Print warnings; those that say the same of several channels or time points are joined."""
        for text in group_messages(texts):
            self.warn(text)

    def error(self, text: str) -> None:
        """Print an error."""
        self.terminal.print(f"Error: {printable(in_options(text))}", markup=False, style="bold red")

    def progress(self) -> Progress:
        """Return a bar with time left, shown on a terminal only and removed at its end."""
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

        columns: tuple[Any, ...] = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            TimeRemainingColumn(),
        )
        hidden = self.quiet or not self.terminal.is_terminal
        return Progress(*columns, console=self.terminal, transient=True, disable=hidden)


def skipped(text: str) -> str:
    """Say after the reason that an input is skipped.

    Examples
    --------
    >>> skipped("no such file or folder"), skipped("All voxels are NaN.")
    ('no such file or folder; skipped', 'All voxels are NaN. Skipped.')
    """
    return f"{text} Skipped." if text.endswith(".") else f"{text}; skipped"


def fail(message: object, status: int = 1) -> NoReturn:
    """Print an error and leave with `status`."""
    text = error_text(message) if isinstance(message, BaseException) else str(message)
    typer.secho(f"Error: {printable(in_options(text))}", err=True, fg="red", bold=True)
    raise typer.Exit(status)


def print_path(path: Path) -> None:
    """Print the path of a result: byte for byte for a program, without control characters for a terminal."""
    typer.echo(printable(path) if sys.stdout.isatty() else os.fsencode(path))


@contextmanager
def interruptible() -> Iterator[None]:
    """Leave on Ctrl-C with status 130 and on termination with 143, after cleaning up unfinished files."""

    def terminate(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    except KeyboardInterrupt:
        fail(
            "interrupted; finished files are kept. An unfinished OME-Zarr has .partial in its name; "
            "the same command resumes it",
            status=130,
        )
    finally:
        signal.signal(signal.SIGTERM, before)
