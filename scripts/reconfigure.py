"""Change padding, ceiling or full noise of a trained LUCYD, and measure it again; the weights stay the same.

    python scripts/reconfigure.py lucyd [--repeat-borders] [--ceiling 3] [--full-noise 0.05] [-o FOLDER]

None of them has parameters (docs/borders.md, docs/decisions/0014-a-living-network.md). The validation patches
are those of the training, whose configuration is in the card.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from measured_model import save_measured

import napari_lucyd as nl
from napari_lucyd.networks import LUCYD

REPEATED = (
    " Trained with zeros beyond the borders of the patches; the padding was set to replication afterwards "
    "(scripts/reconfigure.py)."
)
TEMPERED = " The full noise of {full_noise:g} was set afterwards (scripts/reconfigure.py)."
LIMITED = " The ceiling of {ceiling:g} was set afterwards (scripts/reconfigure.py)."


def main() -> None:
    """Write the model and its card."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", help="a shipped name or a path")
    parser.add_argument("--repeat-borders", action="store_true", help='set the padding "replicate"')
    parser.add_argument("--ceiling", type=float, help="highest value that the layers see")
    parser.add_argument("--full-noise", type=float, help="noise above which the result counts in full")
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
        if network.config.padding != "zeros":
            parser.error(f"{model.name} has the padding {network.config.padding!r} already.")
        changes["padding"] = "replicate"
        note += REPEATED
    if options.ceiling is not None:
        changes["ceiling"] = options.ceiling
        note += LIMITED.format(ceiling=options.ceiling)
    if options.full_noise is not None:
        changes["full_noise"] = options.full_noise
        note += TEMPERED.format(full_noise=options.full_noise)
    if not changes:
        parser.error("name a setting to change: --repeat-borders, --ceiling or --full-noise.")
    changed = LUCYD(replace(network.config, **changes)).eval()
    changed.load_state_dict(network.state_dict())
    save_measured(changed, model, note, options.out)


if __name__ == "__main__":
    main()
