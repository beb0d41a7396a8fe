"""Many runs that are cancelled, and many windows that are closed in a run: nothing grows and nothing waits.

Four of each here; `LUCYD_TIMES=50 make test PYTEST_ARGS="-k many"` does fifty.
"""

from __future__ import annotations

import gc
import os
import random
import threading
from collections import Counter

import numpy as np
import psutil
import pytest
from qtpy.QtCore import QThreadPool
from qtpy.QtWidgets import QApplication

from napari_lucyd._napari.deconvolve.panel import DeconvolveWidget
from napari_lucyd._napari.workers import garbage_collection

TIMES = int(os.environ.get("LUCYD_TIMES", "4"))
# Memory that the first runs load stays; from then on this much is left for the allocator.
WARM_UP, FEW_MB = 2, 20


def living_threads() -> set[str]:
    return {thread.name for thread in threading.enumerate() if thread.name.startswith("lucyd")}


def megabytes() -> float:
    gc.collect()
    return psutil.Process().memory_info().rss / 1e6


def own_objects() -> Counter[str]:
    """Number of living objects of this package, by class."""
    gc.collect()
    kinds = (type(each) for each in gc.get_objects())
    return Counter(kind.__qualname__ for kind in kinds if str(kind.__module__).startswith("napari_lucyd."))


@pytest.fixture
def nothing_waits():
    """True if work in the background has ended, and garbage is collected as before."""
    enabled = gc.isenabled()
    yield
    assert QThreadPool.globalInstance().waitForDone(10_000)
    assert garbage_collection._holders == 0 and gc.isenabled() is enabled


def start(panel, qtbot, pick: random.Random) -> None:
    """Press Run, and wait for a moment that differs each time."""
    qtbot.waitUntil(lambda: panel.estimator.settled and panel.footer.run.enabled, timeout=60_000)
    panel.footer.run.native.click()
    assert panel.session.is_running
    if pick.random() < 0.5:
        qtbot.waitUntil(
            lambda: panel.footer.progress.value >= 1 or not panel.session.is_running, timeout=30_000
        )
    qtbot.wait(pick.randrange(0, 300))


def test_many_cancelled_runs_leave_nothing_behind(nothing_waits, panel, add_image, ready, qtbot, slow_tiles):
    layer = add_image((960, 20))
    panel.advanced.tile.value = "12, 20"
    ready()
    pick, before, threads = random.Random(0), 0.0, set()
    for number in range(WARM_UP + TIMES):
        if number == WARM_UP:
            before, threads = megabytes(), living_threads()
        start(panel, qtbot, pick)
        panel.footer.cancel.native.click()
        qtbot.waitUntil(lambda: not panel.session.is_running, timeout=10_000)
        if panel.session.partial is not None:
            panel.footer.discard.native.click()
        assert list(panel.viewer.layers) == [layer]
    assert panel.footer.run.enabled and not panel.footer.cancel.enabled
    assert living_threads() <= threads
    assert QThreadPool.globalInstance().waitForDone(10_000)
    assert megabytes() - before < FEW_MB


def test_many_windows_that_are_closed_in_a_run_leave_nothing_behind(
    nothing_waits, make_napari_viewer, qtbot, model_files, slow_tiles
):
    image, pick = np.random.default_rng(0).random((960, 20)), random.Random(0)
    threads: set[str] = set()
    before: Counter[str] = Counter()
    for number in range(WARM_UP + TIMES):
        viewer = make_napari_viewer(show=True)
        panel = DeconvolveWidget(viewer)
        viewer.window.add_dock_widget(panel, name="Deconvolve")
        panel.model.load(model_files[2])
        qtbot.waitUntil(lambda panel=panel: panel.model.name == str(model_files[2]), timeout=60_000)
        viewer.add_image(image)
        panel.advanced.tile.value = "12, 20"
        start(panel, qtbot, pick)
        ended = []
        panel.destroyed.connect(lambda *_, ended=ended: ended.append(True))
        viewer.close()
        assert QThreadPool.globalInstance().waitForDone(10_000)
        qtbot.waitUntil(lambda ended=ended: bool(ended), timeout=10_000)
        QApplication.processEvents()
        if number == WARM_UP:
            threads, before = living_threads(), own_objects()
        assert garbage_collection._holders == 0
    assert living_threads() <= threads
    grown = own_objects() - before
    # A window that is closed keeps its workers, and what they are called, in napari's list of tasks.
    del grown["ClosingWorker"], grown["_Named"]
    assert not [kind for kind, count in grown.items() if count >= TIMES - 1]
