"""Conversion of voxels to the dtype of a file: exact where values fit, else with a stated scaling."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from .image import Channel, ImageFileError

_HIGHEST = 65535
# Whole counts lose less than 0.2 % of a range this long; values in a shorter one are scaled instead.
_COUNTS = 256


class Converted:
    """An array that is converted to another dtype piece by piece, so that large ones are never held twice.

    Parameters
    ----------
    array
        Anything that numpy can slice.
    dtype
        The other dtype.
    offset, scale
        Numbers with which values are stored as round((value - offset) / scale), and NaN as 0. Without a
        scale, values are only cast.
    """

    def __init__(
        self, array: Any, dtype: np.dtype[Any], offset: float = 0.0, scale: float | None = None
    ) -> None:
        self._array, self.dtype, self._offset, self._scale = array, dtype, offset, scale
        self.shape: tuple[int, ...] = tuple(array.shape)
        self.ndim = len(self.shape)

    def __getitem__(self, index: Any) -> np.ndarray:
        values = np.asarray(self._array[index])
        if self._scale is None:
            return values.astype(self.dtype)
        stored = np.rint((values.astype(np.float64) - self._offset) / self._scale)
        return (
            np.nan_to_num(stored, nan=0.0, posinf=_HIGHEST, neginf=0.0).clip(0, _HIGHEST).astype(self.dtype)
        )


def convert(
    array: Any, dtype: Any, channels: Sequence[Channel]
) -> tuple[Any, dict[str, Any] | None, tuple[Channel, ...]]:
    """Convert an array to the dtype of its file.

    Parameters
    ----------
    array
        Axes in the order of the file.
    dtype
        Dtype of the file; see :func:`napari_lucyd.io.write_image`.
    channels
        Their limits are in values of the array.

    Returns
    -------
    array, stated, channels
        The array in `dtype`; how its values follow from those stored, None where they are the same; and the
        channels with limits in stored values.

    Raises
    ------
    ImageFileError
        Values would be lost.
    """
    if dtype is None or np.dtype(dtype) == array.dtype:
        return array, None, tuple(channels)
    target = np.dtype(dtype)
    floats = np.dtype(array.dtype).kind == "f" and target.kind == "f"
    if floats or np.can_cast(array.dtype, target, "safe"):
        return Converted(array, target), None, tuple(channels)
    if target != np.uint16:
        raise ImageFileError(
            f"{array.dtype} does not fit into {target}; expected dtype None or 'uint16' (scaled where needed)"
        )
    low, high, whole, invalid = _examined(array)
    if low > high:
        raise ImageFileError("no voxel has a finite value: nothing to store as uint16")
    # Rounding must bring no value below 0 or above the highest.
    if low >= -0.5 and high < _HIGHEST + 0.5 and (whole or high - low >= _COUNTS):
        offset, scale = 0.0, 1.0
    else:
        offset, scale = low, (high - low) / _HIGHEST or 1.0
    converted = Converted(array, target, offset, scale)
    if (offset, scale, whole, invalid) == (0.0, 1.0, True, 0):
        return converted, None, tuple(channels)
    stated = {
        "dtype": "uint16",
        "offset": offset,
        "scale": scale,
        "formula": "value = offset + scale * stored",
        "invalid_voxels": invalid,
    }
    return converted, stated, tuple(_rescaled(channel, offset, scale) for channel in channels)


def volumes(array: Any) -> Iterator[np.ndarray]:
    """Yield the (Z, Y, X) or (Y, X) volumes of an array; each is read once."""
    leading = array.shape[:-3] if array.ndim > 3 else ()
    for index in np.ndindex(*leading):
        yield np.asarray(array[index] if index else array)


def _examined(array: Any) -> tuple[float, float, bool, int]:
    """Return the lowest and highest finite value, whether all are integers, and the number not finite."""
    low, high, whole, invalid = np.inf, -np.inf, True, 0
    for volume in volumes(array):
        finite = volume[np.isfinite(volume)]
        invalid += volume.size - finite.size
        if finite.size:
            low, high = min(low, float(finite.min())), max(high, float(finite.max()))
            whole = whole and bool((finite == np.rint(finite)).all())
    return low, high, whole, invalid


def _rescaled(channel: Channel, offset: float, scale: float) -> Channel:
    if channel.limits is None:
        return channel
    low, high = ((limit - offset) / scale for limit in channel.limits)
    return replace(channel, limits=(low, high))
