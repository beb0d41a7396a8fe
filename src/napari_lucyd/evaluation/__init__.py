"""Measuring what a model does: metrics, the paper's tables, and checks of the division."""

from napari_lucyd.evaluation.division import division_share
from napari_lucyd.evaluation.metrics import psnr, ssim_global, ssim_windowed

__all__ = ["division_share", "psnr", "ssim_global", "ssim_windowed"]
