"""Types of the entries of a recipe, which may come from anybody's file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from napari_lucyd import checks

_Check = Callable[[Any], bool]


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _list(check: _Check) -> _Check:
    return lambda value: isinstance(value, (list, tuple)) and all(map(check, value))


def _table(**entries: _Check) -> _Check:
    """Check the entries that a mapping has; others may hold anything."""
    return lambda value: isinstance(value, Mapping) and _wrong(value, entries) is None


def _either(*checks: _Check) -> _Check:
    return lambda value: any(check(value) for check in checks)


def _or_none(check: _Check) -> _Check:
    return lambda value: value is None or check(value)


def _span(value: Any) -> bool:
    return _list(_whole)(value) and len(value) == 2


_PREPARATION = _or_none(_table(wish=_or_none(_either(_text, _number))))
_TABLES = _either(_table(), _list(_table()))
_PSF = _table(sha256=_text, shape=_list(_whole))
_PSFS = _or_none(_either(_PSF, _list(_PSF)))
_NUMBERS = _either(_number, _list(_number), _list(_list(_number)))
_TOLD: Mapping[str, _Check] = {
    "blur_sigma": _or_none(_NUMBERS),
    "microscope": _or_none(_TABLES),
    "psf": _PSFS,
}
_ENTRIES: Mapping[str, _Check] = {
    "model": _text,
    "sha256": _text,
    "normalization": _or_none(
        _table(
            method=_text,
            low=_number,
            high=_number,
            pedestal=_number,
            separate=_or_none(_text),
            groups=_list(_table()),
            lo=_list(_number),
            s=_list(_number),
        )
    ),
    "g": _number,
    "o": _number,
    "resampling": _or_none(_table(factor=_number)),
    "voxel_size": _or_none(_list(_number)),
    "tile_shape": _list(_whole),
    "halo": _or_none(_either(_whole, _list(_whole))),
    "halo_given": lambda value: isinstance(value, bool),
    "precision": _text,
    "prefilter": _PREPARATION,
    "subtract_background": _PREPARATION,
    "flips": lambda value: isinstance(value, bool),
    "device": _table(torch=_text),
    "axes": _text,
    "input": _table(shape=_list(_whole), dtype=_text),
    "region": _or_none(_list(_span)),
    "outputs": _list(_text),
    "method": _table(name=_text, microscope=_or_none(_TABLES)),
    "psf": _PSFS,
    "separate": _or_none(_text),
    "first_stage": _or_none(_table(**_TOLD, network_share=_or_none(_list(_number)))),
    "automatic": _or_none(_table(blur_sigma=_or_none(_NUMBERS), told=_or_none(_table(**_TOLD)))),
    "strength": _number,
    "warnings": _list(_text),
}


def wrong_entry(recipe: Mapping[str, Any]) -> str | None:
    """Return the name of an entry of the wrong type; None if there is none.

    Parameters
    ----------
    recipe
        A recipe, or what claims to be one. Entries may be missing.

    Examples
    --------
    >>> wrong_entry({"axes": "ZYX", "outputs": ["output"]}) is None, wrong_entry({"axes": 5})
    (True, 'axes')
    """
    return _wrong(recipe, _ENTRIES)


def refuse_wrong_entry(recipe: Mapping[str, Any]) -> None:
    """Check the types of a recipe's entries.

    Raises
    ------
    ValueError
        One has the wrong type; the message names it.
    """
    name = wrong_entry(recipe)
    if name is not None:
        raise ValueError(
            f"This is not the recipe of a deconvolution: its {name} is {checks.shown(recipe[name])}."
        )


def _wrong(found: Mapping[str, Any], entries: Mapping[str, _Check]) -> str | None:
    return next((name for name, check in entries.items() if name in found and not check(found[name])), None)
