"""Voxels that stay in their file until they are asked for."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from napari_lucyd.io.image import Stored

from .complaints import complaints_of_tifffile
from .series import open_tiff, own_series


def lazy_data(
    series: tifffile.TiffPageSeries, path: Path, shape: tuple[int, ...], close: Callable[[], None]
) -> Any:
    """Return the image of a series as a dask array.

    Parameters
    ----------
    series
        The image.
    path
        Its file.
    shape
        Shape of the array, without axes of length 1.
    close
        Closes the file; called at once if the voxels can be mapped into memory.
    """
    if series.dataoffset is not None and not series.is_multifile:
        close()
        dtype = np.dtype(series.keyframe.parent.byteorder + series.dtype.char)
        mapped = _Mapped(path, series.dataoffset, dtype, tuple(series.shape))
        return Stored(mapped, path).as_dask().reshape(shape)

    return _stored(series, path, close).as_dask().reshape(shape)


def _stored(series: tifffile.TiffPageSeries, path: Path, close: Callable[[], None]) -> Stored:
    import zarr

    place = path.absolute()
    array = zarr.open_array(series.aszarr(level=0), mode="r")
    return Stored(array, path, close, (_reopened, (place, place.stat().st_mtime_ns)))


@lru_cache(maxsize=4)
def _reopened(path: Path, changed: int) -> Stored:
    """Open the image of a file again, in another process; a dask graph asks for it with every chunk."""
    with complaints_of_tifffile():
        tif, _, _ = open_tiff(path)
        try:
            series, _ = own_series(tif, path)
        except BaseException:
            tif.close()
            raise
    return _stored(series, path, tif.close)


class _Mapped:
    """Uncompressed, contiguous voxels of a file, mapped into memory."""

    def __init__(self, path: Path, offset: int, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
        self._place = (path, offset, dtype, shape)
        self._array = np.memmap(path, dtype, "r", offset, shape)
        self.shape, self.dtype = shape, dtype
        self.chunks = (1,) * (len(shape) - 2) + shape[-2:]

    def __getitem__(self, index: Any) -> np.ndarray:
        return np.asarray(self._array[index])

    def __reduce__(self) -> tuple[type[_Mapped], tuple[Any, ...]]:
        # To another process goes the path; NumPy would send the voxels.
        return _Mapped, self._place
