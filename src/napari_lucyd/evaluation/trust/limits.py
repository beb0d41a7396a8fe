"""Questions of the trust suite: the name, meaning and limits of each number."""

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

# A careful measurement of intensities may be wrong by a tenth anyway.
_KEPT = (0.9, 1.1)


@dataclass(frozen=True)
class Quantity:
    """A number of a probe.

    Parameters
    ----------
    name
        Name in the files.
    heading
        Heading in the tables.
    unit
        Unit; empty for a share or a ratio.
    low, high
        Limits between which a measurement hardly changes; None for no limit on that side. They are a
        convention of this suite.
    meaning
        Definition, as a phrase.
    """

    name: str
    heading: str
    unit: str
    low: float | None
    high: float | None
    meaning: str


@dataclass(frozen=True)
class Probe:
    """A question, tested on each method.

    Parameters
    ----------
    name
        Name in the files.
    title
        Title in the pages.
    quantities
        Numbers that are measured.
    measure
        Function of a method and the number of axes, 2 or 3, that returns a number for each quantity. None if
        the number is measured inside the network.
    """

    name: str
    title: str
    quantities: tuple[Quantity, ...]
    measure: Callable[[Restore, int], Numbers] | None


_EMPTINESS = (
    Quantity(
        *("noise", "noise left", "", None, 1.0),
        "standard deviation of the output divided by that of the image; above 1, the noise was amplified",
    ),
    Quantity(
        *("peak", "brightest", "σ", None, 6.0),
        "the brightest voxel above the true background, in standard deviations of the image's noise; the "
        "noise itself reaches 4 to 5 in a field of this size",
    ),
    Quantity(
        *("largest", "largest false object", "voxels", None, 8.0),
        f"the largest group of touching voxels that are all more than {OBJECT_SIGMAS:g} σ of the image's "
        "noise above the true background; the limit is the smallest object of the training data, 2×2×2",
    ),
    Quantity(
        *("shift", "background: error", "σ", -1.0, 1.0),
        "mean of the output minus the true background, in standard deviations of the image's noise",
    ),
)

_FLATNESS = (
    Quantity(
        *("constant", "constant: error", "%", None, 0.1),
        "the largest deviation in an image with one value everywhere, in % of that value",
    ),
    Quantity(
        *("level", "worst level: error", "%", -5.0, 5.0),
        f"the largest error of the mean among {STEPS} flat fields side by side, in % of the range from the "
        "lowest to the highest",
    ),
    Quantity(
        *("grain", "noise left", "", None, 1.1),
        "standard deviation within the noisiest of the flat fields, divided by that of the image's noise; "
        "the limit leaves room for chance",
    ),
)

_BEAD = (
    Quantity(
        *("flux", "intensity kept", "", *_KEPT),
        "total intensity of the bead above its surroundings, divided by that of the truth",
    ),
    Quantity(
        *("fwhm", "FWHM", "voxels", 0.8 * BEAD_WIDTH, 1.2 * BEAD_WIDTH),
        "full width at half maximum, mean over the axes; the limits are 20 % around the truth",
    ),
    Quantity(
        *("ring", "ring", "%", None, 5.0),
        "rise of the mean intensity on the way out from the centre, in % of its highest value; 0 without "
        "rings, dark moats and hollow centres",
    ),
)

_PAIRS = (
    *(
        Quantity(
            *(f"dip_{distance}", f"dip at {distance}", "%", None, None),
            "fall of the intensity between the two points, in % of the fainter one's height",
        )
        for distance in DISTANCES
    ),
    Quantity(
        *("resolved", "resolved from", "voxels", None, 4.0),
        "the smallest distance from which the dip reaches Rayleigh's criterion, "
        f"{100 * RAYLEIGH_DIP:g} %; the limit is one voxel below the distance that the image resolves",
    ),
)

_LINEARITY = (
    Quantity(
        *("twice", "double the image: error", "%", None, 0.1),
        "largest deviation from twice the output, in % of the output's range",
    ),
    Quantity(
        *("lifted", "add a constant: error", "%", None, 0.1),
        f"the same, with {OFFSET:g} added to every voxel",
    ),
    Quantity(
        *("one", "double one object: factor", "", 1.8, 2.2),
        "growth of one ball's intensity in the output, if this ball alone is doubled in the specimen",
    ),
    Quantity(
        *("others", "the others change by", "%", None, 2.0),
        "change in the intensity of all other balls by this, in %",
    ),
)

_FLUX = (
    Quantity(
        *("whole", "whole image", "", *_KEPT),
        "sum of the output above the true background, divided by that of the truth",
    ),
    Quantity(
        *("total", "all balls", "", *_KEPT),
        "intensity of all balls, each above its surroundings, divided by that of the truth",
    ),
    Quantity(
        *("bright", "brightest quarter", "", *_KEPT),
        "mean of this ratio over the brightest quarter of the balls",
    ),
    Quantity(*("faint", "faintest quarter", "", 0.8, 1.2), "mean of this ratio over the faintest quarter"),
    Quantity(*("spread", "spread", "", None, 0.2), "standard deviation of this ratio over the balls"),
)

PROBES = (
    Probe("empty", "An empty field", _EMPTINESS, measure_empty),
    Probe("beside", "An empty field beside a bright object", _EMPTINESS, measure_beside),
    Probe("flat", "Constant images and flat fields", _FLATNESS, measure_flat),
    Probe("bead", "A single bead", _BEAD, measure_bead),
    Probe("pairs", "Two points at falling distance", _PAIRS, measure_pairs),
    Probe("linearity", "Linearity", _LINEARITY, measure_linearity),
    Probe("flux", "Intensity, object by object", _FLUX, measure_flux),
    Probe(
        "division",
        "The Richardson-Lucy division",
        (
            Quantity(
                *("share", "share of x'", "", 0.02, None),
                "root mean square change of the output if the mean replaces the quotient, divided by the "
                "standard deviation of the output; 0 if the division has no effect",
            ),
        ),
        None,
    ),
)
