"""The recipe: a record of a run in plain JSON, from which it can be repeated."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch

from napari_lucyd import checks
from napari_lucyd.compute.device import Device
from napari_lucyd.deconvolution.arguments import RunArguments
from napari_lucyd.deconvolution.classical.methods import ClassicalMethod
from napari_lucyd.deconvolution.recipe_entries import refuse_wrong_entry
from napari_lucyd.deconvolution.statistics.scaling import Statistics
from napari_lucyd.psf.cleaning import psf_sha256


@cache
def software_version() -> str:
    """Return the version of this package; ``"unknown"`` if it is not installed."""
    try:
        return metadata.version("napari-lucyd")
    except metadata.PackageNotFoundError:
        return "unknown"


def write_recipe(
    choices: RunArguments,
    model: Any,
    device: Device,
    dtype: np.dtype[Any],
    *,
    statistics: Statistics | None,
    tile_shape: Sequence[int],
    deviation: float | None,
    complete: bool,
    warnings: Sequence[str],
) -> dict[str, Any]:
    """Write the recipe of a network's run.

    ``normalization`` holds lists ``lo`` and ``s`` with one entry for each of ``groups``: the indices along
    the axes ``separate`` ([{}] if all volumes share one scaling). ``g`` and ``o`` are the gain and offset of
    LUCYD's last batch norm. With these,
    output = lo + s · max(0, (image - lo + correction_mask) / s · update_term + o),
    up to ``identity_deviation`` as a share of the range. Other networks, and means over flips, have none of
    these three.
    """
    groups = statistics.groups if statistics is not None else ()
    gain = None if choices.flips else model.network.output_gain()
    resampling = choices.geometry.resampling
    return {
        "software": "napari-lucyd",
        "version": software_version(),
        "model": model.name,
        "sha256": model.sha256,
        "normalization": {
            "method": choices.normalization.method,
            "low": choices.normalization.low,
            "high": choices.normalization.high,
            "pedestal": choices.normalization.pedestal,
            "separate": choices.separate,
            "groups": [dict(group.index) for group in groups],
            "lo": [group.lo for group in groups],
            "s": [group.s for group in groups],
        },
        **({} if gain is None else {"g": gain[0], "o": gain[1], "identity_deviation": deviation or 0.0}),
        **(
            {} if (sigma := getattr(model.network, "sigma", None)) is None else {"blur_sigma": sigma.tolist()}
        ),
        "resampling": None if resampling is None else {"axis": "Z", "factor": resampling.factor},
        "voxel_size": None if choices.voxel_size is None else list(choices.voxel_size),
        "tile_shape": list(tile_shape),
        "halo": choices.geometry.halo,
        "halo_given": choices.halo_given,
        "precision": "float16" if device.half else "float32",
        **_preparation(choices, statistics),
        **_setting(choices, device, dtype),
        "complete": complete,
        "warnings": [str(text) for text in warnings],
    }


def write_classical_recipe(
    choices: RunArguments,
    method: ClassicalMethod,
    device: Device,
    dtype: np.dtype[Any],
    *,
    statistics: Statistics | None,
    found: Mapping[str, Any],
    tiles: tuple[Sequence[int], Sequence[int]] | None = None,
    complete: bool,
    warnings: Sequence[str],
) -> dict[str, Any]:
    """Write the recipe of a classical method's run.

    ``method`` holds the method's name and numbers, and the findings of the run (``found``). ``psf`` holds the
    shape and the SHA-256 of the given PSF (little-endian float32, C order), or None without one. ``separate``
    names the leading axes along which constant images are detected separately.
    """
    return {
        "software": "napari-lucyd",
        "version": software_version(),
        "method": {"name": method.name, **method.numbers, **found},
        "psf": method.psf_record,
        **({} if tiles is None else {"tile_shape": list(tiles[0]), "halo": list(tiles[1])}),
        "separate": choices.separate,
        "voxel_size": None if choices.voxel_size is None else list(choices.voxel_size),
        **_preparation(choices, statistics),
        **_setting(choices, device, dtype),
        "complete": complete,
        "warnings": [str(text) for text in warnings],
    }


def _preparation(choices: RunArguments, statistics: Statistics | None) -> dict[str, Any]:
    """Record the preparation of the image with its measured numbers, and the average over flips.

    ``sigma`` of the prefilter (in voxels of Y and X) and the estimated ``noise`` (as a share of the contrast)
    have one entry for each group of volumes with equal scaling. ``size`` of the background is along (Z,) Y,
    X, in voxels; ``range`` is its lowest and highest value in all volumes.
    """
    wish = choices.preparation
    prefilter: dict[str, Any] | None = None
    background: dict[str, Any] | None = None
    if wish.prefilter is not None:
        prefilter = {"wish": wish.prefilter}
    if wish.subtract_background is not None:
        background = {"wish": wish.subtract_background}
    if statistics is not None:
        found = statistics.prepared
        if prefilter is not None:
            prefilter |= {"sigma": list(found.sigma), "noise": list(found.noise)}
        if background is not None:
            grids = [volume.grid for volume in found.backgrounds.values()]
            limits = [min(float(grid.min()) for grid in grids), max(float(grid.max()) for grid in grids)]
            background |= {"size": list(found.size or ()), "range": limits}
    return {"prefilter": prefilter, "subtract_background": background, "flips": choices.flips}


def _setting(choices: RunArguments, device: Device, dtype: np.dtype[Any]) -> dict[str, Any]:
    """Record input, device and software versions, as for every method."""
    region = [[part.start, part.stop] for part in choices.region] if choices.region_given else None
    return {
        "device": {"torch": device.torch, "name": device.name, "reason": device.reason},
        "threads": torch.get_num_threads(),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
        },
        "axes": choices.axes.names,
        "input": {"shape": list(choices.axes.shape), "dtype": str(dtype)},
        "region": region,
        "outputs": list(choices.outputs),
    }


def options_from_recipe(recipe: Mapping[str, Any], psf: Any = None) -> dict[str, Any]:
    """Return the keyword arguments with which `deconvolve` repeats a run.

    Parameters
    ----------
    recipe
        ``Result.recipe``, also after a round trip through JSON.
    psf
        PSF of a model's first estimate, if one was given: the recipe holds only its SHA-256.

    Returns
    -------
    dict
        ``deconvolve(volume, model_from_recipe(recipe), **options)`` repeats a run of a network, and
        ``deconvolve(volume, method_from_recipe(recipe, psf), **options)`` one of a classical method.

    Raises
    ------
    ValueError
        If it is not a recipe; the message names the missing entries.
    """
    common = ("device", "axes", "outputs", "region", "voxel_size")
    if "method" in recipe:
        _refuse_missing(recipe, (*common, "psf", "separate"))
        tiles = {"tile_shape": tuple(recipe["tile_shape"])} if "tile_shape" in recipe else {}
        return {**_common_options(recipe), "separate": recipe["separate"], **tiles}
    _refuse_missing(recipe, (*common, "normalization", "resampling", "tile_shape", "halo"))
    normalization = recipe["normalization"]
    return {
        **_common_options(recipe),
        **blur_options(recipe.get("first_stage") or {}, psf),
        "tile_shape": tuple(recipe["tile_shape"]),
        # Older recipes do not say whether the halo was given.
        "halo": recipe["halo"] if recipe.get("halo_given", True) else None,
        "normalization": {name: normalization[name] for name in ("method", "low", "high", "pedestal")},
        "isotropic": recipe["resampling"] is not None,
        "separate": normalization["separate"],
        # Older recipes lack this option.
        "precision": recipe.get("precision", "float32"),
    }


def model_from_recipe(recipe: Mapping[str, Any], file: str | Path | None = None) -> Any:
    """Load the model of a recipe.

    Parameters
    ----------
    recipe
        ``Result.recipe`` of a network's run, also after a round trip through JSON.
    file
        File of the model, unless it is a shipped one: a recipe holds only name and SHA-256.

    Returns
    -------
    Model
        The model, as from `napari_lucyd.load_model`.

    Raises
    ------
    FileNotFoundError
        If no shipped model has this name and no file is given.
    ValueError
        If the recipe is not that of a network, or the weights differ.

    Examples
    --------
    >>> import numpy as np, napari_lucyd as nl
    >>> run = nl.deconvolve(np.eye(16), nl.load_model("planes"), device="cpu")
    >>> model_from_recipe(run.recipe).name
    'planes'
    """
    _refuse_missing(recipe, ("model", "sha256"))
    from napari_lucyd.models import load_model

    model = load_model(recipe["model"] if file is None else file)
    if model.sha256 != recipe["sha256"]:
        raise ValueError(
            f"The model {model.name} is not that of the recipe: its SHA-256 is {model.sha256[:12]}…, but the "
            f"recipe has {recipe['sha256']!s:.12}…. Give the file that was used."
        )
    return model


def _refuse_missing(recipe: Mapping[str, Any], names: Sequence[str]) -> None:
    missing = [name for name in names if name not in recipe]
    if missing:
        raise ValueError(f"This is not the recipe of a deconvolution: it has no {', '.join(missing)}.")
    refuse_wrong_entry(recipe)


def blur_options(stage: Mapping[str, Any], psf: Any) -> dict[str, Any]:
    """Return the options that told a run the blur.

    Parameters
    ----------
    stage
        Entry of the recipe that has the blur.
    psf
        PSF of the run, if one was given.

    Raises
    ------
    ValueError
        If the PSF is missing or is another one.
    """
    if "psf" in stage:
        if psf is None:
            raise ValueError(
                "The recipe's run was told a PSF, but a recipe holds only its SHA-256; give the psf."
            )
        several = isinstance(stage["psf"], list)
        for one, entry in zip(
            psf if several else [psf], stage["psf"] if several else [stage["psf"]], strict=True
        ):
            check_recipe_psf(one, entry)
        steps = {"psf_voxel_size": tuple(stage["psf_voxel_size"])} if "psf_voxel_size" in stage else {}
        return {"psf": psf, **steps}
    if "microscope" in stage:
        from napari_lucyd.simulation import Microscope

        given = stage["microscope"]
        several = isinstance(given, list)
        return {"microscope": [Microscope(**one) for one in given] if several else Microscope(**given)}
    return {"blur_sigma": tuple(stage["blur_sigma"])} if "blur_sigma" in stage else {}


def check_recipe_psf(psf: Any, entry: Mapping[str, Any]) -> None:
    """Refuse a PSF other than that of a recipe.

    Raises
    ------
    ValueError
        If its SHA-256 differs.
    """
    given = checks.float_array("The psf", psf)
    digest = psf_sha256(given)
    if digest != entry["sha256"]:
        raise ValueError(
            f"The psf of shape {given.shape} is not that of the recipe: its SHA-256 is {digest[:12]}…, but "
            f"the recipe has {entry['sha256']!s:.12}… of shape {tuple(entry['shape'])}."
        )


def _common_options(recipe: Mapping[str, Any]) -> dict[str, Any]:
    region = recipe["region"]
    return {
        "device": recipe["device"]["torch"],
        "voxel_size": None if recipe["voxel_size"] is None else tuple(recipe["voxel_size"]),
        "outputs": tuple(recipe["outputs"]),
        "axes": recipe["axes"],
        # Older recipes lack these options.
        "prefilter": (recipe.get("prefilter") or {}).get("wish"),
        "subtract_background": (recipe.get("subtract_background") or {}).get("wish"),
        "flips": recipe.get("flips", False),
        "region": None if region is None else tuple(slice(*bounds) for bounds in region),
    }
