"""Longest standstill of the window at torch's import, in runs, at a cancel, for a PSF and a comparison.

Run as a program of its own, so that torch is really imported: ``window_stalls.py MODEL PROBE`` prints, as
JSON, the longest gap of a 20 ms timer on the window's thread in each phase, and how much longer than at best
the same small work takes on average, measured meanwhile by a process that writes to the file PROBE: on a
machine that is busy with other things every window stands still for longer.
"""

from __future__ import annotations

import faulthandler
import json
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import numpy as np

TICK_MS = 20
# A few milliseconds of work, then a rest: how long the same work takes, again and again.
PROBE = """
import time
while True:
    time.sleep(0.045)
    begin = time.monotonic()
    sum(range(150_000))
    print(time.monotonic() - begin, flush=True)
"""


def longest_gap(ticks: list[float], begin: float, end: float) -> float:
    """The longest time between two ticks that overlaps a span, in seconds.

    >>> longest_gap([0.0, 1.0, 1.5, 4.0], 1.2, 1.4)
    0.5
    """
    gaps = [b - a for a, b in pairwise(ticks) if b > begin and a < end]
    # A window that has stopped for good has no next tick.
    return max([*gaps, end - ticks[-1]])


def settle(seconds: float) -> None:
    """Let the window do what it has to."""
    from napari_lucyd._napari.demo import wait

    end = time.monotonic() + seconds
    wait(lambda: time.monotonic() > end, seconds + 1)


def measure(model: str) -> dict[str, float]:
    """Open a window, let the panel import torch, run and cancel; the longest gap of each phase."""
    import napari
    from qtpy.QtCore import QTimer

    from comparison_choice import choose_layers
    from napari_lucyd._napari.compare.panel import CompareWidget
    from napari_lucyd._napari.deconvolve.panel import DeconvolveWidget
    from napari_lucyd._napari.demo import wait
    from napari_lucyd._napari.workers import torch_loading

    viewer = napari.Viewer(show=True)
    image = np.random.default_rng(0).random((24, 64, 64)).astype(np.float32)
    viewer.add_image(image, contrast_limits=(0, 1))
    ticks: list[float] = []
    spans: dict[str, tuple[float, float]] = {}
    timer = QTimer()
    timer.setInterval(TICK_MS)
    timer.timeout.connect(lambda: ticks.append(time.monotonic()))
    # The panel's workers begin to import torch when the measurement begins.
    with torch_loading._lock:
        panel = DeconvolveWidget(viewer)
        viewer.window.add_dock_widget(panel)
        settle(3)  # the first drawing of a window takes its time on a software renderer
        assert "torch" not in sys.modules, "torch was imported before the measurement"
        timer.start()
        settle(0.2)
        begin = time.monotonic()
    panel.model.load(model)
    assert wait(lambda: panel.model.name == model and panel.estimator.settled, 120), "no estimate"
    spans["import"] = begin, time.monotonic()

    panel.advanced.tile.value = "12, 32, 32"
    settle(0.5)
    assert wait(lambda: panel.estimator.settled, 120), "no estimate"
    begin = time.monotonic()
    panel.footer.run.native.click()
    assert wait(lambda: panel.footer.progress.max > 1 and panel.footer.progress.value >= 1, 120), "no tile"
    spans["run"] = begin, time.monotonic()

    begin = time.monotonic()
    panel.footer.cancel.native.click()
    assert wait(lambda: not panel.session.is_running, 120), "no end"
    settle(0.2)
    spans["cancel"] = begin, time.monotonic()

    with tempfile.TemporaryDirectory() as folder:
        panel.destination.take(Path(folder))
        settle(0.5)
        assert wait(lambda: panel.estimator.settled and panel.footer.run.enabled, 120), "no estimate"
        panel.footer.run.native.click()
        # napari itself takes as long to add three layers.
        assert wait(lambda: len(panel.session.results) == 3 and panel.session.stores.idle, 120), "no layers"
        settle(0.2)
        begin = time.monotonic()
        assert wait(lambda: not panel.session.is_running, 120), "no end"
        spans["files"] = begin, time.monotonic()
        settle(0.2)
        assert panel.session.results and not panel.session.halted, panel.status.text()
        for layer in panel.session.results:
            viewer.layers.remove(layer)
        panel.destination.take(None)
    settle(0.2)

    begin = time.monotonic()
    panel.method.combo.value = "richardson-lucy"
    # Fine pixels and a wide cone: seconds of Fourier transforms.
    optics = {"numerical_aperture": "1.2", "emission_um": "0.525", "voxel_size": "0.3, 0.02, 0.02"}
    for name, text in {**optics, "shape": "23, 63, 63"}.items():
        panel.microscope.form.lines[name].value = text
    settle(0.5)
    assert wait(lambda: panel.estimator.settled and panel.footer.run.enabled, 120), (
        f"no PSF: settled is {panel.estimator.settled}; {panel.footer.estimate.text()!r}; "
        f"{panel.status.text()!r}"
    )
    spans["psf"] = begin, time.monotonic()
    settle(0.2)  # a tick after the span: what follows is not the PSF's doing

    truth = viewer.add_image(np.random.default_rng(1).random((48, 256, 256)), visible=False)
    image = viewer.add_image(np.random.default_rng(2).random((48, 256, 256)), contrast_limits=(0, 1))
    compare = CompareWidget(viewer)
    choose_layers(compare, [])
    viewer.window.add_dock_widget(compare)
    # The first shapes layer makes napari import and build what it needs, in half a second.
    compare.draw()
    settle(2)
    begin = time.monotonic()
    choose_layers(compare, [image], truth)
    viewer.layers[-1].add_lines(np.array([[20.0, 20.0], [200.0, 220.0]]))
    assert wait(lambda: compare.settled and compare.metrics.shown and compare.pictures.profile, 120), (
        "no metrics"
    )
    settle(0.2)
    spans["compare"] = begin, time.monotonic()
    viewer.close()
    return {name: longest_gap(ticks, *span) for name, span in spans.items()}


def main(model: str, probe_file: str) -> None:
    """Measure, and print what was found."""
    with Path(probe_file).open("w") as stream:
        probe = subprocess.Popen([sys.executable, "-c", PROBE], stdout=stream)
        try:
            gaps = measure(model)
        except AssertionError:
            # The threads' stacks say why a condition was never met.
            faulthandler.dump_traceback(all_threads=True)
            raise
        finally:
            probe.kill()
            probe.wait()
    # The last line may have been cut off.
    times = [float(line) for line in Path(probe_file).read_text().split("\n")[:-1]]
    print(json.dumps({"gaps": gaps, "slowness": float(np.mean(times) / np.min(times))}))


if __name__ == "__main__":
    main(*sys.argv[1:])
