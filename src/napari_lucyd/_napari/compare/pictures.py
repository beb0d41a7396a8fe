"""Line profile and maximum projections of the chosen layers."""

from __future__ import annotations

import numpy as np
from qtpy.QtCore import QObject, Signal  # type: ignore[attr-defined]

from napari_lucyd._napari.compare import worker
from napari_lucyd._napari.compare.chosen_layers import ChosenLayers
from napari_lucyd._napari.compare.form import CompareForm
from napari_lucyd._napari.compare.requests import Requests, next_step
from napari_lucyd._napari.compare.worker import LayerProjections, Profile, Projector
from napari_lucyd._napari.widgets.layout import set_note
from napari_lucyd._napari.workers.latest import LatestOnly

NO_LINE = "Draw a line on the image to plot the intensities of all ticked layers along it."


class Pictures(QObject):
    """Computes profile and projections and shows them.

    Parameters
    ----------
    form
        The controls.
    chosen
        The layers.
    requests
        Makes the requests.
    quick_ms, slow_ms
        Time without changes before the profile and the projections are computed.
    parent
        Qt's owner.
    """

    drawn = Signal()
    """A profile is shown."""

    def __init__(
        self,
        form: CompareForm,
        chosen: ChosenLayers,
        requests: Requests,
        quick_ms: int,
        slow_ms: int,
        parent: QObject,
    ) -> None:
        super().__init__(parent)
        self._form, self._chosen = form, chosen
        self.profile: Profile | None = None
        self.views: list[LayerProjections] = []
        self._profile = LatestOnly(requests.profile, worker.trace, quick_ms, self)
        self._projections = LatestOnly(requests.projections, Projector().project, slow_ms, self)
        self._profile.ready.connect(self._on_profile)
        self._profile.failed.connect(self._on_no_profile)
        self._projections.ready.connect(self._on_projections)
        self._projections.failed.connect(self._on_no_projections)
        self.refresh_profile = self._profile.refresh
        self.refresh_projections = self._projections.refresh

    @property
    def settled(self) -> bool:
        """True when everything shown belongs to the present choices."""
        return self._profile.settled and self._projections.settled

    def refresh(self) -> None:
        """Compute again what may have changed."""
        self._profile.refresh()
        self._projections.refresh()

    def _on_profile(self, profile: Profile | None) -> None:
        self.profile = profile
        self._form.profile.show_profile(profile, self._chosen.numbers())
        set_note(self._form.profile_note, NO_LINE if profile is None else _profile_text(profile))
        if profile is not None:
            self.drawn.emit()

    def _on_no_profile(self, text: str) -> None:
        # The earlier profile belongs to other choices.
        self._on_profile(None)
        set_note(self._form.profile_note, text, problem=True)

    def _on_projections(self, views: list[LayerProjections] | None) -> None:
        self.views = views or []
        self._form.projections.show_views(self.views, self._chosen.numbers())
        axial = any(view.axial is not None for view in self.views)
        text = (
            "Along Z, and below along Y, in the colours and contrast limits of the layers." if axial else ""
        )
        if self.views and not axial:
            text = "Planes, in the colours and contrast limits of the layers."
        set_note(self._form.projections_note, text or next_step(self._chosen))

    def _on_no_projections(self, text: str) -> None:
        self._on_projections(None)
        set_note(self._form.projections_note, text, problem=True)


def _profile_text(profile: Profile) -> str:
    text = f"{profile.distance[-1]:.4g} {profile.unit} in the current slice."
    if any(curve.is_truth for curve in profile.curves):
        text += " Dashed: ground truth."
    beside = [f"“{curve.name}”" for curve in profile.curves if not np.isfinite(curve.values).any()]
    if beside:
        text += f" The line does not cross {', '.join(beside)}."
    unscaled = [f"“{curve.name}”" for curve in profile.curves if curve.in_pixels]
    if 0 < len(unscaled) < len(profile.curves):
        text += (
            f" The voxel size of {', '.join(unscaled)} is unknown: a pixel counts as 1 {profile.unit}, so "
            "the line is at another place there."
        )
    widths = [
        f"“{curve.name}” {curve.width:.3g}"
        for curve in profile.curves
        if curve.width is not None and not curve.is_factor
    ]
    if widths:
        text += f"\nWidth of the highest peak (FWHM) in {profile.unit}: {', '.join(widths)}."
    return text
