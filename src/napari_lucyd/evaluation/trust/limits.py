"""The questions of the trust suite: what each probe's numbers are called, mean, and may be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from napari_lucyd.evaluation.trust.probes import (
    BEAD_WIDTH,
    DISTANCES,
    OBJECT_SIGMAS,
    OFFSET,
    RAYLEIGH_DIP,
    STEPS,
    Numbers,
    Restore,
    measure_bead,
    measure_beside,
    measure_empty,
    measure_flat,
    measure_flux,
    measure_linearity,
    measure_pairs,
)


@dataclass(frozen=True)
class Quantity:
    """A number of a probe.

    Parameters
    ----------
    name
        In the files.
    heading
        In the tables.
    unit
        Empty for a share or a ratio.
    low, high
        The limits within which nobody has to care; None where there is no limit on that side. They are a
        convention of this page, not a theory.
    meaning
        In words.
    """

    name: str
    heading: str
    unit: str
    low: float | None
    high: float | None
    meaning: str


@dataclass(frozen=True)
class Probe:
    """A question put to a method.

    Parameters
    ----------
    name
        In the files.
    title
        In words.
    quantities
        What is measured.
    measure
        From a method and the number of axes, 2 or 3, to a number for each quantity; None where an image does
        not tell, and the network has to be looked into.
    """

    name: str
    title: str
    quantities: tuple[Quantity, ...]
    measure: Callable[[Restore, int], Numbers] | None


# A tenth is what a careful measurement of intensities may be off by anyway.
_KEPT = (0.9, 1.1)

_EMPTINESS = (
    Quantity(
        *("noise", "noise left", "", None, 1.0),
        "standard deviation of the output over that of the image; above 1, noise was amplified",
    ),
    Quantity(
        *("peak", "brightest", "σ", None, 6.0),
        "the brightest voxel above the true background, in standard deviations of the image's noise; in a "
        "field of this size that itself reaches 4 to 5",
    ),
    Quantity(
        *("largest", "largest false object", "voxels", None, 8.0),
        f"voxels that touch and all stand more than {OBJECT_SIGMAS:g} σ of the image's noise above the true "
        "background; the limit is the smallest object that models were trained on, 2×2×2",
    ),
    Quantity(
        *("shift", "background: error", "σ", -1.0, 1.0),
        "mean of the output minus the true background, in standard deviations of the image's noise",
    ),
)

_FLATNESS = (
    Quantity(
        *("constant", "constant: error", "%", None, 0.1),
        "an image of one value throughout: the largest deviation, as a share of the value",
    ),
    Quantity(
        *("level", "worst level: error", "%", -5.0, 5.0),
        f"of {STEPS} flat fields beside each other, the mean that is farthest off, as a share of the range "
        "between the lowest and the highest",
    ),
    Quantity(
        *("grain", "noise left", "", None, 1.1),
        "standard deviation within the grainiest of the flat fields, over that of the image's noise; the "
        "limit leaves room for chance",
    ),
)

_BEAD = (
    Quantity(
        *("flux", "light kept", "", *_KEPT), "the bead's light above its surroundings, over the truth's"
    ),
    Quantity(
        *("fwhm", "FWHM", "voxels", 0.8 * BEAD_WIDTH, 1.2 * BEAD_WIDTH),
        "full width at half maximum, mean of the axes; the limits are 20 % about the truth's",
    ),
    Quantity(
        *("ring", "ring", "%", None, 5.0),
        "by how much the mean light at a distance from the centre rises again farther out, as a share of "
        "the centre's: 0 without rings, dark moats and hollow centres",
    ),
)

_PAIRS = (
    *(
        Quantity(
            *(f"dip_{distance}", f"dip at {distance}", "%", None, None),
            "how far the light falls between the two, as a share of the fainter's height",
        )
        for distance in DISTANCES
    ),
    Quantity(
        *("resolved", "resolved from", "voxels", None, 4.0),
        "the smallest distance from which on the dip is at least that of Rayleigh's criterion, "
        f"{100 * RAYLEIGH_DIP:g} %; the limit is one voxel less than what the image itself shows",
    ),
)

_LINEARITY = (
    Quantity(
        *("twice", "double the image: error", "%", None, 0.1),
        "largest deviation from twice the output, as a share of the output's range",
    ),
    Quantity(
        *("lifted", "add a constant: error", "%", None, 0.1),
        f"the same with {OFFSET:g} added to every voxel",
    ),
    Quantity(
        *("one", "double one object: factor", "", 1.8, 2.2),
        "by what the light of one ball grows in the output when it alone is doubled in the specimen",
    ),
    Quantity(
        *("others", "the others change by", "%", None, 2.0),
        "how much that changes the light of all the other balls, as a share of it",
    ),
)

_FLUX = (
    Quantity(
        *("whole", "whole image", "", *_KEPT), "sum of the image above the true background, over the truth's"
    ),
    Quantity(
        *("total", "all balls", "", *_KEPT),
        "light of all balls, each above what surrounds it, over the truth's",
    ),
    Quantity(
        *("bright", "brightest quarter", "", *_KEPT), "mean ratio of the brightest quarter of the balls"
    ),
    Quantity(*("faint", "faintest quarter", "", 0.8, 1.2), "mean ratio of the faintest quarter"),
    Quantity(*("spread", "spread", "", None, 0.2), "standard deviation of the ratio over the balls"),
)

PROBES = (
    Probe("empty", "An empty field", _EMPTINESS, measure_empty),
    Probe("beside", "An empty field beside a bright object", _EMPTINESS, measure_beside),
    Probe("flat", "A constant, and flat fields", _FLATNESS, measure_flat),
    Probe("bead", "A single bead", _BEAD, measure_bead),
    Probe("pairs", "Two points at falling distance", _PAIRS, measure_pairs),
    Probe("linearity", "Linearity", _LINEARITY, measure_linearity),
    Probe("flux", "Light in and out, object by object", _FLUX, measure_flux),
    Probe(
        "division",
        "The Richardson-Lucy division",
        (
            Quantity(
                *("share", "share of x'", "", 0.02, None),
                "root mean square change of the output when the quotient is replaced by its mean, over the "
                "output's standard deviation; 0 for a dead division",
            ),
        ),
        None,
    ),
)
