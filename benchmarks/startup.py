"""Waiting times at the start: imports, the command line, the panel and the first result.

    python benchmarks/startup.py [--quick]

Each time is measured inside a fresh process, without Python's own start, and is the median of several. The
panel opens in an existing napari window, as from napari's menu. This needs a display (``make bench`` provides
one).
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence

import record

IMPORT = """
import time
began = time.perf_counter()
import {module}
print(time.perf_counter() - began)
"""


def imported(module: str) -> float:
    """Time one first import."""
    done = subprocess.run(
        [sys.executable, "-c", IMPORT.format(module=module)], check=True, capture_output=True, text=True
    )
    return float(done.stdout)


def command(*words: str) -> float:
    """Time the command line from its call to its end, including Python's start."""
    began = time.perf_counter()
    call = [sys.executable, "-c", "from napari_lucyd.cli import app; app()", *words]
    subprocess.run(call, check=True, capture_output=True)
    return time.perf_counter() - began


def open_panel() -> dict[str, float]:
    """Time the panel until it is drawn and takes clicks, and until its first estimate."""
    import napari
    from qtpy.QtWidgets import QApplication

    from napari_lucyd._napari.demo import wait

    viewer = napari.Viewer(show=True)
    viewer.add_image(record.stack((16, 64, 64)))
    QApplication.processEvents()
    began = time.perf_counter()
    from napari_lucyd._napari.deconvolve.panel import DeconvolveWidget

    panel = DeconvolveWidget(viewer)
    viewer.window.add_dock_widget(panel, name="Deconvolve")
    QApplication.processEvents()
    opened = time.perf_counter() - began
    if not wait(lambda: bool(panel.estimator.settled), 120):
        raise RuntimeError("The panel gave no estimate within two minutes.")
    estimated = time.perf_counter() - began
    viewer.close()
    return {"panel": opened, "estimate": estimated}


def first_result() -> dict[str, float]:
    """Time the steps to the result of a small stack, including the compilation of the kernels."""
    began = time.perf_counter()
    import torch  # noqa: F401

    after_torch = time.perf_counter()
    from napari_lucyd import deconvolve, load_model

    model = load_model(record.MODEL)
    after_model = time.perf_counter()
    volume = record.stack((16, 64, 64))
    deconvolve(volume, model, device="cpu")
    after_first = time.perf_counter()
    deconvolve(volume, model, device="cpu")
    return {
        "import torch": after_torch - began,
        "import the engine, load the model": after_model - after_torch,
        "first run, kernels compiled": after_first - after_model,
        "second run": time.perf_counter() - after_first,
    }


def medians(part: str, repeats: int) -> dict[str, float]:
    """Run a part of this script in several processes; return the median of each entry."""
    found = [record.in_fresh_process(__file__, "--only", part) for _ in range(repeats)]
    return {name: statistics.median(each[name] for each in found) for name in found[0]}


def has_display() -> bool:
    """Return True if a window can be opened."""
    return sys.platform != "linux" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write the record."""
    made = record.parser(__doc__)
    made.add_argument("--only", choices=("panel", "first"), help="one part, here; prints it")
    options = made.parse_args(arguments)
    if options.only:
        print(json.dumps(open_panel() if options.only == "panel" else first_result()))
        return
    repeats = 1 if options.quick else 5
    modules = ("napari_lucyd",) if options.quick else ("napari_lucyd", "numpy", "torch", "napari")
    imports: dict[str, list[float]] = {module: [] for module in modules}
    for _ in range(1 if options.quick else 2 * repeats):
        for module, times in imports.items():
            times.append(imported(module))
    measured = {
        "imports": {module: statistics.median(times) for module, times in imports.items()},
        "first": medians("first", repeats),
        "commands": {},
        "panel": None,
    }
    if not options.quick:
        measured["commands"] = {"lucyd --help": statistics.median(command("--help") for _ in range(repeats))}
        if has_display():
            measured["panel"] = medians("panel", repeats)
        else:
            print("startup: without a display, the panel is not measured; use make bench")
    record.save(options, "startup", measured)


if __name__ == "__main__":
    main()
