"""Deconvolution of images larger than memory into OME-Zarr, resumed where it stopped, on one machine or many.

The engine is that of `napari_lucyd.deconvolution`; here is what decides which part is computed where and
when, and what remembers it.
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
