"""Image files in and out: the only code that knows file formats.

Read and written are TIFF (ImageJ hyperstacks, OME-TIFF, plain stacks) and OME-Zarr (0.4 and 0.5 read,
0.5 written). Whatever the format, an :class:`Image` names its axes, its voxel size and the unit of it, and
carries the metadata (for instance the recipe of a deconvolution) that :func:`write_image` stored.

OME-Zarr is written with zarr itself and the few lines of JSON that version 0.5 asks for. The ready-made
writers were left out: ``ome-zarr`` (BSD-2-Clause) pulls in scikit-image and the cloud file systems, and
``ngff-zarr`` (MIT) a stack of its own, for a group of one array; zarr is a dependency anyway.
"""

from __future__ import annotations

from .atomic import check_name
from .files import check_writable, contains, files_of_image, read_image, read_psf, write_image
from .image import Channel, Image, ImageFileError, Optics, check_axes
from .suffixes import (
    SUFFIXES,
    WRITTEN_SUFFIXES,
    default_suffix,
    is_image_path,
    is_writable_path,
    is_zarr_folder,
    stem,
)
from .units import canonical_unit, common_unit, micrometers, unit_label, unit_symbol

__all__ = [
    "SUFFIXES",
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
