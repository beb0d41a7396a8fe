"""The record of a run: plain JSON from which it can be repeated."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib import metadata
from typing import Any

import numpy as np
import torch


def software_version() -> str:
    """Of this package; ``"unknown"`` where it is used without having been installed."""
    try:
        return metadata.version("napari-lucyd")
    except metadata.PackageNotFoundError:
        return "unknown"


def versions() -> dict[str, str]:
    """Of what the numbers depend on."""
    return {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__}


def options_from_recipe(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Keyword arguments that make `deconvolve` repeat a run.

    Parameters
    ----------
    recipe
        ``Result.recipe``, also after a round trip through JSON.

    Returns
    -------
    dict
        ``deconvolve(volume, load_model(recipe["model"]), **options)`` does the same run again.

    Raises
    ------
    ValueError
        If it is not a recipe; the message names what is missing.
    """
    needed = ("normalization", "resampling", "tile_shape", "halo", "device", "axes", "outputs", "region")
    missing = [name for name in needed if name not in recipe]
    if missing:
        raise ValueError(f"This is not a recipe of a deconvolution: it has no {', '.join(missing)}.")
    normalization = recipe["normalization"]
    region = recipe["region"]
    return {
        "device": recipe["device"]["torch"],
        "tile_shape": tuple(recipe["tile_shape"]),
        "halo": recipe["halo"],
        "normalization": {name: normalization[name] for name in ("method", "low", "high")},
        "voxel_size": None if recipe["voxel_size"] is None else tuple(recipe["voxel_size"]),
        "outputs": tuple(recipe["outputs"]),
        "isotropic": recipe["resampling"] is not None,
        "axes": recipe["axes"],
        "separate": normalization["separate"],
        "region": None if region is None else tuple(slice(*bounds) for bounds in region),
    }
