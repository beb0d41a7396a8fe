"""Button and lines of the held-out scores."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QObject

from napari_lucyd._napari.compare import held_out
from napari_lucyd._napari.compare.form import CompareForm
from napari_lucyd._napari.compare.held_out import HeldOutRequest
from napari_lucyd._napari.compare.requests import Requests
from napari_lucyd._napari.widgets.layout import set_note
from napari_lucyd._napari.workers.latest import LatestOnly


class HeldOutView(QObject):
    """Scores the chosen layers when the button is pressed, and shows the scores while they apply.

    Parameters
    ----------
    form
        The controls.
    requests
        Makes the requests.
    parent
        Qt's owner.
    """

    def __init__(self, form: CompareForm, requests: Requests, parent: QObject) -> None:
        super().__init__(parent)
        self._form, self._requests = form, requests
        self._scored: HeldOutRequest | None = None
        self._work = LatestOnly(lambda: self._scored, held_out.score_layers, 0, self)
        form.held_out.changed.connect(self._on_button)
        self._work.began.connect(lambda: self._show(held_out.SCORING, running=True))
        self._work.ready.connect(lambda text: self._show(text or ""))
        self._work.failed.connect(lambda text: self._show(text, problem=True))

    @property
    def settled(self) -> bool:
        """True when no scores are being computed."""
        return self._work.settled

    def refresh(self) -> None:
        """Remove scores of other layers; new ones wait for the button, since they take seconds."""
        if self._scored is not None and not self._scored.same_as(self._requests.held_out()):
            self._cancel()

    def _on_button(self, *_: Any) -> None:
        if self._scored is not None and not self._work.settled:
            self._cancel()
            return
        self._scored = self._requests.held_out(again=True)
        if self._scored is None:
            self._show(held_out.NOTHING, problem=True)
        else:
            self._work.refresh()

    def _cancel(self) -> None:
        self._scored = None
        self._work.refresh()

    def _show(self, text: str, *, running: bool = False, problem: bool = False) -> None:
        self._form.held_out.text = held_out.CANCEL if running else held_out.SCORE
        set_note(self._form.held_out_note, text, problem=problem)
