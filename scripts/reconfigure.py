"""Change the padding or the ceiling of a trained LUCYD, and measure it again; the weights stay the same.

    python scripts/reconfigure.py lucyd [--repeat-borders] [--ceiling 3] [-o FOLDER]

Neither has parameters (docs/borders.md, docs/decisions/0014-a-living-network.md). The validation patches are
those of the training, whose configuration is in the card.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

import napari_lucyd as nl
from napari_lucyd.models import save_model
from napari_lucyd.networks import LUCYD
from napari_lucyd.training.config import parse_config
from napari_lucyd.training.loop import _Run
from napari_lucyd.training.model_card import finish

REPEATED = (
    " Trained with zeros beyond the borders of the patches; the padding was set to replication afterwards "
    "(scripts/reconfigure.py)."
)
LIMITED = " The ceiling of {ceiling:g} was set afterwards (scripts/reconfigure.py)."


def main() -> None:
    """Write the model and its card."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", help="a shipped name or a path")
    parser.add_argument("--repeat-borders", action="store_true", help='set the padding "replicate"')
    parser.add_argument("--ceiling", type=float, help="highest value that the layers see")
    default = Path(nl.models.__file__).parent
    parser.add_argument("-o", "--out", type=Path, default=default, help="folder; default: the shipped models")
    options = parser.parse_args()
    model = nl.load_model(options.model)
    network = model.network
    if not isinstance(network, LUCYD):
        parser.error(f"{model.name} is no LUCYD.")
    changes: dict[str, Any] = {}
    note = ""
    if options.repeat_borders:
        changes["padding"] = "replicate"
        note += REPEATED
    if options.ceiling is not None:
        changes["ceiling"] = options.ceiling
        note += LIMITED.format(ceiling=options.ceiling)
    config = parse_config(model.card["training"]["config"])
    config = replace(config, network=replace(network.config, **changes))
    with tempfile.TemporaryDirectory() as folder:
        run = _Run(config, Path(folder), torch.device("cpu"), start=options.model)
    changed = LUCYD(config.network).eval()
    changed.load_state_dict(network.state_dict())
    patches = torch.stack([patch.image for patch in run.validation])
    # The averaged weights of a run that has just started are those of its start.
    checked = run.validate()
    metrics = dict(model.card["metrics"])
    metrics["validation"] = {
        **metrics["validation"],
        "psnr": round(checked.psnr, 4),
        "ssim_global": round(checked.ssim_global, 4),
    }
    metrics |= finish(changed, patches, centre=False)
    training = dict(model.card["training"])
    training["history"] += note
    card = {**model.card, "metrics": metrics, "training": training}
    path = options.out / f"{model.name}.safetensors"
    save_model(path, changed, normalization=card["normalization"], card=card, overwrite=True)
    print(path, metrics)


if __name__ == "__main__":
    main()
