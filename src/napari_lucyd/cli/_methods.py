"""Which method ``lucyd deconvolve`` runs: a model by its name, or a classical one with a PSF from a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from napari_lucyd.cli._console import fail
from napari_lucyd.cli._options import Method, Part, refuse_given

if TYPE_CHECKING:
    from napari_lucyd.deconvolution import ClassicalMethod
    from napari_lucyd.io import Image
    from napari_lucyd.models import Model

# Options that only some methods have an effect for, by the parameter's name.
_NETWORK = ("model", "normalization", "separate", "isotropic", "tile", "halo", "intermediates")
_OWN = {
    Method.lucyd: (*_NETWORK,),
    Method.richardson_lucy: ("psf", "iterations", "total_variation", "background"),
    Method.wiener: ("psf", "balance"),
}

# Steps that differ by less are the same but for rounding in a file's header.
_TOLERANCE = 0.05


@dataclass(frozen=True)
class Chosen:
    """What `plan` is given, and the PSF's file.

    Attributes
    ----------
    method
        A model or a classical method.
    psf
        As read, for a classical method.
    """

    method: Model | ClassicalMethod
    psf: Image | None = None

    def check(self, image: Image) -> None:
        """Refuse an image whose voxels are not the PSF's, where both files state theirs.

        Raises
        ------
        ValueError
            If the steps differ.
        """
        if self.psf is None or self.psf.voxel_size is None or image.voxel_size is None:
            return
        if self.psf.unit != image.unit:
            return
        pairs = list(zip(self.psf.voxel_size[::-1], image.voxel_size[::-1], strict=False))
        if any(abs(mine - its) > _TOLERANCE * its for mine, its in pairs):
            raise ValueError(
                f"its voxels are {_steps(image)}, those of the PSF {self.psf.name!r} {_steps(self.psf)}. "
                "The PSF has to be sampled on the image's voxels, as nothing is resampled: make it anew "
                "(lucyd psf --voxel-size), or correct the image's with --voxel-size"
            )


def refuse_options(context: typer.Context, method: Method, parts: Sequence[Part]) -> None:
    """Refuse options of other methods and parts that the method does not have.

    Parameters
    ----------
    context
        Of the command.
    method
        The one that was chosen.
    parts
        What is to be written.

    Raises
    ------
    typer.BadParameter
        For the first of them.
    """
    own = _OWN[method]
    others = [name for names in _OWN.values() for name in names if name not in own]
    refuse_given(context, others, f"--method {method} takes no such option")
    if method is not Method.lucyd and tuple(parts) != (Part.output,):
        raise typer.BadParameter(f"--method {method} has an output only", param_hint="--outputs")


def classical_method(method: Method, psf: Path | None, numbers: dict[str, Any]) -> Chosen:
    """Make a classical method of a PSF's file and numbers.

    Parameters
    ----------
    method
        Which one.
    psf
        The file of the PSF.
    numbers
        All that options say, by the names that Python has for them; each method takes its own.

    Raises
    ------
    typer.BadParameter
        If there is no PSF.
    """
    if psf is None:
        raise typer.BadParameter(
            f"--method {method} needs the PSF: an image file on the voxels of the input (see: lucyd psf)",
            param_hint="--psf",
        )
    from napari_lucyd.deconvolution import RichardsonLucy, Wiener
    from napari_lucyd.io import ImageFileError, read_image

    names = {
        Method.richardson_lucy: ("num_iter", "total_variation", "background"),
        Method.wiener: ("balance",),
    }[method]
    kind = RichardsonLucy if method is Method.richardson_lucy else Wiener
    try:
        image = read_image(psf)
        if image.axes not in ("ZYX", "YX"):
            sizes = " × ".join(
                f"{name} {size}" for name, size in zip(image.axes, image.data.shape, strict=True)
            )
            fail(f"{psf}: it holds {sizes}; one PSF is needed, Z × Y × X or Y × X")
        return Chosen(kind(image.data, **{name: numbers[name] for name in names}), image)
    except ImageFileError as error:
        fail(error)
    except (OSError, ValueError, TypeError) as error:
        text = str(error).replace("total_variation", "--total-variation")
        fail(f"{psf}: {text}" if "psf" in text else text)


def _steps(image: Image) -> str:
    steps = " × ".join(f"{step:.4g}" for step in image.voxel_size or ())
    return f"{steps} {image.unit or 'pixels'}"
