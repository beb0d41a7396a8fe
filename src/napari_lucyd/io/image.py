"""Content of an image file, whatever its format: voxels, axes, voxel size, channels, optics."""

from __future__ import annotations

import json
import math
import re
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from napari_lucyd.io.units import micrometers
from napari_lucyd.text import printable

AXES = "TCZYX"
"""The axes that an image may have, in the order in which they are read and written."""


_COLOR = re.compile("#[0-9A-Fa-f]{6}")
_UNSAFE = re.compile("[\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffe\uffff]")


class ImageFileError(ValueError):
    """An image file cannot be read or written; the message says which one, why, and what to do.

    Parameters
    ----------
    message
        Unprintable characters of file names are escaped.
    """

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


@dataclass(frozen=True)
class Channel:
    """A channel's name and display settings.

    Attributes
    ----------
    name : str or None
        Such as ``"DAPI"``.
    color : str or None
        ``"#rrggbb"``.
    limits : tuple of float, or None
        The values that are shown darkest and brightest.
    """

    name: str | None = None
    color: str | None = None
    limits: tuple[float, float] | None = None


def channel_of(name: Any, color: Any, limits: Any) -> Channel:
    """Make a channel of what a file states; what cannot be used is left out.

    Parameters
    ----------
    name
        Text, or a number.
    color
        ``"#rrggbb"``.
    limits
        Two finite numbers.

    Examples
    --------
    >>> channel_of("DAPI", "#00f", (0, float("inf")))
    Channel(name='DAPI', color=None, limits=None)
    """
    words = None if isinstance(name, bool) or not isinstance(name, (str, int, float)) else str(name)
    known = color if isinstance(color, str) and _COLOR.fullmatch(color) else None
    try:
        low, high = (float(limit) for limit in limits)
    except (TypeError, ValueError, OverflowError):
        return Channel(words, known)
    return Channel(words, known, (low, high) if math.isfinite(low) and math.isfinite(high) else None)


def channels_from_json(value: Any) -> tuple[Channel, ...]:
    """Read channels that `dataclasses.asdict` wrote; none of anything else."""
    entries = [as_json_dict(entry) for entry in value] if isinstance(value, list) else []
    return tuple(channel_of(each.get("name"), each.get("color"), each.get("limits")) for each in entries)


@dataclass(frozen=True)
class Optics:
    """Optics of the microscope; None for what the file does not state.

    Attributes
    ----------
    numerical_aperture : float or None
        Numerical aperture of the objective.
    refractive_index : float or None
        Refractive index of the immersion medium.
    emission_um, excitation_um : tuple of float or None
        Wavelengths in micrometres, one for each channel.
    """

    numerical_aperture: float | None = None
    refractive_index: float | None = None
    emission_um: tuple[float | None, ...] = ()
    excitation_um: tuple[float | None, ...] = ()


@dataclass(frozen=True)
class Image:
    """An image of a file.

    Attributes
    ----------
    data : array-like
        The voxels as stored: a numpy array, or a dask array that reads its chunks from the file when they
        are asked for. One array axis for each letter of `axes`.
    axes : str
        Some of ``"TCZYX"``, in that order, ending in ``"YX"``.
    voxel_size : tuple of float, or None
        Step along (Z, Y, X), or (Y, X) where there is no Z, in `unit`; None where the file does not say.
    unit : str or None
        ``"micrometer"``, ``"nanometer"``, … (the spelling of OME-Zarr and pint), or None for plain voxels.
    name : str
        The file's name without folder and suffix.
    metadata : dict
        Metadata that were passed to :func:`write_image`; empty for files from other programs.
    warnings : tuple of str
        Assumptions and omissions in reading the file, in sentences for the user.
    channels : tuple of Channel
        One for each entry of C, or one where there is no C; empty where the file says nothing of them.
    optics : Optics or None
        None where the file says nothing of them.
    lower : tuple of dask arrays
        Lower resolutions of the same image, the highest of them first; empty where the file has none.
    """

    data: Any
    axes: str
    voxel_size: tuple[float, ...] | None
    unit: str | None
    name: str
    metadata: dict[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    channels: tuple[Channel, ...] = ()
    optics: Optics | None = None
    lower: tuple[Any, ...] = ()

    def in_micrometers(self) -> Image:
        """Return the same image with its voxel size in µm.

        Raises
        ------
        ImageFileError
            If the voxel size is unknown, or not in a unit of length.
        """
        factor = micrometers(self.unit)
        if self.voxel_size is None or factor is None:
            raise ImageFileError(
                f"{self.name}: the file states no voxel size in a unit of length, and a microscope's PSF "
                "needs it; give the voxel size in µm."
            )
        steps = tuple(step * factor for step in self.voxel_size)
        return replace(self, voxel_size=steps, unit="micrometer")


class Stored:
    """An array in an open file, read on demand; the file is closed with the last reference to the array.

    Parameters
    ----------
    array
        A zarr array, or a mapped file.
    path
        Named in errors.
    close
        Called when the array is no longer used.
    reopen
        Function and its arguments that return the same array in another process, if it cannot be pickled.
    """

    def __init__(
        self,
        array: Any,
        path: Path,
        close: Callable[[], object] | None = None,
        reopen: tuple[Callable[..., Stored], tuple[Any, ...]] | None = None,
    ) -> None:
        self._array, self._path, self._reopen = array, path, reopen
        self._is_folder = path.is_dir()
        self.shape: tuple[int, ...] = tuple(array.shape)
        # ImageJ writes the most significant byte first; computing is done in the machine's own order.
        self.dtype: np.dtype[Any] = np.dtype(array.dtype).newbyteorder("=")
        self.ndim = len(self.shape)
        if close is not None:
            weakref.finalize(self, close)

    def __getitem__(self, index: Any) -> np.ndarray:
        try:
            # A copy, so that nothing keeps a mapped file open.
            values = np.array(self._array[index], dtype=self.dtype)
        # Decoders may raise any error for damaged data.
        except Exception as error:
            raise ImageFileError(f"{self._path}: {unreadable(error)}") from error
        # Zarr takes the chunks of a folder that is gone for empty ones.
        if self._is_folder and not self._path.is_dir():
            raise ImageFileError(f"{self._path}: the folder is gone: it was deleted, moved or renamed")
        return values

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self._reopen or super().__reduce_ex__(protocol)

    def as_dask(self) -> Any:
        """Return a dask array with a chunk for each chunk of the file."""
        import dask.array

        # Without a name of its own, dask would hash the array, by reading or pickling it.
        return dask.array.from_array(self, chunks=self._array.chunks, name=False)  # type: ignore[no-untyped-call]


def unreadable(error: Exception) -> str:
    """Explain why a file cannot be read."""
    if "imagecodecs" in str(error):
        return f"compressed in a way that needs another package: pip install imagecodecs ({error})"
    if "not a TIFF file" in str(error):
        return "cannot be read: damaged, or no TIFF file"
    return f"cannot be read: damaged, or not what its suffix says ({type(error).__name__}: {error})"


def spatial(axes: str) -> str:
    """Return the spatial letters of `axes` (``"ZYX"`` or ``"YX"``)."""
    return "".join(letter for letter in axes if letter in "ZYX")


def resolve_axes(axes: str, shape: Sequence[int]) -> tuple[str, tuple[str, ...]]:
    """Translate a format's axis letters to ``"TCZYX"``; report what had to be guessed.

    Letters that say nothing (tifffile's I and Q for "a sequence of pages") are taken as Z in a stack of three
    axes; with four, as C where the axis in front has at most four entries, else as T; with five, as T and C.

    Parameters
    ----------
    axes
        One letter an axis, as the file (or tifffile) names them; axes of one entry that have no meaning here
        must have been dropped.
    shape
        The array's shape.

    Returns
    -------
    axes, warnings
        Letters in the order of the array's axes, and a sentence for each guess worth a second look.

    Examples
    --------
    >>> resolve_axes("IYX", (40, 201, 101))
    ('ZYX', ())
    """
    letters: list[str | None] = [letter if letter in AXES else None for letter in axes]
    seen = [letter for letter in letters if letter is not None]
    if len(set(seen)) != len(seen) or not {"Y", "X"} <= set(seen):
        raise ImageFileError(f"the image's axes {axes!r} cannot be distinguished")
    free = [index for index, letter in enumerate(letters) if letter is None]
    told = len(free) > 1 or any(axes[index] not in "IQ" for index in free)
    if free and "Z" not in seen:
        letters[free.pop()] = "Z"
    for index in reversed(free):
        missing = [letter for letter in "CT" if letter not in letters]
        if not missing:
            raise ImageFileError(
                f"the image has {len(axes)} axes {axes!r} of shape {tuple(shape)}; expected at most "
                "time, channel, Z, Y, X: split the file first"
            )
        # A lone unnamed axis in front is channels where it is as short as channels are, else time.
        if len(missing) == 2 and len(free) == 1 and shape[index] > 4:
            missing = ["T"]
        letters[index] = missing[0]
    resolved = "".join(letter for letter in letters if letter is not None)
    if not told:
        return resolved, ()
    return resolved, (f"axes {axes!r} of shape {tuple(shape)} were taken for {resolved!r}",)


def canonical_order(axes: str) -> tuple[int, ...]:
    """Return the permutation that brings `axes` into the order ``"TCZYX"``."""
    return tuple(axes.index(letter) for letter in AXES if letter in axes)


def order_axes(
    axes: str, shape: Sequence[int], declared: str | None
) -> tuple[tuple[int, ...], str, tuple[str, ...]]:
    """Order and name the axes of an array.

    Parameters
    ----------
    axes, shape
        Letters and sizes of the axes; see `resolve_axes`.
    declared
        The letters of the axes in the order in which they would be read without them; None: as guessed.

    Returns
    -------
    order, letters, warnings
        The permutation that brings the axes, as they were guessed, into the order ``"TCZYX"``; their letters
        in that order, or those declared; and a sentence for each guess.

    Examples
    --------
    >>> order_axes("ZCYX", (9, 2, 5, 6), None)
    ((1, 0, 2, 3), 'CZYX', ())
    >>> order_axes("CYX", (48, 5, 6), "ZYX")
    ((0, 1, 2), 'ZYX', ())
    """
    guessed, warnings = resolve_axes(axes, shape)
    order = canonical_order(guessed)
    if declared is None:
        return order, "".join(guessed[index] for index in order), warnings
    return order, check_axes(declared, [shape[index] for index in order]), ()


def check_axes(axes: str, shape: Sequence[int]) -> str:
    """Return `axes` in capitals; check that they name each axis of an image of `shape` once.

    Parameters
    ----------
    axes
        One letter of TCZYX for each axis, ending in YX.
    shape
        Shape of the image.

    Raises
    ------
    ImageFileError
        They do not.

    Examples
    --------
    >>> check_axes("zyx", (5, 40, 30))
    'ZYX'
    """
    letters = axes.upper()
    unknown = set(letters) - set(AXES)
    if unknown or len(set(letters)) != len(letters) or not letters.endswith("YX"):
        raise ImageFileError(f"axes {axes!r}: expected some of 'TCZYX', each once, ending in 'YX'")
    if len(letters) != len(shape):
        raise ImageFileError(
            f"axes {axes!r} name {len(letters)} axes, but the image has {len(shape)} (shape {tuple(shape)})"
        )
    return letters


def check_voxel_size(voxel_size: Sequence[float] | None, axes: str) -> tuple[float, ...] | None:
    """Return the last entries of `voxel_size`, one for each spatial axis of `axes`."""
    if voxel_size is None:
        return None
    sizes = tuple(float(size) for size in voxel_size)
    letters = spatial(axes)
    count = len(letters)
    if len(sizes) < count or any(not math.isfinite(size) or size <= 0 for size in sizes):
        raise ImageFileError(
            f"voxel_size {sizes}: expected {count} positive numbers, the steps along {', '.join(letters)}"
        )
    return sizes[-count:]


def as_json_dict(value: Any) -> dict[str, Any]:
    """Return a mapping as a dict; an empty dict for anything else."""
    return dict(value) if isinstance(value, Mapping) else {}


def to_json(value: Any) -> str:
    """Encode metadata as JSON; characters that XML or UTF-8 do not allow are escaped.

    Raises
    ------
    ImageFileError
        It is no plain JSON.
    """
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ImageFileError(f"metadata must be plain JSON: {error}") from error
    return _UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
