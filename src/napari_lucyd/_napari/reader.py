"""napari's reader: OME-TIFF and OME-Zarr with scale, units, channels, colours, limits and recipe."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from napari_lucyd._napari.layers.from_file import layers_of
from napari_lucyd._napari.layers.reopened import on_its_image
from napari_lucyd._napari.layers.to_file import LayerData
from napari_lucyd.io import is_image_path, is_zarr_folder, read_image


def get_reader(path: str | Sequence[str]) -> Callable[[str | Sequence[str]], list[LayerData]] | None:
    """Return the function that reads `path`; None to leave it to another reader.

    Parameters
    ----------
    path
        A file, a folder of Zarr, or several.
    """
    return read if all(_is_ours(each) for each in _several(path)) else None


def read(path: str | Sequence[str]) -> list[LayerData]:
    """Read the layers of one file, or of several.

    Large images are read plane by plane as they are shown. A result lies on its image, if that is in the
    viewer, also if only one of both has a voxel size.

    Raises
    ------
    napari_lucyd.io.ImageFileError
        A file cannot be read; the message says why.
    """
    from napari import current_viewer
    from napari.utils.notifications import show_info, show_warning

    layers: list[LayerData] = []
    viewer = current_viewer()
    for each in _several(path):
        image = read_image(each)
        for warning in image.warnings:
            show_warning(f"{image.name}: {warning}")
        for layer in layers_of(image):
            placed, text = (layer, "") if viewer is None else on_its_image(layer, viewer)
            layers.append(placed)
            if text:
                show_info(text)
    return layers


def _several(path: str | Sequence[str]) -> list[str]:
    return [os.fspath(path)] if isinstance(path, (str, os.PathLike)) else [os.fspath(each) for each in path]


def _is_ours(path: str) -> bool:
    # napari asks for every folder.
    return is_zarr_folder(path) if os.path.isdir(path) else is_image_path(path)
