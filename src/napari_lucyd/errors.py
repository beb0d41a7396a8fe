"""The errors of a run.

None of them is a ``RuntimeError``: napari's workers swallow that type, and torch raises it for every error.
"""

from __future__ import annotations

import traceback


class Cancelled(Exception):
    """The run was stopped on request; ``Job.result()`` still returns what is finished."""


class OutOfMemory(Exception):
    """The smallest tile, or a volume that cannot be cut, does not fit in the device's memory."""


class DeconvolutionError(Exception):
    """The method could not run, or its result is unusable."""


def torch_reason(error: BaseException) -> str:
    """Explain that PyTorch cannot be imported; return an empty text if the error is about something else."""
    name = (error.name if isinstance(error, ImportError) else None) or ""
    if name.split(".")[0] != "torch":
        return ""
    return f"PyTorch cannot be loaded: {error}. Install it again: pip install --force-reinstall torch"


def clear_frames(error: BaseException | None) -> None:
    """Release the local variables that an error keeps alive, such as the tensors of a block."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__


class StoreError(ValueError):
    """A store cannot be created, resumed or finished; the message gives the reason and the remedy."""


class BlockTooLarge(Exception):
    """The block does not fit in the device's memory; a smaller one may."""
