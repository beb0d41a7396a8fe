"""The options of a run: the keywords that `deconvolve`, `plan` and their out-of-core versions share."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, TypedDict, TypeVar

from napari_lucyd.deconvolution.statistics.scaling import Statistics

F = TypeVar("F", bound=Callable[..., Any])


class RunOptions(TypedDict, total=False):
    """The options of any run; `napari_lucyd.deconvolve` describes them."""

    device: Any
    tile_shape: Sequence[int] | None
    halo: int | None
    normalization: Any
    voxel_size: Sequence[float] | None
    microscope: Any
    psf: Any
    psf_voxel_size: Sequence[float] | None
    blur_sigma: Any
    outputs: Sequence[str] | None
    isotropic: bool | None
    prefilter: str | float | None
    subtract_background: str | float | None
    flips: bool
    precision: str
    axes: str | None
    separate: str
    region: Sequence[slice] | None


class ArrayOptions(RunOptions, total=False):
    """The options of a run into arrays."""

    statistics: Statistics | None
    allocate: Callable[[str, tuple[int, ...]], Any] | None


DEFAULTS: ArrayOptions = {
    "device": "auto",
    "tile_shape": None,
    "halo": None,
    "normalization": "model",
    "voxel_size": None,
    "microscope": None,
    "psf": None,
    "psf_voxel_size": None,
    "blur_sigma": None,
    "outputs": None,
    "isotropic": None,
    "prefilter": None,
    "subtract_background": None,
    "flips": False,
    "precision": "float32",
    "axes": None,
    "separate": "C",
    "region": None,
    "statistics": None,
    "allocate": None,
}


def complete(options: Mapping[str, Any]) -> ArrayOptions:
    """Return all options, with the defaults of those not given.

    Raises
    ------
    TypeError
        If a keyword is not an option.
    """
    for name in options:
        if name not in DEFAULTS:
            close = get_close_matches(name, DEFAULTS, 1)
            hint = f"did you mean {close[0]!r}?" if close else f"the options are {', '.join(DEFAULTS)}."
            raise TypeError(f"{name!r} is not an option of a run; {hint}")
    return {**DEFAULTS, **options}  # type: ignore[typeddict-item]


def list_options(keywords: type[RunOptions], **defaults: Any) -> Callable[[F], F]:
    """Make a decorator that lists the options in a function's signature, where help and editors show them.

    Parameters
    ----------
    keywords
        Options of the function, which are its ``**options``.
    **defaults
        Defaults that differ from `DEFAULTS`.
    """

    def decorate(function: F) -> F:
        signature = inspect.signature(function)
        own = [entry for entry in signature.parameters.values() if entry.kind is not entry.VAR_KEYWORD]
        added = [
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                default=defaults.get(name, DEFAULTS.get(name)),
                annotation=annotation,
            )
            for name, annotation in keywords.__annotations__.items()
            if name not in signature.parameters
        ]
        function.__signature__ = signature.replace(parameters=[*own, *added])  # type: ignore[attr-defined]
        return function

    return decorate
