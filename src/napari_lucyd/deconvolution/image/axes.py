"""The axes of an image: their names, sizes and roles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_lucyd import checks
from napari_lucyd.spans import Span, spatial_axes
from napari_lucyd.text import axes_text, count_text

_WORDS = {"time": "T", "channel": "C", "channels": "C", "frame": "T", "wavelength": "C", "position": "P"}


@dataclass(frozen=True)
class Axes:
    """The axes of an array, one letter each, and the layout of its volumes.

    Attributes
    ----------
    names
        One capital letter for each axis, in the order of the array, e.g. ``"TCZYX"``.
    shape
        Shape of the whole array.
    dimension
        Number of spatial axes of the model: 2 or 3.
    """

    names: str
    shape: tuple[int, ...]
    dimension: int

    @cached_property
    def letters(self) -> str:
        """The spatial axes of the model: ``"ZYX"`` or ``"YX"``."""
        return spatial_axes(self.dimension)

    @cached_property
    def spatial(self) -> str:
        """The spatial axes that the array has."""
        return "".join(name for name in self.letters if name in self.names)

    @cached_property
    def leading(self) -> str:
        """The other axes, in the order of the array; each of their indices is one volume."""
        return "".join(name for name in self.names if name not in self.spatial)

    @cached_property
    def leading_shape(self) -> tuple[int, ...]:
        """Sizes of the leading axes."""
        return tuple(self.size(name) for name in self.leading)

    @cached_property
    def volume_shape(self) -> tuple[int, ...]:
        """Shape (Z, Y, X) or (Y, X) of a volume; for a 3D model, a plane is a volume with one plane."""
        return tuple(self.size(name) for name in self.letters)

    def size(self, name: str) -> int:
        """Return the number of voxels along an axis; 1 along an absent one."""
        return self.shape[self.names.index(name)] if name in self.names else 1

    def lead_index(self, lead: Sequence[int]) -> dict[str, int]:
        """Return the indices of a volume by leading axis."""
        return dict(zip(self.leading, lead, strict=True))

    def label(self, lead: Sequence[int]) -> str:
        """Name a volume: ``"T 3, C 0"``, or ``"the image"`` without leading axes."""
        return ", ".join(f"{name} {number}" for name, number in self.lead_index(lead).items()) or "the image"

    def index(self, lead: Sequence[int], spans: Sequence[Span]) -> tuple[int | slice, ...]:
        """Return the array's index for ``spans`` along (Z, Y, X) or (Y, X) of the volume ``lead``."""
        at: dict[str, int | slice] = {**self.lead_index(lead)}
        at |= {name: span.slice for name, span in zip(self.letters, spans, strict=True)}
        return tuple(at[name] for name in self.names)

    def in_order_of_volume(self, part: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return a view of a part of one volume with its spatial axes in the order of `letters`.

        Parameters
        ----------
        part
            Selection by `index`: the spatial axes that the array has, in the order of the array.
        """
        own = [name for name in self.names if name in self.spatial]
        return part.transpose([own.index(name) for name in self.spatial])

    def in_order_of_array(self, part: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return a view of a part of one volume, (Z, Y, X) or (Y, X), with all axes of the array."""
        own = [name for name in self.names if name in self.spatial]
        order = [self.letters.index(name) for name in own]
        absent = [number for number, name in enumerate(self.letters) if name not in own]
        moved = part.transpose(absent + order)
        sizes = dict(zip(own, moved.shape[len(absent) :], strict=True))
        return moved.reshape([sizes.get(name, 1) for name in self.names])

    def describe(self) -> str:
        """Describe the axes: ``"T 5 × Z 40 × Y 201 × X 101"``."""
        return axes_text(self.names, self.shape)


def name_axes(
    shape: Sequence[int],
    dtype: np.dtype,
    dimension: int,
    axes: str | None = None,
    dims: Sequence[object] | None = None,
) -> Axes:
    """Name the axes of an array.

    Parameters
    ----------
    shape, dtype
        Shape and data type of the array.
    dimension
        Number of spatial axes of the model: 2 or 3.
    axes
        The user's names, one letter for each axis in the order of the array: T time, C channel, Z, Y, X.
        Other letters, except S, are further leading axes.
    dims
        The array's own names (xarray), used if ``axes`` is None and they include Y and X.

    Raises
    ------
    TypeError
        If ``axes`` is not text.
    ValueError
        If the axes do not fit the array or the model, or the array looks like an RGB image.

    Examples
    --------
    >>> import numpy as np
    >>> name_axes((2, 30, 64, 64), np.dtype("uint16"), 3).names
    'CZYX'
    """
    shape = tuple(int(n) for n in shape)
    if len(shape) < 2:
        raise ValueError(f"The image has shape {shape}; it needs at least two axes (Y, X).")
    if axes is None and dims is not None:
        axes = _from_dims(dims, len(shape))
    if axes is None:
        if dtype == np.uint8 and len(shape) > 2 and shape[-1] in (3, 4):
            raise ValueError(
                f"The image has shape {shape} and dtype uint8, which looks like RGB with colours along the "
                "last axis. Split the colours or convert to grey first. If it is a volume, name its axes, "
                "e.g. axes='ZYX'."
            )
        axes = _guess(shape, dimension)
    names = checks.text("axes", axes, "text with one letter for each axis, such as 'ZYX'").upper()
    _check(names, shape, dimension)
    return Axes(names, shape, dimension)


def _guess(shape: tuple[int, ...], dimension: int) -> str:
    """Guess the axes from their number; a short first axis (up to 4) is channels."""
    count = len(shape)
    if count == 2:
        return "YX"
    if count == 3:
        return "ZYX" if dimension == 3 or shape[0] > 4 else "CYX"
    if count == 4:
        if dimension == 2 and shape[1] <= 4 < shape[0]:
            return "TCYX"
        return "CZYX" if shape[0] <= 4 else "TZYX"
    if count == 5:
        return "TCZYX"
    raise ValueError(
        f"The image has {count} axes (shape {shape}). Name each with a letter: T time, C channel, Z, Y, X; "
        f"any other letter for further axes; e.g. axes='{likely_letters(count)}'."
    )


def likely_letters(count: int) -> str:
    """Return the last letters of TCZYX, with others in front of them for more than five axes.

    Examples
    --------
    >>> likely_letters(3), likely_letters(6)
    ('ZYX', 'PTCZYX')
    """
    others = "PABDEFGHIJKLMNOQRUVW"
    return "TCZYX"[-count:] if count <= 5 else others[: count - 5][::-1] + "TCZYX"


def _from_dims(dims: Sequence[object], count: int) -> str | None:
    letters = []
    for dim in dims:
        word = str(dim).strip().lower()
        letters.append(word.upper() if len(word) == 1 else _WORDS.get(word, "?"))
    names = "".join(letters)
    understood = len(names) == count and len(set(names)) == count and "?" not in names
    return names if understood and {"Y", "X"} <= set(names) else None


def _check(names: str, shape: tuple[int, ...], dimension: int) -> None:
    if "S" in names:
        raise ValueError(
            f"axes={names!r} contains S, the samples of an RGB image. Split the colours or convert to grey "
            "first."
        )
    if len(names) != len(shape):
        named = count_text(len(names), "axis", "axes")
        raise ValueError(f"axes={names!r:.80} names {named}, but the image has {len(shape)} (shape {shape}).")
    if not names.isalpha() or len(set(names)) != len(names):
        raise ValueError(f"axes={names!r:.80} is invalid; give each axis a different letter, e.g. 'TCZYX'.")
    if not {"Y", "X"} <= set(names):
        raise ValueError(
            f"axes={names!r:.80} must include Y and X, the axes of a plane; correct the letters."
        )
    if any(n == 0 for n in shape):
        raise ValueError(f"The image is empty: its shape is {shape}.")
