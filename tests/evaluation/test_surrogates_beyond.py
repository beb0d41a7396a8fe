"""Table 3 on surrogates whose specimen reaches beyond the volume."""

from __future__ import annotations

import napari_lucyd as nl
from napari_lucyd.evaluation import surrogate_protocol


def test_the_tables_surrogates_may_have_a_specimen_beyond_the_volume():
    plain, beyond = surrogate_protocol(), surrogate_protocol(beyond=16)
    assert (plain.name, beyond.name) == ("table3", "table3-beyond") and "16 voxels" in beyond.title
    (sample,), (inside,) = plain.samples(0, 100), beyond.samples(0, 100)
    assert sample.image.shape == inside.image.shape == (48, 96, 96) and inside.psf.shape == sample.psf.shape
    # Haze comes in from outside: there is more light than from what the volume holds.
    alone = nl.make_surrogate(inside.truth, "nuclei", rng=100)
    assert inside.image.mean() > 1.1 * alone.image.mean()
