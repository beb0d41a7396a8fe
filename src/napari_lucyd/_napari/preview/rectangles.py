"""Geometry of the live preview: rectangles of pixels, and their position on the canvas.

Pure geometry: neither Qt nor napari nor torch. A *plane* is the part of a layer that a 2D view shows: two
axes of the data, ascending, at one index of every other axis. Rectangles count pixels of that plane at full
resolution; pixel i covers i - 0.5 to i + 0.5 in data coordinates, as in napari.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import ceil, floor, isfinite, prod, sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

# Sides of the smallest patch without its halo. With the network's whole reach this makes 64 pixels, for the
# approximate result 32. A smaller patch would be nearly all halo, and slow.
SMALLEST_CORE = 16


class Rectangle(NamedTuple):
    """Pixels ``top <= row < bottom`` and ``left <= column < right`` of a plane."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def height(self) -> int:
        return self.bottom - self.top

    @property
    def width(self) -> int:
        return self.right - self.left

    @property
    def area(self) -> int:
        return max(0, self.height) * max(0, self.width)

    @property
    def centre(self) -> tuple[float, float]:
        """Row and column of the centre, in data coordinates."""
        return (self.top + self.bottom - 1) / 2, (self.left + self.right - 1) / 2

    def intersection(self, other: Rectangle) -> Rectangle:
        """Return the common pixels; the area is 0 if there are none."""
        return Rectangle(
            max(self.top, other.top),
            max(self.left, other.left),
            min(self.bottom, other.bottom),
            min(self.right, other.right),
        )

    def slices_in(self, frame: Rectangle) -> tuple[slice, slice]:
        """Return the slices of these pixels in an array that holds ``frame``."""
        return (
            slice(self.top - frame.top, self.bottom - frame.top),
            slice(self.left - frame.left, self.right - frame.left),
        )


@dataclass(frozen=True)
class LayerTransform:
    """Transform from data coordinates of a layer to the world: ``world = matrix @ data + translate``."""

    matrix: NDArray[np.float64]
    translate: NDArray[np.float64]

    @classmethod
    def sampled(
        cls,
        data_to_world: Callable[[Sequence[float]], Sequence[float]],
        ndim: int,
        unit_scale: Sequence[float] | None = None,
    ) -> LayerTransform:
        """Make the transform from its values at the origin and at one step along each axis.

        ``unit_scale`` is the layer's unit in units of the world, for each axis.
        """
        scale = np.ones(ndim) if unit_scale is None else np.asarray(unit_scale, dtype=float)
        translate = np.asarray(data_to_world([0.0] * ndim), dtype=float)
        columns = [np.asarray(data_to_world(step), dtype=float) - translate for step in np.eye(ndim).tolist()]
        return cls(scale[:, None] * np.stack(columns, axis=1), scale * translate)

    def faces(self, displayed: tuple[int, int]) -> bool:
        """Return False if the layer is turned so far that a view of these axes shows it from the edge."""
        axes = list(displayed)
        shown, lengths = self.matrix[np.ix_(axes, axes)], np.linalg.norm(self.matrix[:, axes], axis=0)
        return bool(abs(np.linalg.det(shown)) > 1e-6 * np.prod(lengths))

    def displayed_to_data(
        self, points: NDArray[np.float64], displayed: tuple[int, int]
    ) -> NDArray[np.float64]:
        """Convert points of the canvas to data coordinates.

        ``points`` (N, 2) are world coordinates along the displayed axes, in the order of display. The result
        has the two axes of the data in ascending order. As in napari, a rotation out of the plane is ignored.
        """
        axes = list(displayed)
        matrix = self.matrix[np.ix_(axes, axes)]
        data = np.linalg.solve(matrix, (points - self.translate[axes]).T).T.astype(np.float64)
        return data if axes[0] < axes[1] else data[:, ::-1]

    def slice_indices(self, world: Sequence[float], displayed: tuple[int, int]) -> dict[int, int]:
        """Return the index that napari shows along each axis that is not displayed."""
        rest = [axis for axis in range(len(self.translate)) if axis not in displayed]
        if not rest:
            return {}
        inverse = np.linalg.inv(self.matrix)
        origin = -inverse @ self.translate
        point = inverse[np.ix_(rest, rest)] @ np.asarray(world, dtype=float)[rest] + origin[rest]
        return {axis: int(np.round(p)) for axis, p in zip(rest, point, strict=True)}

    def shift(self, origin: Sequence[int], displayed: tuple[int, int]) -> NDArray[np.float64]:
        """Return the shift in the world of a layer that holds the data from ``origin`` on.

        With this shift the layer is drawn where its pixels were, and appears with the same slices. Without a
        rotation out of the displayed plane this is ``matrix @ origin``. With one, napari ignores the terms
        that mix displayed and other axes, and so does this.
        """
        start = np.asarray(origin, dtype=float)
        axes = sorted(displayed)
        rest = [axis for axis in range(len(start)) if axis not in axes]
        shift = np.zeros(len(start))
        shift[axes] = self.matrix[np.ix_(axes, axes)] @ start[axes]
        if rest:
            inverse = np.linalg.inv(self.matrix)
            crossing = inverse[np.ix_(rest, axes)] @ shift[axes]
            shift[rest] = np.linalg.solve(inverse[np.ix_(rest, rest)], start[rest] - crossing)
        return shift


def layer_axes_displayed(order: Sequence[int], ndim: int) -> tuple[int, int] | None:
    """Return the two axes of a layer that a 2D view shows, in the order of display.

    ``order`` is the viewer's order of its axes; the last two are displayed. A layer with fewer axes
    has the viewer's last ones. ``None`` if the view shows an axis that the layer does not have.
    """
    missing = len(order) - ndim
    first, second = (axis - missing for axis in order[-2:])
    return None if min(first, second) < 0 else (first, second)


def visible_rectangle(
    transform: LayerTransform,
    displayed: tuple[int, int],
    shape: Sequence[int],
    centre: Sequence[float],
    canvas: Sequence[float],
    zoom: float,
) -> Rectangle | None:
    """Return the pixels of a layer that a 2D view shows; ``None`` if it shows none.

    Parameters
    ----------
    transform, displayed
        The layer's transform and its displayed axes, in the order of display.
    shape
        The shape of the layer's data at full resolution.
    centre, canvas, zoom
        Centre of the camera (vertical, horizontal) in world units, height and width of the canvas in canvas
        pixels, and canvas pixels in a world unit.

    Returns
    -------
    Rectangle or None
        The box along the axes of the data, with even origins and, inside the layer, even sizes.
    """
    half = np.asarray(canvas, dtype=float) / (2 * zoom)
    middle = np.asarray(centre, dtype=float)
    corners = np.array([middle + half * sign for sign in ((-1, -1), (-1, 1), (1, -1), (1, 1))])
    data = transform.displayed_to_data(corners, displayed)
    if not np.isfinite(data).all():
        return None
    bounds = []
    for low, high, axis in zip(data.min(axis=0), data.max(axis=0), sorted(displayed), strict=True):
        size = shape[axis]
        start = min(max(floor(low + 0.5), 0), size)
        stop = min(max(ceil(high + 0.5), 0), size)
        if stop <= start:
            return None
        bounds.append(_even(start, stop, size))
    (top, bottom), (left, right) = bounds
    return Rectangle(top, left, bottom, right)


def within(visible: Rectangle, focus: tuple[float, float], longest_side: int, most_pixels: int) -> Rectangle:
    """Return the part of a view around the focus that fits into a texture and the memory; mostly all."""
    side = max(2, int(sqrt(most_pixels)))
    height, width = min(visible.height, longest_side), min(visible.width, longest_side)
    if height * width > most_pixels:
        short = min(height, width, side)
        long = min(max(height, width), most_pixels // short)
        height, width = (short, long) if height <= width else (long, short)
    return _placed(visible, focus, height, width)


def patch_around(
    focus: tuple[float, float],
    visible: Rectangle,
    budget: float,
    halo: tuple[int, int],
    depth: float,
) -> Rectangle:
    """Return the largest patch around the focus, inside the view, within a budget of voxels.

    Parameters
    ----------
    focus
        Row and column in data coordinates.
    visible
        The view, with even origins.
    budget
        Voxels that the network may read, halo included.
    halo
        Margin that the network needs beyond each side of the patch, for rows and for columns.
    depth
        Planes that the network reads for each plane that is kept.

    Returns
    -------
    Rectangle
        It has even origins and is as square as the view allows; the whole view if that is within the budget.
        Its sides have at least twice the halo plus ``SMALLEST_CORE`` pixels, if the view has them, even above
        the budget.
    """
    if cost(visible, halo, depth) <= budget:
        return visible
    plane = budget / depth
    # (s + 2 a)(s + 2 b) = plane, for the side s of a square
    a, b = halo
    square = sqrt((a - b) ** 2 + plane) - a - b
    least = (2 * a + SMALLEST_CORE, 2 * b + SMALLEST_CORE)
    height = min(visible.height, max(least[0], int(square)))
    width = min(visible.width, max(least[1], int(plane / (height + 2 * a)) - 2 * b))
    height = min(visible.height, max(least[0], int(plane / (width + 2 * b)) - 2 * a))
    return _placed(visible, focus, height, width)


def cost(rectangle: Rectangle, halo: tuple[int, int], depth: float) -> float:
    """Return the number of voxels that the network reads for a rectangle and its halo in ``depth`` planes."""
    return (rectangle.height + 2 * halo[0]) * (rectangle.width + 2 * halo[1]) * depth


def growth(visible: Rectangle, start: Rectangle, cell: tuple[int, int] | None = None) -> list[Rectangle]:
    """Cut the rest of a view into cells around a first patch, the nearest first.

    Patch and cells cover each pixel of the view once, and all cells have even origins.
    """
    height, width = cell or (start.height, start.width)
    rows = _cuts(visible.top, visible.bottom, start.top, start.bottom, height)
    columns = _cuts(visible.left, visible.right, start.left, start.right, width)
    cells = (Rectangle(t, le, b, r) for t, b in rows for le, r in columns)
    return nearest_first((c for c in cells if c != start), start.centre)


def nearest_first(cells: Iterable[Rectangle], focus: tuple[float, float]) -> list[Rectangle]:
    """Sort cells by the distance of their centres from the focus, ties from top left."""

    def distance(cell: Rectangle) -> tuple[float, Rectangle]:
        row, column = cell.centre
        return (row - focus[0]) ** 2 + (column - focus[1]) ** 2, cell

    return sorted(cells, key=distance)


class Speed:
    """Voxels per second, measured on the passes so far.

    It starts with a low guess, for an old laptop; a few passes correct it.
    """

    def __init__(self, voxels_per_second: float = 5e5) -> None:
        self.voxels_per_second = voxels_per_second

    def measured(self, voxels: float, seconds: float) -> None:
        """Update the speed with one pass; old and new value have equal weight."""
        if voxels > 0 and seconds > 0 and isfinite(seconds):
            self.voxels_per_second = sqrt(self.voxels_per_second * voxels / seconds)

    def budget(self, seconds: float) -> float:
        """Return the number of voxels for a duration."""
        return self.voxels_per_second * seconds


def planes_seen(rest: Sequence[tuple[float, int]]) -> float:
    """Return the number of voxels that the network reads across the plane for each voxel that is kept.

    ``rest`` has a pair for each spatial axis across the plane: the number of network voxels for one voxel of
    the source (more than 1 if resampled), and the halo in network voxels.
    """
    return prod(zoom + 2 * halo for zoom, halo in rest)


def _even(start: int, stop: int, size: int) -> tuple[int, int]:
    start -= start % 2
    return start, min(stop + stop % 2, size)


def _cuts(low: int, high: int, start: int, stop: int, step: int) -> list[tuple[int, int]]:
    """Return intervals that cover low to high: start to stop, and others of about ``step``.

    The last one on each side includes a remainder of up to a quarter, because a sliver costs its whole halo.
    """
    step = max(2, step - step % 2)
    before: list[tuple[int, int]] = []
    edge = start
    while edge > low:
        begin = low if edge - low <= step + step // 4 else edge - step
        before.append((begin, edge))
        edge = begin
    after: list[tuple[int, int]] = []
    edge = stop
    while edge < high:
        end = high if high - edge <= step + step // 4 else edge + step
        after.append((edge, end))
        edge = end
    return [*reversed(before), (start, stop), *after]


def _placed(visible: Rectangle, focus: tuple[float, float], height: int, width: int) -> Rectangle:
    """Place a rectangle of about this size around the focus, inside the view, with even origins and sizes."""
    bounds = []
    for at, size, low, high in (
        (focus[0], height, visible.top, visible.bottom),
        (focus[1], width, visible.left, visible.right),
    ):
        if size >= high - low:
            bounds.append((low, high))
            continue
        size = max(2, size - size % 2)
        start = floor(at + 0.5) - size // 2
        start = min(max(start - start % 2, low), high - size)
        # The view ends at an odd pixel only at the end of the layer; one step back keeps the origin even.
        start -= start % 2
        # A patch at the far side includes the odd last pixel; otherwise a sliver would remain.
        stop = high if high - (start + size) == 1 else start + size
        bounds.append((start, stop))
    (top, bottom), (left, right) = bounds
    return Rectangle(top, left, bottom, right)


def missing_parts(
    view: Rectangle, covered: NDArray[np.bool_], halo: tuple[int, int], within: Rectangle | None = None
) -> list[Rectangle]:
    """Cut the missing pixels of a view into rectangles with even origins and a small total cost.

    After a pan, two strips are missing; one box around both would be nearly the whole view.

    Parameters
    ----------
    view
        The view, with even origins.
    covered
        One entry for each pixel of the view.
    halo
        Margin of each rectangle.
    within
        A part of the view; by default all of it.
    """
    box = _missing_box(view if within is None else within, covered, view)
    if box is None:
        return []
    missing = ~covered[box.slices_in(view)]
    best: tuple[Rectangle, Rectangle] | None = None
    # Two passes must be clearly cheaper than one, because each has a fixed cost.
    least = 0.9 * cost(box, halo, 1)
    for axis in (0, 1):
        for edge in _changes(missing, axis, box[axis]):
            one, other = _halves(box, axis, edge)
            parts = [p for half in (one, other) if (p := _missing_box(half, covered, view)) is not None]
            spent = sum(cost(part, halo, 1) for part in parts)
            if spent < least:
                least, best = spent, (one, other)
    if best is None:
        return [box]
    return [part for half in best for part in missing_parts(view, covered, halo, half)]


def _missing_box(cell: Rectangle, covered: NDArray[np.bool_], view: Rectangle) -> Rectangle | None:
    """Return the box around the missing pixels of a cell, with even origins; ``None`` if none is missing."""
    missing = ~covered[cell.slices_in(view)]
    rows, columns = np.flatnonzero(missing.any(axis=1)), np.flatnonzero(missing.any(axis=0))
    if not rows.size:
        return None
    top, bottom = _even(cell.top + int(rows[0]), cell.top + int(rows[-1]) + 1, cell.bottom)
    left, right = _even(cell.left + int(columns[0]), cell.left + int(columns[-1]) + 1, cell.right)
    return Rectangle(top, left, bottom, right)


def _changes(missing: NDArray[np.bool_], axis: int, origin: int) -> list[int]:
    """Return even indices at which the missing pixels change between rows (or columns); some, if many."""
    differs = (missing[1:] != missing[:-1]) if axis == 0 else (missing[:, 1:] != missing[:, :-1])
    at = origin + 1 + np.flatnonzero(differs.any(axis=1 - axis))
    last = origin + missing.shape[axis]
    edges = sorted({int(e) for i in at for e in (i - i % 2, i + i % 2) if origin < e < last})
    return edges[:: len(edges) // 16 + 1]


def _halves(box: Rectangle, axis: int, edge: int) -> tuple[Rectangle, Rectangle]:
    if axis == 0:
        return box._replace(bottom=edge), box._replace(top=edge)
    return box._replace(right=edge), box._replace(left=edge)
