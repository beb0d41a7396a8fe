"""Base of all panels: the theme's colours, a status line, and an end with the dock."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from napari.utils.theme import get_theme
from qtpy.QtCore import QEvent, QObject, QTimer
from qtpy.QtGui import QKeySequence, QShortcut  # type: ignore[attr-defined]
from qtpy.QtWidgets import QDockWidget, QLabel, QMainWindow, QMessageBox, QSizePolicy, QWidget

from napari_lucyd._napari.layers.viewer import unwrapped
from napari_lucyd._napari.widgets.layout import plain_tooltip, set_note, style_sheet

if TYPE_CHECKING:
    import napari.viewer


class Panel(QWidget):
    """A panel in napari's window.

    When the user closes a dock, napari takes the panel out of it and leaves the rest to Python's garbage
    collector. Until then the panel would live on unseen, with its preview and its run, and would be destroyed
    during a collection, where its callbacks can no longer run. So the panel deletes itself at once. A dock
    that is hidden, moved or made a window of its own keeps its panel.

    Parameters
    ----------
    napari_viewer
        The viewer that the panel is docked in.
    """

    status: QLabel
    """The line that messages are written to."""
    _docked = False

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self.viewer = unwrapped(napari_viewer)
        # With a policy that grows, napari gives the panel the whole height of the window.
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)
        self._leaving = QTimer(self)
        self._leaving.setSingleShot(True)
        self._leaving.setInterval(0)
        self._leaving.timeout.connect(self.deleteLater)
        self._settling = QTimer(self)
        self._settling.setSingleShot(True)
        self._settling.setInterval(0)
        self._settling.timeout.connect(self._settle)
        self.subscriptions = Subscriptions(self)
        self.subscriptions.add(self._on_theme, self.viewer.events.theme)
        self._on_theme()

    def tell(self, text: str) -> None:
        """Write a message into the status line."""
        set_note(self.status, text)

    def complain(self, text: str) -> None:
        """Write a problem into the status line."""
        set_note(self.status, text, problem=True)

    def running_text(self) -> str:
        """Say what closing the panel would stop; empty if nothing."""
        return ""

    def add_shortcut(self, keys: str, button: Any) -> None:
        """Let keys press a button while the panel is visible, wherever in the window the cursor is."""
        shortcut = QShortcut(QKeySequence(keys), self)
        shortcut.activated.connect(getattr(button, "native", button).click)

    def _close_dock(self, close: Callable[[], object]) -> None:
        """Close the dock, unless something is running and the user wants to wait for it."""
        text = self.running_text()
        if not text or self.may_close(text):
            close()

    def may_close(self, text: str) -> bool:
        """Ask if the panel may be closed although something is running."""
        box = QMessageBox(QMessageBox.Icon.Question, "Close the panel?", plain_tooltip(text), parent=self)
        stop = box.addButton("Stop and close", QMessageBox.ButtonRole.DestructiveRole)
        box.setDefaultButton(box.addButton("Keep open", QMessageBox.ButtonRole.RejectRole))
        box.exec()
        return box.clickedButton() is stop

    def changeEvent(self, event: QEvent | None) -> None:
        """Notice that the panel is docked, or taken out of its dock."""
        if event is not None and event.type() == QEvent.Type.ParentChange:
            if self.parent() is not None:
                if not self._docked:
                    self._settling.start()
                self._docked = True
                self._leaving.stop()
            elif self._docked:
                # Not at once: whoever took it out may put it into another dock.
                self._leaving.start()
        super().changeEvent(event)

    def _settle(self) -> None:
        """Take the cross of the dock, and share the place of another panel of ours.

        Below each other, both would be too small.
        """
        dock: Any = self.parent()
        window = self.window()
        if hasattr(dock, "destroyOnClose"):
            # napari calls it for the cross of the dock, and offers no other place to ask.
            dock.destroyOnClose = partial(self._close_dock, dock.destroyOnClose)
        if not isinstance(dock, QDockWidget) or not isinstance(window, QMainWindow) or dock.isFloating():
            return
        for panel in window.findChildren(Panel):
            other = panel.parent()
            if (
                other is not dock
                and isinstance(other, QDockWidget)
                and other.isVisible()
                and not other.isFloating()
                and window.dockWidgetArea(other) == window.dockWidgetArea(dock)
            ):
                window.tabifyDockWidget(other, dock)
                dock.show()
                dock.raise_()
                return

    def _on_theme(self, event: Any = None) -> None:
        theme = get_theme(self.viewer.theme)
        colours = (theme.current, theme.text, theme.foreground, theme.background)
        # The long form of a colour is the one that Qt and the style sheet both understand.
        accent, text, line, background = (colour.as_hex("long") for colour in colours)
        self.setStyleSheet(style_sheet(accent, text, line, background, self.viewer.theme))


class Subscriptions:
    """Connections of callbacks to napari's events, which end when a Qt object is destroyed.

    napari holds a callback for as long as its Python object lives. The Qt object under it may be gone before,
    when the dock or the window is closed.

    Parameters
    ----------
    owner
        The Qt object.
    """

    def __init__(self, owner: QObject) -> None:
        connections: list[tuple[Any, Callable[..., Any]]] = []
        self._connections = connections
        # The list, not self: this must not keep the owner alive.
        owner.destroyed.connect(lambda *_: _disconnect(connections))

    def add(self, callback: Callable[..., Any], *emitters: Any) -> None:
        """Call back on each of these events."""
        for emitter in emitters:
            emitter.connect(callback)
            self._connections.append((emitter, callback))


def _disconnect(connections: list[tuple[Any, Callable[..., Any]]]) -> None:
    while connections:
        emitter, callback = connections.pop()
        emitter.disconnect(callback)
