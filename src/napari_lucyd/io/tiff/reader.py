"""Reading TIFF: OME-TIFF, ImageJ hyperstacks, LSM, STK, plain pages."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tifffile

from napari_lucyd.io.image import Image, ImageFileError, check_voxel_size, order_axes

from .complaints import complaints_of_tifffile
from .lazy import lazy_data
from .metadata import stated_channels, stated_metadata, stated_optics
from .series import described_image, open_tiff, own_series
from .voxel_size import stated_voxel_size

_COLOURED = tuple(tifffile.PHOTOMETRIC[word] for word in ("RGB", "SEPARATED", "YCBCR", "CIELAB"))
# More channels than microscopes take at once: in a file of ImageJ without Z, more likely planes.
_CHANNELS = 4


def read_tiff(
    path: Path,
    *,
    name: str,
    eager_bytes: int | None,
    axes: str | None = None,
    voxel_size: Sequence[float] | None = None,
) -> Image:
    """Read the first image of a TIFF file; see :func:`napari_lucyd.io.read_image`.

    Parameters
    ----------
    path
        The file.
    name
        Name of the image.
    eager_bytes
        Larger images become dask arrays; None: none does, -1: all do.
    axes, voxel_size
        Values that replace those of the file; the voxel size in micrometres.
    """
    with complaints_of_tifffile() as complaints:
        tif, root, notes = open_tiff(path)
        keep_open = False
        try:
            series, told = own_series(tif, path)
            # tifffile continues without the pages that it cannot find. Half a stack is worse than none.
            if any("invalid page offset" in complaint for complaint in complaints):
                raise ImageFileError("the file is cut off: some of its pages lie beyond its end")
            _refuse_colour(series, axes)
            kept = _kept(series)
            shape = tuple(series.shape[index] for index in kept)
            order, letters, guesses = order_axes(_letters(series, kept), shape, axes)
            described = described_image(series, root, path)
            steps, unit, sized = stated_voxel_size(tif, described, letters, declared=axes)
            if voxel_size is not None:
                steps, unit, sized = check_voxel_size(voxel_size, letters), "micrometer", ()
            if axes is None:
                told += _doubtful_channels(tif, dict(zip(letters, (shape[i] for i in order), strict=True)))
            told += (*guesses, *sized, *_palette(series), *_inverted(series))
            metadata, channels = stated_metadata(tif, root), stated_channels(tif, root, described)
            keep_open = eager_bytes is not None and series.nbytes > eager_bytes
            # Read last, because this may close the file.
            data = lazy_data(series, path, shape, tif.close) if keep_open else series.asarray().reshape(shape)
        except BaseException:
            tif.close()
            raise
        if not keep_open:
            tif.close()
    # Positions that lie in other files may be absent; gaps in this image were refused.
    heard = [text for text in dict.fromkeys(complaints) if "OME series failed to read" not in text]
    return Image(
        data=data.transpose(order),
        axes=letters,
        voxel_size=steps,
        unit=unit,
        name=name,
        metadata=metadata,
        warnings=(*notes, *told, *heard),
        channels=channels,
        optics=stated_optics(root, described),
    )


def _refuse_colour(series: tifffile.TiffPageSeries, axes: str | None) -> None:
    keyframe = series.keyframe
    planar = "S" in series.axes and series.axes.index("S") < series.axes.index("Y")
    if keyframe.photometric in _COLOURED and "S" in series.axes and not (planar and axes):
        remedy = " If its planes are measured, give its axes: --axes ZYX or CYX." if planar else ""
        raise ImageFileError(
            f"a colour picture ({tifffile.PHOTOMETRIC(keyframe.photometric).name}, axes {series.axes}, "
            f"shape {series.shape}); expected measured intensities: save its channels as grey images "
            f"(Fiji: Image > Color > Split Channels).{remedy}"
        )
    if np.dtype(series.dtype).kind not in "buif":
        raise ImageFileError(f"values of type {series.dtype}; expected real numbers")
    if 0 in series.shape:
        raise ImageFileError(f"an image of shape {series.shape}, without voxels")


def _inverted(series: tifffile.TiffPageSeries) -> tuple[str, ...]:
    """Warn of a file that shows low values bright; its values may be those of a negative."""
    if series.keyframe.photometric != tifffile.PHOTOMETRIC.MINISWHITE:
        return ()
    return ("the file shows low values bright; the values were read as they are stored",)


def _palette(series: tifffile.TiffPageSeries) -> tuple[str, ...]:
    """Warn of a palette whose colours do not grow with the value; its values may be no intensities."""
    colours = series.keyframe.colormap
    if colours is None or bool(np.all(np.diff(np.asarray(colours, np.int64), axis=-1) >= 0)):
        return ()
    return ("the file shows its values through a palette of colours; the values were read as intensities",)


def _doubtful_channels(tif: tifffile.TiffFile, sizes: dict[str, int]) -> tuple[str, ...]:
    """Warn of planes that were probably saved as channels; tifffile does so if no axes are given."""
    if not tif.is_imagej or "Z" in sizes or sizes.get("C", 0) <= _CHANNELS:
        return ()
    axes = "".join(sizes).replace("C", "Z")
    return (
        f"the file says {sizes['C']} channels and no Z; if these are the planes of a stack, give its axes: "
        f"--axes {axes}",
    )


def _kept(series: tifffile.TiffPageSeries) -> list[int]:
    """Return the indices of Y, X and all axes with more than one entry."""
    named = enumerate(zip(series.axes, series.shape, strict=True))
    return [index for index, (letter, size) in named if letter in "YX" or size > 1]


def _letters(series: tifffile.TiffPageSeries, kept: Sequence[int]) -> str:
    letters = "".join(series.axes[index] for index in kept)
    # Several grey samples a pixel are channels.
    return letters if "C" in letters else letters.replace("S", "C")
