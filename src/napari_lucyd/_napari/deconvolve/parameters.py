"""What the Deconvolve panel lets a person choose, and what the engine is told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from napari_lucyd._napari.psf import form as psf_form
from napari_lucyd._napari.widgets.fields import choice
from napari_lucyd.deconvolution import CLASSICAL_METHODS, RichardsonLucy, Wiener
from napari_lucyd.models.catalogue import DEFAULT_MODEL, NETWORK_TITLES, list_models, network_type

IN_MEMORY, IN_FOLDER = "memory", "folder"
WHOLE, SCREEN, RECTANGLE = "whole", "screen", "rectangle"
NUMBERS = ("num_iter", "total_variation", "background", "tolerance", "balance")
STEPS = ("subtract_background", "prefilter")
"""What may be done before any method."""
LUCYD = "lucyd"
_SHIPPED = {network_type(card) for card in list_models()}
METHODS = [
    *((title, name) for name, title in NETWORK_TITLES.items() if name in _SHIPPED),
    *((kind.title, name) for name, kind in CLASSICAL_METHODS.items()),
]
"""What can be chosen as method: (label, name); a network without a shipped model comes with a file of one."""


@dataclass(frozen=True)
class Parameters:
    """The panel's choices: defaults, labels, tool-tips, and their translation to the engine's arguments."""

    method: str = choice(
        LUCYD,
        "Method",
        "LUCYD, RLN and CARE are trained networks and need no PSF; only LUCYD shows what it added and what "
        "it multiplied. Richardson-Lucy and Wiener are the classical methods, for an image whose PSF is "
        "known.",
    )
    model: str = choice(
        DEFAULT_MODEL,
        "Model",
        "The network that restores the image: one that is shipped, or a file: .safetensors as this "
        "software saves them, or .pth as LUCYD's authors publish them.",
    )
    axes: str | None = choice(
        None,
        "Axes",
        "What each axis of the image was taken for: T time, C channel, Z, Y, X. Correct it here if it "
        "is wrong; time points and channels are restored one volume after another.",
    )
    normalization: str = choice(
        "model",
        "Scaling",
        "Which intensities the network sees as 0 and 1. The numbers are taken once over the whole image, "
        "and the output is returned in the units of the input.",
    )
    separate: str = choice(
        "C",
        "Statistics",
        "Channels each by themselves and time points together keeps a series from flickering.",
    )
    isotropic: bool | None = choice(
        None,
        "Isotropic",
        "The networks are trained on isotropic voxels. Where the Z step differs from Y and X by more than "
        "a quarter, the stack is resampled along Z for the network, and the result is resampled back.",
    )
    region: str = choice(
        WHOLE,
        "Region",
        "Restore the whole image, what is on screen, or a drawn rectangle. A part comes out exactly as it "
        "would in a run over the whole.",
    )
    z_range: tuple[int, int] | None = choice(
        None, "Z range", "First and last plane of the region, both included."
    )
    device: str = choice(
        "auto", "Device", "Where the network runs. Automatic takes the fastest device that works."
    )
    outputs: tuple[str, ...] = choice(
        ("output", "correction_mask", "update_term"),
        "Layers",
        "Output: the restored image. Correction mask: what was added to the image or taken from it. "
        "Update term: the factor by which the corrected image was multiplied (1: left as it is). "
        "Intermediate: the image plus its correction mask.",
    )
    tile_shape: tuple[int, ...] | None = choice(
        None,
        "Tile",
        "Voxels kept from each block that the network sees, for example 64, 128, 128. Automatic takes what "
        "fits into the free memory. It does not change the result.",
    )
    halo: int | None = choice(
        None,
        "Halo",
        "Margin of voxels around each tile. 24 is the network's whole reach and leaves no seams; less is "
        "faster and no longer exact.",
    )
    subtract_background: str | float | None = choice(
        None,
        "Subtract bg",
        "Before the method, subtract a smooth background, as a rolling ball does: what is bright and "
        "narrower than this many pixels stays. “auto” is a quarter of the image's side, at least 64. Empty: "
        "off.",
    )
    prefilter: str | float | None = choice(
        None,
        "Prefilter",
        "Before the method, smooth by a Gaussian of this standard deviation in pixels. “auto” takes it from "
        "the image's noise, and does nothing where that is low. Empty: off.",
    )
    flips: bool = choice(
        False,
        "Mean over flips",
        "Average the output over all mirror images (test-time augmentation): less noise for 8 times the "
        "time, for planes 4. Only the output is shown then.",
    )
    folder: Path | None = choice(  # noqa: RUF009 (what is in it is frozen)
        None,
        "Keep in",
        "Memory: layers to look at and save; those that it cannot hold are kept in temporary files. "
        "OME-Zarr: files in a folder of yours, written and shown part by part; a run that was stopped goes "
        "on from there.",
    )
    psf: Any = choice(  # noqa: RUF009 (what is in it is frozen)
        None,
        psf_form.TITLE,
        psf_form.TOOLTIP,
    )
    num_iter: int = choice(
        10,
        "Iterations",
        "More sharpen, and amplify noise: 10 to 30 for noisy images, 100 and more for clean ones.",
    )
    total_variation: float = choice(
        RichardsonLucy.total_variation,
        "Total variation",
        "Against noise: weight of the total variation, 0 to 0.2; 0.002 is usual.",
    )
    background: float = choice(
        0.0,
        "Background",
        "Constant in units of the image, such as a camera's offset; it is not part of the result.",
    )
    tolerance: float | None = choice(
        RichardsonLucy.tolerance,
        "Early stop",
        "Stop when an iteration changes the result by less than this share, for example 0.001. Empty: do all "
        "iterations.",
    )
    balance: float = choice(
        Wiener.balance, "Balance", "More gives smoother results, less gives sharper and noisier ones."
    )

    @property
    def classical(self) -> bool:
        """Whether the method is one that is told the PSF."""
        return self.method in CLASSICAL_METHODS

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts that the method is asked for; a classical one and a mean over flips have one."""
        return ("output",) if self.classical or self.flips else self.outputs

    @property
    def numbers(self) -> dict[str, float | None]:
        """What there is to say to classical methods, by argument."""
        return {name: getattr(self, name) for name in NUMBERS}

    def options(
        self, voxel_size: Sequence[float] | None, axes: str | None, region: tuple[slice, ...] | None
    ) -> dict[str, Any]:
        """Keyword arguments of `napari_lucyd.deconvolution.plan` for one image.

        Parameters
        ----------
        voxel_size
            Step along the spatial axes, (Z, Y, X) or (Y, X), or None.
        axes
            What the image's axes are, where that is known from the image itself; the user's choice,
            `self.axes`, comes first.
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
        """The same choices for an image whose axes are these."""
        return replace(self, axes=axes)


def numbers_of(method: str) -> list[str]:
    """Those of the `NUMBERS` that a method has; a network has none.

    Examples
    --------
    >>> numbers_of("wiener"), numbers_of("lucyd")
    (['balance'], [])
    """
    known = fields(CLASSICAL_METHODS[method]) if method in CLASSICAL_METHODS else ()
    return [entry.name for entry in known if entry.name in NUMBERS]


def default_model(ndim: int) -> str:
    """Name of the shipped model for an image with so many axes: the 2D one for a single plane."""
    dimension = 2 if ndim == 2 else 3
    fitting = [card["name"] for card in list_models() if card["network"]["dimension"] == dimension]
    return DEFAULT_MODEL if DEFAULT_MODEL in fitting or not fitting else str(fitting[0])
