"""Mix the weights of a LUCYD with those of the model that its training started from, and measure it again.

    python scripts/mix_models.py START TRAINED SHARE [--keep-update] -o FOLDER

A short training on special images improves them, and loses a little elsewhere. Between start and result lie
networks that keep most of both: SHARE of the trained weights and the rest of the start
(docs/decisions/0014-a-living-network.md). With --keep-update, the branch of the update term stays that of the
start, so that the Richardson-Lucy division keeps its part in the result. The network repeats its borders
(docs/borders.md).
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

# Layers of the update term alone; the bottleneck, which the mask shares, is not among them.
UPDATE = ("update_encode.", "update_halve.", "division.", "backward_mix.", "backward_project.")
KEPT = (
    " The branch of the update term is that of the model that the training started from "
    "(scripts/mix_models.py)."
)
NOTE = (
    " {share:.0%} of these weights and {rest:.0%} of those that the training started from were then averaged "
    "(scripts/mix_models.py)."
)


def main() -> None:
    """Write the model and its card."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("start", help="model that the training started from: a name or a path")
    parser.add_argument("trained", help="the trained model")
    parser.add_argument("share", type=float, help="share of the trained weights, from 0 to 1")
    parser.add_argument(
        "--keep-update", action="store_true", help="take the branch of the update term from START"
    )
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder")
    options = parser.parse_args()
    start, trained = nl.load_model(options.start), nl.load_model(options.trained)
    origin = trained.card["training"].get("started_from", {})
    if origin.get("sha256") != start.sha256:
        parser.error(f"{options.trained} was not trained from {options.start}.")
    config = parse_config(trained.card["training"]["config"])
    config = replace(config, network=replace(config.network, padding="replicate"))
    mixed = LUCYD(config.network).eval()
    before, after = start.network.state_dict(), trained.network.state_dict()
    mixed.load_state_dict(
        {
            name: old
            if not old.is_floating_point() or (options.keep_update and name.startswith(UPDATE))
            else torch.lerp(old, after[name], options.share)
            for name, old in before.items()
        }
    )
    with tempfile.TemporaryDirectory() as folder:
        run = _Run(config, Path(folder), torch.device("cpu"), start=options.trained)
    run.averaged.module.load_state_dict(mixed.state_dict())
    checked = run.validate()
    patches = torch.stack([patch.image for patch in run.validation])
    metrics = dict(trained.card["metrics"])
    metrics["validation"] = {
        **metrics["validation"],
        "psnr": round(checked.psnr, 4),
        "ssim_global": round(checked.ssim_global, 4),
    }
    metrics |= finish(mixed, patches, centre=False)
    training = dict(trained.card["training"])
    if options.share < 1:
        training["history"] += NOTE.format(share=options.share, rest=1 - options.share)
    if options.keep_update:
        training["history"] += KEPT
    card = {**trained.card, "metrics": metrics, "training": training}
    path = options.out / f"{trained.name}.safetensors"
    save_model(path, mixed, normalization=card["normalization"], card=card, overwrite=True)
    print(path, metrics)


if __name__ == "__main__":
    main()
