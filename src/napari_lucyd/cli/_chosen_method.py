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
_NETWORK = ("model", "normalization", "separate", "isotropic", "tile", "halo", "precision", "intermediates")
_OWN = {
    **dict.fromkeys((Method.lucyd, Method.rln, Method.care), _NETWORK),
    Method.richardson_lucy: ("psf", "iterations", "total_variation", "background"),
    Method.wiener: ("psf", "balance"),
}
CLASSICAL = (Method.richardson_lucy, Method.wiener)


@dataclass(frozen=True)
class Chosen:
    """What `plan` is given, and the PSF's file.

    Attributes
    ----------
    method
        A model or a classical method.
    psf
        As read, for a classical method.
    psf_path
        The file of it.
    """

    method: Model | ClassicalMethod
    psf: Image | None = None
    psf_path: Path | None = None

    def check(self, image: Image) -> None:
        """Refuse an image whose voxels are not the PSF's, where both files state theirs, in whatever unit.

        Raises
        ------
        ValueError
            If the steps differ.
        """
        psf = self.psf
        if psf is None or psf.voxel_size is None or image.voxel_size is None:
            return
        from napari_lucyd.deconvolution import check_psf_steps
        from napari_lucyd.io import common_unit

        steps = (*psf.voxel_size, *image.voxel_size)
        units = [psf.unit] * len(psf.voxel_size) + [image.unit] * len(image.voxel_size)
        in_its_unit, _ = common_unit(steps, units)
        if in_its_unit is None:  # one of them has no unit of length, so that nothing can be said
            return
        check_psf_steps(
            repr(psf.name),
            in_its_unit[: len(psf.voxel_size)],
            image.voxel_size,
            image.unit or "pixels",
            "make it anew (lucyd psf --voxel-size), or correct the image's with --voxel-size",
        )


def refuse_options(context: typer.Context, method: Method | None, parts: Sequence[Part]) -> None:
    """Refuse options of other methods and parts that the method does not have.

    Parameters
    ----------
    context
        Of the command.
    method
        The one that was chosen; None for a network.
    parts
        What is to be written.

    Raises
    ------
    typer.BadParameter
        For the first of them.
    """
    own = _OWN[method or Method.lucyd]
    others = [name for names in _OWN.values() for name in names if name not in own]
    refuse_given(context, others, f"--method {method or Method.lucyd} takes no such option")
    if method in CLASSICAL and tuple(parts) != (Part.output,):
        raise typer.BadParameter(f"--method {method} has an output only", param_hint="--outputs")


def load_network(method: Method | None, name: str | None) -> Model:
    """Load a model, of the network that was asked for.

    Parameters
    ----------
    method
        Which network; None for whichever the model is of.
    name
        Of a shipped model, or a path; None for the first that is shipped of the network.

    Raises
    ------
    typer.BadParameter
        If none is shipped, or the model is of another network.
    """
    from napari_lucyd.models import load_model
    from napari_lucyd.models.catalogue import DEFAULT_MODEL, list_models, network_type

    if name is None:
        shipped = [str(card["name"]) for card in list_models() if method in (None, network_type(card))]
        if not shipped:
            raise typer.BadParameter(
                f"no model of {method} is shipped; train one (lucyd train) and name its file",
                param_hint="--model",
            )
        name = DEFAULT_MODEL if DEFAULT_MODEL in shipped else shipped[0]
    try:
        model = load_model(name)
    except (OSError, ValueError, TypeError) as error:
        fail(error)
    kind = network_type(model.card)
    if method not in (None, kind):
        raise typer.BadParameter(f"{name} is a model of {kind}, not of {method}", param_hint="--model")
    return model


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
    from napari_lucyd.deconvolution import make_method
    from napari_lucyd.io import ImageFileError, read_psf

    try:
        image = read_psf(psf)
        return Chosen(make_method(str(method), image.data, numbers), image, psf)
    except ImageFileError as error:
        fail(error)
    except (OSError, ValueError, TypeError) as error:
        text = str(error).replace("total_variation", "--total-variation")
        fail(f"{psf}: {text}" if "psf" in text else text)
