"""The image that goes into a packaged network, and the one that comes out, in versions 0.4 and 0.5."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_TYPES = {"batch": "b", "channel": "c", "b": "b", "c": "c", "z": "z", "y": "y", "x": "x"}


@dataclass(frozen=True)
class PackagedTensor:
    """One tensor of a package.

    Attributes
    ----------
    name
        Its name in the graph.
    axes
        Its axes in order: some of ``"bczyx"``; empty if it is no image.
    least, step
        Smallest size along Z, Y, X, and the step from one possible size to the next.
    size
        Number of entries of a tensor that is no image.
    operations
        Its steps of processing: names with their numbers.
    """

    name: str
    axes: str
    least: tuple[int, int, int]
    step: tuple[int, int, int]
    size: int
    operations: tuple[tuple[str, dict[str, Any]], ...]

    @property
    def dimension(self) -> int:
        """Number of spatial axes."""
        return sum(name in "zyx" for name in self.axes)

    @property
    def multiple(self) -> int:
        """Number that all sizes must be multiples of.

        Raises
        ------
        ValueError
            If there is no such number.
        """
        used = [at for at, name in enumerate("zyx") if name in self.axes]
        for at in used:
            if self.least[at] % self.step[at]:
                sizes = f"{self.least[at]}, {self.least[at] + self.step[at]}, …"
                raise ValueError(
                    f"The model takes only the sizes {sizes} along {'ZYX'[at]}, which are not multiples of "
                    f"{self.step[at]}. Such a model cannot be used here."
                )
        return math.lcm(*(self.step[at] for at in used))


def read_tensor(entry: Mapping[str, Any], steps: str) -> PackagedTensor:
    """Read the description of a tensor.

    Parameters
    ----------
    entry
        The description.
    steps
        ``"preprocessing"`` or ``"postprocessing"``.

    Raises
    ------
    ValueError
        If its axes are not those of an image with one channel; the message says which.
    """
    name = str(entry.get("id", entry.get("name", "")))
    axes = entry.get("axes", "")
    operations = tuple(
        (str(each.get("id", each.get("name", ""))), dict(each.get("kwargs") or {}))
        for each in entry.get(steps) or ()
    )
    described = (
        _old_axes(axes, entry.get("shape")) if isinstance(axes, str) else [_axis(each) for each in axes]
    )
    if [kind for kind, *_ in described] in (["i"], ["index"]):
        return PackagedTensor(name, "", (1, 1, 1), (1, 1, 1), described[0][1], operations)
    sizes = {kind: (least, step) for kind, least, step in described}
    unknown = [kind for kind in sizes if kind not in tuple("bczyx")]
    if unknown:
        raise ValueError(
            f"The axis {unknown[0]!r} of {name!r} is not known; images have Z, Y, X and a channel."
        )
    if not {"y", "x"} <= sizes.keys():
        raise ValueError(f"{name!r} is no image: its axes are {', '.join(sizes) or 'none'}.")
    if sizes.get("c", (1, 0))[0] > 1:
        raise ValueError(
            f"{name!r} has {sizes['c'][0]} channels; only models that take and return one channel can be "
            "used."
        )
    places = [sizes.get(letter, (1, 1)) for letter in "zyx"]
    z, y, x = (least for least, _ in places)
    by_z, by_y, by_x = (max(1, step) for _, step in places)
    return PackagedTensor(name, "".join(sizes), (z, y, x), (by_z, by_y, by_x), 0, operations)


def _axis(entry: Mapping[str, Any]) -> tuple[str, int, int]:
    """Return kind, smallest size and step of an axis of version 0.5."""
    kind = str(entry.get("type", ""))
    if kind == "channel":
        return "c", len(entry.get("channel_names", ("",))), 0
    kind = str(entry.get("id", "")) if kind == "space" else _TYPES.get(kind, kind)
    size = entry.get("size", 1)
    if isinstance(size, Mapping):
        if "tensor_id" in size and size.get("offset", 0):
            raise ValueError(
                "The output is larger or smaller than the image; such a model cannot be used here."
            )
        return kind, int(size.get("min", 1)), int(size.get("step", 1))
    if size is None:
        return kind, 1, 1
    return kind, *_fixed(kind, int(size))


def _fixed(kind: str, size: int) -> tuple[int, int]:
    if kind in tuple("zyx"):
        raise ValueError(
            f"The model takes exactly {size} voxels along {kind.upper()}; only models that take images of "
            "different sizes can be used here."
        )
    return size, 0


def _old_axes(axes: str, shape: Any) -> list[tuple[str, int, int]]:
    """Return kind, smallest size and step of each axis of version 0.4."""
    if isinstance(shape, Mapping) and "min" in shape:
        return list(zip(axes, map(int, shape["min"]), map(int, shape["step"]), strict=True))
    if isinstance(shape, Mapping):
        scales, offsets = shape.get("scale", [1.0] * len(axes)), shape.get("offset", [0.0] * len(axes))
        spatial = [at for at, kind in enumerate(axes) if kind in "zyx"]
        if any(scales[at] != 1 or offsets[at] for at in spatial):
            raise ValueError(
                "The output is larger or smaller than the image; such a model cannot be used here."
            )
        return [(kind, 1, 1) for kind in axes]
    sizes = [int(size) for size in shape or [1] * len(axes)]
    return [(kind, *_fixed(kind, size)) for kind, size in zip(axes, sizes, strict=True)]
