"""Reading and writing of image files; only this room knows file formats.

TIFF (OME-TIFF, ImageJ hyperstacks, plain stacks) and OME-Zarr are read and written; OME-Zarr 0.1 to 0.5 is
read, 0.5 is written. LSM, STK and zipped OME-Zarr are read, and
CZI, LIF and ND2 with the extra ``microscopes``. An :class:`Image` has the same fields for every
format: axes, voxel size and unit, channels, optics, and the metadata (such as the recipe of a deconvolution)
that :func:`write_image` stored.

OME-Zarr is written with zarr and a few lines of JSON. The existing writers were not used: ``ome-zarr``
(BSD-2-Clause) depends on scikit-image and cloud file systems, ``ngff-zarr`` (MIT) on many packages of its
own; zarr is a dependency anyway.
"""

from __future__ import annotations

from .atomic import check_name
from .files import check_writable, contains, files_of_image, read_image, read_psf, write_image
from .image import Channel, Image, ImageFileError, Optics, check_axes
from .suffixes import (
    PIPE_REFUSED,
    SUFFIXES,
    URL_REFUSED,
    WRITTEN_SUFFIXES,
    default_suffix,
    is_image_path,
    is_url,
    is_writable_path,
    is_zarr_folder,
    stem,
)
from .units import canonical_unit, common_unit, micrometers, unit_label, unit_symbol

__all__ = [
    "PIPE_REFUSED",
    "SUFFIXES",
    "URL_REFUSED",
    "WRITTEN_SUFFIXES",
    "Channel",
    "Image",
    "ImageFileError",
    "Optics",
    "canonical_unit",
    "check_axes",
    "check_name",
    "check_writable",
    "common_unit",
    "contains",
    "default_suffix",
    "files_of_image",
    "is_image_path",
    "is_url",
    "is_writable_path",
    "is_zarr_folder",
    "micrometers",
    "read_image",
    "read_psf",
    "stem",
    "unit_label",
    "unit_symbol",
    "write_image",
]
