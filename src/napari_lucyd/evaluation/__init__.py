"""Measuring what a model does: metrics, the paper's tables, and checks of the division."""

from napari_lucyd.evaluation.metrics import psnr, ssim_global, ssim_windowed
from napari_lucyd.evaluation.tables import Table, evaluate

__all__ = ["Table", "evaluate", "psnr", "ssim_global", "ssim_windowed"]
