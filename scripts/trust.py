"""Measure the trust suite, draw its pictures, and write docs/trust.md; called by scripts/results.py."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import napari_lucyd as nl
from napari_lucyd.evaluation import load_competitor
from napari_lucyd.evaluation.trust.images import BACKGROUND, SIGNAL
from napari_lucyd.evaluation.trust.limits import PROBES, Probe
from napari_lucyd.evaluation.trust.probes import BEAD_WIDTH, FIELD_START, RAYLEIGH_DIP
from napari_lucyd.evaluation.trust.suite import TrustTable, is_reference, measure_trust, show

ROOT = Path(__file__).parents[1]
FILES = ROOT / "docs" / "results"
IMAGES = ROOT / "docs" / "images"
PAGE = ROOT / "docs" / "trust.md"
# Those that are shipped, so that the page can be rebuilt whenever a model comes or goes.
_SHIPPED = {card["name"] for card in nl.list_models()}
METHODS = (
    "wiener",
    "richardson-lucy",
    *(
        name
        for name in ("mixture-rln", "mixture-care", "mixture", "general", "nuclei", "membranes", "planes")
        if name in _SHIPPED
    ),
)


def measure() -> None:
    """Measure, and write the table's files and the pictures."""
    # First, so that a missing matplotlib is noticed before the measuring.
    from trust_figures import draw

    kept: dict[str, dict[str, list]] = {}

    def keep(method: str, probe: str, *pair: object) -> None:
        kept.setdefault(probe, {}).setdefault(method, []).append(pair)

    measure_trust([load_competitor(method) for method in METHODS], keep=keep).save(FILES)
    draw(kept, IMAGES)


def write() -> None:
    """Write the page from the table in docs/results/."""
    PAGE.write_text(page(TrustTable.load(FILES / "trust.json")), "utf-8")
    print(PAGE.name)


def page(table: TrustTable) -> str:
    """Return docs/trust.md."""
    environment = ", ".join(f"{name} {value}" for name, value in table.environment.items())
    size = "×".join(str(n) for n in table.shape)
    plane = "×".join(str(n) for n in table.shape[-2:])
    settings = " and ".join(f"{method} {setting}" for method, setting in table.settings.items())
    failures = "".join(f"\n- {failure}" for failure in table.failures)
    failed = f"\nThese runs ended in an error, and have no numbers:\n{failures}\n" if failures else ""
    return f"""# What to trust

A table of PSNR says how close a method comes on the whole. It does not say whether it invents objects, keeps light, or tells two points apart. This page asks such questions one by one, with images simple enough for
the right answer to be known. It is made by `python scripts/results.py trust`, with {environment}; the numbers are in [`results/trust.csv`](results/trust.csv)
and [`results/trust.json`](results/trust.json) with the models' hashes, and `lucyd evaluate trust --methods NAME,…` puts the same questions to any model.

All images are {size} voxels (for 2D models planes of {plane}), background {BACKGROUND:g}, blurred by a Gaussian of σ {table.blur:g} voxels, the brightest voxel {SIGNAL:g} above the background, with normal noise of σ {table.noise:.0%} of that.
Each method is run as a user would run it: `deconvolve` with its defaults. Richardson-Lucy and Wiener are told the true PSF ({settings}: the best on an ordinary phantom with this blur and noise), but not the background.
{coverage(table)}

The first two rows of each table are no methods: *truth* is what a perfect one would have, *input* the image left as it is. **Bold** is outside the limits in the row above them. The limits are ours, and wide: inside, a
measurement would hardly change; outside, it would. Crossing one does not make a method useless. It says what not to use it for without a check of your own.
{failed}
## In short

How many of each question's numbers are outside their limits:

{summary(table)}

What follows for everybody:

- Look at the image beside the output at the same contrast limits. What cannot be made out in the image at all is a guess.
- Look at the correction mask and the update term there, and repeat with a method that works differently (Richardson-Lucy with a PSF of your optics). What only one of them shows is no finding.
- Measure intensities in the image, not in the output, unless your method is within the limits for [light](#light-in-and-out-object-by-object) and your images resemble these. Use the output to find and outline objects.
- Heed the warning of noise beyond what a model was trained for. Panel, command line and recipe show it.
- Put your own question: simulate what you look for (`nl.degrade(truth, photometric=True)` with your own truth, or the Phantom panel), and one image without it (the Phantom panel, *Kind* Optics and camera, with all counts 0), and deconvolve both.

{"".join(section(table, probe) for probe in PROBES).rstrip()}
"""


def coverage(table: TrustTable) -> str:
    """Return which models were trained for another blur or noise than the page has."""
    cards = {card["name"]: card for card in nl.list_models()}
    shown = [name.split(",")[0] for name in table.methods if name.split(",")[0] in cards]
    asked = (("blur", "blur_sigma_voxels", table.blur), ("noise", "noise_sigma", table.noise))
    found = []
    for what, entry, value in asked:
        strangers = [name for name in shown if not cards[name][entry][0] <= value <= cards[name][entry][1]]
        if strangers:
            found.append(f"not trained for this {what}: {named(strangers)}")
    if not found:
        return "All models shown were trained for such blur and noise."
    return f"By the cards, {'; '.join(found)}. What these do here is out of their range."


def summary(table: TrustTable) -> str:
    """Return methods against questions: how many numbers are outside."""
    probes = [probe for probe in PROBES if any(entry.probe == probe.name for entry in table.readings)]
    lines = [["", *(f"[{probe.title}](#{anchor(probe.title)})" for probe in probes)]]
    lines.append(["---"] * len(lines[0]))
    for method in table.methods:
        if is_reference(method):
            continue
        entries = []
        for probe in probes:
            row = table.row(probe.name, method)
            limited = [entry for entry in row if entry.low is not None or entry.high is not None]
            outside = sum(not entry.within for entry in limited)
            entries.append(f"**{outside} of {len(limited)}**" if outside else "0" if limited else "–")
        lines.append([method, *entries])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def section(table: TrustTable, probe: Probe) -> str:
    """Return one question: what was done, the table, what is outside, what to do."""
    text = SECTIONS[probe.name]
    meanings = dict.fromkeys(
        f"*{'dip' if entry.name.startswith('dip_') else entry.heading}*: {entry.meaning}"
        for entry in probe.quantities
    )
    picture = f"\n![{probe.title}](images/{text.picture})\n\n{text.caption}\n" if text.picture else ""
    said = " ".join(sentence for sentence in (findings(table, probe), text.also(table)) if sentence)
    return f"""## {probe.title}

{text.asked}

{table.grid(probe)}

{"; ".join(meanings)}.

{said}
{picture}
**What to do.** {text.advice}

"""


def findings(table: TrustTable, probe: Probe) -> str:
    """Return who is outside which limit."""
    outside = table.outside(probe.name)
    headings = {entry.name: entry.heading for entry in probe.quantities}
    asked = [name for name in table.methods if table.row(probe.name, name) and not is_reference(name)]
    if not outside:
        return "All methods are inside the limits."
    entries = [
        f"`{method}` ({', '.join(headings[entry.quantity] for entry in row)})"
        for method, row in outside.items()
    ]
    others = [name for name in asked if name not in outside]
    inside = f"Inside: {named(others)}." if others else "No method is inside all limits."
    return f"Outside a limit: {'; '.join(entries)}. {inside}"


def resolution(table: TrustTable) -> str:
    """Return who tells points apart that the image does not, and who merges what the image shows."""
    groups: dict[str, list[str]] = {}
    for method in table.methods:
        if is_reference(method):
            continue
        own = distance(table, method)
        image = distance(table, "input, 2D" if method.endswith(", 2D") else "input")
        kind = (
            "nearer than" if own < image else "only farther apart than" if own > image else "no nearer than"
        )
        groups.setdefault(kind, []).append(method)
    entries = [f"{kind} in the image by {named(members)}" for kind, members in groups.items()]
    return f"Points are told apart {'; '.join(entries)}." if entries else ""


def distance(table: TrustTable, method: str) -> float:
    """Return from which distance on a method resolves, infinity for never."""
    for entry in table.row("pairs", method):
        if entry.quantity == "resolved" and entry.value is not None:
            return entry.value
    return float("inf")


def shares(table: TrustTable) -> str:
    """Return the range of the division's shares."""
    rows = [entry for entry in table.readings if entry.probe == "division"]
    found = {entry.method: entry.value for entry in rows if entry.value is not None}
    if not found:
        return ""
    low, high = min(found, key=found.__getitem__), max(found, key=found.__getitem__)
    return f"Least in `{low}` ({show(found[low])}), most in `{high}` ({show(found[high])})."


def named(names: Sequence[str]) -> str:
    """Return names as a list in words."""
    quoted = [f"`{name}`" for name in names]
    return " and ".join([", ".join(quoted[:-1]), quoted[-1]] if len(quoted) > 1 else quoted)


def anchor(title: str) -> str:
    """Return what a heading is linked by."""
    return "".join(c for c in title.lower() if c.isalnum() or c in " -").replace(" ", "-")


class Text:
    """The fixed words of a section; nothing in them depends on how a method fares."""

    def __init__(
        self,
        asked: str,
        advice: str,
        picture: str = "",
        caption: str = "",
        also: Callable[[TrustTable], str] = lambda table: "",
    ) -> None:
        self.asked, self.advice, self.picture, self.caption, self.also = asked, advice, picture, caption, also


SECTIONS = {
    "empty": Text(
        "Background and noise, nothing else. Scaling stretches an image to the range that the network knows, and here there is nothing but noise to stretch: the strongest noise that it can be given, and the surest way "
        "to see what it makes of nothing. Does it leave grains, or objects?",
        "Do not deconvolve empty images. In a batch or a time series that may hold some, compare the brightest voxel of the output with that of the image; with methods that are outside here, leave such images out "
        "beforehand, or scale all images alike: several time points of one file share their scaling anyway.",
    ),
    "beside": Text(
        f"The usual case: part of the image is empty, and scaling is set by what is bright elsewhere. A ball fills a corner; the field is taken from X = {FIELD_START} on, 20 voxels from its edge.",
        "If a method is outside here, objects that are hardly brighter than the noise are not to be believed. Raise the threshold for detection until an empty part of your own images gives no objects, or choose a method that is "
        "inside. A background that is off matters when intensities are compared between images: subtract what the output itself has beside the object.",
        "trust-empty.png",
        "A middle plane of both fields, blue below and red above the true background, up to 6 σ of the image's noise. White is right. The field beside the ball is to the right of the dotted line.",
    ),
    "flat": Text(
        "An image of one value is returned as it is. Such images are caught before a network sees them, so the first column checks the software. The second question is the network's: four flat fields side by side, from the "
        "background to the full signal. Are their levels kept, and is the noise on them?",
        "Where levels are off, a difference of brightness between two places of one output is not the specimen's. Take it from the image. Where noise is left or grows, smooth plateaus turn into texture: do not measure texture.",
        "trust-flat.png",
        "Mean along X over the four fields, with the truth in grey. Lines that leave a picture are far beyond the truth.",
    ),
    "bead": Text(
        f"A small ball, {BEAD_WIDTH:.2f} voxels wide at half its height, alone in the field. Is its light kept, is it as narrow as it was, is anything drawn around it? It is much brighter than nearly all other voxels, and so, "
        "where scaling goes by percentiles, far above the range that networks see most.",
        "Judge a method's sharpening with a bead image of your own microscope before believing widths in an output. If the width is outside, do not measure sizes of objects near the PSF's width in the output. If light is "
        "not kept, measure it in the image. If rings are outside, shells, halos and hollow spots in an output are suspect.",
        "trust-bead.png",
        "Around the first bead, Z and X (planes: Y and X), each picture from its darkest to its brightest voxel, which is given, with faint light lifted (square root). Below, the line along X through the middle, "
        "each scaled by its highest voxel, with the truth in grey.",
    ),
    "pairs": Text(
        f"Two equal points, 2 to 6 voxels apart along X, each pair four times at even and odd positions. They count as told apart where the light between them falls by {RAYLEIGH_DIP:.1%} of the fainter one's height "
        "(Rayleigh's criterion); a pair of which one is lost counts as merged. An object that is told apart without being two would show as a hollow [bead](#a-single-bead).",
        "Count close spots only with a method that tells them apart from nearer than the image does, and only down to the distance it has here, scaled to the width of your PSF. With one that merges what the image shows, count in the image.",
        "trust-pairs.png",
        "The plane of the first image's pairs, distances in orange at the left; each picture from the background to its own brightest voxel.",
        also=resolution,
    ),
    "linearity": Text(
        "Twice the light should give twice the result, and a camera's offset should be added and nothing else. The scaling sees to both for networks, as long as the whole image changes. So the harder question: in a field of balls, one "
        "becomes twice as bright. Does it in the output, and do the others stay?",
        "If doubling the image or adding a constant changes more than rounding, the method depends on the units and the offset: subtract the camera's offset first, or tell it (`--background` for Richardson-Lucy, which is run without here). "
        "If the factor is outside, ratios of intensities between objects of one output are not the specimen's.",
    ),
    "flux": Text(
        "The same field: balls of 4 to 6 voxels diameter whose brightness spans a factor of five, each in a cell of its own. Light is summed within 4.5 voxels of each ball's edge, above the mean of the rest of its cell, as one "
        "measures spots: dark moats count against it, and a background that is off everywhere does not. That one counts in the sum of the *whole image*.",
        "Where ratios are off but alike (small spread, bright as faint), comparisons between objects hold and absolute values do not. Where faint and bright objects differ, neither holds: measure in the image, within outlines from the output. "
        "Models whose card says that flux is not kept (`lucyd models`) are not meant for it.",
        "trust-flux.png",
        "Light of each ball in the output against the truth, on logarithmic axes; on the line it is kept. What is negative is not drawn.",
    ),
    "division": Text(
        "LUCYD is named for its Richardson-Lucy division. In the weights that its authors published it is all but dead ([decision 0001](decisions/0001-epsilon.md)). How much of the output goes when it is switched off, on an ordinary phantom?",
        "Nothing, for a user of the shipped models: they are tested for it. Of a model of your own, a share near 0 says that the update term explains nothing, and should not be read as one.",
        also=shares,
    ),
}
