"""Deconvolution: arrays in, results out, tile by tile."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_lucyd.deconvolution.axes import Axes, name_axes
    from napari_lucyd.deconvolution.classical import richardson_lucy, wiener
    from napari_lucyd.deconvolution.device import Device, choose_device
    from napari_lucyd.deconvolution.engine import deconvolve, plan
    from napari_lucyd.deconvolution.errors import Cancelled, DeconvolutionError, OutOfMemory
    from napari_lucyd.deconvolution.job import Job
    from napari_lucyd.deconvolution.methods import (
        CLASSICAL_METHODS,
        ClassicalMethod,
        RichardsonLucy,
        Wiener,
        check_psf_steps,
        make_method,
        method_from_recipe,
    )
    from napari_lucyd.deconvolution.normalization import Statistics
    from napari_lucyd.deconvolution.recipe import model_from_recipe, options_from_recipe
    from napari_lucyd.deconvolution.result import Progress, Result

# Loaded when used: naming axes and catching errors needs no torch.
_HOMES = {
    "Axes": "axes",
    "CLASSICAL_METHODS": "methods",
    "Cancelled": "errors",
    "ClassicalMethod": "methods",
    "DeconvolutionError": "errors",
    "Device": "device",
    "Job": "job",
    "OutOfMemory": "errors",
    "Progress": "result",
    "Result": "result",
    "RichardsonLucy": "methods",
    "Statistics": "normalization",
    "Wiener": "methods",
    "check_psf_steps": "methods",
    "choose_device": "device",
    "deconvolve": "engine",
    "make_method": "methods",
    "method_from_recipe": "methods",
    "model_from_recipe": "recipe",
    "name_axes": "axes",
    "options_from_recipe": "recipe",
    "plan": "engine",
    "richardson_lucy": "classical",
    "wiener": "classical",
}

__all__ = [
    "Axes",
    "CLASSICAL_METHODS",
    "Cancelled",
    "ClassicalMethod",
    "DeconvolutionError",
    "Device",
    "Job",
    "OutOfMemory",
    "Progress",
    "Result",
    "RichardsonLucy",
    "Statistics",
    "Wiener",
    "check_psf_steps",
    "choose_device",
    "deconvolve",
    "make_method",
    "method_from_recipe",
    "model_from_recipe",
    "name_axes",
    "options_from_recipe",
    "plan",
    "richardson_lucy",
    "wiener",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
