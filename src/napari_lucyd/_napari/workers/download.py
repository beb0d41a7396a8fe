"""Download of a file while the window keeps painting."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication, QProgressDialog

# Without a connection, a name server or a firewall may take half a minute to say so.
ANSWER_SECONDS = 5.0
# A slow connection may pause for longer than that.
_PAUSE_SECONDS = 30.0
_LOOK_SECONDS = 0.03
# Quick downloads end before the dialog is shown.
_PATIENCE_MS = 500
_PIECE_BYTES = 2**16


class _Transfer:
    """Progress of a download, and the wish to end it.

    Attributes
    ----------
    total
        Bytes of the file, 0 if the server does not say; None until it has answered.
    done
        Bytes that have arrived.
    stopped
        True to end the download.
    """

    def __init__(self) -> None:
        self.total: int | None = None
        self.done, self.stopped = 0, False


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
        import requests

        def receive(url: str, place: str, _: Any) -> None:
            # The context closes the connection, also after an error.
            with requests.get(url, stream=True, timeout=(ANSWER_SECONDS, _PAUSE_SECONDS)) as answer:
                answer.raise_for_status()
                transfer.total = int(answer.headers.get("Content-Length", 0))
                with open(place, "wb") as file:
                    for piece in answer.iter_content(_PIECE_BYTES):
                        if transfer.stopped:
                            raise OSError("The download was stopped.")
                        file.write(piece)
                        transfer.done += len(piece)

        # One attempt: scikit-image repeats it three times, which takes half a minute offline.
        pooch.retrieve(url, known_hash, fname=path.name, path=path.parent, downloader=receive)
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
