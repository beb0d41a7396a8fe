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
from dataclasses import replace
from pathlib import Path

import torch
from measured_model import save_measured

import napari_lucyd as nl
from napari_lucyd.networks import LUCYD
from napari_lucyd.text import percent_text

# Layers of the update term alone; the bottleneck, which the mask shares, is not among them.
UPDATE = ("update_encode.", "update_halve.", "division.", "backward_mix.", "backward_project.")
KEPT = (
    " The branch of the update term is that of the model that the training started from "
    "(scripts/mix_models.py)."
)
NOTE = (
    " {share} of these weights and {rest} of those that the training started from were then averaged "
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
    mixed = LUCYD(replace(trained.network.config, padding="replicate")).eval()
    before, after = start.network.state_dict(), trained.network.state_dict()
    mixed.load_state_dict(
        {
            name: old
            if not old.is_floating_point() or (options.keep_update and name.startswith(UPDATE))
            else torch.lerp(old, after[name], options.share)
            for name, old in before.items()
        }
    )
    note = ""
    if options.share < 1:
        note += NOTE.format(share=percent_text(options.share), rest=percent_text(1 - options.share))
    if options.keep_update:
        note += KEPT
    save_measured(mixed, trained, note, options.out)


if __name__ == "__main__":
    main()
