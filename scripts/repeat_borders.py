"""Give a trained LUCYD the padding "replicate", and measure it again; the weights stay the same.

    python scripts/repeat_borders.py lucyd [-o FOLDER]

Both paddings have the same parameters (docs/borders.md). The validation patches are those of the training,
whose configuration is in the card.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import torch

import napari_lucyd as nl
from napari_lucyd.models import save_model
from napari_lucyd.networks import LUCYD
from napari_lucyd.training.config import parse_config
from napari_lucyd.training.loop import _Run
from napari_lucyd.training.model_card import finish

NOTE = (
    " Trained with zeros beyond the borders of the patches; the padding was set to replication afterwards "
    "(scripts/repeat_borders.py)."
)


def main() -> None:
    """Write the model and its card."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", help="a shipped name or a path")
    default = Path(nl.models.__file__).parent
    parser.add_argument("-o", "--out", type=Path, default=default, help="folder; default: the shipped models")
    options = parser.parse_args()
    model = nl.load_model(options.model)
    network = model.network
    if not isinstance(network, LUCYD) or network.config.padding != "zeros":
        parser.error(f"{model.name} is no LUCYD with the padding of zeros.")
    config = parse_config(model.card["training"]["config"])
    config = replace(config, network=replace(network.config, padding="replicate"))
    with tempfile.TemporaryDirectory() as folder:
        run = _Run(config, Path(folder), torch.device("cpu"), start=options.model)
    changed = LUCYD(config.network).eval()
    changed.load_state_dict(network.state_dict())
    patches = torch.stack([patch.image for patch in run.validation])
    checked = run.validate()
    metrics = dict(model.card["metrics"])
    metrics["validation"] = {
        **metrics["validation"],
        "psnr": round(checked.psnr, 4),
        "ssim_global": round(checked.ssim_global, 4),
    }
    metrics |= finish(changed, patches, centre=False)
    training = dict(model.card["training"])
    training["history"] += NOTE
    card = {**model.card, "metrics": metrics, "training": training}
    path = options.out / f"{model.name}.safetensors"
    save_model(path, changed, normalization=card["normalization"], card=card, overwrite=True)
    print(path, metrics)


if __name__ == "__main__":
    main()
