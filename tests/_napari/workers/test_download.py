"""A sample that is downloaded: the window keeps painting, and a silent network ends the wait soon."""

import hashlib
import socket
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise

import pytest

pytest.importorskip("napari")
pytest.importorskip("pooch")

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication, QProgressDialog

from napari_lucyd._napari.workers import download as module
from napari_lucyd._napari.workers.download import download

CONTENT = bytes(range(256)) * 64
HASH = hashlib.sha256(CONTENT).hexdigest()


@contextmanager
def served(pause=0.0):
    """Serve CONTENT on this machine, in pieces with pauses between them."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", str(len(CONTENT)))
            self.end_headers()
            for start in range(0, len(CONTENT), 1024):
                try:
                    self.wfile.write(CONTENT[start : start + 1024])
                    self.wfile.flush()
                except OSError:  # the download was cancelled
                    return
                time.sleep(pause)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/file.bin"
    finally:
        server.shutdown()
        server.server_close()


def test_the_window_goes_on_during_a_slow_download(qtbot, tmp_path):
    seen, timer = [], QTimer()
    timer.timeout.connect(lambda: seen.append(time.monotonic()))
    timer.start(20)
    with served(pause=0.06) as url:
        download(url, HASH, tmp_path / "data" / "file.bin", "Downloading…")
    timer.stop()
    assert (tmp_path / "data" / "file.bin").read_bytes() == CONTENT
    assert len(seen) > 8
    assert max(b - a for a, b in pairwise(seen)) < 0.5


def test_a_server_that_is_silent_ends_the_wait_soon(qtbot, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "ANSWER_SECONDS", 0.4)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        began = time.monotonic()
        with pytest.raises(OSError):
            download(f"http://127.0.0.1:{silent.getsockname()[1]}/", HASH, tmp_path / "file.bin", "…")
        assert time.monotonic() - began < 2
    assert not (tmp_path / "file.bin").exists()


def test_a_download_is_tried_once(qtbot, tmp_path):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    began = time.monotonic()
    with pytest.raises(OSError, match="refused"):
        download(f"http://127.0.0.1:{port}/", HASH, tmp_path / "file.bin", "…")
    assert time.monotonic() - began < 2


def test_the_dialog_cancels_the_download(qtbot, tmp_path):
    def cancel():
        for dialog in QApplication.topLevelWidgets():
            if isinstance(dialog, QProgressDialog) and dialog.isVisible():
                assert dialog.labelText() == "Downloading the file…"
                dialog.cancel()

    timer = QTimer()
    timer.timeout.connect(cancel)
    timer.start(50)
    with served(pause=0.3) as url, pytest.raises(InterruptedError, match="cancelled"):
        download(url, HASH, tmp_path / "file.bin", "Downloading the file…")
    timer.stop()
    assert not (tmp_path / "file.bin").exists()


def test_a_file_with_other_contents_is_not_kept(qtbot, tmp_path):
    with served() as url, pytest.raises(OSError, match="hash"):
        download(url, "0" * 64, tmp_path / "file.bin", "…")
    assert not (tmp_path / "file.bin").exists()
