"""Display of a run in the footer: its progress, its messages, and the buttons at its end."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from qtpy.QtCore import QObject
from qtpy.QtWidgets import QWidget

from napari_lucyd._napari.deconvolve.parameters import LUCYD
from napari_lucyd._napari.deconvolve.planning import likely_model
from napari_lucyd._napari.deconvolve.session import DeconvolveSession
from napari_lucyd._napari.deconvolve.status.footer import Footer
from napari_lucyd._napari.deconvolve.task import Failed, Finished, found_iterations
from napari_lucyd._napari.widgets.layout import plain_tooltip, set_note
from napari_lucyd._napari.workers.events import Advanced
from napari_lucyd._napari.workers.notification import notify_end
from napari_lucyd.text import duration_text, group_messages

_MESSAGES = 4
# Words of the reason for the method that Automatic chose, or for none.
_COMPARED = "held-out photons"
OWN_SAMPLE = (
    "Automatic compared the methods on a sample of its own and, unless you gave the blur, with the blur of "
    "that sample. So its numbers differ from those of Score."
)
# Tiles may finish faster than anyone can read.
REDRAW_SECONDS = 0.2


class RunView(QObject):
    """Shows the runs of a session, and connects the buttons that stop, keep and replace.

    Parameters
    ----------
    session
        The runs.
    footer
        The progress bar, the buttons and the line of messages.
    without_repeats
        Returns the lines about an image that do not stand elsewhere; see `ExaminationLine`.
    panel
        The panel; its window asks for attention at the end of a long run.
    """

    def __init__(
        self,
        session: DeconvolveSession,
        footer: Footer,
        without_repeats: Callable[[Sequence[str]], list[str]],
        panel: QWidget,
    ) -> None:
        super().__init__(panel)
        self._session, self._footer, self._panel = session, footer, panel
        self._without_repeats = without_repeats
        self._failures: list[str] = []
        self._messages: list[str] = []
        self._warnings: list[str] = []
        self._drawn = 0.0
        self._keeping = self._notified = False
        footer.cancel.changed.connect(session.cancel)
        footer.stop_and_keep.changed.connect(self._on_stop_and_keep)
        footer.keep.changed.connect(self._on_keep)
        footer.discard.changed.connect(self._on_discard)
        footer.anyway.changed.connect(self._run_anyway)
        footer.replace.changed.connect(self._on_replace)
        session.started.connect(self._on_started)
        session.computing.connect(footer.show_computing)
        session.advanced.connect(self._on_advanced)
        session.failed.connect(self._on_failed)
        session.finished.connect(self._on_finished)
        session.concluded.connect(self._on_concluded)
        session.ended.connect(self._on_ended)

    @property
    def is_over(self) -> bool:
        """True if no run is in progress, and no finished part of one waits to be kept."""
        return not self._session.is_running and self._session.partial is None

    def _on_started(self) -> None:
        self._failures, self._messages, self._warnings = [], [], []
        self._keeping = self._notified = False
        self._footer.show_run("Preparing…")
        # The messages of the last run, or "Ready.", are over.
        set_note(self._footer.status, "")
        self._drawn = 0.0

    def _on_advanced(self, event: Advanced) -> None:
        self._footer.stop_and_keep.native.setVisible(event.keeps_estimates)
        if event.curve:
            self._footer.curve.show_points(event.curve)
        now = time.monotonic()
        if now - self._drawn < REDRAW_SECONDS and event.done < event.total:
            return
        self._drawn = now
        bar = self._footer.progress
        bar.max, bar.value = event.total, event.done
        left = "" if event.seconds_left is None else f"  ·  {duration_text(event.seconds_left)} left"
        bar.native.setFormat(f"%p %{left}")

    def _on_failed(self, event: Failed) -> None:
        self._failures.append(event.text)
        set_note(self._footer.status, self._failures[-1], problem=True)

    def _on_finished(self, event: Finished) -> None:
        self._footer.curve.show_used(found_iterations(event.result.recipe))
        self._on_concluded((event.text, *event.warnings))

    def _on_concluded(self, lines: tuple[str, ...]) -> None:
        text, *warnings = self._without_repeats(lines)
        self._messages.append(text)
        self._warnings += warnings

    def _on_ended(self) -> None:
        session, footer = self._session, self._footer
        part = session.partial
        broke_off = session.halted or session.has_failed
        complete = bool(session.results) and part is None and not broke_off
        footer.show_end(complete=complete, partial=part is not None)
        if part is not None and self._keeping:
            # The run ends again when the layers of the finished part are there.
            self._on_keep()
            return
        self._tell_all()
        footer.replace.native.setVisible(bool(session.earlier()))
        failed = bool(self._failures) or broke_off
        if not self._notified:
            self._notified = True
            notify_end(self._panel, session.seconds, footer.status.text(), problem=failed)
        footer.anyway.native.setVisible(bool(session.left_alone))

    def _run_anyway(self, *_: Any) -> None:
        tasks = self._session.left_alone
        self._session.start(
            [
                replace(task, parameters=replace(task.parameters, method=LUCYD, model=likely_model(task)))
                for task in tasks
            ]
        )

    def _on_stop_and_keep(self, *_: Any) -> None:
        self._keeping = True
        self._session.keep_estimate()

    def _on_keep(self, *_: Any) -> None:
        self._footer.hide_partial()
        part = self._session.partial
        named = f", {part.volumes}" if part is not None and part.volumes else ""
        self._messages, self._warnings = (
            [f"Kept the finished part{named}; the rest of the image is empty."],
            [],
        )
        self._session.keep_partial()

    def _on_discard(self, *_: Any) -> None:
        self._footer.hide_partial()
        self._session.discard_partial()
        self._messages, self._warnings = ["Discarded."], []
        self._tell_all()

    def _on_replace(self, *_: Any) -> None:
        self._footer.hide_replace()
        self._session.replace_earlier()

    def _tell_all(self) -> None:
        """Show each image that failed, the last messages of the run, and its warnings."""
        lines = [*self._failures, *self._messages[-_MESSAGES:], *group_messages(self._warnings)]
        if lines:
            problem = bool(self._failures) or self._session.has_failed
            set_note(self._footer.status, "\n".join(lines), problem=problem)
            compared = any(_COMPARED in line for line in lines)
            self._footer.status.setToolTip(plain_tooltip(OWN_SAMPLE) if compared else "")
