"""What can go wrong in a run.

None of these is a ``RuntimeError``: GUI workers swallow that one, and every error of torch is one.
"""

from __future__ import annotations

import traceback


class Cancelled(Exception):
    """The run was asked to stop; what was finished can still be had from ``Job.result()``."""


class OutOfMemory(Exception):
    """Not even the smallest tile, or a volume that has to be whole, fits into the device's memory."""


class DeconvolutionError(Exception):
    """The method could not be run, or gave something that cannot be a result."""


def clear_frames(error: BaseException | None) -> None:
    """Clear the local variables that an error holds on to: a block's tensors among them."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__


class StoreError(ValueError):
    """A store cannot be begun, gone on with or finished; the message says why and what to do."""


class BlockTooLarge(Exception):
    """The device has not the memory for this block; a smaller one may do."""
