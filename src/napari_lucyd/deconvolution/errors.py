"""What can go wrong in a run.

None of these is a ``RuntimeError``: GUI workers swallow that one, and every error of torch is one.
"""

from __future__ import annotations


class Cancelled(Exception):
    """The run was asked to stop; what was finished can still be had from ``Job.result()``."""


class OutOfMemory(Exception):
    """Not even the smallest tile fits into the device's memory."""


class DeconvolutionError(Exception):
    """The network could not be run, or gave something that cannot be a result."""
