"""Reading of microscope vendors' files, plane by plane: CZI (ZEISS), LIF (Leica) and ND2 (Nikon).

Each format has a package of its own, which the extra ``microscopes`` installs: pylibCZIrw (LGPL 3, by ZEISS),
liffile and nd2 (both BSD). None is needed for the rest. Bio-Formats would need Java, and bioio's readers wrap
these same packages.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .image import Channel, Image, ImageFileError, Stored, check_voxel_size, order_axes, spatial

_LEADING = "TCZ"


@dataclass(frozen=True)
class _Opened:
    """An open file.

    Attributes
    ----------
    sizes
        Sizes along those of T, C, Z, Y, X that the image has.
    dtype
        Data type of the voxels.
    read
        Function from the indices along T, C, Z to the plane (Y, X).
    steps
        Voxel size in µm along those of Z, Y, X for which the file states it.
    channels
        Names of the channels; empty if the file does not tell.
    told
        Sentences for the user.
    close
        Closes the file.
    """

    sizes: Mapping[str, int]
    dtype: npt.DTypeLike
    read: Callable[[Mapping[str, int]], npt.NDArray[Any]]
    steps: Mapping[str, float]
    channels: Sequence[str]
    told: tuple[str, ...]
    close: Callable[[], object]

    @property
    def axes(self) -> str:
        """The axes with more than one entry, and Y and X, in the order TCZYX."""
        return "".join(name for name in _LEADING if self.sizes.get(name, 1) > 1) + "YX"

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes along `axes`."""
        return tuple(self.sizes[name] for name in self.axes)


class _Planes:
    """An array over the planes of a file, each read when it is asked for, one at a time."""

    def __init__(self, opened: _Opened) -> None:
        self._read, self._axes = opened.read, opened.axes
        self.shape, self.dtype = opened.shape, np.dtype(opened.dtype)
        self.chunks = (1,) * (len(self.shape) - 2) + self.shape[-2:]
        self._reading = threading.Lock()

    def __getitem__(self, index: Any) -> npt.NDArray[Any]:
        given = index if isinstance(index, tuple) else (index,)
        whole = (*given, *[slice(None)] * (len(self.shape) - len(given)))
        spans = [
            range(*part.indices(n)) if isinstance(part, slice) else range(part % n, part % n + 1)
            for part, n in zip(whole, self.shape, strict=True)
        ]
        out = np.empty([len(span) for span in spans], self.dtype)
        leading = spans[:-2]
        for place in product(*(range(len(span)) for span in leading)):
            at = {name: span[i] for name, span, i in zip(self._axes, leading, place, strict=False)}
            with self._reading:
                plane = self._read(at)
            out[place] = plane[np.ix_(*spans[-2:])]
        return out[tuple(slice(None) if isinstance(part, slice) else 0 for part in whole)]


def read_vendor(
    path: Path,
    *,
    name: str,
    eager_bytes: int | None,
    axes: str | None = None,
    voxel_size: Sequence[float] | None = None,
) -> Image:
    """Read the first image of a file; the parameters are those of `napari_lucyd.io.tiff.reader.read_tiff`."""
    opened = _open(path)
    order, letters, _ = order_axes(opened.axes, opened.shape, axes)
    told, unit, steps = list(opened.told), "micrometer", None
    if voxel_size is not None:
        steps = check_voxel_size(voxel_size, letters)
    elif all(opened.steps.get(letter, 0) > 0 for letter in spatial(letters)):
        steps = tuple(opened.steps[letter] for letter in spatial(letters))
    stored = _stored(opened, path)
    size = math.prod(opened.shape) * stored.dtype.itemsize
    data = stored.as_dask() if eager_bytes is not None and size > eager_bytes else stored[()]
    count = dict(zip(letters, (opened.shape[index] for index in order), strict=True)).get("C", 1)
    channels = tuple(Channel(name=each) for each in opened.channels)
    return Image(
        data=data.transpose(order),
        axes=letters,
        voxel_size=steps,
        unit=unit if steps is not None else None,
        name=name,
        warnings=tuple(told),
        channels=channels if len(channels) == count else (),
    )


def _stored(opened: _Opened, path: Path) -> Stored:
    place = path.absolute()
    reopen = (_reopened, (place, place.stat().st_mtime_ns))
    return Stored(_Planes(opened), path, opened.close, reopen)


@lru_cache(maxsize=4)
def _reopened(path: Path, changed: int) -> Stored:
    """Open a file again, in another process."""
    return _stored(_open(path), path)


def _open(path: Path) -> _Opened:
    opening = {".czi": _open_czi, ".lif": _open_lif, ".nd2": _open_nd2}[path.suffix.lower()]
    try:
        opened = opening(path)
    except ImportError as error:
        raise ImageFileError(
            f"files of this kind need another package: pip install 'napari-lucyd[microscopes]' ({error})"
        ) from error
    others = {key: n for key, n in opened.sizes.items() if key not in "TCZYX" and n > 1}
    if others:
        opened.close()
        raise ImageFileError(
            f"the image has further axes {others}; expected at most time, channel, Z, Y, X: export one "
            "position, angle or phase at a time"
        )
    return opened


def _first_of(names: Sequence[str]) -> tuple[str, ...]:
    if len(names) < 2:
        return ()
    return (f"the file holds {len(names)} images; the first, {names[0]!r}, was read",)


def _refuse_colour(found: bool, close: Callable[[], object]) -> None:
    if found:
        close()
        raise ImageFileError(
            "a colour picture; expected measured intensities: save its channels as grey images"
        )


def _open_czi(path: Path) -> _Opened:
    from pylibCZIrw import czi

    # Only a context manager opens a file; leaving it closes it.
    context = czi.open_czi(str(path))
    reader = context.__enter__()

    def close() -> None:
        with suppress(Exception):
            context.__exit__(None, None, None)

    box, scenes = reader.total_bounding_box, sorted(reader.scenes_bounding_rectangle)
    _refuse_colour(any(kind.startswith("Bgr") for kind in reader.pixel_types.values()), close)
    sizes = {key: stop - start for key, (start, stop) in box.items()}
    scene = scenes[0] if scenes else None
    if scene is not None:
        sizes["X"], sizes["Y"] = reader.scenes_bounding_rectangle[scene][2:]
    kind = {"Gray8": "uint8", "Gray16": "uint16", "Gray32Float": "float32"}[reader.pixel_types[0]]

    def read(at: Mapping[str, int]) -> npt.NDArray[Any]:
        plane = {key: box[key][0] + at.get(key, 0) for key in _LEADING if key in box}
        values: npt.NDArray[Any] = reader.read(plane=plane, scene=scene)[..., 0]
        return values

    facts = _within(reader.metadata, "ImageDocument", "Metadata")
    distances = _list(_within(facts, "Scaling", "Items", "Distance"))
    channels = _list(_within(facts, "Information", "Image", "Dimensions", "Channels", "Channel"))
    steps = {each["@Id"]: 1e6 * float(each["Value"]) for each in distances if each.get("Value")}
    names = [str(each.get("@Name") or "") for each in channels]
    return _Opened(sizes, kind, read, steps, names, _first_of([f"scene {each}" for each in scenes]), close)


def _within(value: Any, *keys: str) -> Any:
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _list(value: Any) -> list[Any]:
    """Return the entries of an XML element, which is no list if there is only one."""
    entries = value if isinstance(value, list) else [value]
    return [each for each in entries if isinstance(each, Mapping)]


def _open_lif(path: Path) -> _Opened:
    import liffile

    file = liffile.LifFile(path)
    images = [image for image in file.images if {"Y", "X"} <= set(image.sizes)]
    if not images:
        file.close()
        raise ImageFileError("the file holds no image with Y and X")
    image: Any = images[0]
    _refuse_colour("S" in image.sizes, file.close)

    def read(at: Mapping[str, int]) -> npt.NDArray[Any]:
        own = {key: index for key, index in at.items() if key in image.sizes}
        values: npt.NDArray[Any] = image.frame(**own)
        return values

    # Coordinates are in metres.
    steps = {
        key: 1e6 * abs(float(places[1] - places[0]))
        for key, places in image.coords.items()
        if key in "ZYX" and len(places) > 1
    }
    names = _first_of([each.name for each in images])
    return _Opened(image.sizes, image.dtype, read, steps, (), names, file.close)


def _open_nd2(path: Path) -> _Opened:
    import nd2

    file = nd2.ND2File(path)
    _refuse_colour(bool(file.is_rgb), file.close)
    sizes = dict(file.sizes)
    positions = sizes.pop("P", 1)
    frames = _frame_numbers(file.loop_indices)

    def read(at: Mapping[str, int]) -> npt.NDArray[Any]:
        number = frames[at.get("T", 0), at.get("Z", 0)]
        frame = np.asarray(file.read_frame(number))
        values: npt.NDArray[Any] = frame.reshape(-1, *frame.shape[-2:])[at.get("C", 0)]
        return values

    size = file.voxel_size()
    steps = {"X": float(size.x), "Y": float(size.y), "Z": float(size.z)}
    channels = [str(each.channel.name) for each in file.metadata.channels or ()]
    told = _first_of([f"position {number}" for number in range(positions)])
    return _Opened(sizes, file.dtype, read, steps, channels, told, file.close)


def _frame_numbers(loops: Iterable[Mapping[str, int]]) -> dict[tuple[int, int], int]:
    """Return the number of the frame of each (T, Z) of the first position."""
    numbers = {(at.get("T", 0), at.get("Z", 0)): k for k, at in enumerate(loops) if at.get("P", 0) == 0}
    return numbers or {(0, 0): 0}
