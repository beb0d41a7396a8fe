"""Deconvolution of images larger than memory into OME-Zarr, resumed where it stopped, on one machine or many.

The engine is that of `napari_lucyd.deconvolution`; here is what decides which part is computed where and
when, and what remembers it.
"""

from __future__ import annotations

from .cluster import workers_for
from .errors import StoreError
from .job import StoreJob
from .ledger import PARTIAL, partial_path
from .run import deconvolve_to_zarr, plan_to_zarr
from .workers import Here, Workers

__all__ = [
    "Here",
    "PARTIAL",
    "StoreError",
    "StoreJob",
    "Workers",
    "deconvolve_to_zarr",
    "partial_path",
    "plan_to_zarr",
    "workers_for",
]
