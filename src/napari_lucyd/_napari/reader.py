"""napari's reader: OME-TIFF, OME-Zarr and folders of results, with scale, units, colours and recipe."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

from napari_lucyd._napari.layers.from_file import layers_of
from napari_lucyd._napari.layers.reopened import on_its_image
from napari_lucyd._napari.layers.results import PART_NAMES
from napari_lucyd._napari.layers.source_file import result_in
from napari_lucyd._napari.layers.to_file import LayerData
from napari_lucyd.io import ImageFileError, is_image_path, is_zarr_folder, read_image


def get_reader(path: str | Sequence[str]) -> Callable[[str | Sequence[str]], list[LayerData]] | None:
    """Return the function that reads `path`; None to leave it to another reader.

    Parameters
    ----------
    path
        A file, a folder of Zarr or of results, or several.
    """
    return read if all(_is_ours(each) for each in _several(path)) else None


def read(path: str | Sequence[str]) -> list[LayerData]:
    """Read the layers of one file, of several, or of all results in a folder.

    Large images are read plane by plane as they are shown. A result lies on its image, if that is in the
    viewer, also if only one of both has a voxel size.

    Raises
    ------
    napari_lucyd.io.ImageFileError
        A file cannot be read, or there is no result in a folder; the message says why.
    """
    from napari import current_viewer
    from napari.utils.notifications import show_info, show_warning

    layers: list[LayerData] = []
    viewer = current_viewer()
    for each in _files(_several(path)):
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
    # Only reading the files of a folder tells whether they are results.
    return os.path.isdir(path) or is_image_path(path)


def _files(paths: Sequence[str]) -> Iterator[str]:
    """Yield files, and those in folders that are results."""
    for path in paths:
        if is_zarr_folder(path) or not os.path.isdir(path):
            yield path
            continue
        results = _results_in(path)
        if not results:
            raise ImageFileError(
                f"{path}: there is no result of napari-lucyd in this folder. Open the images in it one by "
                "one, or choose napari's own reader"
            )
        yield from results


def _results_in(folder: str) -> list[str]:
    """Return the results in a folder, those of an image together, its output first."""
    found = []
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        # Hidden files are unfinished.
        if entry.name.startswith(".") or not (is_image_path(entry.path) or is_zarr_folder(entry.path)):
            continue
        # The user did not ask for a file that cannot be read.
        with suppress(ImageFileError, ImportError):
            result = result_in(read_image(entry.path, lazy=True))
            if result is not None:
                parts = list(PART_NAMES)
                place = parts.index(result.part) if result.part in parts else len(parts)
                found.append((result.source, place, entry.path))
    return [path for _, _, path in sorted(found)]
