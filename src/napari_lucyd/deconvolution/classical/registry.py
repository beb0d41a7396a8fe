"""The table of classical methods, and their making from a name or a recipe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from napari_lucyd.deconvolution.classical.methods import RichardsonLucy, SemiBlind, Wiener

# Values for recipes that were written before these fields existed.
_BEFORE_THEY_WERE_OPTIONS = {"acceleration": False, "center_psf": False}

CLASSICAL_METHODS: dict[str, type[RichardsonLucy | Wiener]] = {
    kind.name: kind for kind in (RichardsonLucy, Wiener)
}
"""The methods that need a PSF, by name."""


def make_method(name: str, psf: Any, numbers: Mapping[str, Any]) -> RichardsonLucy | Wiener:
    """Make a classical method by its name.

    Parameters
    ----------
    name
        One of `CLASSICAL_METHODS`.
    psf
        PSF, (Y, X) or (Z, Y, X); see `ClassicalMethod`.
    numbers
        Parameters by name. Those of other methods are ignored.

    Raises
    ------
    TypeError, ValueError
        If the method refuses an argument.

    Examples
    --------
    >>> import numpy as np
    >>> make_method("wiener", np.ones((3, 3)), {"num_iter": 20, "balance": 0.5})
    Wiener(balance=0.5)
    """
    kind = CLASSICAL_METHODS[name]
    return kind(psf, **{entry.name: numbers[entry.name] for entry in fields(kind) if entry.name in numbers})


def method_from_recipe(recipe: Mapping[str, Any], psf: Any = None) -> RichardsonLucy | Wiener | SemiBlind:
    """Make the classical method of a recipe.

    Parameters
    ----------
    recipe
        ``Result.recipe`` of a run with a classical method; it may have been saved as JSON.
    psf
        PSF of that run, because a recipe holds only its SHA-256. None for `SemiBlind`.

    Raises
    ------
    ValueError
        If the recipe is not of a classical method, or the PSF is not that of the run.

    Examples
    --------
    >>> import numpy as np, napari_lucyd as nl
    >>> psf = np.ones((3, 3))
    >>> run = nl.deconvolve(np.eye(8), nl.Wiener(psf, balance=0.5), device="cpu")
    >>> method_from_recipe(run.recipe, psf)
    Wiener(balance=0.5)
    """
    entry = recipe.get("method")
    if isinstance(entry, Mapping) and entry.get("name") == SemiBlind.name:
        return SemiBlind(**{name: entry[name] for name in SemiBlind().numbers})
    if not isinstance(entry, Mapping) or entry.get("name") not in CLASSICAL_METHODS:
        raise ValueError(
            f"The recipe's method is {entry!r}; give the recipe of a run with "
            f"{', '.join(CLASSICAL_METHODS)} or {SemiBlind.name}."
        )
    method = make_method(entry["name"], psf, {**_BEFORE_THEY_WERE_OPTIONS, **entry})
    if method.sha256 != recipe["psf"]["sha256"]:
        raise ValueError(
            f"The psf is not that of the run: it has shape {method.psf.shape} and SHA-256 "
            f"{method.sha256[:12]}…, but the recipe names shape {tuple(recipe['psf']['shape'])} and "
            f"{recipe['psf']['sha256']!s:.12}…. Give the psf that was used."
        )
    return method
