"""Planes of voxels with zeros around them, as compiled kernels read and write them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from napari_lucyd.inference.lucyd.cpu_kernels import PAD
from napari_lucyd.spans import ceil_to


def row_floats(width: int) -> int:
    """Return the number of floats from one row to the next."""
    # A kernel writes up to two registers together, but nothing to the left of the next row.
    return ceil_to(width, 2 * PAD) + PAD


class Planes:
    """A ring of planes for some channels, each surrounded by zeros at first.

    Parameters
    ----------
    channels
        Number of channels.
    ring
        Number of planes kept.
    shape
        (Y, X) of a plane.
    """

    def __init__(self, channels: int, ring: int, shape: tuple[int, int]) -> None:
        self.channels, self._ring, self.row = channels, ring, row_floats(shape[1])
        rows = shape[0] + 2
        self._plane = rows * self.row
        # A kernel may read one register beyond the last row.
        self._memory = np.zeros(channels * ring * self._plane + 2 * PAD, dtype=np.float32)
        whole = self._memory[: channels * ring * self._plane].reshape(channels, ring, rows, self.row)
        self.values = whole[:, :, 1:-1, PAD : PAD + shape[1]]
        # With a voxel around each plane; the last one of a row may be the first float of the next row.
        around, start = (channels, ring, rows, shape[1] + 2), PAD - 1
        self._around = np.lib.stride_tricks.as_strided(self._memory[start:], around, whole.strides)

    def repeat_outermost(self) -> None:
        """Repeat the outermost voxels of each plane around it."""
        values = self._around
        values[..., 0], values[..., -1] = values[..., 1], values[..., -2]
        values[:, :, 0], values[:, :, -1] = values[:, :, 1], values[:, :, -2]

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        return self._memory.nbytes

    def repeat(self, along_y: bool, along_x: bool) -> None:
        """Replace the zeros around all planes by the voxels of the opposite side."""
        values = self._around
        if along_x:
            values[..., 0], values[..., -1] = values[..., -2], values[..., 1]
        if along_y:
            values[:, :, 0], values[:, :, -1] = values[:, :, -2], values[:, :, 1]

    def addresses(self, planes: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return the address of voxel (0, 0) of each channel of each plane: (planes, channels)."""
        places = np.arange(self.channels) * self._ring + (planes % self._ring)[:, None]
        return int(self._memory.ctypes.data) + 4 * (places * self._plane + self.row + PAD)
