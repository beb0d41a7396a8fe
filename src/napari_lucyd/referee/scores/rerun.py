"""Repetition of a run on parts of an image, from its result, its recipe, or a method."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_lucyd import checks
from napari_lucyd.deconvolution import (
    Axes,
    ClassicalMethod,
    Result,
    RichardsonLucy,
    SemiBlind,
    deconvolve,
    method_from_recipe,
    model_from_recipe,
    options_from_recipe,
)
from napari_lucyd.deconvolution.classical.by_name import recorded_psf
from napari_lucyd.deconvolution.first_stage.blur import check_blur
from napari_lucyd.deconvolution.named_model import model_for
from napari_lucyd.deconvolution.recorded_statistics import statistics_from_recipe
from napari_lucyd.deconvolution.result import Request
from napari_lucyd.models.normalization import FIRST_ESTIMATE
from napari_lucyd.spans import spatial_axes

Values = npt.NDArray[np.float32]

TOLD = ("microscope", "psf", "psf_voxel_size", "blur_sigma")
"""Options that tell the blur."""
# Options of a run that a repetition on a part does not take over.
_OF_THE_WHOLE = (
    "region",
    "axes",
    "outputs",
    "separate",
    "tile_shape",
    "voxel_size",
    "statistics",
    "allocate",
)


@dataclass(frozen=True, eq=False)
class Rerun:
    """A run that can be repeated on parts of one volume of an image.

    Attributes
    ----------
    restore
        Function that returns the result of a part, (Z, Y, X) or (Y, X), float32.
    kernel
        PSF that the run was made with, on the image's voxels; None if the method knows no blur.
    blur
        Origin of the PSF, as a phrase; empty without one.
    """

    restore: Callable[[Values], Values]
    kernel: Values | None = None
    blur: str = ""


@dataclass(frozen=True, eq=False)
class Place:
    """A volume of an image, with the parts that are restored.

    Attributes
    ----------
    axes
        Axes of the image, for the dimension of the method.
    lead
        Indices of the volume along the leading axes.
    shape
        Shape of the part that is restored.
    voxel_size
        Voxel size along the part's axes; None if unknown.
    """

    axes: Axes
    lead: tuple[int, ...]
    shape: tuple[int, ...]
    voxel_size: tuple[float, ...] | None

    @property
    def part_axes(self) -> Axes:
        """Axes of the part."""
        return Axes(spatial_axes(len(self.shape)), self.shape, len(self.shape))

    @property
    def channel(self) -> int:
        """Index along C; 0 without such an axis."""
        return self.axes.lead_index(self.lead).get("C", 0)


def as_request(result: Any, image: Any, axes: str | None, told: Mapping[str, Any]) -> Request | None:
    """Return the method and the options of a run; None for a function or for the image itself.

    Parameters
    ----------
    result
        A `Result`, its recipe, a model, its name, a classical method, a function of one array, or None.
    image, axes
        Image, and the names of its axes or None.
    told
        The options of `TOLD`, each None if not given.

    Raises
    ------
    TypeError, ValueError, FileNotFoundError
        If it is none of these, or a recipe needs the PSF.
    """
    if isinstance(result, Result):
        if result.request is not None:
            return result.request
        result = result.recipe
    if isinstance(result, Mapping):
        if "method" in result:
            missing = result.get("psf") is not None and recorded_psf(result) is None
            if missing and told["psf"] is None:
                raise ValueError(
                    "The result holds only a checksum of its PSF. Give the psf that was used, or score the "
                    "result right after its run."
                )
            return Request(method_from_recipe(result, told["psf"]), options_from_recipe(result))
        options = options_from_recipe(result, told["psf"])
        return Request(model_from_recipe(result), options, statistics_from_recipe(result))
    if isinstance(result, str) or hasattr(result, "dimension"):
        model = model_for(result, image, axes)
        is_told = not isinstance(model, ClassicalMethod) and model.normalization.method == FIRST_ESTIMATE
        return Request(model, dict(told) if is_told else {})
    if result is None or callable(result):
        return None
    raise TypeError(
        f"result is {checks.shown(result)}; give a result of deconvolve, its recipe, the name of a model, a "
        "model, a classical method, a function of one array, or None for the image itself."
    )


def rerun(result: Any, request: Request | None, place: Place, *, device: Any = "auto") -> Rerun:
    """Return the run for parts of a volume, with the numbers that the run on the whole image found.

    Parameters
    ----------
    result
        See `as_request`.
    request
        The request, from `as_request`.
    place
        The volume.
    device
        Device of the runs.
    """
    if request is None:
        return Rerun(_function(result))
    recipe = result.recipe if isinstance(result, Result) else result if isinstance(result, Mapping) else {}
    options = {
        name: value
        for name, value in request.options.items()
        if name not in _OF_THE_WHOLE and value is not None
    }
    options |= {"device": device, "axes": place.part_axes.names, "outputs": ("output",)}
    if place.voxel_size is not None:
        options["voxel_size"] = place.voxel_size
    model = request.model
    if isinstance(model, ClassicalMethod):
        model = _decided(model.for_channel(place.channel), recipe, place)
        if isinstance(model, SemiBlind):
            return Rerun(_runner(model, options, None))
        ready, _ = model.prepared(place.voxel_size, place.shape)
        return Rerun(_runner(model, options, None), ready.kernel, "the PSF of the run")
    statistics = _of_the_part(request.statistics, place)
    if model.normalization.method != FIRST_ESTIMATE:
        return Rerun(_runner(model, options, statistics))
    for name in ("microscope", "psf"):
        if isinstance(options.get(name), list | tuple) and np.ndim(options[name][0]) != 1:
            options[name] = options[name][place.channel if len(options[name]) > 1 else 0]
    told = {name: options.get(name) for name in TOLD}
    source = "the PSF of the run"
    if all(value is None for value in told.values()):
        found = (recipe.get("first_stage") or {}).get("blur_sigma_found")
        if not found:
            return Rerun(_runner(model, options, statistics))
        sigmas = found[_group_number(recipe, place) if len(found) > 1 else 0]
        options["blur_sigma"] = told["blur_sigma"] = tuple(sigmas)[-len(place.shape) :]
        source = "the blur that the run found in the image"
    blur = check_blur(**told, axes=place.part_axes, steps=place.voxel_size)
    return Rerun(_runner(model, options, statistics), blur.kernel(0), source)


def _function(result: Any) -> Callable[[Values], Values]:
    if result is None:
        return lambda values: values

    def call(values: Values) -> Values:
        output = np.asarray(result(values), np.float32)
        if output.shape != values.shape:
            raise ValueError(
                f"The function returned shape {output.shape} for a part of shape {values.shape}; it must "
                "keep the shape."
            )
        return output

    return call


def _runner(model: Any, options: Mapping[str, Any], statistics: Any) -> Callable[[Values], Values]:
    def call(values: Values) -> Values:
        output = deconvolve(values, model, statistics=statistics, **options).output
        assert output is not None
        return output

    return call


def _decided(method: Any, recipe: Mapping[str, Any], place: Place) -> Any:
    """Return a classical method with the numbers that its run found in this volume."""
    entry = recipe.get("method") if isinstance(recipe.get("method"), Mapping) else {}
    assert entry is not None

    def found(name: str) -> Any:
        values = entry.get(name) or []
        number = int(np.ravel_multi_index(place.lead, place.axes.leading_shape)) if place.lead else 0
        return values[number if number < len(values) else 0] if values else None

    if isinstance(method, SemiBlind):
        ready, _ = method.prepared(place.voxel_size, place.shape)
        parameters, iterations = found(ready.family.name), found("iterations")
        if parameters is None or not iterations:
            return method
        psf = ready.family.psf(parameters)
        return replace(ready.with_psf(psf if psf.ndim == len(place.shape) else psf[0]), num_iter=iterations)
    if isinstance(method, RichardsonLucy) and method.num_iter == "auto" and found("iterations"):
        return replace(method, num_iter=max(1, found("iterations")))
    return method


def _group_number(recipe: Mapping[str, Any], place: Place) -> int:
    """Return the number of the volume's group among those of a recipe."""
    lead = place.axes.lead_index(place.lead)
    for number, index in enumerate(recipe["normalization"]["groups"]):
        if all(lead.get(name) == at for name, at in index.items()):
            return number
    raise ValueError(f"The recipe has no numbers for {dict(lead)}; give the image that was deconvolved.")


def _of_the_part(statistics: Any, place: Place) -> Any:
    """Return the whole image's numbers for a part; None if a part must be measured by itself."""
    if statistics is None or statistics.prepared.backgrounds or statistics.prepared.sigma:
        return None
    group = statistics.group(place.axes.lead_index(place.lead))
    if group.constant:
        return None
    light = (statistics.light_of(group),) if statistics.light else ()
    return replace(
        statistics,
        separate="",
        groups=(replace(group, index=(), nan_voxels=0),),
        light=light,
        numbers=(),
        warnings=(),
    )
