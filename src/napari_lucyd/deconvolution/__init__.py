"""Deconvolution of arrays, tile by tile."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_lucyd.compute.device import Device, choose_device
    from napari_lucyd.deconvolution.api import deconvolve, plan
    from napari_lucyd.deconvolution.change import Change, adjust_strength, explain_change
    from napari_lucyd.deconvolution.classical.by_name import (
        CLASSICAL_METHODS,
        make_method,
        method_from_recipe,
    )
    from napari_lucyd.deconvolution.classical.functions import richardson_lucy, wiener
    from napari_lucyd.deconvolution.classical.methods import ClassicalMethod, RichardsonLucy, Wiener
    from napari_lucyd.deconvolution.classical.semi_blind import SemiBlind
    from napari_lucyd.deconvolution.first_stage.blur import check_blur
    from napari_lucyd.deconvolution.first_stage.estimate import FirstEstimate, first_estimate, iterations_for
    from napari_lucyd.deconvolution.image.axes import Axes, name_axes
    from napari_lucyd.deconvolution.image.source import Source
    from napari_lucyd.deconvolution.job import Job
    from napari_lucyd.deconvolution.recipe import model_from_recipe, options_from_recipe
    from napari_lucyd.deconvolution.result import Progress, Result
    from napari_lucyd.deconvolution.statistics.noise import plane_noise
    from napari_lucyd.deconvolution.statistics.scaling import Statistics
    from napari_lucyd.errors import Cancelled, DeconvolutionError, OutOfMemory
    from napari_lucyd.psf.cleaning import check_psf_steps

# Imported on first use, so that naming axes and catching errors does not import torch.
_HOMES = {
    "Axes": "deconvolution.image.axes",
    "CLASSICAL_METHODS": "deconvolution.classical.by_name",
    "Cancelled": "errors",
    "Change": "deconvolution.change",
    "ClassicalMethod": "deconvolution.classical.methods",
    "DeconvolutionError": "errors",
    "Device": "compute.device",
    "FirstEstimate": "deconvolution.first_stage.estimate",
    "Job": "deconvolution.job",
    "OutOfMemory": "errors",
    "Progress": "deconvolution.result",
    "Result": "deconvolution.result",
    "RichardsonLucy": "deconvolution.classical.methods",
    "SemiBlind": "deconvolution.classical.semi_blind",
    "Source": "deconvolution.image.source",
    "Statistics": "deconvolution.statistics.scaling",
    "Wiener": "deconvolution.classical.methods",
    "adjust_strength": "deconvolution.change",
    "check_blur": "deconvolution.first_stage.blur",
    "check_psf_steps": "psf.cleaning",
    "choose_device": "compute.device",
    "deconvolve": "deconvolution.api",
    "plane_noise": "deconvolution.statistics.noise",
    "explain_change": "deconvolution.change",
    "first_estimate": "deconvolution.first_stage.estimate",
    "iterations_for": "deconvolution.first_stage.estimate",
    "make_method": "deconvolution.classical.by_name",
    "method_from_recipe": "deconvolution.classical.by_name",
    "model_from_recipe": "deconvolution.recipe",
    "name_axes": "deconvolution.image.axes",
    "options_from_recipe": "deconvolution.recipe",
    "plan": "deconvolution.api",
    "richardson_lucy": "deconvolution.classical.functions",
    "wiener": "deconvolution.classical.functions",
}

__all__ = [
    "Axes",
    "CLASSICAL_METHODS",
    "Cancelled",
    "Change",
    "ClassicalMethod",
    "DeconvolutionError",
    "Device",
    "FirstEstimate",
    "Job",
    "OutOfMemory",
    "Progress",
    "Result",
    "RichardsonLucy",
    "SemiBlind",
    "Source",
    "Statistics",
    "Wiener",
    "adjust_strength",
    "check_blur",
    "check_psf_steps",
    "choose_device",
    "deconvolve",
    "plane_noise",
    "explain_change",
    "first_estimate",
    "iterations_for",
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
    return getattr(importlib.import_module(f"napari_lucyd.{_HOMES[name]}"), name)
