"""What each axis of an input is taken for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from napari_lucyd.spans import Span

_WORDS = {"time": "T", "channel": "C", "channels": "C", "frame": "T", "wavelength": "C", "position": "P"}


@dataclass(frozen=True)
class Axes:
    """The axes of an array: one letter each, and how volumes lie in it.

    Attributes
    ----------
    names
        One capital letter an axis, for example ``"TCZYX"``.
    shape
        Of the whole array.
    dimension
        2 or 3: how many axes the model takes at once.
    """

    names: str
    shape: tuple[int, ...]
    dimension: int

    @property
    def spatial(self) -> str:
        """The axes that make up one volume: of ``"ZYX"`` or ``"YX"`` those that are there."""
        return "".join(name for name in "ZYX"[-self.dimension :] if name in self.names)

    @property
    def leading(self) -> str:
        """The other axes, in the order of the array: one volume after another."""
        return "".join(name for name in self.names if name not in self.spatial)

    @property
    def leading_shape(self) -> tuple[int, ...]:
        """Sizes of the leading axes."""
        return tuple(self.size(name) for name in self.leading)

    @property
    def volume_shape(self) -> tuple[int, ...]:
        """(Z, Y, X) or (Y, X); a plane given to a 3D model is a volume with one plane."""
        return tuple(self.size(name) for name in "ZYX"[-self.dimension :])

    def size(self, name: str) -> int:
        """Voxels along an axis; 1 along one that is not there."""
        return self.shape[self.names.index(name)] if name in self.names else 1

    def index(self, lead: Sequence[int], spans: Sequence[Span]) -> tuple[int | slice, ...]:
        """What to index the array with for ``spans`` along (Z, Y, X) or (Y, X) of the volume ``lead``."""
        at: dict[str, int | slice] = dict(zip(self.leading, lead, strict=True))
        at |= {name: span.slice for name, span in zip("ZYX"[-self.dimension :], spans, strict=True)}
        return tuple(at[name] for name in self.names)

    def describe(self) -> str:
        """``"T 5 × Z 40 × Y 201 × X 101"``."""
        return " × ".join(f"{name} {size}" for name, size in zip(self.names, self.shape, strict=True))


def name_axes(
    shape: Sequence[int],
    dtype: np.dtype,
    dimension: int,
    axes: str | None = None,
    dims: Sequence[object] | None = None,
) -> Axes:
    """Say what the axes of an array are.

    Parameters
    ----------
    shape, dtype
        Of the array.
    dimension
        2 or 3, the model's.
    axes
        One letter an axis, as the user says. T time, C channel, Z, Y, X; other letters but S are taken as
        further leading axes.
    dims
        Names that the array carries (xarray), used where ``axes`` is None and they name Y and X.

    Raises
    ------
    TypeError
        If ``axes`` is no text.
    ValueError
        If the axes do not fit the array or the model, or the array looks like an RGB picture.

    Examples
    --------
    >>> import numpy as np
    >>> name_axes((2, 30, 64, 64), np.dtype("uint16"), 3).names
    'CZYX'
    """
    shape = tuple(int(n) for n in shape)
    if len(shape) < 2:
        raise ValueError(f"The image has shape {shape}; at least two axes (Y, X) are needed.")
    if axes is None and dims is not None:
        axes = _from_dims(dims, len(shape))
    if axes is None:
        if dtype == np.uint8 and len(shape) > 2 and shape[-1] in (3, 4):
            raise ValueError(
                f"The image has shape {shape} and dtype uint8: this looks like RGB with colours along the "
                "last axis. "
                "Split the colours or convert to grey first; if it is a volume, say so with axes, e.g. "
                "axes='ZYX'."
            )
        axes = _guess(shape, dimension)
    if not isinstance(axes, str):
        raise TypeError(f"axes is {axes!r}; it has to be a text with a letter for each axis, such as 'ZYX'.")
    names = axes.upper()
    _check(names, shape, dimension)
    return Axes(names, shape, dimension)


def _guess(shape: tuple[int, ...], dimension: int) -> str:
    """By number of axes; a short axis (up to 4) in front is channels."""
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
        f"The image has {count} axes (shape {shape}); what they are has to be said with axes, e.g. "
        "axes='PTCZYX'."
    )


def _from_dims(dims: Sequence[object], count: int) -> str | None:
    letters = []
    for dim in dims:
        word = str(dim).strip().lower()
        letters.append(word.upper() if len(word) == 1 else _WORDS.get(word, "?"))
    names = "".join(letters)
    understood = len(names) == count and len(set(names)) == count and "?" not in names
    # Known axes in another order are the user's to move: they would be taken for what they are not.
    return names if understood and {"Y", "X"} <= set(names) else None


def _check(names: str, shape: tuple[int, ...], dimension: int) -> None:
    if "S" in names:
        raise ValueError(
            f"The axes {names!r} name S, samples of an RGB picture. Split the colours or convert to grey "
            "first."
        )
    if len(names) != len(shape):
        raise ValueError(
            f"axes={names!r} names {len(names)} axes, but the image has {len(shape)} (shape {shape})."
        )
    if not names.isalpha() or len(set(names)) != len(names):
        raise ValueError(
            f"axes={names!r} is not understood; give each axis a letter of its own, e.g. 'TCZYX'."
        )
    if not names.endswith("YX"):
        raise ValueError(
            f"axes={names!r} has to end in 'YX'; move the axes first (numpy.moveaxis), or correct the "
            "letters."
        )
    if any(n == 0 for n in shape):
        raise ValueError(f"The image is empty: its shape is {shape}.")
