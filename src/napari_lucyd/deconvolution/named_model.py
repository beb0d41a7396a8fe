"""Models by name: ``"lucyd"`` and the other shipped ones."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from napari_lucyd import checks
from napari_lucyd.deconvolution.image.axes import name_axes
from napari_lucyd.deconvolution.image.source import as_array
from napari_lucyd.models.catalogue import DEFAULT_MODEL, DEFAULT_PLANES


def model_for(model: Any, volume: Any, axes: str | None = None) -> Any:
    """Return the model that an argument names.

    Parameters
    ----------
    model
        ``"lucyd"`` for the default model of the image's dimension, the name of a shipped model, the path of a
        model's file, a model, or a classical method.
    volume
        The image: an array, or anything that numpy can convert to one.
    axes
        Names of its axes, if they are known.

    Raises
    ------
    TypeError
        If it is none of these.
    FileNotFoundError, ValueError
        If no model has this name, or the file is not a model.
    """
    if not isinstance(model, str):
        if not hasattr(model, "dimension"):
            raise TypeError(
                f"model is {checks.shown(model)}; give 'lucyd' or the name of another model, a model from "
                "load_model, RichardsonLucy, Wiener or SemiBlind."
            )
        return model
    from napari_lucyd.deconvolution.classical.by_name import CLASSICAL_METHODS
    from napari_lucyd.models import load_model

    method = CLASSICAL_METHODS.get(model)
    if method is not None:
        raise ValueError(
            f"model is {model!r}, which is a method without a model; give napari_lucyd.{method.__name__}."
        )
    if model == DEFAULT_MODEL and not has_volumes(volume, axes):
        return load_model(DEFAULT_PLANES)
    return load_model(model)


def told_package(model: Any, blur_sigma: Any) -> Any:
    """Return a model from a bioimage.io package with the blur that it takes as an input; others as they are.

    Parameters
    ----------
    model
        A model or a method.
    blur_sigma
        Standard deviations of the blur in voxels: one number, or one along each axis.

    Raises
    ------
    ValueError
        If the package needs them and they are missing or wrong.
    """
    if not takes_sigma(model):
        return model
    dimension = model.dimension
    expected = f"one positive number of voxels, or {dimension}, one along each of {'ZYX'[-dimension:]}"
    if blur_sigma is None:
        raise ValueError(f"The model {model.name} needs blur_sigma, the blur's width; give {expected}.")
    given = [blur_sigma] * dimension if np.ndim(blur_sigma) == 0 else list(blur_sigma)
    if len(given) != dimension:
        raise ValueError(f"blur_sigma is {checks.shown(blur_sigma)}; give {expected}.")
    sigmas = [checks.number("blur_sigma", one, expected, lambda sigma: sigma >= 0) for one in given]
    return replace(model, network=model.network.told(sigmas))


def takes_sigma(model: Any) -> bool:
    """Return True for a model from a package that takes the width of the blur as an input."""
    return "blur_sigma" in getattr(model, "card", {}).get("told", ())


def has_volumes(volume: Any, axes: str | None = None) -> bool:
    """Return True if an image has several planes along Z, by its axes."""
    dtype, array = as_array(volume)
    shape = tuple(int(n) for n in array.shape)
    named = name_axes(shape, dtype, 3, axes, getattr(volume, "dims", None))
    return named.size("Z") > 1
