"""Write docs/benchmarks.md and its plots from the records in docs/benchmarks/.

    python benchmarks/page.py [--quick] [--no-plots]

Measures nothing. What has no record is named as not measured. Plots need matplotlib. With --quick the page is
made from the records of smoke runs, and lies beside their folder.
"""

from __future__ import annotations

import argparse
import json
import math
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import record

NAMES = (
    "startup",
    "roofline",
    "forward",
    "throughput",
    "estimates",
    "halo",
    "out_of_core",
    "host",
    "preview",
    "training_step",
    "rivals",
    "gpu",
)
Records = dict[str, dict[str, Any]]
GIB, MIB = 2**30, 2**20


class Bar(NamedTuple):
    """Something that was aimed at: whether it is reached is None where it was not measured."""

    what: str
    aim: str
    measured: str
    reached: bool | None


def load(folder: Path) -> Records:
    """All records that there are, by name."""
    paths = {name: folder / f"{name}.json" for name in NAMES}
    return {name: json.loads(path.read_text("utf-8")) for name, path in paths.items() if path.is_file()}


def at_least(what: str, aim: float, value: float | None) -> Bar:
    """More is better: times as fast."""
    reached = None if value is None else value >= aim
    return Bar(what, f"≥ {aim:g}×", "" if value is None else f"{value:.2g}×", reached)


def at_most(what: str, aim: float, value: float | None) -> Bar:
    """Less is better: seconds."""
    reached = None if value is None else value <= aim
    return Bar(what, f"≤ {duration(aim)}", "" if value is None else duration(value), reached)


def find(records: Any, *keys: str) -> Any:
    """An entry of a record; None where anything on the way is missing."""
    found: Any = records
    for key in keys:
        if not isinstance(found, dict) or key not in found:
            return None
        found = found[key]
    return found


def bars(records: Records) -> list[Bar]:
    """All aims, in the order of the page."""
    passes, views = ("forward", "passes"), ("preview", "views")
    fast = "times_as_fast"
    found = [
        at_least("LUCYD's pass over 64×256×256", 4, find(records, *passes, "compiled kernels", fast)),
        at_least("`deconvolve` of 64×256×256, all in all", 2, find(records, *passes, "deconvolve", fast)),
    ]
    for image in ("known image", "new image"):
        text = "preview of 128×128 pixels of a " + image
        found.append(at_most(f"{text}: first pixels", 0.3, find(records, *views, image, "first")))
        found.append(at_most(f"{text}: all exact", 0.8, find(records, *views, image, "exact")))
    for measured in find(records, "training_step", "batches") or [None]:
        text = f"training step, batch of {measured['batch'][0]}" if measured else "training step"
        found.append(at_least(text, 1.5, find(measured, "steps", "ours", fast)))
    found += [
        at_most("`import napari_lucyd`", 0.05, find(records, "startup", "imports", "napari_lucyd")),
        at_most("the panel is open", 1, find(records, "startup", "panel", "panel")),
        halo_bar(records),
        out_of_core_bar(records),
        *gpu_bars(records),
    ]
    return found


def gpu_bars(records: Records) -> list[Bar]:
    """Aims for a device of the class of an H200."""
    seconds = find(records, "gpu", "passes", "our kernels, float32", "seconds")
    rate = None if seconds is None else math.prod(records["gpu"]["shape"]) / seconds
    sizes = find(records, "gpu", "sizes") or []
    # The first row of a shape has the default's layers.
    largest = next((row["seconds"] for row in sizes if tuple(row["shape"]) == (512, 512, 512)), None)
    text = "" if rate is None else f"{rate / 1e6:.0f} million"
    found = find(records, "gpu", "passes", "our kernels, float32", "times_as_fast")
    return [
        at_least("on a GPU: LUCYD's pass over 64×256×256", 10, found),
        Bar("on a GPU: voxels a second", "≥ 500 million", text, None if rate is None else rate >= 5e8),
        at_most("on a GPU: `deconvolve` of 512³", 0.5, largest),
        at_most(
            "on a GPU: preview of 128×128 pixels", 0.05, find(records, "gpu", "views", "known image", "exact")
        ),
    ]


def halo_bar(records: Records) -> Bar:
    """Both numbers have to be kept by one and the same run."""
    what, aim = "512³: work with halos over the bare volume's, and peak memory", "≤ 1.25×, ≤ 2 GiB"
    runs = find(records, "halo", "runs")
    if not runs:
        return Bar(what, aim, "", None)
    limit = records["halo"]["limit_bytes"]
    texts = [f"{run['work_ratio']:.2f}×, {memory(run['bytes'])}" for run in runs]
    reached = any(run["work_ratio"] <= 1.25 and run["bytes"] <= limit for run in runs)
    return Bar(what, aim, " or ".join(texts), reached)


def duration(seconds: float) -> str:
    """With a unit that fits."""
    if seconds < 0.1:
        return f"{1000 * seconds:.3g} ms"
    return f"{seconds:.3g} s"


def memory(count: float) -> str:
    """With a unit that fits."""
    return f"{count / GIB:.2f} GiB" if count >= GIB else f"{count / MIB:.0f} MiB"


def size(shape: Sequence[int]) -> str:
    """E.g. ``"64×256×256"``."""
    return record.shape_text(shape)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(line) + " |" for line in lines] + [""]


def picture(name: str, text: str, options: argparse.Namespace) -> list[str]:
    """A link to a plot, where plots are made."""
    if not options.plots:
        return []
    path = Path(os.path.relpath(options.images / f"bench-{name}.png", options.page.parent)).as_posix()
    return [f"![{text}]({path})", ""]


def made_on(machine: dict[str, Any]) -> str:
    """A machine in a line."""
    versions = ", ".join(
        f"{name} {machine[name]}" for name in ("python", "torch", "numpy", "llvmlite") if machine.get(name)
    )
    cores = f"{machine['cores']} core{'s' if machine['cores'] != 1 else ''}"
    return (
        f"{machine['processor']}, {cores}, {machine['memory_gib']} GiB; {machine['system']}; {versions}; "
        f"commit `{machine['commit']}`, {machine['date']}"
    )


def section(records: Records, name: str, title: str, text: str) -> list[str]:
    """A heading, what is measured, and the machine where it is not that of the page."""
    lines = [f"## {title}", "", text, ""]
    if name not in records:
        return [*lines, f"*Not measured yet: `python benchmarks/{name}.py`.*", ""]
    own, first = records[name]["machine"], next(iter(records.values()))["machine"]
    if any(own[key] != first[key] for key in ("processor", "cores", "commit", "torch")):
        lines += [f"*On {made_on(own)}.*", ""]
    return lines


def head(records: Records) -> list[str]:
    """Title, machine and how to read the numbers."""
    lines = ["# Benchmarks", ""]
    if any(entry["quick"] for entry in records.values()):
        lines += ["**These are the numbers of a smoke run, on tiny sizes: they mean nothing.**", ""]
    lines += [
        "Made by `make bench`; each part is a script in `benchmarks/` and a JSON file in `docs/benchmarks/`. "
        "Times are wall times, medians of repeats in which the candidates take turns; *times as fast* is the median "
        "of the ratios of turns that stood beside each other, so that what else a machine does meets both. Memory "
        "is the rise of a process's peak. A commit with a `+` had changes that were not committed.",
        "",
    ]
    if records:
        lines += [f"Machine: {made_on(next(iter(records.values()))['machine'])}.", ""]
    return lines


def aims(records: Records) -> list[str]:
    """The bars, reached or not."""
    words = {True: "yes", False: "**no**", None: "not measured"}
    rows = [(bar.what, bar.aim, bar.measured or "–", words[bar.reached]) for bar in bars(records)]
    return ["## What was aimed at", "", *table(("", "aim", "measured", "reached"), rows)]


def forward(records: Records, options: argparse.Namespace) -> list[str]:
    """Ways to compute the network."""
    text = (
        "Against PyTorch's plain pass: eager, contiguous, float32, its batch norms not folded, on as many threads. "
        "*Memory kept*: with glibc's malloc told to keep what is freed. `deconvolve` is the whole run with borders, "
        "statistics and denormalisation. ONNX Runtime and OpenVINO are given the network with its batch norms folded."
    )
    lines = section(records, "forward", "One pass of LUCYD on the processor", text)
    if "forward" not in records:
        return lines
    found = records["forward"]
    lines += picture(
        "forward", "How many times as fast as plain PyTorch each way to compute LUCYD is", options
    )
    rows = [
        (name, duration(row["seconds"]), f"{row['times_as_fast']:.1f}", f"{row['deviation']:.0e}")
        for name, row in found["passes"].items()
    ]
    where = f"{size(found['shape'])}, {found['threads']} threads"
    lines += table((where, "time", "times as fast", "deviation, of the range"), rows)
    absent = [name for name, installed in found["versions"].items() if installed is None]
    present = [f"{name} {installed}" for name, installed in found["versions"].items() if installed]
    if present:
        lines += [f"With {', '.join(present)}.", ""]
    if absent:
        lines += [f"Not installed, and so not measured: {', '.join(absent)}.", ""]
    return lines


def roofline(records: Records, options: argparse.Namespace) -> list[str]:
    """Share of the machine's peak rates."""
    text = (
        "The peaks are measured: the best float32 matrix product, and the best copy. *Layer traffic* is what would "
        "go to memory and back if every layer read and wrote there; kernels that keep planes in cache move less, so "
        "their share of it may exceed 1."
    )
    lines = section(records, "roofline", "Share of what the machine can do", text)
    if "roofline" not in records:
        return lines
    found = records["roofline"]
    peak, copied = found["matrix_operations_per_second"], found["memory_bytes_per_second"]
    lines += picture("roofline", "Rates of LUCYD's passes below the measured roofline", options)
    lines += [
        f"Matrix product: {peak / 1e9:.0f} billion operations a second. Memory: {copied / 1e9:.1f} GB/s. LUCYD takes "
        f"{found['operations_per_voxel']:,.0f} operations and {found['layer_bytes_per_voxel']:,.0f} bytes of layer "
        "traffic for each voxel.",
        "",
    ]
    rows = [
        (
            name,
            duration(row["seconds"]),
            f"{row['operations_per_second'] / 1e9:.1f}",
            f"{row['operations_per_second'] / peak:.0%}",
            f"{row['layer_bytes_per_second'] / copied:.0%}",
        )
        for name, row in found["passes"].items()
    ]
    columns = ("time", "10⁹ operations a second", "of the matrix rate", "layer traffic, of the memory rate")
    return lines + table((f"pass over {size(found['shape'])}", *columns), rows)


def costs(found: dict[str, dict[str, Any]], what: str) -> list[str]:
    """A table of costs, with deviations where they are known."""
    known = any("deviation" in row for row in found.values())
    rows = []
    for name, row in found.items():
        cells = [name, duration(row["seconds"]), f"{row['cost']:.3g}"]
        rows.append([*cells, f"{row['deviation']:.0e}"] if known else cells)
    columns = ("time", "s for 10⁶ voxels", *(("deviation, of the range",) if known else ()))
    return table((what, *columns), rows)


def throughput(records: Records, options: argparse.Namespace) -> list[str]:
    """Cost over everything that may change it."""
    text = "Seconds that `deconvolve` takes for a million voxels of the image, whatever its halos add."
    lines = section(records, "throughput", "Throughput", text)
    if "throughput" not in records:
        return lines
    found = records["throughput"]
    lines += picture("throughput", "Cost of a voxel over size, threads, tiles and halos", options)
    rows = [(size(row["shape"]), duration(row["seconds"]), f"{row['cost']:.3g}") for row in found["sizes"]]
    lines += table(("size", "time", "s for 10⁶ voxels"), rows)
    large = [row["cost"] for row in found["sizes"] if row["voxels"] >= 2**22]
    if len(large) > 1:
        lines += [
            f"From 64×256×256 on, the highest cost is {max(large) / min(large):.2f} times the lowest.",
            "",
        ]
    where = f" of {size(found['shape'])}"
    for key, what in (
        ("tiles", "tile" + where),
        ("halos", "halo, in tiles" + where),
        ("thread_counts", "threads"),
        ("precisions", "one pass, precision"),
        ("types", "type of the image"),
        ("devices", "device"),
    ):
        lines += costs(found[key], what)
    return lines


def estimates(records: Records, options: argparse.Namespace) -> list[str]:
    """What the panel says, and what is."""
    text = (
        "What the panel says above Run, and what the run then takes; each in a fresh process. The input does not count "
        "for memory. The time is promised within a factor of two, the memory as an upper bound."
    )
    lines = section(records, "estimates", "Memory over size, and the panel's estimates", text)
    if "estimates" not in records:
        return lines
    runs = records["estimates"]["runs"]
    lines += picture("estimates", "Peak memory over size, and estimated against measured times", options)
    rows = [
        (
            f"{run['method']}, {size(run['shape'])}",
            run["work"],
            duration(run["estimated_seconds"]),
            duration(run["seconds"]),
            memory(run["estimated_bytes"]),
            memory(run["bytes"]),
            f"{run['bytes'] / run['voxels']:.0f}",
        )
        for run in runs
    ]
    columns = ("work", "time said", "time taken", "memory said", "memory taken", "bytes a voxel")
    lines += table(("", *columns), rows)
    close = sum(0.5 <= run["estimated_seconds"] / run["seconds"] <= 2 for run in runs)
    enough = sum(run["bytes"] <= run["estimated_bytes"] for run in runs)
    lines += [
        f"Time within a factor of two, on this processor: {close} of {len(runs)}. No more memory than said: {enough} of {len(runs)}.",
        "",
    ]
    return lines


def out_of_core_bar(records: Records) -> Bar:
    """Of the largest image."""
    what, rows = (
        "1024³ through the command line, OME-Zarr to OME-Zarr: peak memory",
        find(records, "out_of_core", "rows"),
    )
    if not rows:
        return Bar(what, "≤ 3 GiB", "", None)
    peak = rows[-1]["peak"]
    return Bar(what, "≤ 3 GiB", memory(peak), peak <= records["out_of_core"]["bar_bytes"])


def out_of_core(records: Records, options: argparse.Namespace) -> list[str]:
    """Images larger than memory."""
    text = (
        "`lucyd deconvolve IN.ome.zarr -o OUT.ome.zarr` on the processor, in a process of its own: reading, statistics, "
        "the network, writing, lower resolutions. Memory is the whole process's peak."
    )
    lines = section(records, "out_of_core", "Images larger than memory", text)
    rows = [
        (
            size(row["shape"]),
            memory(row["peak"]),
            duration(row["seconds"]),
            f"{row['ns_per_voxel'] / 1000:.3g}",
        )
        for row in find(records, "out_of_core", "rows") or []
    ]
    return lines + table(("image", "peak memory", "time", "s for 10⁶ voxels"), rows) if rows else lines


def halo(records: Records, options: argparse.Namespace) -> list[str]:
    """A large volume."""
    text = (
        "*Work* is that of the network's layers for all blocks, over that for the bare volume. Memory is the rise of "
        "the peak, the input not counted; the float32 result is."
    )
    lines = section(records, "halo", "Halos of a large volume", text)
    if "halo" not in records:
        return lines
    rows = [
        (
            run["tiles"],
            run["work"],
            f"{run['work_ratio']:.2f}",
            memory(run["estimated_bytes"]),
            memory(run["bytes"]),
            memory(max(0, run["bytes_without_result"])),
            duration(run["seconds"]),
            f"{run['cost']:.3g}",
        )
        for run in records["halo"]["runs"]
    ]
    columns = ("tiles", "work", "memory said", "taken", "without the result", "time", "s for 10⁶ voxels")
    return lines + table((f"{size(records['halo']['shape'])}, tiles", *columns), rows)


def host(records: Records, options: argparse.Namespace) -> list[str]:
    """What there is to do besides the network."""
    text = (
        "What `deconvolve` has the processor do besides the network, which a GPU waits for: to measure the image (percentiles, extremes, what is not "
        "finite), to read blocks with halos, continued by reflection, and to store an output. Numpy's percentiles are of the whole at once; its reading is `numpy.pad`, and copies out of that."
    )
    lines = section(records, "host", "Besides the network", text)
    if "host" not in records:
        return lines
    found = records["host"]
    jobs = {f"measuring {name}": row for name, row in found["measuring"].items()}
    jobs |= {f"reading, tiles of {size(found['tile'])}": found["reading"], "storing": found["storing"]}
    rows = []
    for name, row in jobs.items():
        cost, ahead = 1e9 * row["ours"] / found["voxels"], row["numpy"] / row["ours"]
        rows.append([name, duration(row["ours"]), f"{cost:.1f}", duration(row["numpy"]), f"{ahead:.1f}"])
    where = f"{size(found['shape'])}, {found['threads']} threads"
    return lines + table((where, "time", "ns for a voxel", "numpy", "times as fast"), rows)


def preview(records: Records, options: argparse.Namespace) -> list[str]:
    """Latency of the preview."""
    text = (
        "From the request for a patch to its first pixels, and to all exact ones. The range of intensities of a *known "
        "image* was measured before. In the first view of a process the kernels are compiled."
    )
    lines = section(records, "preview", "Preview", text)
    if "preview" not in records:
        return lines
    found = records["preview"]
    rows = [(name, duration(row["first"]), duration(row["exact"])) for name, row in found["views"].items()]
    where = f"{found['patch']}×{found['patch']} of {size(found['shape'])}, {found['threads']} threads"
    return lines + table((where, "first pixels", "all exact"), rows)


def training(records: Records, options: argparse.Namespace) -> list[str]:
    """The training step."""
    text = (
        "A step of `lucyd train configs/mixture.toml`, and of one with the smaller batch of `configs/nuclei.toml`, against the same "
        "step in plain PyTorch: eager, contiguous, Adam, clipped gradients. Ours averages the weights besides; its convolutions "
        "are compiled for the processor ([decision 0013](decisions/0013-training-kernels.md))."
    )
    lines = section(records, "training_step", "Training step", text)
    if "training_step" not in records:
        return lines
    found = records["training_step"]
    if found["not_compiled"]:
        lines += [f"The compiled step was not measured: {found['not_compiled']}.", ""]
    for measured in found["batches"]:
        rows = [
            (name, duration(row["seconds"]), f"{row['times_as_fast']:.2f}")
            for name, row in measured["steps"].items()
        ]
        where = f"batch of {size(measured['batch'])}, {found['threads']} threads"
        lines += table((where, "time", "times as fast"), rows)
    kinds = ("forward", "gradient by the input", "gradient by the weights")
    pairs = [(kind, whose) for kind in kinds for whose in ("torch", "ours")]
    rows = [
        (
            f"{layer['inputs']} → {layer['outputs']}, {size(layer['shape'])}",
            *(duration(layer[kind][whose]) for kind, whose in pairs),
        )
        for layer in found["convolutions"]
    ]
    head = ("channels, voxels", *(f"{kind}: {whose}" for kind, whose in pairs))
    return lines + table(head, rows) if rows else lines


def startup(records: Records, options: argparse.Namespace) -> list[str]:
    """Imports and windows."""
    text = (
        "Each in a fresh process. The panel is opened in a napari window that is there already; its first estimate waits "
        "for torch."
    )
    lines = section(records, "startup", "Start-up", text)
    if "startup" not in records:
        return lines
    found = records["startup"]
    rows = [(f"`import {name}`", duration(taken)) for name, taken in found["imports"].items()]
    rows += [
        (f"`{name}`, Python's start included", duration(taken)) for name, taken in found["commands"].items()
    ]
    for name, text in (("panel", "panel open"), ("estimate", "panel's first estimate")):
        taken = find(records, "startup", "panel", name)
        rows.append((text, "not measured, for there was no display" if taken is None else duration(taken)))
    rows += [(f"first result: {name}", duration(taken)) for name, taken in found["first"].items()]
    return lines + table(("", "time"), rows)


def rivals(records: Records, options: argparse.Namespace) -> list[str]:
    """LUCYD against classical methods."""
    text = (
        "On one volume in one run. The classical methods are given the true PSF, LUCYD is given none. The PSNR is that "
        "of one phantom with one blur and one noise, and no judgement of any method: see [results](results.md) for that."
    )
    lines = section(records, "rivals", "What one would pick instead", text)
    if "rivals" not in records:
        return lines
    found = records["rivals"]
    lines += picture("rivals", "Seconds and PSNR of LUCYD and of Richardson-Lucy by three packages", options)
    rows = [
        (
            name,
            duration(row["seconds"]),
            f"{row['lucyd_times_as_fast']:.2g}",
            f"{row['psnr']:.2f}",
            "–" if row["bytes"] is None else memory(row["bytes"]),
        )
        for name, row in found["methods"].items()
    ]
    where = f"{size(found['shape'])}, {found['threads']} threads"
    lines += table((where, "time", "of LUCYD's time", "PSNR, dB", "peak memory"), rows)
    present = [f"{name} {installed}" for name, installed in found["versions"].items() if installed]
    lines += [f"The image itself has {found['input_psnr']:.2f} dB. With {', '.join(present)}.", ""]
    if found["not_installed"]:
        lines += [f"Not installed, and so not measured: {', '.join(found['not_installed'])}.", ""]
    return lines


def gpu(records: Records, options: argparse.Namespace) -> list[str]:
    """The GPU, and its tests."""
    title = "GPU"
    if "gpu" not in records:
        return [
            f"## {title}",
            "",
            "Not measured yet: no machine with a CUDA device has been at hand, and the tests that need one have been "
            "skipped so far. `make bench-gpu` runs both where there is one.",
            "",
        ]
    found = records["gpu"]
    tests = found["tests"]
    lines = [
        f"## {title}",
        "",
        f"{found['device']}; CUDA {found['cuda'] or 'is missing'}; {made_on(found['machine'])}.",
        "",
        f"Tests that need a GPU, with commit `{found['machine']['commit']}`: {tests['passed']} passed, "
        f"{tests['failed']} failed, {tests['skipped']} skipped.",
        "",
    ]
    rows = [
        (name, duration(row["seconds"]), f"{row['times_as_fast']:.1f}", f"{row['deviation']:.0e}")
        for name, row in found["passes"].items()
    ]
    lines += table((f"pass over {size(found['shape'])}", "time", "times as fast", "deviation"), rows)
    fastest = math.prod(found["shape"]) / min(row["seconds"] for row in found["passes"].values())
    lines += [f"The fastest does {fastest / 1e6:.0f} million voxels a second.", ""]
    rows = [
        (
            size(row["shape"]),
            f"{row['layers']}",
            row["work"],
            duration(row["estimated_seconds"]),
            duration(row["first_seconds"]),
            duration(row["seconds"]),
            f"{row['cost']:.3g}",
            memory(row["device_bytes"]),
        )
        for row in found["sizes"]
    ]
    columns = (
        "layers",
        "work",
        "time said",
        "first run",
        "next runs",
        "s for 10⁶ voxels",
        "memory of the GPU",
    )
    lines += table(("`deconvolve`", *columns), rows)
    rows = [
        (name, duration(row["seconds"]), f"{row['times_as_fast']:.2f}")
        for name, row in found["launching"].items()
    ]
    lines += table(("`deconvolve` in 32 tiles", "time", "times as fast"), rows)
    rows = [(name, duration(row["first"]), duration(row["exact"])) for name, row in found["views"].items()]
    lines += table(("preview", "first pixels", "all exact"), rows)
    rows = [
        (name, duration(row["seconds"]), f"{row['times_as_fast']:.2f}")
        for name, row in found["steps"].items()
    ]
    return lines + table(("training step", "time", "times as fast"), rows)


SECTIONS = (
    forward,
    roofline,
    rivals,
    throughput,
    estimates,
    halo,
    out_of_core,
    host,
    preview,
    training,
    startup,
    gpu,
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Draw the plots and write the page."""
    parser = record.parser(__doc__)
    parser.add_argument("--no-plots", dest="plots", action="store_false")
    options = parser.parse_args(arguments)
    folder = options.output or (record.SMOKE if options.quick else record.RECORDS)
    # In docs/ the page lies beside the folder of its records, and its pictures with all others.
    options.page = folder.with_suffix(".md")
    options.images = folder.parent / "images"
    records = load(folder)
    if options.plots:
        import plots

        plots.draw(records, options.images)
    lines = head(records) + aims(records)
    for part in SECTIONS:
        lines += part(records, options)
    options.page.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")
    missed = [bar.what for bar in bars(records) if bar.reached is not True]
    print(f"page: {len(records)} records; aims not reached or not measured: {'; '.join(missed) or 'none'}")


if __name__ == "__main__":
    main()
