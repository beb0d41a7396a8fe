"""Latency of the live preview for a patch and for a whole plane, to the first pixels and to all exact ones.

    python benchmarks/preview.py [--quick]

No window is open: views go to the preview's thread as the panel sends them, and its pieces are fetched. The
intensity range of a *known image* was measured before, as in all views of an image but the first. A *whole
plane* is all pixels of one, of a known image. The first view of the process also compiles the kernels.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import record

SHAPE = (64, 256, 256)
PATCH = 128
SECONDS = 300.0


def one_view(worker: Any, view: Any) -> dict[str, float]:
    """Time a view from the request to the first pixels, and to the last exact ones."""
    from napari_lucyd._napari.preview.worker import Piece, Status

    visible = view.visible
    began = time.perf_counter()
    worker.submit(view, ((visible.top + visible.bottom) / 2, (visible.left + visible.right) / 2))
    first = 0.0
    while time.perf_counter() - began < SECONDS:
        for update in worker.fetch():
            now = time.perf_counter() - began
            if isinstance(update, Piece) and not first:
                first = now
            if isinstance(update, Status) and update.settled:
                if not first:
                    raise RuntimeError(update.text)
                return {"first": first, "exact": now}
        time.sleep(0.001)
    raise RuntimeError("The preview did not come to its end.")


def latencies(
    model: Any, device: str, shape: tuple[int, ...], patch: int, repeats: int
) -> dict[str, dict[str, float]]:
    """Measure the first view, and the medians over patches of a known and of a new image and over planes."""
    from napari_lucyd._napari.preview.rectangles import Rectangle
    from napari_lucyd._napari.preview.restorer import ViewRequest
    from napari_lucyd._napari.preview.worker import PreviewWorker

    volume = record.stack(shape)

    def view(number: int, image: int, whole: bool = False) -> Any:
        height, width = shape[1:] if whole else (patch, patch)
        # Another place each time, as if a person panned and moved through the planes.
        left = (2 * number) % (shape[2] - width + 1)
        return ViewRequest(
            volume=volume,
            model=model,
            options={"axes": None, "device": device},
            image=image,
            plane=(1, 2),
            index=((7 * number) % shape[0], 0, 0),
            visible=Rectangle(0, left, height, left + width),
            covered=np.zeros((height, width), dtype=bool),
        )

    worker = PreviewWorker()
    try:
        views = {"first view of the process": one_view(worker, view(0, 0))}
        known = [one_view(worker, view(number, 0)) for number in range(1, repeats + 1)]
        planes = [one_view(worker, view(number, 0, whole=True)) for number in range(1, repeats + 1)]
        fresh = [one_view(worker, view(number, number)) for number in range(1, repeats + 1)]
    finally:
        worker.close()
    for name, found in (("known image", known), ("new image", fresh), ("whole plane", planes)):
        views[name] = {key: statistics.median(each[key] for each in found) for key in ("first", "exact")}
    return views


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write the record."""
    options = record.parser(__doc__).parse_args(arguments)
    import torch

    from napari_lucyd import load_model

    shape, patch, repeats = ((8, 32, 32), 16, 1) if options.quick else (SHAPE, PATCH, 7)
    measured = {
        "shape": shape,
        "patch": patch,
        "threads": torch.get_num_threads(),
        "views": latencies(load_model(record.MODEL), "cpu", shape, patch, repeats),
    }
    record.save(options, "preview", measured)


if __name__ == "__main__":
    main()
