"""Synthetic samples with a known truth: phantoms and what a microscope does to them."""

from napari_lucyd.simulation.degradation import Degraded, degrade
from napari_lucyd.simulation.phantoms import Phantom, make_phantom

__all__ = ["Degraded", "Phantom", "degrade", "make_phantom"]
