"""Notification at the end of a long run, training or batch."""

from __future__ import annotations

from napari.utils.notifications import show_info, show_warning
from qtpy.QtWidgets import QApplication, QWidget

# Nobody waits so long in front of the panel.
LONG_SECONDS = 60


def notify_end(widget: QWidget, seconds: float, text: str, *, problem: bool = False) -> None:
    """Report the end of long work: the user may be doing something else.

    Parameters
    ----------
    widget
        The panel or the dialog; napari's window asks for attention.
    seconds
        Duration of it.
    text
        The message.
    problem
        True if it failed.
    """
    if seconds >= LONG_SECONDS:
        (show_warning if problem else show_info)(text or "The run has ended.")
        QApplication.alert(widget.window())
