"""Choices of the Deconvolve panel, and their translation to arguments of the core."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from napari_lucyd._napari.psf import form as psf_form
from napari_lucyd._napari.widgets.fields import choice
from napari_lucyd.deconvolution import CLASSICAL_METHODS, RichardsonLucy, SemiBlind, Wiener
from napari_lucyd.models.catalogue import DEFAULT_MODEL, NETWORK_TITLES, PACKAGE, list_models, network_type

IN_MEMORY, IN_FOLDER = "memory", "folder"
WHOLE, SCREEN, RECTANGLE = "whole", "screen", "rectangle"
NUMBERS = (
    "num_iter",
    "total_variation",
    "background",
    "tolerance",
    "acceleration",
    "local_stopping",
    "balance",
)
STEPS = ("subtract_background", "prefilter")
"""Steps before any method."""
LUCYD = "lucyd"
AUTOMATIC = "auto"
_SHIPPED = {network_type(card) for card in list_models()}
METHODS = [
    ("Automatic", AUTOMATIC),
    *((title, name) for name, title in NETWORK_TITLES.items() if name in {*_SHIPPED, PACKAGE}),
    *((kind.title, name) for name, kind in CLASSICAL_METHODS.items()),
]
"""Methods as (label, name); a network without a shipped model is added with its model file."""


NEEDS_PSF = (RichardsonLucy.name, Wiener.name)
"""Methods that need a PSF."""
USES_MICROSCOPE = (*NEEDS_PSF, SemiBlind.name)
"""Methods that use what is known about the blur."""


@dataclass(frozen=True)
class Parameters:
    """The choices, each with default, label and tooltip."""

    method: str = choice(
        AUTOMATIC,
        "Method",
        "Automatic compares methods on a sample of the image, by photons that they have not seen, and leaves "
        "the image alone if none helps. LUCYD, RLN and CARE are trained networks and need no PSF. Only LUCYD "
        "shows what it added and what it multiplied. bioimage.io runs a network of others, from a package "
        "with ONNX weights. Richardson-Lucy and Wiener are classical methods and need the PSF. Semi-blind "
        "Richardson-Lucy finds the blur in the image.",
    )
    model: str = choice(
        DEFAULT_MODEL,
        "Model",
        "The trained network: a shipped model, or a file. The file is a .safetensors file of this "
        "software, a .pth file of LUCYD's authors or a .zip file from bioimage.io.",
    )
    axes: str | None = choice(
        None,
        "Axes",
        "The axes of the image: T time, C channel, Z, Y, X. Correct them here if they are wrong. Time points "
        "and channels are processed one volume after another.",
    )
    normalization: str = choice(
        "model",
        "Scaling",
        "The intensities that the network sees as 0 and 1. They are measured once over the whole image. The "
        "output has the units of the input.",
    )
    separate: str = choice(
        "C",
        "Statistics",
        "The part of the image that shares one scaling. “Per channel” scales all time points alike, so that "
        "a time series does not flicker.",
    )
    isotropic: bool | None = choice(
        None,
        "Isotropic",
        "The networks are trained on isotropic voxels. “Automatic” resamples the stack along Z if the Z step "
        "differs from the pixel size by more than a quarter. The result is resampled back.",
    )
    region: str = choice(
        WHOLE,
        "Region",
        "The part of the image to process. The result is exactly the same as in a run over the whole image.",
    )
    z_range: tuple[int, int] | None = choice(
        None,
        "Z range",
        "First and last plane of the region, counted from 0 as on the slider; both are included.",
    )
    device: str = choice(
        "auto",
        "Device",
        "The processor or GPU that computes. “Automatic” chooses the fastest one that works.",
    )
    outputs: tuple[str, ...] = choice(
        ("output", "correction_mask", "update_term"),
        "Layers",
        "Output: the restored image. Correction mask: the intensity that was added (positive) or removed "
        "(negative). Update term: the factor that the corrected image was multiplied by; 1 changes nothing. "
        "Intermediate: the image plus its correction mask. First estimate: a few Richardson-Lucy iterations, "
        "which the network works on.",
    )
    tile_shape: tuple[int, ...] | None = choice(
        None,
        "Tile",
        "Size of the blocks that the image is processed in, Z, Y, X in voxels, for example 64, 128, 128. "
        "Empty: as large as the free memory allows. The size does not change the result.",
    )
    halo: int | None = choice(
        None,
        "Halo",
        "Margin in voxels around each tile. With the network's whole reach (24 for LUCYD) there are no "
        "seams. A smaller margin is faster and leaves small errors at the seams.",
    )
    subtract_background: str | float | None = choice(
        None,
        "Background size",
        "Subtracts a smooth background before the method, as a rolling ball does. Structures narrower than "
        "this number of pixels stay. “auto”: a quarter of the image's side, at least 64. Empty: off.",
    )
    prefilter: str | float | None = choice(
        None,
        "Prefilter",
        "Smooths the image by a Gaussian before the method; the number is its standard deviation in pixels. "
        "“auto”: chosen from the noise of the image, and off where the noise is low. Empty: off.",
    )
    flips: bool = choice(
        False,
        "Mean over flips",
        "Processes all mirror images and averages the outputs (test-time augmentation). This lowers the "
        "noise and takes 8 times as long, 4 times for a single plane. Only the output is returned.",
    )
    folder: Path | None = choice(  # noqa: RUF009 (what is in it is frozen)
        None,
        "Keep in",
        "Memory: layers that you can save later; results that are too large for the memory go to temporary "
        "files. OME-Zarr files: written block by block into a folder that you choose; a run that was stopped "
        "can be resumed.",
    )
    microscope: Any = choice(  # noqa: RUF009 (what is in it is frozen)
        None,
        psf_form.TITLE,
        psf_form.TOOLTIP,
    )
    num_iter: int | str = choice(
        RichardsonLucy.num_iter,
        "Iterations",
        "More iterations give a sharper and noisier image. Empty: the number is chosen, up to 60. A part of "
        "the photons is kept out of the estimate, and the number that predicts this part best is used.",
    )
    total_variation: float = choice(
        RichardsonLucy.total_variation,
        "Total variation",
        "Suppresses noise: weight of the total variation, 0 to 0.2; 0.002 is usual.",
    )
    background: float | str = choice(
        RichardsonLucy.background,
        "Background",
        "Constant that is subtracted, in units of the image, for example the camera's offset. Empty: the "
        "dark level is found in the image, and added to the result again.",
    )
    tolerance: float | None = choice(
        RichardsonLucy.tolerance,
        "Early stop",
        "Stops when an iteration changes the result by less than this fraction, for example 0.001. Empty: "
        "does all iterations.",
    )
    acceleration: bool = choice(
        RichardsonLucy.acceleration,
        "Acceleration",
        "Reaches the likelihood of plain iterations in a third to half of their number. Off: plain "
        "Richardson-Lucy, as in other software.",
    )
    local_stopping: bool = choice(
        RichardsonLucy.local_stopping,
        "Local stopping",
        "Stops the iterations pixel by pixel, where two halves of the photons, divided at random, disagree: "
        "there they would fit noise. An iteration takes about four times as long. Needs photon noise.",
    )
    balance: float = choice(
        Wiener.balance,
        "Balance",
        "A larger number gives a smoother image, a smaller one a sharper and noisier image.",
    )

    @property
    def classical(self) -> bool:
        """True for a classical method."""
        return self.method in CLASSICAL_METHODS

    @property
    def automatic(self) -> bool:
        """True if the method is chosen when the run starts."""
        return self.method == AUTOMATIC

    @property
    def parts(self) -> tuple[str, ...]:
        """Outputs of the run; a classical method and a mean over flips have one."""
        return ("output",) if self.classical or self.flips else self.outputs

    @property
    def numbers(self) -> dict[str, Any]:
        """Numbers of classical methods, by argument."""
        return {name: getattr(self, name) for name in NUMBERS}

    def options(
        self, voxel_size: Sequence[float] | None, axes: str | None, region: tuple[slice, ...] | None
    ) -> dict[str, Any]:
        """Return keyword arguments of `napari_lucyd.deconvolution.plan` for one image.

        Parameters
        ----------
        voxel_size
            Step along the spatial axes, (Z, Y, X) or (Y, X), or None.
        axes
            The axes that the image itself states, or None. The user's choice, `self.axes`, comes first.
        region
            Slices over the spatial axes, or None for the whole.
        """
        common = {
            "device": self.device,
            "voxel_size": None if voxel_size is None else tuple(voxel_size),
            "outputs": self.parts,
            "axes": self.axes or axes,
            "region": region,
            "subtract_background": self.subtract_background,
            "prefilter": self.prefilter,
        }
        if self.classical:
            return common
        return {
            **common,
            "tile_shape": self.tile_shape,
            "halo": self.halo,
            "normalization": self.normalization,
            "isotropic": self.isotropic,
            "separate": self.separate,
            "flips": self.flips,
        }

    def with_axes(self, axes: str | None) -> Parameters:
        """Return the same choices for an image with other axes."""
        return replace(self, axes=axes)


def numbers_of(method: str) -> list[str]:
    """List the `NUMBERS` that a method has; a network has none.

    Examples
    --------
    >>> numbers_of("wiener"), numbers_of("lucyd")
    (['balance'], [])
    """
    known = fields(CLASSICAL_METHODS[method]) if method in CLASSICAL_METHODS else ()
    return [entry.name for entry in known if entry.name in NUMBERS]


def default_model(ndim: int) -> str:
    """Return the name of the shipped model for an image with this number of axes: 2D for a single plane."""
    dimension = 2 if ndim == 2 else 3
    fitting = [card["name"] for card in list_models() if card["network"]["dimension"] == dimension]
    return str(fitting[0]) if fitting else DEFAULT_MODEL
