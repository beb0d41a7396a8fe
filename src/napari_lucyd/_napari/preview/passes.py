"""One view's passes through the engine: which part of the image, by which numbers, at what cost."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from math import ceil, sqrt
from typing import Any

import numpy as np

from napari_lucyd._napari.preview.rectangles import Rectangle, cost, patch_around, planes_seen


@dataclass(frozen=True, eq=False)
class ViewRequest:
    """One view of one image, to be restored.

    Parameters
    ----------
    volume
        The whole image at full resolution, all axes: numpy, dask, zarr or xarray.
    model
        What `napari_lucyd.load_model` gives.
    options
        Keyword arguments of `napari_lucyd.deconvolution.plan`, without region, outputs, tile and halo.
    image
        Stands for the content of the volume: statistics are remembered by it.
    plane
        The two displayed axes of the volume, ascending.
    index
        Index along each axis of the volume; those of the plane are not looked at.
    visible
        The pixels of the plane that are wanted, from even origins.
    covered
        Which of them are there already, a bool for each pixel of ``visible``.
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
        """Views with the same key are prepared and scaled by the same numbers."""
        names = ["axes", "normalization", "separate"]
        steps = ("subtract_background", "prefilter")
        prepared = any(self.options.get(name) is not None for name in steps)
        if prepared:
            names += [*steps, "voxel_size"]
        return (
            self.image,
            self.model.dimension,
            repr(self.model.normalization),
            # The noise that a prefilter leaves is the model's.
            self.model.sha256 if prepared else "",
            *(repr(self.options.get(name)) for name in names),
        )


class Dropped(Exception):
    """The view is no longer wanted."""


class ViewRestorer:
    """What the engine does for one view. Made, and used, in the preview's own thread alone.

    Parameters
    ----------
    view
        What is wanted.
    dropped
        Whether it no longer is; asked again and again while the network runs.

    Raises
    ------
    ValueError, TypeError
        From the engine, if it cannot take the image.
    """

    def __init__(self, view: ViewRequest, dropped: Callable[[], bool]) -> None:
        # Loads torch, so neither at the top of the file nor in the window's thread.
        from napari_lucyd.deconvolution import plan

        self.view = view
        self._dropped = dropped
        self._plan = plan
        self._job = plan(view.volume, view.model, outputs=("output",), **view.options)
        letters = "ZYX"[-view.model.dimension :]
        self._spatial = [a for a, name in enumerate(self._job.axes) if name in letters]

    def measure(self, should_stop: Callable[[], bool]) -> Any:
        """Statistics over the whole image, as Run takes them."""
        from napari_lucyd.deconvolution import Cancelled

        try:
            return self._job.measure(should_stop)
        except Cancelled as error:
            raise Dropped from error

    def check(self) -> None:
        """Stop here if the view is no longer wanted."""
        if self._dropped():
            raise Dropped

    def restore(self, rectangle: Rectangle, statistics: Any, halo: int | None) -> np.ndarray:
        """Restored pixels of a rectangle: float32 (height, width), in the units of the image.

        ``halo`` ``None`` is the network's whole reach: exactly what Run gives.
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
        """Voxels that the network sees for a rectangle."""
        return cost(rectangle, *self._reach(halo))

    def halo(self, halo: int | None) -> tuple[int, int]:
        """The margin along the plane's two axes, in pixels."""
        return self._reach(halo)[0]

    def patch(
        self, visible: Rectangle, focus: tuple[float, float], budget: float, halo: int | None
    ) -> Rectangle:
        """The largest patch round the focus that a budget of voxels pays for."""
        return patch_around(focus, visible, budget, *self._reach(halo))

    def _region(self, rectangle: Rectangle) -> tuple[slice, ...]:
        region = [slice(i, i + 1) for i in self.view.index]
        first, second = self.view.plane
        region[first] = slice(rectangle.top, rectangle.bottom)
        region[second] = slice(rectangle.left, rectangle.right)
        return tuple(region)

    def _reach(self, halo: int | None) -> tuple[tuple[int, int], float]:
        """The halo along the plane's axes in pixels, and voxels seen for each of its pixels."""
        reach = self.view.model.network.receptive_field if halo is None else halo
        zoom = self._zoom()
        across = planes_seen([(zoom[a], reach) for a in self._spatial if a not in self.view.plane])
        along = np.prod([zoom.get(a, 1.0) for a in self.view.plane])
        first, second = (ceil(reach / zoom[a]) if a in zoom else 0 for a in self.view.plane)
        return (first, second), float(across * along)

    def _zoom(self) -> dict[int, float]:
        """How many of the network's voxels one of the image's makes, along each spatial axis."""
        zoom = dict.fromkeys(self._spatial, 1.0)
        step = self.view.options.get("voxel_size")
        if self._job.resampled and step is not None and len(step) == 3:
            zoom[self._spatial[0]] = max(1.0, step[0] / sqrt(step[1] * step[2]))
        return zoom
