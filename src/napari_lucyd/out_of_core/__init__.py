"""Deconvolution of images larger than memory into OME-Zarr, on one machine or many.

An interrupted run is resumed. The arithmetic is that of `napari_lucyd.deconvolution`; this package decides
which part is computed where and when, and keeps the journal.
"""

from __future__ import annotations

from napari_lucyd.errors import StoreError

from .api import deconvolve_to_zarr, plan_to_zarr
from .executors import Executor, LocalExecutor, workers_for
from .job import StoreJob
from .journal import PARTIAL, partial_path

__all__ = [
    "LocalExecutor",
    "PARTIAL",
    "StoreError",
    "StoreJob",
    "Executor",
    "deconvolve_to_zarr",
    "partial_path",
    "plan_to_zarr",
    "workers_for",
]
