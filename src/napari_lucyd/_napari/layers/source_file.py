"""Facts of the file that a layer was opened from: axes, voxel size and optics.

napari's own reader keeps none of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from typing import NamedTuple

from napari_lucyd.deconvolution.result import Part
from napari_lucyd.io import Image, Optics, micrometers, read_image
from napari_lucyd.text import printable

# Order of the axes in ImageJ's files.
_IMAGEJ = "TZCYX"


class ResultInFile(NamedTuple):
    """Source and part of a result, as its file states them."""

    source: str
    part: str


@dataclass(frozen=True)
class SourceFile:
    """Axes, voxel size and optics as a file states them.

    Attributes
    ----------
    name : str
        Name of the file, without its folder.
    axes : str or None
        Axes of the image; None where they were guessed.
    shape : tuple of int
        Shape of the image, in the order TCZYX.
    sizes_um : dict
        Voxel size in µm by axis; empty where the file does not say it.
    optics : Optics or None
        Optics of the microscope.
    result : ResultInFile or None
        Source and part of a result; None for an image.
    """

    name: str
    axes: str | None
    shape: tuple[int, ...]
    sizes_um: dict[str, float]
    optics: Optics | None = None
    result: ResultInFile | None = None

    def axes_for(self, shape: Sequence[int]) -> str | None:
        """Return the axes of a layer with all of the image, in the layer's order; None for any other shape.

        napari's own reader keeps the order of the file, which is TZCYX in ImageJ's files.

        Examples
        --------
        >>> file = SourceFile("a.tif", "CZYX", (2, 9, 30, 40), {})
        >>> file.axes_for((2, 9, 30, 40)), file.axes_for((9, 2, 30, 40)), file.axes_for((9, 30, 40))
        ('CZYX', 'ZCYX', None)
        """
        if self.axes is None:
            return None
        sizes = dict(zip(self.axes, self.shape, strict=True))
        orders = ["".join((*lead, *self.axes[-2:])) for lead in permutations(self.axes[:-2])]
        likely = "".join(letter for letter in _IMAGEJ if letter in sizes)
        fitting = [order for order in orders if [sizes[letter] for letter in order] == list(shape)]
        for order in (self.axes, likely):
            if order in fitting:
                return order
        return fitting[0] if len(fitting) == 1 else None

    def sizes_for(self, shape: Sequence[int]) -> dict[str, float]:
        """Return the voxel size of a layer with the file's planes; empty for one of other sizes.

        A layer of this file may be one channel of it. A layer of another width, height or number of planes
        was cropped, or binned, so its voxels may be larger.

        Examples
        --------
        >>> file = SourceFile("a.tif", "CZYX", (2, 9, 30, 40), {"Z": 0.3, "Y": 0.1, "X": 0.1})
        >>> file.sizes_for((9, 30, 40)), file.sizes_for((9, 15, 20))
        ({'Z': 0.3, 'Y': 0.1, 'X': 0.1}, {})
        """
        planes = self.shape[-3] if "Z" in self.sizes_um else 1
        same = tuple(shape[-2:]) == self.shape[-2:] and (planes == 1 or planes in shape[:-2])
        return dict(self.sizes_um) if same else {}


def look_into(path: str) -> SourceFile | None:
    """Read what a file says of its image, without its voxels; call it off the window's thread.

    Parameters
    ----------
    path
        `layer.source.path`.

    Returns
    -------
    SourceFile or None
        None for a file that is gone or of an unknown kind, and after every other failure: the user did not
        ask to read this file.
    """
    try:
        image = read_image(path, lazy=True)
        length = micrometers(image.unit)
        letters = [letter for letter in image.axes if letter in "ZYX"]
        sizes = zip(letters, image.voxel_size or (), strict=False) if length else ()
        return SourceFile(
            Path(path).name,
            None if image.warnings else image.axes,
            tuple(int(size) for size in image.data.shape),
            {letter: float(f"{size * length:.9g}") for letter, size in sizes if length},
            image.optics,
            result_in(image),
        )
    except Exception:
        return None


def result_in(image: Image) -> ResultInFile | None:
    """Return what the image of a file is a result of; None for other images.

    Layers that were saved together say it one by one, the command line and a batch beside the recipe.
    """
    metadata = image.metadata
    layers = metadata.get("layers")
    first = layers[0] if isinstance(layers, list) and layers else None
    entries = [metadata, first.get("metadata") if isinstance(first, Mapping) else None]
    for entry in entries:
        if isinstance(entry, Mapping):
            source, part = entry.get("source"), entry.get("quantity")
            if isinstance(source, str) and isinstance(part, str):
                return ResultInFile(printable(source), part)
    part = metadata.get("shows")
    if isinstance(metadata.get("recipe"), Mapping) and part in [*Part]:
        return ResultInFile(image.name.removesuffix(f"_{part}"), str(part))
    return None
