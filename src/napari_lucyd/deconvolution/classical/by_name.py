"""The table of classical methods, and their making from a name or a recipe."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from napari_lucyd.deconvolution.classical.methods import ClassicalMethod, RichardsonLucy, Unchanged, Wiener
from napari_lucyd.deconvolution.classical.semi_blind import SemiBlind
from napari_lucyd.deconvolution.first_stage.blur import check_blur
from napari_lucyd.deconvolution.image.axes import name_axes
from napari_lucyd.deconvolution.recipe_entries import refuse_wrong_entry
from napari_lucyd.psf.cleaning import psf_sha256
from napari_lucyd.psf.gaussian import gaussian_psf
from napari_lucyd.simulation.psf import make_psf

# Values for recipes that were written before these fields existed.
_BEFORE_THEY_WERE_OPTIONS = {"acceleration": False, "center_psf": False}

# Limits of a PSF that is made again: a recipe from elsewhere may ask for any size.
_WIDEST, _MOST_VOXELS = 20.0, 2**27

CLASSICAL_METHODS: dict[str, type[ClassicalMethod]] = {
    kind.name: kind for kind in (RichardsonLucy, Wiener, SemiBlind)
}
"""The classical methods by name."""


def make_method(name: str, psf: Any, numbers: Mapping[str, Any]) -> ClassicalMethod:
    """Make a classical method by its name.

    Parameters
    ----------
    name
        One of `CLASSICAL_METHODS`.
    psf
        PSF, (Y, X) or (Z, Y, X), or a list with one for each channel. Ignored for `SemiBlind`.
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
    known = {entry.name for entry in fields(kind) if entry.init}
    given = {"psf": psf, **numbers}
    return kind(**{name: value for name, value in given.items() if name in known})


def method_from_recipe(recipe: Mapping[str, Any], psf: Any = None) -> ClassicalMethod:
    """Make the classical method of a recipe.

    Parameters
    ----------
    recipe
        ``Result.recipe`` of a run with a classical method; it may have been saved as JSON.
    psf
        PSF of that run, because a recipe holds only its SHA-256. None for `SemiBlind`, and for a PSF that can
        be made again: see `recorded_psf`.

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
    if isinstance(entry, Mapping) and entry.get("name") == Unchanged.name:
        return Unchanged()
    if not isinstance(entry, Mapping) or entry.get("name") not in CLASSICAL_METHODS:
        *others, last = CLASSICAL_METHODS
        raise ValueError(
            f"The recipe's method is {entry!r}; give the recipe of a run with {', '.join(others)} or {last}."
        )
    refuse_wrong_entry(recipe)
    found = recorded_psf(recipe) if psf is None else None
    if psf is not None and "psf" in _told(recipe):
        psf = _told_psfs(recipe, psf)
    method = make_method(
        entry["name"], psf if found is None else found, {**_BEFORE_THEY_WERE_OPTIONS, **entry}
    )
    if recipe["psf"] is None or found is not None:
        return method
    recorded = _several(recipe["psf"])
    if len(recorded) != len(method.psfs):
        raise ValueError(
            f"The run used {len(recorded)} PSFs, but {len(method.psfs)} are given. Give those that were used."
        )
    for number, record in enumerate(recorded):
        given = method.for_channel(number)
        if given.sha256 != record["sha256"]:
            raise ValueError(
                f"The psf is not that of the run: it has shape {given.psf.shape} and SHA-256 "
                f"{given.sha256[:12]}…, but the recipe names shape {tuple(record['shape'])} and "
                f"{record['sha256']!s:.12}…. Give the psf that was used."
            )
    return method


def recorded_psf(recipe: Mapping[str, Any]) -> Any:
    """Return the PSF of a run if its recipe tells how it was made; None otherwise.

    That is a Gaussian that was found when the method was chosen automatically; a Gaussian or a microscope
    that was told then, and a Gaussian or a computed PSF of the window, if it has the recipe's SHA-256 when it
    is made again. Several microscopes have a list of PSFs, one for each channel.

    Parameters
    ----------
    recipe
        Recipe of a run with a classical method.
    """
    record = recipe.get("psf")
    if record is None:
        return None
    widths = (recipe.get("automatic") or {}).get("blur_sigma")
    if widths:
        return _gaussian(widths)
    told = _told(recipe)
    if told and "psf" not in told:
        try:
            made_again = _told_psfs(recipe)
        except (KeyError, TypeError, ValueError):  # a file from elsewhere may say anything
            return None
        known = [entry["sha256"] for entry in _several(record)]
        return made_again if [psf_sha256(one) for one in made_again] == known else None
    psfs = []
    for channel, one in enumerate(_several(record)):
        if not isinstance(one, Mapping) or not isinstance(one.get("origin"), Mapping):
            return None
        try:
            made = _made_again(one["origin"], one["shape"], channel)
        except (KeyError, TypeError, ValueError, IndexError):  # a file from elsewhere may say anything
            return None
        if made is None or psf_sha256(made) != one.get("sha256"):
            return None
        psfs.append(made)
    return psfs if isinstance(record, list) else psfs[0]


def _told(recipe: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the blur that was told when a method was chosen automatically; empty if none was."""
    return (recipe.get("automatic") or {}).get("told") or {}


def _told_psfs(recipe: Mapping[str, Any], psf: Any = None) -> list[Any]:
    """Prepare the PSFs of a blur that was told as the automatic choice did."""
    # Loading torch takes a second; the panel loads this module when it opens.
    from napari_lucyd.deconvolution.recipe import blur_options

    dimension = len(_several(recipe["psf"])[0]["shape"])
    shape, dtype = recipe["input"]["shape"], np.dtype(recipe["input"]["dtype"])
    axes = name_axes(shape, dtype, dimension, recipe["axes"])
    told: dict[str, Any] = dict.fromkeys(("microscope", "psf", "psf_voxel_size", "blur_sigma"))
    told |= blur_options(_told(recipe), psf)
    steps = recipe["voxel_size"]
    for one in _several(told["microscope"] or []):
        if math.prod(one.psf_shape(steps, axes.volume_shape)) > _MOST_VOXELS:
            raise ValueError("The recipe's microscope has a PSF that is too large.")
    return list(check_blur(**told, axes=axes, steps=steps).kernels)


def _several(psf: Any) -> list[Any]:
    return psf if isinstance(psf, list) else [psf]


def _made_again(origin: Mapping[str, Any], shape: Sequence[int], channel: int) -> Any:
    widths = origin.get("blur_sigma_voxels")
    if widths:
        return _gaussian(widths)
    if math.prod(shape) > _MOST_VOXELS:
        return None
    # The PSF of a file or a layer may have been cut since it was computed.
    if "optics" not in origin or "file" in origin or "layer" in origin:
        return None
    # A list has the wavelength of each channel.
    optics = {
        name: value[channel] if isinstance(value, list | tuple) else value
        for name, value in origin["optics"].items()
    }
    return make_psf(optics.pop("microscope"), tuple(shape), voxel_size=origin["voxel_size"], **optics)


def _gaussian(widths: Sequence[Any]) -> Any:
    sigmas = tuple(float(width) for width in widths)
    if len(sigmas) > 3 or not all(0 <= sigma <= _WIDEST for sigma in sigmas):
        raise ValueError(f"The recipe's blur is {sigmas}; expected numbers of voxels up to {_WIDEST:g}.")
    return gaussian_psf(sigmas)
