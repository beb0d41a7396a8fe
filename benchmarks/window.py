r"""Standstill of the window in a run, with all processors and with all but one.

    xvfb-run -a -s "-screen 0 1920x1080x24" python benchmarks/window.py \
        [--turns 5] [--shape 64 256 256] [--quick] [--stalls]

Each turn opens a window of its own, runs the default model on a small stack, then on a larger one, and moves
through its planes meanwhile. A timer of the window asks to be called every 20 ms. The numbers are the longest
time between two calls, the 99th percentile, the share of time in gaps above 50 ms, the run's duration, and
the load of the machine at its end. Turns of both kinds alternate, so that both meet the same other load; the
last lines have the medians of the ratios.

With --stalls each turn is the program of the window's stall test instead: the longest standstill in each
phase, as a share of what the test allows on a machine that is as slow. Above 1 the test fails.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

TICK_MS = 20
# Planes are moved through as by a person who drags the slider.
SLIDE_MS = 150
SHAPE, QUICK = (32, 384, 384), (16, 128, 128)
# Processors that are left to the window.
SPARED = {"all but one": 1, "all": 0}
KINDS = tuple(SPARED)
# Limit of the window's stall test in seconds.
STALL_LIMIT = 0.2
ROOT = Path(__file__).parents[1]


def measure(kind: str, shape: tuple[int, ...]) -> dict[str, float]:
    """Run once in a window, and return its gaps and its duration."""
    os.environ["XDG_CONFIG_HOME"] = tempfile.mkdtemp(prefix="lucyd-settings-")
    os.environ["NAPARI_CONFIG"] = str(Path(os.environ["XDG_CONFIG_HOME"]) / "settings.yaml")
    import napari
    from qtpy.QtCore import QTimer

    from napari_lucyd._napari import demo
    from napari_lucyd._napari.workers import torch_loading

    count = torch_loading._processors()
    spared = SPARED[kind]
    torch_loading.SPARED = spared
    viewer = napari.Viewer(show=True)
    viewer.window.resize(1500, 920)
    # A run of the small one before it: kernels are compiled, and the panel's examination is over.
    layers = [
        viewer.add_image(np.random.default_rng(0).poisson(50, size).astype(np.float32), name=name)
        for name, size in (("small", QUICK), ("stack", shape))
    ]
    panel = demo.dock(viewer)
    panel.method.combo.value = "lucyd"
    panel.footer.score.setChecked(False)
    for layer in layers:
        viewer.layers.selection.active = layer
        demo.wait(lambda: False, 1)
        ready = demo.wait(lambda: panel.estimator.settled and panel.examination.work.settled, 300)
        assert ready and panel.footer.run.enabled, panel.footer.estimate.text()
        ticks: list[float] = []
        timer, slider = QTimer(), QTimer()
        timer.setInterval(TICK_MS)
        timer.timeout.connect(lambda ticks=ticks: ticks.append(time.monotonic()))
        slider.setInterval(SLIDE_MS)
        slider.timeout.connect(
            lambda: viewer.dims.set_current_step(0, (viewer.dims.current_step[0] + 1) % shape[0])
        )
        timer.start()
        slider.start()
        began = time.monotonic()
        panel.footer.run.native.click()
        assert demo.wait(lambda: not panel.session.is_running, 1200), "the run does not end"
        ended = time.monotonic()
        timer.stop()
        slider.stop()
        assert panel.session.results, panel.status.text()
        for result in panel.session.results:
            viewer.layers.remove(result)
    viewer.close()
    gaps = np.array([b - a for a, b in pairwise([began, *ticks, ended])])
    return {
        "threads": count - spared,
        "longest": float(gaps.max()),
        "99 %": float(np.percentile(gaps, 99)),
        "above 50 ms": float(gaps[gaps > 0.05].sum() / gaps.sum()),
        "seconds": ended - began,
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan"),
    }


def measure_stalls(kind: str) -> dict[str, float]:
    """Measure as the stall test does, and return the standstills as shares of its limit."""
    os.environ["XDG_CONFIG_HOME"] = tempfile.mkdtemp(prefix="lucyd-settings-")
    os.environ["NAPARI_CONFIG"] = str(Path(os.environ["XDG_CONFIG_HOME"]) / "settings.yaml")
    sys.path.insert(0, str(ROOT / "tests" / "support"))
    import window_stalls
    from napari_lucyd._napari.workers import torch_loading

    torch_loading.SPARED = SPARED[kind]
    model = ROOT / "src" / "napari_lucyd" / "models" / "mixture.safetensors"
    said = io.StringIO()
    with contextlib.redirect_stdout(said), tempfile.TemporaryDirectory() as folder:
        window_stalls.main(str(model), str(Path(folder) / "probe.txt"))
    found = json.loads(said.getvalue().splitlines()[-1])
    allowed = STALL_LIMIT * found["slowness"]
    shares = {name: gap / allowed for name, gap in found["gaps"].items()}
    return {"largest": max(shares.values()), **shares, "slowness": found["slowness"]}


def main() -> None:
    """Let the kinds alternate, and compare them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="a small stack and one turn")
    parser.add_argument("--stalls", action="store_true", help="measure as the window's stall test does")
    parser.add_argument("--kind", choices=KINDS, help=argparse.SUPPRESS)
    parser.add_argument("--shape", type=int, nargs=3, default=None, help="Z, Y, X of the stack")
    options = parser.parse_args()
    shape = tuple(options.shape or (QUICK if options.quick else SHAPE))
    if options.kind:
        print(json.dumps(measure_stalls(options.kind) if options.stalls else measure(options.kind, shape)))
        return
    found: dict[str, list[dict[str, Any]]] = {kind: [] for kind in KINDS}
    for turn in range(1 if options.quick else options.turns):
        for kind in KINDS if turn % 2 == 0 else KINDS[::-1]:
            command = [sys.executable, __file__, "--kind", kind, "--shape", *map(str, shape)]
            command += ["--stalls"] if options.stalls else []
            done = subprocess.run(command, capture_output=True, text=True, timeout=1800, check=False)
            if done.returncode:
                raise SystemExit(done.stderr[-3000:])
            found[kind].append(json.loads(done.stdout.splitlines()[-1]))
            shown = ", ".join(f"{name} {value:.3g}" for name, value in found[kind][-1].items())
            print(f"{kind}: {shown}", flush=True)
    for name in ("largest",) if options.stalls else ("longest", "99 %", "above 50 ms", "seconds"):
        one, every = ([row[name] for row in found[kind]] for kind in KINDS)
        ratios = [b / a for a, b in zip(one, every, strict=True) if a]
        middle = f"{statistics.median(ratios):.2f}" if ratios else "–"
        print(
            f"{name}: all but one {statistics.median(one):.3g}, all {statistics.median(every):.3g}, "
            f"all against all but one {middle}"
        )


if __name__ == "__main__":
    main()
