"""Synthetic samples with a known truth: phantoms, structures, PSFs, and the images of microscopes."""

from napari_lucyd.simulation.acquisition import acquire
from napari_lucyd.simulation.degradation import Degraded, blur_psf, degrade
from napari_lucyd.simulation.microscope import Microscope
from napari_lucyd.simulation.phantoms import Phantom, make_phantom
from napari_lucyd.simulation.psf import make_psf
from napari_lucyd.simulation.reproduce import repeat_simulation, simulated_psf
from napari_lucyd.simulation.structures import make_structures
from napari_lucyd.simulation.surrogates import make_surrogate

__all__ = [
    "Degraded",
    "Microscope",
    "Phantom",
    "acquire",
    "blur_psf",
    "degrade",
    "make_phantom",
    "make_psf",
    "make_structures",
    "make_surrogate",
    "repeat_simulation",
    "simulated_psf",
]
