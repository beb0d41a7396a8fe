"""Restoration of one view: regions of the image, intensity statistics, and cost."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from math import ceil, sqrt
from typing import Any

import numpy as np

from napari_lucyd._napari.preview.rectangles import Rectangle, cost, patch_around, planes_seen
from napari_lucyd.spans import spatial_axes


@dataclass(frozen=True, eq=False)
class ViewRequest:
    """One view of one image, to be restored.

    Parameters
    ----------
    volume
        The whole image at full resolution, all axes: numpy, dask, zarr or xarray.
    model
        The model, from `napari_lucyd.load_model`.
    options
        Keyword arguments of `napari_lucyd.deconvolution.plan`, without region, outputs, tile and halo.
    image
        Identifies the content of the volume; statistics are kept by it.
    plane
        The two displayed axes of the volume, ascending.
    index
        Index along each axis of the volume; those of the plane are ignored.
    visible
        The requested pixels of the plane, with even origins.
    covered
        True for each pixel of ``visible`` that is exact already.
    """

    volume: Any
    model: Any
    options: Mapping[str, Any]
    image: Hashable
    plane: tuple[int, int]
    index: tuple[int, ...]
    visible: Rectangle
    covered: np.ndarray

    @property
    def statistics_key(self) -> Hashable:
        """Value that identifies the numbers that prepare and scale the image."""
        names = ["axes", "normalization", "separate"]
        steps = ("subtract_background", "prefilter")
        prepared = any(self.options.get(name) is not None for name in steps)
        if prepared:
            names += [*steps, "voxel_size"]
        return (
            self.image,
            self.model.dimension,
            repr(self.model.normalization),
            # A prefilter leaves the noise that the model was trained on.
            self.model.sha256 if prepared else "",
            *(repr(self.options.get(name)) for name in names),
        )


class Dropped(Exception):
    """The view was dropped."""


class ViewRestorer:
    """Restores parts of one view; make and use it in the preview's thread only.

    Parameters
    ----------
    view
        The view.
    dropped
        Returns True if the view was dropped; called often while the network runs.

    Raises
    ------
    ValueError, TypeError
        If the core refuses the image.
    """

    def __init__(self, view: ViewRequest, dropped: Callable[[], bool]) -> None:
        # Imports torch, so it is neither at the top of the file nor on the window's thread.
        from napari_lucyd.deconvolution import plan

        self.view = view
        self._dropped = dropped
        self._plan = plan
        self._job = plan(view.volume, view.model, outputs=("output",), **view.options)
        letters = spatial_axes(view.model.dimension)
        self._spatial = [a for a, name in enumerate(self._job.axes) if name in letters]

    def measure(self, should_stop: Callable[[], bool]) -> Any:
        """Measure the statistics of the whole image, as Run does."""
        from napari_lucyd.deconvolution import Cancelled

        try:
            return self._job.measure(should_stop)
        except Cancelled as error:
            raise Dropped from error

    def check(self) -> None:
        """Raise `Dropped` if the view was dropped."""
        if self._dropped():
            raise Dropped

    def restore(self, rectangle: Rectangle, statistics: Any, halo: int | None) -> np.ndarray:
        """Restore a rectangle: float32 (height, width), in the units of the image.

        With ``halo`` None it is the network's whole reach, and the pixels are equal to those of Run.
        """
        from napari_lucyd.deconvolution import Cancelled

        self.check()
        job = self._plan(
            self.view.volume,
            self.view.model,
            outputs=("output",),
            halo=halo,
            region=self._region(rectangle),
            statistics=statistics,
            **self.view.options,
        )
        try:
            for _ in job.steps(self._dropped):
                pass
        except Cancelled as error:
            raise Dropped from error
        self.check()
        output = np.asarray(job.result().output, dtype=np.float32)
        return output.reshape(rectangle.height, rectangle.width)

    def cost(self, rectangle: Rectangle, halo: int | None) -> float:
        """Return the number of voxels that the network reads for a rectangle."""
        return cost(rectangle, *self._reach(halo))

    def halo(self, halo: int | None) -> tuple[int, int]:
        """Return the margin along both axes of the plane, in pixels."""
        return self._reach(halo)[0]

    def patch(
        self, visible: Rectangle, focus: tuple[float, float], budget: float, halo: int | None
    ) -> Rectangle:
        """Return the largest patch around the focus within a budget of voxels."""
        return patch_around(focus, visible, budget, *self._reach(halo))

    def _region(self, rectangle: Rectangle) -> tuple[slice, ...]:
        region = [slice(i, i + 1) for i in self.view.index]
        first, second = self.view.plane
        region[first] = slice(rectangle.top, rectangle.bottom)
        region[second] = slice(rectangle.left, rectangle.right)
        return tuple(region)

    def _reach(self, halo: int | None) -> tuple[tuple[int, int], float]:
        """Return the halo along the plane's axes in pixels, and the voxels read for each pixel."""
        reach = self.view.model.network.receptive_field if halo is None else halo
        zoom = self._zoom()
        across = planes_seen([(zoom[a], reach) for a in self._spatial if a not in self.view.plane])
        along = np.prod([zoom.get(a, 1.0) for a in self.view.plane])
        first, second = (ceil(reach / zoom[a]) if a in zoom else 0 for a in self.view.plane)
        return (first, second), float(across * along)

    def _zoom(self) -> dict[int, float]:
        """Return the number of network voxels for one image voxel, along each spatial axis."""
        zoom = dict.fromkeys(self._spatial, 1.0)
        step = self.view.options.get("voxel_size")
        if self._job.resampled and step is not None and len(step) == 3:
            zoom[self._job.axes.index("Z")] = max(1.0, step[0] / sqrt(step[1] * step[2]))
        return zoom
