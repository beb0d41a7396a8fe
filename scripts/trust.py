"""Measure the trust suite, draw its pictures and write docs/trust.md; used by scripts/results.py."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import referee_trust_map

from napari_lucyd.evaluation import load_competitor
from napari_lucyd.evaluation.trust.images import BACKGROUND, SIGNAL
from napari_lucyd.evaluation.trust.limits import PROBES, Probe
from napari_lucyd.evaluation.trust.probes import BEAD_WIDTH, FIELD_START, RAYLEIGH_DIP
from napari_lucyd.evaluation.trust.suite import Reading, TrustTable, is_reference, measure_trust, show
from napari_lucyd.models.catalogue import shipped_models

ROOT = Path(__file__).parents[1]
FILES = ROOT / "docs" / "results"
IMAGES = ROOT / "docs" / "images"
PAGE = ROOT / "docs" / "trust.md"
RECORD = FILES / "trust.json"
# Shipped models only, so that the page can be rebuilt when a model is added or removed.
_SHIPPED = {card["name"] for card in shipped_models()}
METHODS = (
    "wiener",
    "richardson-lucy",
    "semi-blind",
    *(
        name
        for name in (
            *("lucyd", "mixture-rln", "mixture-care", "mixture", "general", "nuclei", "membranes"),
            *("lucyd-planes", "planes"),
        )
        if name in _SHIPPED
    ),
)


def measure(only: Sequence[str] = ()) -> None:
    """Measure all methods; write the files of the table and the pictures.

    With ``only``, measure these methods, and take the other rows from docs/results/. The pictures, which need
    the images of all methods, then stay as they are.
    """
    if only:
        new, old = measure_trust([load_competitor(method) for method in only]), TrustTable.load(RECORD)
        for method in filter(is_reference, new.methods):
            mine, theirs = ([r.value for r in table.readings if r.method == method] for table in (new, old))
            if not np.allclose(np.array(mine, float), np.array(theirs, float), 1e-3, 1e-6, equal_nan=True):
                raise SystemExit(f"{RECORD.name}: {method} has other numbers now; measure all methods.")
        readings = [r for r in old.readings if _name(r) not in only]
        for method in only:
            rows = [r for r in new.readings if _name(r) == method]
            suffix = rows[0].method.removeprefix(method)  # of 2D methods
            before = {name + suffix for name in ("input", *METHODS[: METHODS.index(method)])}
            at = [k for k, r in enumerate(readings) if r.method in before][-1] + 1
            readings[at:at] = rows
        replace(old, readings=readings, failures=old.failures + new.failures).save(FILES)
        return
    # Imported first, so that a missing matplotlib is noticed before measuring.
    from trust_figures import draw

    kept: dict[str, dict[str, list]] = {}

    def keep(method: str, probe: str, *pair: object) -> None:
        kept.setdefault(probe, {}).setdefault(method, []).append(pair)

    measure_trust([load_competitor(method) for method in METHODS], keep=keep).save(FILES)
    draw(kept, IMAGES)


def _name(reading: Reading) -> str:
    """Return the name of a reading's method, without "2D"."""
    return reading.method.partition(",")[0]


def write() -> None:
    """Write the page from the table in docs/results/."""
    PAGE.write_text(page(TrustTable.load(RECORD)), "utf-8")
    print(PAGE.name)


def page(table: TrustTable) -> str:
    """Return docs/trust.md."""
    environment = ", ".join(f"{name} {value}" for name, value in table.environment.items())
    size = "×".join(str(n) for n in table.shape)
    plane = "×".join(str(n) for n in table.shape[-2:])
    chosen = {method: setting for method, setting in table.settings.items() if "=" in setting}
    settings = " and ".join(f"{method} {setting}" for method, setting in chosen.items())
    failures = "".join(f"\n- {failure}" for failure in table.failures)
    failed = f"\nThese runs ended with an error and have no numbers:\n{failures}\n" if failures else ""
    return f"""# What to trust

A mean PSNR tells how close a method comes to the truth overall. It does not tell whether the method invents objects, keeps the intensities, or separates two points. This page tests such questions one by one, with images so simple that the right answer is known.

`python scripts/results.py trust` makes this page. It ran with {environment}. The numbers are in [`results/trust.csv`](results/trust.csv) and [`results/trust.json`](results/trust.json), with the SHA-256 of each model. `lucyd evaluate trust --methods NAME,…` runs the same tests on any model.

- **Images.** All images have {size} voxels, or {plane} pixels for 2D models, on a background of {BACKGROUND:g}. They are blurred by a Gaussian with σ {table.blur:g} voxels. The brightest voxel is {SIGNAL:g} above the background, and the normal noise has σ {100 * table.noise:g} % of that.
- **Methods.** Each method runs as a user would run it: `deconvolve` with its defaults. Richardson-Lucy, Wiener, `lucyd` and `lucyd-planes` receive the true PSF, but not the background. The settings of the first two are the best ones on an ordinary phantom with this blur and noise: {settings}. Semi-blind Richardson-Lucy receives neither.
- **Models.** {coverage(table)}

In each table, the first row gives the limits. *truth* is the result of a perfect method, *input* the unchanged image. **Bold** marks a number outside its limits. The limits are our choice, and wide: inside them, a measurement would hardly change; outside, it would. A method outside a limit is not useless. The limit tells you what not to use it for without a check of your own.
{failed}
## In short

The number of results outside their limits, for each question:

{summary(table)}

Advice for every method:

- Compare the image and the output at the same contrast limits. Anything that you cannot see in the image at all is a guess.
- Compare the correction mask and the update term at the same place. Repeat the run with a method that works differently, such as Richardson-Lucy with the PSF of your optics. Do not rely on anything that only one method shows.
- Measure intensities in the image, not in the output, unless your method is within the limits for [intensity](#intensity-object-by-object) and your images resemble these. Use the output to find and outline objects.
- Take the noise warning seriously: it means that your image is noisier than the model's training data. The panel, the command line and the recipe show it.
- Test your own question. Simulate an image with the feature that you look for (the Phantom panel, or `nl.degrade(truth, photometric=True)` with your own truth), and one without it (the Phantom panel, *Kind* Optics and camera, with all counts 0). Deconvolve both.

{"".join(section(table, probe) for probe in PROBES).rstrip()}
{referee_trust_map.section()}"""


def coverage(table: TrustTable) -> str:
    """Return the models that were trained for another blur or noise than the page has."""
    cards = {card["name"]: card for card in shipped_models()}
    shown = [name.split(",")[0] for name in table.methods if name.split(",")[0] in cards]
    asked = (("blur", "blur_sigma_voxels", table.blur), ("noise", "noise_sigma", table.noise))
    found = []
    for what, entry, value in asked:
        strangers = [name for name in shown if not cards[name][entry][0] <= value <= cards[name][entry][1]]
        if strangers:
            found.append(f"{named(strangers)} for this {what}")
    if not found:
        return "All models were trained for this blur and noise."
    return f"According to their cards, some models were not trained for these images: {'; '.join(found)}. Here they are used outside their range."


def summary(table: TrustTable) -> str:
    """Return a table of methods and questions with the count of numbers outside their limits."""
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
    """Return the section of one question: method, table, findings and advice."""
    text = SECTIONS[probe.name]
    meanings = dict.fromkeys(
        f"- *{'dip' if entry.name.startswith('dip_') else entry.heading}*: {entry.meaning}"
        for entry in probe.quantities
    )
    picture = f"\n![{probe.title}](images/{text.picture})\n\n{text.caption}\n" if text.picture else ""
    said = " ".join(sentence for sentence in (findings(table, probe), text.also(table)) if sentence)
    return f"""## {probe.title}

{text.asked}

{table.grid(probe)}

{chr(10).join(meanings)}

{said}
{picture}
**What to do.** {text.advice}

"""


def findings(table: TrustTable, probe: Probe) -> str:
    """Return the methods outside each limit."""
    outside = table.outside(probe.name)
    headings = {entry.name: entry.heading for entry in probe.quantities}
    asked = [name for name in table.methods if table.row(probe.name, name) and not is_reference(name)]
    if not outside:
        return "All methods are inside all limits."
    entries = [
        f"`{method}` ({', '.join(headings[entry.quantity] for entry in row)})"
        for method, row in outside.items()
    ]
    others = [name for name in asked if name not in outside]
    inside = f"Inside all limits: {named(others)}." if others else "No method is inside all limits."
    return f"Outside a limit: {'; '.join(entries)}. {inside}"


def resolution(table: TrustTable) -> str:
    """Compare the distances at which methods and image separate two points."""
    groups: dict[str, list[str]] = {}
    for method in table.methods:
        if is_reference(method):
            continue
        own = distance(table, method)
        image = distance(table, "input, 2D" if method.endswith(", 2D") else "input")
        kind = (
            "at a smaller distance than"
            if own < image
            else "only at a larger distance than"
            if own > image
            else "at the same distance as"
        )
        groups.setdefault(kind, []).append(method)
    entries = [f"{kind} the image by {named(members)}" for kind, members in groups.items()]
    return f"Two points are separated {'; '.join(entries)}." if entries else ""


def distance(table: TrustTable, method: str) -> float:
    """Return the smallest distance that a method resolves, or infinity."""
    for entry in table.row("pairs", method):
        if entry.quantity == "resolved" and entry.value is not None:
            return entry.value
    return float("inf")


def shares(table: TrustTable) -> str:
    """Return the range of the shares of the division."""
    rows = [entry for entry in table.readings if entry.probe == "division"]
    found = {entry.method: entry.value for entry in rows if entry.value is not None}
    if not found:
        return ""
    low, high = min(found, key=found.__getitem__), max(found, key=found.__getitem__)
    return f"The share is smallest in `{low}` ({show(found[low])}) and largest in `{high}` ({show(found[high])})."


def named(names: Sequence[str]) -> str:
    """Join names into a phrase."""
    quoted = [f"`{name}`" for name in names]
    return " and ".join([", ".join(quoted[:-1]), quoted[-1]] if len(quoted) > 1 else quoted)


def anchor(title: str) -> str:
    """Return the anchor of a heading."""
    return "".join(c for c in title.lower() if c.isalnum() or c in " -").replace(" ", "-")


class Text:
    """The fixed text of a section, independent of the results."""

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
        "The image holds background and noise, and nothing else. Normalization stretches an image to the range that the network was trained on. Here it can stretch only noise, so the network sees the strongest noise possible. Does the method leave grains or invent objects?",
        "Do not deconvolve empty images. If a batch or a time series may hold some, compare the brightest voxel of output and image. With a method that is outside a limit here, leave empty images out, or normalize all images alike; the time points of one file are always normalized alike.",
    ),
    "beside": Text(
        f"This is the usual case: part of the image is empty, and the bright part sets the normalization. A ball fills one corner. The empty field starts at X = {FIELD_START}, 20 voxels from the edge of the ball.",
        "If a method is outside a limit here, do not trust objects that are hardly brighter than the noise. Raise your detection threshold until an empty part of your own images gives no objects, or choose another method. A wrong background matters if you compare intensities between images. In that case, subtract the background of the output, measured beside the object.",
        "trust-empty.png",
        "Middle planes of both fields. Blue is below the true background, red above it, and white is correct; the colours span 6 σ of the image's noise. In the lower row, the field lies to the right of the dotted line.",
    ),
    "flat": Text(
        "An image with one value everywhere is returned unchanged. The software detects such images, and no network sees them, so the first column tests the software. The other columns test the method, with four flat fields side by side, from the background to the full signal. Does it keep their levels, and does it leave noise on them?",
        "If levels are wrong, do not compare brightness between two places of one output; compare it in the image. If noise remains or grows, smooth areas turn into texture: do not measure texture.",
        "trust-flat.png",
        "Mean along X over the four fields, with the truth in grey. A line that leaves its picture is far from the truth.",
    ),
    "bead": Text(
        f"A small ball, {BEAD_WIDTH:.2f} voxels wide at half its height, lies alone in the field. Does the method keep its intensity and its width, and does it draw anything around it? The ball is much brighter than nearly all other voxels. After percentile normalization it lies far above the range that networks see most.",
        "Before you trust widths in an output, test the method on a bead image of your own microscope. If the width is outside the limits, do not measure objects in the output that are about as small as the PSF. If the intensity is not kept, measure it in the image. If rings are outside the limits, do not trust shells, halos and hollow spots in an output.",
        "trust-bead.png",
        "Z and X around the first bead (Y and X for 2D). Each picture runs from its darkest to its brightest voxel, with faint light enhanced (square root). The value of the brightest voxel is given. Below each picture: the line along X through the centre, divided by its highest voxel, with the truth in grey.",
    ),
    "pairs": Text(
        f"Two equal points lie 2 to 6 voxels apart along X, each pair four times, at even and odd positions. They count as resolved if the light between them falls by {100 * RAYLEIGH_DIP:g} % of the fainter one's height (Rayleigh's criterion). If one of the two is lost, the pair counts as merged. A method that splits a single object would show a hollow [bead](#a-single-bead).",
        "Count close spots only with a method that resolves smaller distances than the image does, and only down to its distance in this table, scaled to the width of your PSF. If a method merges spots that the image shows, count them in the image.",
        "trust-pairs.png",
        "The plane of the first image's pairs, with the distances in orange on the left. Each picture runs from the background to its own brightest voxel.",
        also=resolution,
    ),
    "linearity": Text(
        "Twice the light should give twice the result. A camera offset should only be added to it. For networks, normalization ensures both as long as the whole image changes. The harder test: in a field of balls, one ball becomes twice as bright. Does it become twice as bright in the output, and do the others stay the same?",
        "If doubling the image or adding a constant changes the result by more than rounding, the method depends on units and offset. Subtract the camera offset first, or state it (`--background` for Richardson-Lucy, which runs without it here). If the factor is outside the limits, do not compare intensities of objects within one output.",
    ),
    "flux": Text(
        "The same field: balls with diameters of 4 to 6 voxels and a fivefold range of brightness, each in a cell of its own. The intensity of a ball is the sum of the voxels within 4.5 voxels of its edge, above the mean of the rest of its cell, as one measures spots. Dark rings reduce it, and an offset of the whole image does not. The offset counts in the sum of the *whole image*.",
        "If the ratios are wrong but equal (small spread, bright like faint), you can compare objects, but absolute values are wrong. If faint and bright objects differ, both are wrong: outline the objects in the output and measure in the image. Do not measure intensities with a model whose card says that it changes total intensity (`lucyd models`).",
        "trust-flux.png",
        "Intensity of each ball in the output against the truth, on logarithmic axes. On the line it is kept. Negative values are not drawn.",
    ),
    "division": Text(
        "LUCYD is named after its Richardson-Lucy division. In the weights that its authors published, the division has almost no effect ([decision 0001](decisions/0001-epsilon.md)). How much of the output on an ordinary phantom depends on it?",
        "With a shipped model, nothing: all of them are tested for this. If your own model has a share near 0, its update term explains nothing; do not interpret it.",
        also=shares,
    ),
}
