"""Compute the output by hand from the image, the correction mask and the update term.

python examples/read_the_parts.py
"""

from __future__ import annotations

import numpy as np

import napari_lucyd as nl


def main() -> float:
    """Compare the output with its formula; return the largest difference as a share of the range."""
    sample = nl.degrade(nl.make_phantom((32, 48, 48), spheres=10, ellipsoids=5, boxes=20, rng=3), rng=3)
    image = 100 + 800 * sample.image  # like camera counts
    result = nl.deconvolve(image, nl.load_model("general"))

    (low,), (span,) = (result.recipe["normalization"][name] for name in ("lo", "s"))
    offset = result.recipe["o"]
    # y + M' in units of the range. The mask has the units of the image.
    estimate = (image - low + result.correction_mask) / span
    by_hand = low + span * np.maximum(0, estimate * result.update_term + offset)

    difference = float(np.abs(by_hand - result.output).max() / span)
    print(f"largest difference: {difference:.1e} of the range")
    mask = result.correction_mask
    print(f"The mask adds at most {mask.max():.0f} counts and removes at most {-mask.min():.0f}.")
    return difference


if __name__ == "__main__":
    main()
