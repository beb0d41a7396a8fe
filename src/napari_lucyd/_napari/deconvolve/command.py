"""Menu command Layers ▸ Filter ▸ Deconvolve (LUCYD): the default run on the active layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari.layers import Image
from napari.utils.notifications import show_error, show_info, show_warning

from napari_lucyd._napari.deconvolve.parameters import LUCYD, Parameters, default_model
from napari_lucyd._napari.deconvolve.session import DeconvolveSession
from napari_lucyd._napari.deconvolve.task import Failed, Finished, ImageTask
from napari_lucyd._napari.layers.source_layer import SourceLayer
from napari_lucyd._napari.layers.viewer import unwrapped
from napari_lucyd._napari.workers.events import explain

if TYPE_CHECKING:
    import napari.viewer

UNKNOWN_SIZE = (
    "the voxel size is unknown, so Z was not resampled. Set the layer's scale and units, or enter the voxel "
    "size in the Deconvolve panel."
)
# A session must outlive the command that started it.
_sessions: set[DeconvolveSession] = set()


def deconvolve_active(viewer: napari.viewer.Viewer) -> None:
    """Deconvolve the active image layer with LUCYD's default model and settings.

    Parameters
    ----------
    viewer
        Gets the result layers; progress shows in napari's activity dock.
    """
    viewer = unwrapped(viewer)
    layer = viewer.layers.selection.active
    if not isinstance(layer, Image):
        show_warning("Deconvolve (LUCYD): select an image layer first.")
        return
    if any(session.is_running and session.viewer is viewer for session in _sessions):
        show_warning("Deconvolve (LUCYD): a run is already in progress.")
        return
    try:
        source = SourceLayer.from_layer(layer)
    except ValueError as error:
        show_error(explain(error))
        return
    # A child of the window: a run in progress ends when napari is closed.
    session = DeconvolveSession(viewer, viewer.window._qt_window)
    _sessions.add(session)
    session.destroyed.connect(lambda *_: _sessions.discard(session))
    session.failed.connect(_on_failed)
    session.finished.connect(_on_finished)
    session.ended.connect(lambda: _on_ended(session))
    show_info(f"Deconvolving “{source.name}”…")
    session.start([ImageTask(source, Parameters(LUCYD, default_model(layer.ndim)))])


def _on_failed(event: Failed) -> None:
    show_error(event.text)


def _on_finished(event: Finished) -> None:
    axes = event.task.source.likely_axes(event.result.recipe["axes"])
    if "Z" in axes and event.task.source.voxel_size_um(axes) is None:
        show_warning(f"“{event.task.source.name}”: {UNKNOWN_SIZE}")
    show_info("\n".join([event.text, *event.warnings]))


def _on_ended(session: DeconvolveSession) -> None:
    _sessions.discard(session)
    session.deleteLater()
