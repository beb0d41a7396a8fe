"""Fixtures for tests that drive a real window."""

from __future__ import annotations

from contextlib import suppress
from importlib.util import find_spec

import pytest

# These tests are left out where napari is not installed; all others run there too.
collect_ignore_glob = [] if find_spec("napari") else ["*"]


@pytest.fixture(autouse=True)
def own_settings(tmp_path_factory, monkeypatch):
    """Keep the entries that panels remember out of the user's settings, and separate between tests."""
    from napari import settings

    folder = tmp_path_factory.mktemp("settings")
    monkeypatch.setattr(settings, "_CFG_PATH", str(folder / "settings.yaml"))
    monkeypatch.setattr(settings, "_PLUGIN_SETTINGS", {})
    return folder


@pytest.fixture(autouse=True, scope="session")
def threads_end():
    """Wait for the last thread: a thread that outlives Qt would make Python crash at its end."""
    yield
    from qtpy.QtCore import QThreadPool

    QThreadPool.globalInstance().waitForDone(120_000)


@pytest.fixture
def panel(make_napari_viewer, qtbot, model_files, kept_programs):
    """The Deconvolve panel in a real window, ready, with the random 2D model chosen."""
    from napari_lucyd._napari.deconvolve.panel import DeconvolveWidget

    viewer = make_napari_viewer(show=True)
    widget = DeconvolveWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Deconvolve")
    # A score takes seconds, and only its own test needs it.
    widget.footer.score.setChecked(False)
    widget.model.load(model_files[2])
    qtbot.waitUntil(lambda: widget.model.name == str(model_files[2]), timeout=60_000)
    qtbot.waitUntil(lambda: widget.estimator.settled, timeout=60_000)
    yield widget
    # The thread of a failed test must not run during the next one.
    with suppress(RuntimeError):  # if the test closed the window, and the panel with it
        widget.objectName()
        widget.session.cancel()
        qtbot.waitUntil(lambda: not widget.session.is_running and settled(widget), timeout=60_000)


def settled(panel) -> bool:
    """True when no thread of the panel works; a working thread would outlive the window."""
    return all(work.settled for work in (panel.estimator, panel.examination.work, panel.score.work))


@pytest.fixture
def kept_programs(monkeypatch):
    """Keep napari's shader programs for the length of a test that removes layers.

    Mesa 22.3 (Debian 12) draws from freed memory, and takes Python down, once a program was deleted whose
    twin is in use: two image layers, the lower one removed and another added is enough, without a plugin.
    """
    glir = pytest.importorskip("vispy.gloo.glir")
    monkeypatch.setattr(glir.GlirProgram, "delete", lambda program: None)


@pytest.fixture
def add_image(panel):
    """Add an image of random numbers below 1000 to the panel's viewer."""
    import numpy as np

    def add(shape=(40, 44), seed=0, **keywords):
        data = (1000 * np.random.default_rng(seed).random(shape)).astype(np.uint16)
        return panel.viewer.add_image(data, **{"name": f"image {seed}", **keywords})

    return add


@pytest.fixture
def ready(panel, qtbot):
    """Wait until the estimate belongs to the present choices."""

    def wait():
        qtbot.waitUntil(lambda: panel.estimator.settled, timeout=30_000)
        return panel

    return wait


@pytest.fixture
def run(panel, qtbot, ready):
    """Press Run, wait for the layers, and return them by their quantity."""

    def press():
        ready()
        assert panel.footer.run.enabled, panel.footer.estimate.text()
        panel.footer.run.native.click()
        qtbot.waitUntil(lambda: not panel.session.is_running, timeout=60_000)
        return {layer.metadata["napari-lucyd"]["quantity"]: layer for layer in panel.session.results}

    return press


@pytest.fixture
def slow_tiles(monkeypatch):
    """Tiles that take a tenth of a second each, so that a test can act in between."""
    import time

    from napari_lucyd.deconvolution import Job

    steps = Job.steps

    def slow(self, should_stop=None):
        for step in steps(self, should_stop):
            time.sleep(0.1)
            yield step

    monkeypatch.setattr(Job, "steps", slow)
