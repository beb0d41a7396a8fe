"""Measuring what methods do: metrics and the paper's tables; their cost is in a module of its own."""

from napari_lucyd.evaluation.competitors import load_competitor, with_options
from napari_lucyd.evaluation.metrics import psnr, ssim_global, ssim_windowed
from napari_lucyd.evaluation.protocols import (
    TEST_SEEDS,
    Protocol,
    open_protocol,
    options_protocol,
    strict_protocol,
    surrogate_protocol,
)
from napari_lucyd.evaluation.tables import Table, evaluate

__all__ = [
    "TEST_SEEDS",
    "Protocol",
    "Table",
    "evaluate",
    "load_competitor",
    "open_protocol",
    "options_protocol",
    "psnr",
    "ssim_global",
    "ssim_windowed",
    "strict_protocol",
    "surrogate_protocol",
    "with_options",
]
