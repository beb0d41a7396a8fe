"""Choice of the image to read among those that a TIFF file, and the files beside it, hold."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from xml.etree.ElementTree import Element, tostring

import tifffile

from napari_lucyd.io import ome_xml
from napari_lucyd.io.image import ImageFileError

from .complaints import complaints_of_tifffile


def open_tiff(path: Path) -> tuple[tifffile.TiffFile, Element | None, tuple[str, ...]]:
    """Open a file and its OME-XML, which may be in another file."""
    tif = tifffile.TiffFile(path)
    try:
        root = ome_xml.parse(tif.ome_metadata) if tif.is_ome else None
        if root is None:
            return tif, None, ()
        ome_xml.refuse_planes(root)
        companion = ome_xml.companion_name(root)
        if companion is not None:
            root = _companion(path.parent, companion)
            if root is None:
                return tif, None, (_undescribed(companion),)
            ome_xml.refuse_planes(root)
        alone = sum(1 for _ in ome_xml.elements(root, "Image")) == 1
        if alone and companion is None and next(ome_xml.elements(root, "UUID"), None) is None:
            return tif, root, ()
        ome_xml.tell_files_apart_by_name(root, path)
        ome_xml.number_images(root)
    except BaseException:
        tif.close()
        raise
    tif.close()
    return tifffile.TiffFile(path, omexml=tostring(root, "unicode")), root, ()


def _undescribed(companion: str) -> str:
    where = f"in {companion!r} beside it" if companion else "in another file, which it does not name"
    return (
        f"the description of the image should lie {where}, but cannot be read: axes and voxel size are not "
        "known, and this file may hold no more than a part of the image"
    )


def _companion(folder: Path, name: str) -> Element | None:
    """Read the OME-XML of a BinaryOnly file from its companion: a text file, or another OME-TIFF."""
    path = folder / name
    if name in ("", ".", "..") or not path.is_file():
        return None
    if path.suffix.lower() not in (".tif", ".tiff", ".btf", ".tf2", ".tf8"):
        return ome_xml.parse(path.read_text("utf-8", "replace"))
    with tifffile.TiffFile(path) as tif:
        root = ome_xml.parse(tif.ome_metadata if tif.is_ome else None)
    return None if root is None or ome_xml.companion_name(root) is not None else root


def own_series(tif: tifffile.TiffFile, path: Path) -> tuple[tifffile.TiffPageSeries, tuple[str, ...]]:
    """Choose the image of a file to read; report the others."""
    if not tif.series:
        raise ImageFileError("the file holds no image")
    # An OME-TIFF may tell of images in other files as well, such as the other positions of a recording.
    own = list(tif.series)
    # Asked for in other kinds of files, all pages would be looked up, which takes long.
    if own[0].kind in ("ome", "mmstack"):
        own = [each for each in own if any(page and page.parent is tif for page in each)] or own
        _refuse_gaps(own[0], tif, path)
    # The other images of an LSM are its thumbnails.
    if len(own) == 1 or own[0].kind == "lsm":
        own = own[:1]
    elif (stack := _stack_of_pages(own)) is not None:
        return stack, ()
    told = [f"the file holds {len(own)} images; the first was read"] if len(own) > 1 else []
    if own[0].is_multifile:
        files = len({page.parent.filename for page in own[0] if page})
        told.append(f"the image lies in {files} files; all of them were read")
    return own[0], tuple(told)


def _stack_of_pages(own: Sequence[tifffile.TiffPageSeries]) -> tifffile.TiffPageSeries | None:
    """Join equal pages that were written one by one into a stack; None if they differ."""
    first = own[0]
    if first.kind not in ("shaped", "generic"):
        return None
    if any(len(each.pages) != 1 or each.shape != each.keyframe.shape for each in own):
        return None
    pages = [each.keyframe for each in own]
    if len({page.hash for page in pages}) > 1 or any(page.is_reduced for page in pages):
        return None
    return tifffile.TiffPageSeries(
        pages, (len(pages), *first.shape), first.dtype, "I" + first.axes, kind="generic"
    )


def _refuse_gaps(series: tifffile.TiffPageSeries, tif: tifffile.TiffFile, path: Path) -> None:
    """Refuse an image with missing planes, which tifffile would fill with zeros."""
    missing = sum(page is None for page in series)
    if missing:
        described = described_image(series, ome_xml.parse(tif.ome_metadata), path)
        names = set() if described is None else ome_xml.file_names(described)
        absent = sorted(name for name in names if not (path.parent / name).exists())
        raise ImageFileError(
            f"{missing} of the image's {len(series)} planes {'is' if missing == 1 else 'are'} missing"
            + (f", and so is {absent[0]!r}" if absent else "")
            + (f" ({len(absent)} files in all)" if len(absent) > 1 else "")
            + ": put all files of the recording into one folder, or save what there is as one file"
        )


def files_of(path: Path) -> set[str]:
    """Return the names of the files that hold the image of an OME-TIFF, including its own.

    Only metadata are read. Files that cannot be read raise no error here, but in `read_tiff`.

    Parameters
    ----------
    path
        The file.
    """
    try:
        with complaints_of_tifffile():
            tif, root, _ = open_tiff(path)
            tif.close()
        image = None if root is None else ome_xml.image_in(root, path.name)
        names = set() if image is None else ome_xml.file_names(image)
        return names if path.name in names else {path.name}
    # The parsers may raise any error for a damaged file.
    except Exception:
        return {path.name}


def described_image(series: tifffile.TiffPageSeries, root: Element | None, path: Path) -> Element | None:
    """Return the OME-XML element of a series."""
    if root is None:
        return None
    images = list(ome_xml.elements(root, "Image"))
    # See `ome_xml.number_images`.
    if series.kind == "ome" and series.name.isdecimal() and int(series.name) < len(images):
        return images[int(series.name)]
    return ome_xml.image_in(root, path.name)
