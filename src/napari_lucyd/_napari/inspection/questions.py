"""Questions of the Trust section: answered one after another, with a line that keeps the answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from qtpy.QtCore import QObject, Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QLabel

from napari_lucyd._napari.inspection.judging import (
    BEADS,
    INTERVAL,
    MAP,
    METHODS,
    REPORT,
    SCORE,
    Judgement,
    JudgeRequest,
    judge,
)
from napari_lucyd._napari.widgets.layout import set_note
from napari_lucyd._napari.workers.events import explain
from napari_lucyd._napari.workers.latest import LatestOnly
from napari_lucyd._napari.workers.window_words import in_window_words

_WORKING = {
    SCORE: "Score is being measured…",
    MAP: "Trust map is being computed…",
    INTERVAL: "Interval is being computed…",
    BEADS: "Planted beads are being restored…",
    REPORT: "Report is being written…",
    METHODS: "Methods paragraph is being written…",
}


class Questions(QObject):
    """Answers questions about one result in a worker, in the order in which they were asked.

    Parameters
    ----------
    line
        Says which question is being answered, and has the answers since there was none to do.
    parent
        Qt's owner; the work ends with it.
    """

    answered = Signal(object)
    """The `Judgement`, in the words of the window."""

    def __init__(self, line: QLabel, parent: QObject) -> None:
        super().__init__(parent)
        self._line = line
        self._waiting: list[JudgeRequest] = []
        self._answers: list[Judgement] = []
        self._work = LatestOnly(lambda: next(iter(self._waiting), None), _answer, 0, self)
        self._work.ready.connect(self._on_ready)

    @property
    def settled(self) -> bool:
        """True when every question is answered."""
        return not self._waiting and self._work.settled

    def ask(self, request: JudgeRequest) -> None:
        """Answer a question after those that wait, unless it is among them."""
        if not self._waiting:
            self._answers.clear()
        same = (request.kind, request.volume, request.path)
        if same not in [(each.kind, each.volume, each.path) for each in self._waiting]:
            self._waiting.append(request)
        self._write()
        self._work.refresh()

    def drop(self) -> None:
        """Forget questions and answers: they are about another result."""
        self._waiting.clear()
        self._answers.clear()
        self._write()
        self._work.refresh()

    def _on_ready(self, found: tuple[JudgeRequest, Judgement] | None) -> None:
        # The question may have been dropped meanwhile.
        if found is None or not self._waiting or found[0] is not self._waiting[0]:
            return
        del self._waiting[0]
        judgement = replace(found[1], text=in_window_words(found[1].text))
        self._answers.append(judgement)
        self._write()
        if self._waiting:
            self._work.refresh()
        self.answered.emit(judgement)

    def _write(self) -> None:
        several = len(self._answers) + len(self._waiting) > 1
        lines = []
        for answer in self._answers:
            text = f"Copied: {answer.text}" if answer.kind == METHODS and not answer.problem else answer.text
            lines.append(f"{answer.kind.capitalize()}. {text}" if several else text)
        if self._waiting:
            now, *later = (each.kind for each in self._waiting)
            lines.append(_WORKING[now] + (f" Then: {', '.join(later)}." if later else ""))
        set_note(self._line, "\n".join(lines), problem=any(answer.problem for answer in self._answers))


def _answer(request: JudgeRequest, should_stop: Callable[[], bool]) -> tuple[JudgeRequest, Judgement]:
    """Answer a question; the reason why it cannot be answered is an answer too."""
    try:
        return request, judge(request, should_stop)
    except Exception as error:
        return request, Judgement(request.kind, explain(error), problem=True)
