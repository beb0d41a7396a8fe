"""The method of ``lucyd deconvolve``: a model by its name, or a classical method with a PSF from a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import typer

from napari_lucyd.cli.shared.console import fail
from napari_lucyd.cli.shared.deconvolve_options import OPTICS
from napari_lucyd.cli.shared.option_types import Method, refuse_given
from napari_lucyd.cli.shared.words import flag
from napari_lucyd.deconvolution.result import Part

if TYPE_CHECKING:
    from napari_lucyd.deconvolution import ClassicalMethod
    from napari_lucyd.io import Image
    from napari_lucyd.models import Model

# Options that only some methods use, by the parameter's name.
_MICROSCOPE = ("microscope", *OPTICS)
_BLUR = (*_MICROSCOPE, "blur_sigma", "psf")
_NETWORK = (
    "model",
    *_BLUR,
    "normalization",
    "separate",
    "isotropic",
    "tile_shape",
    "halo",
    "precision",
    "intermediates",
)
_OWN = {
    Method.auto: tuple(name for name in _NETWORK if name not in ("model", "psf", "intermediates")),
    **dict.fromkeys((Method.lucyd, Method.rln, Method.care), _NETWORK),
    Method.richardson_lucy: (*_BLUR, "num_iter", "total_variation", "background", "local_stopping"),
    Method.wiener: (*_BLUR, "balance"),
    Method.semi_blind: ("total_variation", "background", *_MICROSCOPE),
}
CLASSICAL = (Method.richardson_lucy, Method.wiener, Method.semi_blind)


@dataclass(frozen=True)
class Chosen:
    """A method, and the file of its PSF.

    Attributes
    ----------
    method
        A model, a classical method, or ``"auto"``.
    psf
        The PSF as read; the first one if there are several.
    psf_paths
        The files of the PSF, one for all channels or one for each.
    follows_image
        True if planes take the default model of planes instead.
    told
        The PSF for a model that is told it: an array, or a list with one for each channel.
    make
        Function that makes the method with a PSF for an image; None if the method is the same for all images.
    """

    method: Model | ClassicalMethod | str | None
    psf: Image | None = None
    psf_paths: tuple[Path, ...] = ()
    follows_image: bool = False
    told: Any = None
    make: Callable[[Image], ClassicalMethod] | None = None

    def blur(self, image: Image) -> dict[str, Any]:
        """Return the PSF that a model is told, as keywords of `napari_lucyd.deconvolution.plan`."""
        if self.told is None or self.psf is None:
            return {}
        return {"psf": self.told, "psf_voxel_size": steps_beside(self.psf, image)}

    def for_image(self, image: Image) -> Model | ClassicalMethod | str:
        """Return the method with the voxel size of its PSF in the image's unit, where both are known.

        A run then resamples a PSF whose voxels differ from the image's.
        """
        if self.make is not None:
            return self.make(image)
        assert self.method is not None
        if self.follows_image:
            from napari_lucyd.deconvolution.named_model import model_for

            name = cast("Model", self.method).name
            return model_for(name, image.data, image.axes)  # type: ignore[no-any-return]
        steps = None if self.psf is None or self.told is not None else steps_beside(self.psf, image)
        if steps is None:
            return self.method
        return replace(cast("ClassicalMethod", self.method), psf_voxel_size=steps)


def steps_beside(psf: Image, image: Image) -> tuple[float, ...] | None:
    """Return the voxel size of a PSF in the unit of an image's; None if the two cannot be compared."""
    if psf.voxel_size is None or image.voxel_size is None:
        return None
    from napari_lucyd.io import common_unit

    steps = (*psf.voxel_size, *image.voxel_size)
    units = [psf.unit] * len(psf.voxel_size) + [image.unit] * len(image.voxel_size)
    in_one_unit, _ = common_unit(steps, units)
    if in_one_unit is None:  # one of them has no unit of length
        return None
    factor = image.voxel_size[0] / in_one_unit[len(psf.voxel_size)]
    return tuple(step * factor for step in in_one_unit[: len(psf.voxel_size)])


def refuse_told(told: Mapping[str, Any], model: Model) -> None:
    """Refuse a blur that a model does not use.

    Raises
    ------
    typer.BadParameter
        If there is one.
    """
    from napari_lucyd.models.catalogue import is_told

    for name in told:
        if not is_told(model.card) and name not in model.card.get("told", ()):
            raise typer.BadParameter(
                f"the model {model.name} does not use the blur; leave it out, or choose --model lucyd",
                param_hint=flag(name),
            )


def refuse_options(context: typer.Context, method: Method | None, parts: Sequence[Part]) -> None:
    """Refuse options of other methods, and parts that the method does not have.

    Parameters
    ----------
    context
        The command's context.
    method
        The chosen method; None for a network.
    parts
        The parts to write.

    Raises
    ------
    typer.BadParameter
        For the first such option.
    """
    own = _OWN[method or Method.lucyd]
    others = [name for names in _OWN.values() for name in names if name not in own]
    refuse_given(context, others, f"--method {method or Method.lucyd} does not use it")
    if (method in CLASSICAL or method == Method.auto) and tuple(parts) != (Part.output,):
        raise typer.BadParameter(
            f"--method {method} has only an output; leave the other parts out", param_hint="--outputs"
        )


def load_network(method: Method | None, name: str | None) -> Model:
    """Load a model.

    Parameters
    ----------
    method
        The network that the model must have; None for any.
    name
        Name of a shipped model, or a path; None for the first shipped model of the network.

    Raises
    ------
    typer.BadParameter
        If there is no shipped model of the network, the name is that of a method, or the model has another
        network.
    """
    from napari_lucyd.models import load_model
    from napari_lucyd.models.catalogue import DEFAULT_MODEL, list_models, network_type

    if name is None:
        shipped = [str(card["name"]) for card in list_models() if method in (None, network_type(card))]
        if not shipped:
            raise typer.BadParameter(
                f"there is no shipped model of {method}; train one (lucyd train) and name its file",
                param_hint="--model",
            )
        name = DEFAULT_MODEL if DEFAULT_MODEL in shipped else shipped[0]
    if name in [*Method] and name != DEFAULT_MODEL:
        raise typer.BadParameter(f"{name} is a method; give --method {name}", param_hint="--model")
    try:
        model = load_model(name)
    except (OSError, ValueError, TypeError, ImportError) as error:
        fail(error)
    kind = network_type(model.card)
    if method not in (None, kind):
        raise typer.BadParameter(
            f"{name} is a model of {kind}, not of {method}; change one of the two options",
            param_hint="--model",
        )
    return model


def classical_method(method: Method, psf: Sequence[Path] | None, numbers: dict[str, Any]) -> Chosen:
    """Make a classical method from the files of PSFs and numbers.

    Parameters
    ----------
    method
        The method.
    psf
        The file of the PSF, or one file for each channel.
    numbers
        Values of the options by their Python names, and the microscope; each method takes its own.

    Raises
    ------
    typer.BadParameter
        If no PSF is given.
    """
    if method == Method.semi_blind:
        from napari_lucyd.deconvolution import SemiBlind

        try:
            given = {name: numbers[name] for name in ("total_variation", "background", "microscope")}
            return Chosen(SemiBlind(**given))
        except (ValueError, TypeError) as error:
            fail(error)
    from napari_lucyd.deconvolution import make_method
    from napari_lucyd.io import ImageFileError

    told = {name: value for name in ("microscope", "blur_sigma") if (value := numbers.pop(name)) is not None}
    if psf and told:
        raise typer.BadParameter(
            "--psf is the blur already; leave the microscope and --blur-sigma out", param_hint="--psf"
        )
    if told:
        return Chosen(None, make=lambda image: make_method(str(method), told_psf(image, told), numbers))
    if not psf:
        raise typer.BadParameter(
            f"--method {method} needs the blur: --psf FILE (see: lucyd psf), --microscope with --na, "
            "--refractive-index and --emission-um, or --blur-sigma",
            param_hint="--psf",
        )

    where = ", ".join(str(path) for path in psf)
    try:
        first, psfs = _read_psfs(psf)
        return Chosen(make_method(str(method), psfs, numbers), first, tuple(psf))
    except ImageFileError as error:
        fail(error)
    except (OSError, ValueError, TypeError) as error:
        fail(f"{where}: {error}" if "psf" in str(error) else error)


def told_psf(image: Image, told: Mapping[str, Any]) -> Any:
    """Return the PSF of a microscope or a Gaussian on an image's voxels, or a list with one for each channel.

    Parameters
    ----------
    image
        The image; its voxel size is converted to µm for a microscope.
    told
        ``microscope`` or ``blur_sigma``.

    Raises
    ------
    ImageFileError, TypeError, ValueError
        If the image has no voxel size, or the blur does not fit the image.
    """
    from napari_lucyd.deconvolution import check_blur, name_axes

    if "microscope" in told:
        image = image.in_micrometers()
    dimension = 3 if "Z" in image.axes and image.data.shape[image.axes.index("Z")] > 1 else 2
    axes = name_axes(image.data.shape, image.data.dtype, dimension, image.axes)
    steps = None if image.voxel_size is None else image.voxel_size[-dimension:]
    blur = check_blur(told.get("microscope"), None, None, told.get("blur_sigma"), axes, steps)
    return list(blur.kernels) if len(blur.kernels) > 1 else blur.kernels[0]


def told_model(model: Model, psf: Sequence[Path] | None, told: Mapping[str, Any], planes: bool) -> Chosen:
    """Choose a model, with the PSF that it is told.

    Parameters
    ----------
    model
        The model.
    psf
        The file of the PSF, or one file for each channel; None or empty for none.
    told
        Further knowledge of the blur.
    planes
        True if planes take the default model of planes instead.

    Raises
    ------
    typer.BadParameter
        If the model does not use the blur, or the blur is told twice.
    """
    refuse_told({**told, **({"psf": psf} if psf else {})}, model)
    if not psf:
        return Chosen(model, follows_image=planes)
    if told:
        raise typer.BadParameter(
            "--psf is the blur already; leave the microscope and --blur-sigma out", param_hint="--psf"
        )
    try:
        first, psfs = _read_psfs(psf)
    except (OSError, ValueError, TypeError) as error:
        fail(error)
    return Chosen(model, first, tuple(psf), planes, told=psfs)


def _read_psfs(paths: Sequence[Path]) -> tuple[Image, Any]:
    """Read the PSFs; return the first image, and the PSF or a list with one for each channel."""
    from napari_lucyd.io import read_psf

    images = [read_psf(path) for path in paths]
    first = images[0]
    if len(images) == 1:
        return first, list(first.data) if first.axes.startswith("C") else first.data
    for path, image in zip(paths, images, strict=True):
        if image.axes.startswith("C"):
            raise ValueError(
                f"{path} has an axis C already; give that file alone, or files with one PSF each."
            )
        if (image.voxel_size, image.unit) != (first.voxel_size, first.unit):
            raise ValueError(
                f"{path} has another voxel size than {paths[0]}; the PSFs of all channels need the same."
            )
    return first, [image.data for image in images]
