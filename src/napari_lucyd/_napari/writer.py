"""napari's writer: image layers as OME-TIFF or OME-Zarr that reopen as they were."""

from __future__ import annotations

from collections.abc import Sequence

from napari_lucyd._napari.layers.to_file import LayerData, arguments_of
from napari_lucyd.io import write_image


def write_layers(path: str, layers: Sequence[LayerData]) -> list[str]:
    """Write one image layer, or several as the channels of one file.

    Nothing is overwritten, because napari may add the suffix after its question. A file can then exist under
    a name that the user was not asked about.

    Parameters
    ----------
    path
        Destination; its suffix chooses the format.
    layers
        Image layers.

    Returns
    -------
    list of str
        The file.

    Raises
    ------
    napari_lucyd.io.ImageFileError
        It cannot be written; the message says why.
    """
    given = arguments_of(layers)
    return [str(write_image(path, given.pop("array"), **given))]
