"""Download of a file while the window keeps painting."""

from __future__ import annotations

import threading
import time
from pathlib import Path

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication, QProgressDialog

# Without a connection, a name server or a firewall may take half a minute to say so.
ANSWER_SECONDS = 5.0
# A slow connection may pause for longer than that.
_PAUSE_SECONDS = 30.0
_LOOK_SECONDS = 0.03
# Quick downloads end before the dialog is shown.
_PATIENCE_MS = 500


class _Transfer:
    """Progress that pooch reports from its thread; it also ends the transfer.

    pooch sets `total` when the server has answered.
    """

    total: int | None = None
    done = 0
    stopped = False

    def update(self, count: int) -> None:
        self.done += count
        if self.stopped:
            raise OSError("The download was stopped.")

    def reset(self) -> None:
        self.done = 0

    def close(self) -> None:
        """Do nothing; pooch calls it at the end."""


def download(url: str, known_hash: str, path: Path, what: str) -> None:
    """Download a file once, in a thread; a dialog shows the progress and can cancel it.

    Parameters
    ----------
    url
        Address of the file.
    known_hash
        Its SHA-256. A file with another one is not kept.
    path
        Place of the file.
    what
        The words of the dialog.

    Raises
    ------
    OSError
        If the server does not answer within `ANSWER_SECONDS`, or the download fails. InterruptedError if the
        user cancels it.
    """
    transfer, errors = _Transfer(), list[Exception]()
    # A daemon: a server that is silent must not hold up the end of napari.
    thread = threading.Thread(target=_fetch, args=(url, known_hash, path, transfer, errors), daemon=True)
    began = time.monotonic()
    thread.start()
    dialog = _dialog(what)
    try:
        while thread.is_alive():
            thread.join(_LOOK_SECONDS)
            if dialog is not None:
                dialog.setMaximum(transfer.total or 0)
                dialog.setValue(min(transfer.done, max(0, (transfer.total or 0) - 1)))
                QApplication.processEvents()
            if dialog is not None and dialog.wasCanceled():
                raise InterruptedError("The download of the sample was cancelled.")
            if transfer.total is None and time.monotonic() - began > ANSWER_SECONDS:
                raise TimeoutError(f"The server did not answer within {ANSWER_SECONDS:g} s.")
    finally:
        transfer.stopped = True
        if dialog is not None:
            dialog.close()
            dialog.deleteLater()
    if errors:
        raise OSError(str(errors[0])) from errors[0]


def _fetch(url: str, known_hash: str, path: Path, transfer: _Transfer, errors: list[Exception]) -> None:
    try:
        import pooch

        # One attempt: scikit-image repeats it three times, which takes half a minute offline.
        downloader = pooch.HTTPDownloader(timeout=(ANSWER_SECONDS, _PAUSE_SECONDS), progressbar=transfer)
        pooch.retrieve(url, known_hash, fname=path.name, path=path.parent, downloader=downloader)
    except Exception as error:  # pooch and requests raise many kinds
        errors.append(error)


def _dialog(what: str) -> QProgressDialog | None:
    """Make the dialog; None without a window, as in a script."""
    if not isinstance(QApplication.instance(), QApplication):
        return None
    dialog = QProgressDialog(what, "Cancel", 0, 0, QApplication.activeWindow())
    dialog.setWindowTitle("napari-lucyd")
    # Nobody may open the sample again, or close the window, in the middle.
    dialog.setWindowModality(Qt.WindowModality.ApplicationModal)
    dialog.setMinimumDuration(_PATIENCE_MS)
    dialog.setAutoClose(False)
    dialog.setAutoReset(False)
    return dialog
