"""Evaluation of methods: metrics, the paper's tables and the trust suite; `cost` measures time and memory."""

from napari_lucyd.evaluation.compared_methods import Trained, load_competitor, with_options
from napari_lucyd.evaluation.metrics import psnr, psnr_affine, ssim_global, ssim_windowed
from napari_lucyd.evaluation.protocols import (
    BEYOND,
    TEST_SEEDS,
    Protocol,
    open_protocol,
    options_protocol,
    strict_protocol,
    surrogate_protocol,
)
from napari_lucyd.evaluation.real_images import PAIR_SIGMA, RealTable, measure_real
from napari_lucyd.evaluation.structures_protocol import structures_protocol
from napari_lucyd.evaluation.tables import Table, evaluate
from napari_lucyd.evaluation.trust.suite import TrustTable, measure_trust
from napari_lucyd.psf.widths import full_width

__all__ = [
    "BEYOND",
    "PAIR_SIGMA",
    "RealTable",
    "TEST_SEEDS",
    "Protocol",
    "Table",
    "Trained",
    "TrustTable",
    "evaluate",
    "full_width",
    "load_competitor",
    "measure_real",
    "measure_trust",
    "open_protocol",
    "options_protocol",
    "psnr",
    "psnr_affine",
    "ssim_global",
    "ssim_windowed",
    "strict_protocol",
    "structures_protocol",
    "surrogate_protocol",
    "with_options",
]
