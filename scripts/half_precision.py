"""Measure the error of half precision for each shipped LUCYD model, and write it to the cards.

    python scripts/half_precision.py

The error is the largest difference from float32, as a share of the range. The images are a test phantom with
every blur and noise of the open table, or the test's surrogates. It takes some minutes on two cores. A run
uses half precision only if the error is at most `half_precision.HARMLESS`.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch

import napari_lucyd as nl
from napari_lucyd.deconvolution import plan
from napari_lucyd.evaluation import open_protocol, surrogate_protocol
from napari_lucyd.inference.half_precision import HARMLESS, half_precision_error
from napari_lucyd.models import Model
from napari_lucyd.models.catalogue import shipped_models

CARDS = Path(__file__).parents[1] / "src" / "napari_lucyd" / "models"
SEED = 100
# Large enough for the receptive field; float16 is slow on a CPU.
SIZE = 48


def images(model: Model) -> list[np.ndarray]:
    """Make images of the kind that a model was trained for, one per degradation."""
    surrogate = model.card["training"]["track"] == "surrogate"
    protocol = surrogate_protocol() if surrogate else open_protocol(model.dimension)
    columns = [
        column for column, name in enumerate(protocol.columns) if not surrogate or model.name.startswith(name)
    ]
    middle = (slice(0, SIZE),) * model.dimension
    return [protocol.samples(column, SEED)[0].image[middle] for column in columns]


def largest_error(model: Model) -> float:
    """Return the largest error over the images, normalized as in use."""
    errors = []
    for image in images(model):
        group = plan(image, model, device="cpu").measure().groups[0]
        y = torch.from_numpy((image - np.float32(group.lo)) / np.float32(group.s))
        errors.append(half_precision_error(model.network, y[None, None]))
    return max(errors)


def main() -> None:
    """Measure all models and write their cards."""
    for card in shipped_models():
        model = nl.load_model(card["name"])
        if model.network.name != "lucyd":
            continue
        error = largest_error(model)
        path = CARDS / f"{model.name}.json"
        entries = json.loads(path.read_text("utf-8"))
        entries["metrics"]["half_precision"] = {
            "error": float(f"{error:.2g}"),
            "command": "python scripts/half_precision.py",
        }
        path.write_text(json.dumps(entries, indent=2) + "\n", "utf-8")
        print(f"{model.name}: {error:.1e} of the range, {'harmless' if error <= HARMLESS else 'too much'}")


if __name__ == "__main__":
    main()
