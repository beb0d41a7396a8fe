"""Models: the shipped ones with their cards, and code to list, load, save and import them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_lucyd.models.catalogue import DEFAULT_MODEL, list_models
from napari_lucyd.models.normalization import Normalization

if TYPE_CHECKING:
    from napari_lucyd.models.model import Model, load_model, save_model

__all__ = ["DEFAULT_MODEL", "Model", "Normalization", "list_models", "load_model", "save_model"]


def __getattr__(name: str) -> Any:
    # Loading models needs torch, which takes a second or more to import; the catalogue does not.
    if name in {"Model", "load_model", "save_model"}:
        from napari_lucyd.models import model

        return getattr(model, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
