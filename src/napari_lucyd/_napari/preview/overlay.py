"""Layer of the live preview, above its source."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from napari.layers import Image

from napari_lucyd._napari.layers.results import finite, own_limits
from napari_lucyd._napari.layers.source_layer import SPATIAL
from napari_lucyd._napari.layers.viewer import METADATA_KEY, is_result, warned_once
from napari_lucyd._napari.preview.rectangles import Rectangle
from napari_lucyd._napari.preview.viewport import Viewport
from napari_lucyd._napari.preview.worker import Piece

# Properties that are copied from the source when they change there, and those that restart the preview.
LOOK = ("contrast_limits", "colormap", "gamma", "interpolation2d", "name")
PLACE = ("scale", "translate", "rotate", "shear", "affine", "units", "projection_mode")


class Overlay:
    """An image layer with the visible part of one slice; NaN, and so transparent, outside the patch.

    It has as many axes as its source, and is one voxel thick across the slice. On other slices napari shows
    nothing of it, so an outdated preview is never visible.

    Parameters
    ----------
    viewer
        The napari viewer itself, not its proxy.
    """

    def __init__(self, viewer: Any) -> None:
        self._viewer = viewer
        self._layer: Image | None = None
        self.visible = Rectangle(0, 0, 0, 0)
        """Pixels that the layer has room for."""
        self._plane = np.empty((0, 0), dtype=np.float32)  # a view of the layer's data
        # The upper limit is that of the brightest slice so far of one image with the same settings.
        # Otherwise slices could not be compared.
        self._upper = -np.inf
        self._measured: Any = None
        self.covered = np.empty((0, 0), dtype=bool)
        """True for each exact pixel of the visible rectangle."""

    @property
    def complete(self) -> bool:
        """True when every visible pixel is exact."""
        return bool(self.covered.all())

    def is_layer(self, layer: Any) -> bool:
        """Return True for the layer of the preview."""
        return layer is not None and layer is self._layer

    def let_go(self, layer: Any) -> None:
        """Forget the layer if the user has deleted it."""
        if self.is_layer(layer):
            self._layer = None

    def stay_above(self, source: Image) -> None:
        """Move the layer above its source and all results again, where another layer was put above it."""
        layers = self._viewer.layers
        if self._layer is None or self._layer not in layers or source not in layers:
            return
        here, there = layers.index(self._layer), self._place(source)
        if here < there - 1:
            layers.move(here, there)

    def _place(self, source: Image) -> int:
        """Return the place in the list of layers above the source and all results."""
        layers = self._viewer.layers
        return 1 + max(number for number, layer in enumerate(layers) if layer is source or is_result(layer))

    def remove(self) -> None:
        """Remove the layer from the viewer."""
        layer, self._layer = self._layer, None
        layers = self._viewer.layers
        if layer is not None and any(layer is other for other in layers):
            with warned_once(self._viewer):
                layers.remove(layer)

    def show(self, source: Image, shown: Viewport, keep: bool, measured: Any) -> None:
        """Make room for a view of the source.

        Parameters
        ----------
        source, shown
            The layer, and the part of it that is in view.
        keep
            True if the present pixels are still right: same slice and same settings.
        measured
            Identifies the image and the settings; while they are the same, the contrast limits stay.
        """
        keep = keep and self._layer is not None
        if measured != self._measured:
            self._upper, self._measured = -np.inf, measured
        if not (keep and shown.visible == self.visible):
            self._make_room(shown.visible, keep)
        first, second = sorted(shown.displayed)
        shape, origin = [1] * source.ndim, list(shown.index)
        shape[first], shape[second] = self._plane.shape
        origin[first], origin[second] = shown.visible.top, shown.visible.left
        shift = shown.transform.shift(origin, shown.displayed) / np.asarray(shown.unit_scale)
        linear = np.asarray(source.affine.linear_matrix)[-source.ndim :, -source.ndim :]
        spatial = {name: getattr(source, name) for name in SPATIAL}
        spatial["translate"] = np.asarray(source.translate) + np.linalg.solve(linear, shift)
        # The layer uses the memory of the plane.
        data = self._plane.reshape(shape)
        if self._layer is None:
            self._add(source, data, spatial)
        else:
            self._move(self._layer, data, spatial)

    def _make_room(self, visible: Rectangle, keep: bool) -> None:
        plane = np.full((visible.height, visible.width), np.nan, dtype=np.float32)
        covered = np.zeros(plane.shape, dtype=bool)
        common = visible.intersection(self.visible)
        if keep and common.area:
            here, there = common.slices_in(visible), common.slices_in(self.visible)
            plane[here], covered[here] = self._plane[there], self.covered[there]
        self.visible, self._plane, self.covered = visible, plane, covered

    @staticmethod
    def _move(layer: Image, data: np.ndarray, spatial: dict[str, Any]) -> None:
        for name, value in spatial.items():
            # Each assignment makes napari visit all layers, so only new values are assigned.
            if not np.array_equal(np.asarray(getattr(layer, name)), np.asarray(value)):
                setattr(layer, name, value)
        if layer.data.base is not data.base or layer.data.shape != data.shape:
            layer.data = data

    def put(self, pieces: Sequence[Piece]) -> None:
        """Show pieces of the view; approximate pixels never replace exact ones."""
        for piece in pieces:
            where = piece.rectangle.slices_in(self.visible)
            fresh = np.ones(piece.values.shape, dtype=bool) if piece.exact else ~self.covered[where]
            np.copyto(self._plane[where], piece.values, where=fresh)
            if piece.exact:
                self.covered[where] = True
        if self._layer is not None:
            # Once at the beginning and once at the end: a limit that follows each piece would flicker.
            if self.complete or not np.isfinite(self._upper):
                self._widen_limits(self._layer)
            self._layer.refresh(extent=False, highlight=False, thumbnail=self.complete)

    def _widen_limits(self, layer: Image) -> None:
        _, high = own_limits(finite(self._plane), layer.contrast_limits)
        if high > self._upper:
            self._upper = high
            self._set_limits(layer)

    def _set_limits(self, layer: Image) -> None:
        low, high = layer.contrast_limits
        high = self._upper if self._upper > low else high
        known = layer.contrast_limits_range
        layer.contrast_limits_range = (min(known[0], low), max(known[1], high))
        layer.contrast_limits = (low, high)

    def copy_look(self, source: Image) -> None:
        """Copy colours, contrast and name from the source."""
        if self._layer is not None:
            self._layer.contrast_limits_range = source.contrast_limits_range
            for name, value in _look(source).items():
                setattr(self._layer, name, value)
            self._set_limits(self._layer)

    def _add(self, source: Image, data: np.ndarray, spatial: dict[str, Any]) -> None:
        layer = Image(
            data,
            **spatial,
            **_look(source),
            # NaN lets the source show through; other values hide it.
            blending="translucent_no_depth",
            metadata={METADATA_KEY: {"preview": True, "source": source.name}},
        )
        layer.contrast_limits_range = source.contrast_limits_range
        self._set_limits(layer)
        layers = self._viewer.layers
        selection = layers.selection
        selected, active = set(selection), selection.active
        self._layer = layer
        # napari makes a new layer active. Restore the user's active layer without events.
        with selection.events.blocker_all(), warned_once(self._viewer):
            layers.insert(self._place(source), layer)
            selection.clear()
            selection.update(selected)
            if active is not None:
                selection.active = active


def _look(source: Image) -> dict[str, Any]:
    return {
        "contrast_limits": source.contrast_limits,
        "colormap": source.colormap,
        "gamma": source.gamma,
        "interpolation2d": source.interpolation2d,
        "name": f"preview · {source.name}",
    }
