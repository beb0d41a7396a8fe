"""Measure how much of the network's mask and update term is best, by the noise of the image.

    python benchmarks/network_share.py

The specimens are the structures of docs/results.md with other seeds. The blur is told. Each row has the mean
gain over the image in dB: with fixed shares of mask and update term (0 is the first estimate alone), and with
the share that `lucyd` takes (docs/decisions/0014-a-living-network.md).
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

import numpy as np

import napari_lucyd as nl
from napari_lucyd.evaluation import structures_protocol
from napari_lucyd.evaluation.metrics import psnr

SEEDS = (204, 205, 206, 207, 208)
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
# Upper ends of the classes of noise, as shares of the brightness of the light.
CLASSES = (0.01, 0.02, 0.04, 0.1, 1.0)
PARTS = ("first_estimate", "correction_mask", "update_term")


def main() -> None:
    """Print one row for each class of noise, and the mean."""
    chosen, model = nl.load_model("lucyd").network.share, nl.load_model("lucyd")
    model.network.config = replace(model.network.config, full_noise=None)
    rows: dict[float, list[list[float]]] = defaultdict(list)
    protocol = structures_protocol()
    for column in range(len(protocol.columns)):
        for seed in SEEDS:
            (sample,) = protocol.samples(column, seed)
            found = nl.deconvolve(sample.image, model, psf=sample.psf, outputs=PARTS)
            lo = found.recipe["normalization"]["lo"][0]
            noise = found.recipe["first_stage"]["noise"][0]
            estimate, mask = np.asarray(found.first_estimate), np.asarray(found.correction_mask)
            before = psnr(sample.image, sample.truth)
            gains = []
            for share in (*SHARES, chosen(noise)):
                product = (estimate - lo + share * mask) * (1 + share * (np.asarray(found.update_term) - 1))
                gains.append(psnr(lo + np.maximum(product, 0), sample.truth) - before)
            rows[next(end for end in CLASSES if noise <= end)].append(gains)
            print(f"{protocol.columns[column]}, {seed}: noise {noise:.3f}", flush=True)
    print("| noise up to | images | " + " | ".join(f"{share:g}" for share in SHARES) + " | by the noise |")
    print("|" + "---|" * (len(SHARES) + 3))
    for end in CLASSES:
        if rows[end]:
            means = " | ".join(f"{gain:+.2f}" for gain in np.mean(rows[end], 0))
            print(f"| {end:g} | {len(rows[end])} | {means} |")
    every = np.concatenate([rows[end] for end in CLASSES if rows[end]])
    print(f"| **all** | {len(every)} | " + " | ".join(f"{gain:+.2f}" for gain in every.mean(0)) + " |")


if __name__ == "__main__":
    main()
