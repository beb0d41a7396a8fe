"""Restore blurred and noisy microscope stacks with LUCYD, in napari, in Python or from the command line.

Names are imported when they are used: ``import napari_lucyd`` alone loads neither torch nor napari.
"""

from __future__ import annotations

import os
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_lucyd.deconvolution import (
        Result,
        RichardsonLucy,
        SemiBlind,
        Wiener,
        adjust_strength,
        deconvolve,
        explain_change,
        richardson_lucy,
        wiener,
    )
    from napari_lucyd.export import export_model
    from napari_lucyd.models import Model, list_models, load_model, save_model
    from napari_lucyd.out_of_core import deconvolve_to_zarr
    from napari_lucyd.psf.beads import psf_from_beads
    from napari_lucyd.referee import (
        Examination,
        Interval,
        PlantedBeads,
        Report,
        ResultScore,
        TrustMap,
        choose_method,
        examine,
        interval,
        plant_beads,
        report,
        score,
        trust_map,
    )
    from napari_lucyd.simulation import (
        Microscope,
        degrade,
        make_phantom,
        make_psf,
        make_structures,
        make_surrogate,
    )
    from napari_lucyd.training import adapt

# On Linux torch then takes its large buffers in huge pages: faulting them in by 4 KiB costs a third of the
# time of a run on the CPU. Torch reads it once, when it first allocates; so it is set before anything can.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

_HOMES = {
    "Examination": "referee",
    "Interval": "referee",
    "Microscope": "simulation",
    "Model": "models",
    "PlantedBeads": "referee",
    "Report": "referee",
    "Result": "deconvolution",
    "ResultScore": "referee",
    "RichardsonLucy": "deconvolution",
    "SemiBlind": "deconvolution",
    "TrustMap": "referee",
    "Wiener": "deconvolution",
    "adapt": "training",
    "adjust_strength": "deconvolution",
    "deconvolve": "deconvolution",
    "deconvolve_to_zarr": "out_of_core",
    "degrade": "simulation",
    "choose_method": "referee",
    "examine": "referee",
    "explain_change": "deconvolution",
    "export_model": "export",
    "interval": "referee",
    "list_models": "models",
    "load_model": "models",
    "make_phantom": "simulation",
    "make_psf": "simulation",
    "make_structures": "simulation",
    "make_surrogate": "simulation",
    "plant_beads": "referee",
    "psf_from_beads": "psf.beads",
    "report": "referee",
    "richardson_lucy": "deconvolution",
    "save_model": "models",
    "score": "referee",
    "trust_map": "referee",
    "wiener": "deconvolution",
}

__all__ = [
    "Examination",
    "Interval",
    "Microscope",
    "Model",
    "PlantedBeads",
    "Report",
    "Result",
    "ResultScore",
    "RichardsonLucy",
    "SemiBlind",
    "TrustMap",
    "Wiener",
    "adapt",
    "adjust_strength",
    "deconvolve",
    "deconvolve_to_zarr",
    "degrade",
    "choose_method",
    "examine",
    "explain_change",
    "export_model",
    "interval",
    "list_models",
    "load_model",
    "make_phantom",
    "make_psf",
    "make_structures",
    "make_surrogate",
    "plant_beads",
    "psf_from_beads",
    "report",
    "richardson_lucy",
    "save_model",
    "score",
    "trust_map",
    "wiener",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":  # looking it up takes longer than all the rest of the import
        return _version()
    if name in _HOMES:
        try:
            return getattr(import_module(f"napari_lucyd.{_HOMES[name]}"), name)
        except ImportError as error:
            from napari_lucyd.errors import torch_reason

            if reason := torch_reason(error):
                raise ImportError(reason, name="torch") from error
            raise
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@cache  # a run's recipe asks for it, and many runs are short
def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("napari-lucyd")
    except PackageNotFoundError:  # a source tree that is on the path but not installed
        return "0+unknown"


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
