"""Layers of a run with results in files; they exist from the start and are filled block by block."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QObject, QTimer, Signal  # type: ignore[attr-defined]

from napari_lucyd._napari.deconvolve.to_zarr.growing_array import GrowingLevel
from napari_lucyd._napari.deconvolve.to_zarr.worker import Begun, Grown, Halted, Range, Stored
from napari_lucyd._napari.layers.viewer import METADATA_KEY, UNFINISHED, unique_names, warned_once

if TYPE_CHECKING:
    from napari.layers import Image
    from napari.viewer import Viewer

# Pause between two refreshes. It is short enough to follow the run, and refreshes take only a small share of
# the window's time.
_PAUSE_SECONDS = 0.3
_SHARE = 0.1
# Pause between two added layers, in which the window draws.
_STEP_MS = 100
_NOTHING = Range(None, None)
_MARK = "unfinished "


def _shows(layer: Any, path: Path) -> bool:
    """Return True for the layer of an unfinished store with this final path."""
    own = layer.metadata.get(METADATA_KEY)
    if not isinstance(own, dict) or own.get(UNFINISHED) != str(path):
        return False
    # A copy that was saved and opened again has its voxels elsewhere.
    return isinstance(layer.data[0] if layer.multiscale else layer.data, GrowingLevel)


def _without_mark(metadata: dict[str, Any]) -> dict[str, Any]:
    own = {key: value for key, value in metadata[METADATA_KEY].items() if key != UNFINISHED}
    return {**metadata, METADATA_KEY: own}


class StoreLayers(QObject):
    """Adds, refreshes and finishes the layers, one step in each turn of the event loop.

    Parameters
    ----------
    viewer
        Gets the layers.
    add
        Called with data and keywords of a layer to add; returns it.
    renewed
        Called with a layer of an earlier run that is resumed.
    parent
        Qt's owner.
    """

    idled = Signal()
    """All layers are there; only refreshes are left."""

    def __init__(
        self,
        viewer: Viewer,
        add: Callable[[Any, dict[str, Any]], Image],
        renewed: Callable[[Image], object],
        parent: QObject,
    ) -> None:
        super().__init__(parent)
        self.viewer = viewer
        self._add_image = add
        self._renewed = renewed
        # By the final path of the store, until the store is finished.
        self._levels: dict[Path, GrowingLevel] = {}
        # The known ranges, and the ranges that the layers show.
        self._known: dict[Path, Range] = {}
        self._ranges: dict[Path, Range] = {}
        self._added: set[Path] = set()
        self._changed: set[Path] = set()
        self._steps: deque[Callable[[], object]] = deque()
        self._worker = QTimer(self)
        self._worker.setInterval(_STEP_MS)
        self._worker.timeout.connect(self._next)
        self._refresher = QTimer(self)
        self._refresher.setSingleShot(True)
        self._refresher.timeout.connect(self._refresh_next)

    @property
    def idle(self) -> bool:
        """True when all layers are there, and those of finished stores are finished."""
        return not self._steps

    def begun(self, event: Begun) -> None:
        """Add the layers of an image, or take over those of an unfinished run."""
        self._added = set()
        new = [path for path, (_, keywords) in event.layers.items() if not self._is_same(path, keywords)]
        names = unique_names(
            [event.layers[path][1]["name"] for path in new], {layer.name for layer in self.viewer.layers}
        )
        named = dict(zip(new, names, strict=True))
        for path, (levels, keywords) in event.layers.items():
            if path in named:
                keywords = {**keywords, "name": _MARK + named[path]}
                self._do(partial(self._add, path, levels, keywords))
            else:
                self._do(partial(self._renew, path, levels, keywords))
        self._do(event.added.set)

    def grown(self, event: Grown) -> None:
        """Refresh the layers with new blocks soon."""
        self._known.update(event.ranges)
        self._changed.update(event.seen)
        self._schedule()

    def stored(self, event: Stored) -> None:
        """Let the layers of an image show the finished files."""
        for path, (levels, metadata) in event.layers.items():
            self._do(partial(self._finish, path, levels, metadata))

    def halted(self, event: Halted) -> None:
        """Remove empty layers; others stay as they are."""
        for path in event.paths if not event.done else ():
            if path in self._added:
                self._do(partial(self._remove, path))

    def _do(self, step: Callable[[], object]) -> None:
        self._steps.append(step)
        if not self._worker.isActive():
            self._worker.start()

    def _next(self) -> None:
        if self._steps:
            self._steps.popleft()()
        if not self._steps:
            self._worker.stop()
            self.idled.emit()

    # Steps

    def _layer(self, path: Path) -> Image | None:
        """Return the layer of an unfinished store, also one of an earlier panel; None if there is none."""
        return next((layer for layer in self.viewer.layers if _shows(layer, path)), None)

    def _is_same(self, path: Path, keywords: dict[str, Any]) -> bool:
        """Return True if there is a layer for a store; one that shows another region is given up."""
        layer = self._layer(path)
        if layer is None:
            return False
        same = layer.ndim == len(keywords["translate"]) and np.allclose(
            layer.translate, keywords["translate"]
        )
        if not same:
            layer.metadata = _without_mark(layer.metadata)
        return bool(same)

    def _add(self, path: Path, levels: list[GrowingLevel], keywords: dict[str, Any]) -> None:
        # In 3D, napari shows a single level completely, and of several levels the lowest. But a plane with
        # several levels it reads only once.
        data: Any = levels if levels[0].ndim > 2 else levels[0]
        self._add_image(data, {**keywords, "multiscale": levels[0].ndim > 2, "cache": False})
        self._levels[path] = levels[0]
        self._added.add(path)
        low, high = keywords["contrast_limits"]
        self._ranges[path] = Range((low, high), None)
        self._changed.add(path)
        self._schedule()

    def _renew(self, path: Path, levels: list[GrowingLevel], keywords: dict[str, Any]) -> None:
        layer = self._layer(path)
        if layer is not None:
            layer.data = levels if layer.multiscale else levels[0]
            layer.metadata = {**layer.metadata, **keywords["metadata"]}
            self._levels[path] = levels[0]
            self._renewed(layer)
            self._changed.add(path)
            self._schedule()

    def _adapt(self, path: Path, layer: Image) -> None:
        """Adapt the contrast limits to the new values, unless the user has set them."""
        known, before = self._known.pop(path, None), self._ranges.get(path, _NOTHING)
        if known is None or known == before:
            return
        shown = tuple(layer.contrast_limits)
        low, high = layer.contrast_limits_range
        reach = (*(known.reach or ()), *(known.limits or ()), low, high)
        layer.contrast_limits_range = (min(reach), max(reach))
        if known.limits is not None and before.limits is not None and np.allclose(shown, before.limits):
            layer.contrast_limits = known.limits
        self._ranges[path] = replace(known, limits=known.limits or before.limits)

    def _finish(self, path: Path, levels: list[Any], metadata: dict[str, Any]) -> None:
        layer = self._layer(path)
        if layer is not None:
            self._adapt(path, layer)
            layer.data = levels if layer.multiscale else levels[0]
            layer.metadata = {**layer.metadata, **metadata}
            layer.name = layer.name.removeprefix(_MARK)
        self._forget(path)

    def _remove(self, path: Path) -> None:
        layer = self._layer(path)
        if layer is not None:
            with warned_once(self.viewer):
                self.viewer.layers.remove(layer)
        self._forget(path)

    def _forget(self, path: Path) -> None:
        for known in (self._levels, self._known, self._ranges):
            known.pop(path, None)
        self._changed.discard(path)

    # Refreshes

    def _schedule(self, seconds: float = _PAUSE_SECONDS) -> None:
        if not self._refresher.isActive():
            self._refresher.start(int(1000 * seconds))

    def _refresh_next(self) -> None:
        """Show the new blocks of one layer."""
        began = time.monotonic()
        for path in list(self._known):
            if (layer := self._layer(path)) is not None:
                self._adapt(path, layer)
        if not self._changed:
            return
        path = self._changed.pop()
        layer, level = self._layer(path), self._levels.get(path)
        if layer is not None and level is not None and layer.visible:
            layer.refresh(extent=False, highlight=False)
            if level.behind:
                self._changed.add(path)
        if self._changed:
            taken = time.monotonic() - began
            self._schedule(max(_PAUSE_SECONDS / len(self._changed), taken / _SHARE))
