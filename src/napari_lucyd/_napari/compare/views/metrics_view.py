"""Metrics of the chosen layers: against the ground truth, or else against their image."""

from __future__ import annotations

from qtpy.QtCore import QObject

from napari_lucyd._napari.compare import worker
from napari_lucyd._napari.compare.chosen_layers import ChosenLayers
from napari_lucyd._napari.compare.form import CompareForm
from napari_lucyd._napari.compare.requests import Requests, next_step
from napari_lucyd._napari.compare.without_truth import EXPLANATION, agreement
from napari_lucyd._napari.compare.worker import Metrics
from napari_lucyd._napari.widgets.layout import plain_tooltip, set_note
from napari_lucyd._napari.workers.latest import LatestOnly

NO_TRUTH = "Choose a ground-truth layer to compute PSNR and SSIM."
MEASURING = "Measuring…"


class MetricsView(QObject):
    """Computes the metrics and shows them.

    Parameters
    ----------
    form
        The controls.
    chosen
        The layers.
    requests
        Makes the requests.
    settle_ms
        Time without changes before they are made.
    parent
        Qt's owner.
    """

    def __init__(
        self, form: CompareForm, chosen: ChosenLayers, requests: Requests, settle_ms: int, parent: QObject
    ) -> None:
        super().__init__(parent)
        self._form, self._chosen = form, chosen
        self.shown: Metrics | None = None
        self._agreed = ""
        self._metrics = LatestOnly(requests.metrics, worker.measure, settle_ms, self)
        self._agreement = LatestOnly(requests.agreement, agreement, settle_ms, self)
        self._metrics.began.connect(lambda: set_note(form.metrics_note, MEASURING))
        self._metrics.ready.connect(self._on_metrics)
        self._metrics.failed.connect(self._on_failed)
        self._agreement.ready.connect(self._on_agreement)
        self._agreement.failed.connect(self._on_agreement)

    @property
    def settled(self) -> bool:
        """True when everything shown belongs to the present choices."""
        return self._metrics.settled and self._agreement.settled

    def refresh(self) -> None:
        """Compute again what may have changed."""
        line = self._form.metrics_note
        # The hint depends on more than the request does.
        if self.shown is None and line.text() != MEASURING and not line.property("problem"):
            set_note(line, self._without_metrics())
        self._metrics.refresh()
        self._agreement.refresh()

    def _on_metrics(self, metrics: Metrics | None) -> None:
        self.shown = metrics
        self._form.show_metrics(metrics, self._chosen.numbers())
        if metrics is None:
            set_note(self._form.metrics_note, self._without_metrics())
            return
        at = f", at {metrics.position} (counted from 0)" if metrics.position else ""
        lines = [f"Against “{metrics.truth}”{at}."]
        lines += [
            f"“{row.name}”: {'; '.join(row.scores.remarks)}." for row in metrics.rows if row.scores.remarks
        ]
        set_note(self._form.metrics_note, "\n".join(lines))

    def _on_failed(self, text: str) -> None:
        # The earlier numbers belong to other choices.
        self._on_metrics(None)
        set_note(self._form.metrics_note, text, problem=True)

    def _on_agreement(self, text: str | None) -> None:
        self._agreed = text or ""
        if self._chosen.truth is None:
            set_note(self._form.metrics_note, self._without_metrics())
            self._form.metrics_note.setToolTip(plain_tooltip(EXPLANATION if self._agreed else ""))

    def _without_metrics(self) -> str:
        if not self._chosen.ticked():
            return next_step(self._chosen)
        if self._chosen.truth is not None:
            # A ground truth that cannot be used is reported above.
            return ""
        return f"{self._agreed}\n{NO_TRUTH}" if self._agreed else NO_TRUTH
