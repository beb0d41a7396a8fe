"""Decision of the live preview: the rectangle to restore next, and how the rest of the view is cut."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from napari_lucyd._napari.preview.rectangles import Rectangle, growth, missing_parts, nearest_first
from napari_lucyd._napari.preview.restorer import ViewRestorer


def cut_missing(
    restorer: ViewRestorer,
    visible: Rectangle,
    covered: npt.NDArray[np.bool_],
    focus: tuple[float, float],
    budget: float,
) -> list[Rectangle]:
    """Cut the pixels that are missing into cells of about equal cost, one of them close to the focus.

    Parameters
    ----------
    restorer
        The restorer of the view; it knows the halo.
    visible
        The visible part of the plane.
    covered
        True for pixels of the visible part that are exact already.
    focus
        Row and column of the pixel that the user looks at.
    budget
        Cost of a cell, in voxels that go into the network.
    """
    halo = restorer.halo(None)
    cells: list[Rectangle] = []
    for part in missing_parts(visible, covered, halo):
        start = restorer.patch(part, focus, budget, None)
        cells += [start, *growth(part, start)]
    # A part may contain pixels that are covered already.
    return [rest for cell in cells for rest in missing_parts(visible, covered, halo, cell)]


def take_next(cells: list[Rectangle], focus: tuple[float, float]) -> Rectangle:
    """Remove the cell that is nearest to the focus from the list, and return it."""
    cell = nearest_first(cells, focus)[0]
    cells.remove(cell)
    return cell
