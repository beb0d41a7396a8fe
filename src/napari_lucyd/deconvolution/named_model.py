"""Models by name: ``"lucyd"`` and the other shipped ones."""

from __future__ import annotations

from typing import Any

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
        The image: an array, or anything that numpy can make one of.
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
    from napari_lucyd.models import load_model

    if model == DEFAULT_MODEL and not has_volumes(volume, axes):
        return load_model(DEFAULT_PLANES)
    return load_model(model)


def has_volumes(volume: Any, axes: str | None = None) -> bool:
    """Return True if an image has several planes along Z, by its axes."""
    dtype, array = as_array(volume)
    shape = tuple(int(n) for n in array.shape)
    named = name_axes(shape, dtype, 3, axes, getattr(volume, "dims", None))
    return named.size("Z") > 1
