"""Write docs/benchmarks.md and its plots from the records in docs/benchmarks/.

    python benchmarks/page.py [--quick] [--no-plots]

This measures nothing; a missing record is shown as not measured. Plots need matplotlib. With --quick the page
is made from the records of smoke runs and is written next to their folder.

Records of another processor are in a folder of their own, ``docs/benchmarks/NAME`` (``--output`` of each
benchmark). Only the table of the aims shows them.
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

from napari_lucyd.text import percent_text

NAMES = (
    "startup",
    "roofline",
    "forward",
    "other_networks",
    "throughput",
    "small_volumes",
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
GB, MB = 1e9, 1e6
# Limits of memory in bytes, where there is no record.
HALO_LIMIT, OUT_OF_CORE_LIMIT = 2 * 2**30, 3 * 2**30


class Bar(NamedTuple):
    """An aim and its measurement; `reached` is None if it was not measured."""

    what: str
    aim: str
    measured: str
    reached: bool | None


def load(folder: Path) -> Records:
    """Load the existing records by name."""
    paths = {name: folder / f"{name}.json" for name in NAMES}
    return {name: json.loads(path.read_text("utf-8")) for name, path in paths.items() if path.is_file()}


def at_least(what: str, aim: float, value: float | None) -> Bar:
    """Compare a speed ratio with its lower limit."""
    reached = None if value is None else value >= aim
    return Bar(what, f"≥ {aim:g}×", "" if value is None else f"{value:.2g}×", reached)


def at_most(what: str, aim: float, value: float | None) -> Bar:
    """Compare a time in seconds with its upper limit."""
    reached = None if value is None else value <= aim
    return Bar(what, f"≤ {duration(aim)}", "" if value is None else duration(value), reached)


def load_others(folder: Path) -> list[Records]:
    """Load the records of other processors, by the names of their folders."""
    found = [load(path) for path in sorted(folder.glob("*")) if path.is_dir()]
    return [records for records in found if records]


def find(records: Any, *keys: str) -> Any:
    """Return an entry of a record, or None if a key is missing."""
    found: Any = records
    for key in keys:
        if not isinstance(found, dict) or key not in found:
            return None
        found = found[key]
    return found


def bars(records: Records) -> list[Bar]:
    """Return all aims in the order of the page."""
    passes, views = ("forward", "passes"), ("preview", "views")
    fast = "times_as_fast"
    found = [
        at_least("LUCYD's pass over 64×256×256", 9, find(records, *passes, "compiled kernels", fast)),
        at_least("complete `deconvolve` of 64×256×256", 2, find(records, *passes, "deconvolve", fast)),
        at_least(
            "the same, borders repeated in the network",
            6,
            find(records, *passes, "deconvolve, borders repeated", fast),
        ),
        at_least(
            "`deconvolve` of 64×256×256 by `lucyd`, told a PSF of 15³, noise 3 %",
            1,
            find(records, *passes, "deconvolve by lucyd, told a PSF of 15³, noise 3 %", fast),
        ),
        thin_bar(records),
    ]
    for image in ("known image", "new image"):
        text = "preview of 128×128 pixels of a " + image
        found.append(at_most(f"{text}: first pixels", 0.3, find(records, *views, image, "first")))
        found.append(at_most(f"{text}: all exact", 0.1, find(records, *views, image, "exact")))
    found.append(
        at_most(
            "preview of a whole plane of 64×256×256: all exact",
            0.5,
            find(records, *views, "whole plane", "exact"),
        )
    )
    small = (find(records, "small_volumes", "volumes") or [{}])[0]
    for key, how in (("calls", "each a call of `deconvolve`"), ("series", "in one series")):
        found.append(at_most(f"1,500 volumes of 8×16×16 with `nuclei`, {how}: each", 0.005, small.get(key)))
    for measured in find(records, "training_step", "batches") or [None]:
        text = f"training step, batch of {measured['batch'][0]}" if measured else "training step"
        found.append(at_least(text, 1.5, find(measured, "steps", "ours", fast)))
    found += [
        at_most("`import napari_lucyd`", 0.05, find(records, "startup", "imports", "napari_lucyd")),
        at_most("the panel is open", 1, find(records, "startup", "panel", "panel")),
        *rival_bars(records),
        halo_bar(records),
        out_of_core_bar(records),
        *gpu_bars(records),
    ]
    return found


def thin_bar(records: Records) -> Bar:
    """Compare the cost of a voxel of a thin stack with that of a thick one, borders repeated."""
    found = find(records, "throughput", "thickness") or {}
    costs = [row["cost"] for name, row in found.items() if name.endswith("repeated")]
    ratio = costs[1] / costs[0] if len(costs) == 2 else None
    measured = "" if ratio is None else f"{ratio:.2f}×"
    what = "a voxel of 16×1024×1024, relative to one of 64×512×512, borders repeated"
    return Bar(what, "≤ 1.3×", measured, None if ratio is None else ratio <= 1.3)


def rival_bars(records: Records) -> list[Bar]:
    """Compare Richardson-Lucy and LUCYD with the alternatives of a user."""
    methods = ("rivals", "methods")
    twenty = "Richardson-Lucy, 20 iterations, scikit-image"
    ten = "Richardson-Lucy, 10 iterations, RedLionfish"
    return [
        at_least(f"{ten}: ours, relative to it", 1.5, find(records, "rivals", "redlionfish_ratio")),
        at_least(
            f"the network alone, relative to {twenty}",
            10,
            find(records, *methods, twenty, "network_times_as_fast"),
        ),
        at_least(
            f"the network alone, relative to {ten}", 1, find(records, *methods, ten, "network_times_as_fast")
        ),
        at_least(
            f"`lucyd`, told the PSF, relative to {twenty}",
            2,
            find(records, *methods, twenty, "lucyd_times_as_fast"),
        ),
    ]


def gpu_bars(records: Records) -> list[Bar]:
    """Return the aims for a GPU like the H200."""
    seconds = find(records, "gpu", "passes", "our kernels, float32", "seconds")
    rate = None if seconds is None else math.prod(records["gpu"]["shape"]) / seconds
    sizes = find(records, "gpu", "sizes") or []
    # The first row of a shape has the default's layers.
    largest = next((row["seconds"] for row in sizes if tuple(row["shape"]) == (512, 512, 512)), None)
    text = "" if rate is None else f"{rate / 1e6:.0f} million"
    found = find(records, "gpu", "passes", "our kernels, float32", "times_as_fast")
    return [
        at_least("on a GPU: LUCYD's pass over 64×256×256", 10, found),
        at_least(
            "on a GPU: Richardson-Lucy, relative to two cores",
            20,
            find(records, "gpu", "richardson_lucy", "times_as_fast"),
        ),
        Bar("on a GPU: voxels per second", "≥ 1,000 million", text, None if rate is None else rate >= 1e9),
        at_most("on a GPU: `deconvolve` of 512³", 0.25, largest),
        at_most(
            "on a GPU: preview of 128×128 pixels", 0.05, find(records, "gpu", "views", "known image", "exact")
        ),
    ]


def halo_bar(records: Records) -> Bar:
    """Compare work and memory with their limits; one run must keep both."""
    what, runs = (
        "512³: work relative to the volume without halos, and peak memory",
        find(records, "halo", "runs"),
    )
    limit = find(records, "halo", "limit_bytes") or HALO_LIMIT
    aim = f"≤ 1.25×, ≤ {memory(limit)}"
    if not runs:
        return Bar(what, aim, "", None)
    texts = [f"{run['work_ratio']:.2f}×, {memory(run['bytes'])}" for run in runs]
    reached = any(run["work_ratio"] <= 1.25 and run["bytes"] <= limit for run in runs)
    return Bar(what, aim, " or ".join(texts), reached)


def duration(seconds: float) -> str:
    """Format seconds with a suitable unit."""
    if seconds < 0.1:
        return f"{1000 * seconds:.3g} ms"
    return f"{seconds:.3g} s"


def memory(count: float) -> str:
    """Format bytes with a suitable decimal unit."""
    return f"{count / GB:.2f} GB" if count >= GB else f"{count / MB:.0f} MB"


def size(shape: Sequence[int]) -> str:
    """Format a shape, such as ``"64×256×256"``."""
    return record.shape_text(shape)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Make a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(line) + " |" for line in lines] + [""]


def picture(name: str, text: str, options: argparse.Namespace) -> list[str]:
    """Make a link to a plot, if plots are drawn."""
    if not options.plots:
        return []
    path = Path(os.path.relpath(options.images / f"bench-{name}.png", options.page.parent)).as_posix()
    return [f"![{text}]({path})", ""]


def made_on(machine: dict[str, Any]) -> str:
    """Describe a machine in one line."""
    versions = ", ".join(
        f"{name} {machine[name]}" for name in ("python", "torch", "numpy", "llvmlite") if machine.get(name)
    )
    cores = f"{machine['cores']} core{'s' if machine['cores'] != 1 else ''}"
    return (
        f"{machine['processor']}, {cores}, {machine['memory_gb']} GB of memory; {machine['system']}; {versions}; "
        f"commit `{machine['commit']}`, {machine['date']}"
    )


def section(records: Records, name: str, title: str, text: str) -> list[str]:
    """Make a heading and its text, with the machine if it differs from that of the page."""
    lines = [f"## {title}", "", text, ""]
    if name not in records:
        return [*lines, f"*Not measured yet: `python benchmarks/{name}.py`.*", ""]
    own, first = records[name]["machine"], next(iter(records.values()))["machine"]
    if any(own[key] != first[key] for key in ("processor", "cores", "commit", "torch")):
        lines += [f"*Measured on {made_on(own)}.*", ""]
    return lines


def head(records: Records) -> list[str]:
    """Make the title and the explanation of the numbers."""
    lines = ["# Benchmarks", ""]
    if any(entry["quick"] for entry in records.values()):
        lines += ["**These numbers come from a smoke run on tiny sizes. They mean nothing.**", ""]
    lines += [
        "`make bench` makes this page. Each part has a script in `benchmarks/` and a JSON file in `docs/benchmarks/`.",
        "",
        "- **Times** are wall times: medians of repeats in which the candidates take turns.",
        "- **Speed** is relative to the first row: the median of the ratios of neighbouring turns, so that other work on "
        "the machine affects both. Above 1 is faster.",
        "- **Memory** is the increase of the process's peak. 1 GB is 10⁹ bytes.",
        "- **Deviation** is the largest difference from the first row, as a share of the range.",
        "- A **commit** with a `+` had uncommitted changes.",
        "",
    ]
    if records:
        lines += [f"Machine: {made_on(next(iter(records.values()))['machine'])}.", ""]
    return lines


def aims(records: Records, others: Sequence[Records]) -> list[str]:
    """Make the table of the aims, with a column for each other processor."""
    words = {True: "yes", False: "**no**", None: "not measured"}
    rows = [[bar.what, bar.aim, bar.measured or "–", words[bar.reached]] for bar in bars(records)]
    columns, machines = ["", "aim", "measured", "reached"], []
    for other in others:
        machine = next(iter(other.values()))["machine"]
        columns.append(name := f"on {machine['processor']}")
        machines += [f"*{name}*: {made_on(machine)}. Values that miss their aim are bold.", ""]
        found = {bar.what: bar for bar in bars(other) if bar.measured}
        for row in rows:
            bar = found.get(row[0])
            row.append("–" if bar is None else bar.measured if bar.reached else f"**{bar.measured}**")
    return ["## Aims", "", *table(columns, rows), *machines, *reasons(records)]


def reasons(records: Records) -> list[str]:
    """Say what keeps the pass on the processor, on which most of the other aims depend, from being faster."""
    rate = find(records, "roofline", "passes", "compiled kernels", "operations_per_second")
    most = find(records, "roofline", "matrix_operations_per_second")
    speed = find(records, "forward", "passes", "compiled kernels", "times_as_fast")
    if rate is None or most is None or speed is None:
        return []
    return [
        f"Counted as plain convolutions, the compiled pass does {percent_text(rate / most)} of the operations that this "
        f"processor can do in a matrix product ([below](#share-of-the-machines-peak-rates)), and is {speed:.1f} times as fast as "
        "PyTorch's. [Decision 0011](decisions/0011-cpu-kernels.md) has the routes beyond plain convolutions, with their "
        "evidence: Winograd's method, which is used, and bfloat16, which would change the results more than is allowed.",
        "",
        *bare_pass(records),
        "A preview restores a block around its pixels, because each exact pixel depends on up to 24 voxels in every "
        "direction. Small volumes take time for steps that do not depend on their size: checks, statistics, and the recipe. "
        "With borders repeated, two planes are added at each face of a stack, which is 1.25 times the work for 16 planes "
        "and 1.06 times for 64: this explains a factor of 1.18. On a processor without AVX-512, where a run "
        "takes 2.5 times as long, the measured factor is 1.21. So the rest appears only with the faster kernels; "
        "the memory traffic of larger planes is the likely cause.",
        "",
        *gpu_reasons(records),
    ]


def gpu_reasons(records: Records) -> list[str]:
    """Say what a run of 512³ on the GPU consists of."""
    seconds = find(records, "gpu", "passes", "our kernels, float32", "seconds")
    sizes, runs = find(records, "gpu", "sizes") or [], find(records, "halo", "runs")
    largest = next((row["seconds"] for row in sizes if tuple(row["shape"]) == (512, 512, 512)), None)
    if seconds is None or largest is None or not runs:
        return []
    ratio = runs[0]["work_ratio"]
    passes = seconds * 512**3 / math.prod(records["gpu"]["shape"]) * ratio
    return [
        f"On the GPU, the passes over 512³ voxels and their halos ({ratio:.2f} times the work) would take {duration(passes)} at the "
        f"rate of one pass; the run takes {duration(largest)}. The rest is the work of the CPU and the copies that the GPU waits for "
        f"([below](#besides-the-network)). The GPU was measured at commit `{records['gpu']['machine']['commit']}`; "
        "there was no GPU for later versions.",
        "",
    ]


def bare_pass(records: Records) -> list[str]:
    """Say how the network would compare with Richardson-Lucy if nothing but its pass took time."""
    own = find(records, "forward", "passes", "compiled kernels", "seconds")
    whole = find(records, "rivals", "methods", "the network alone", "seconds")
    other = find(records, "rivals", "methods", "Richardson-Lucy, 20 iterations, scikit-image", "seconds")
    if (
        own is None
        or whole is None
        or other is None
        or records["rivals"]["shape"] != records["forward"]["shape"]
    ):
        return []
    return [
        f"The network alone takes {duration(whole)}: {duration(own)} for its pass, and the rest for borders, statistics, "
        f"scaling and copies. The pass by itself is {other / own:.1f} times as fast as 20 iterations of scikit-image.",
        "",
    ]


def forward(records: Records, options: argparse.Namespace) -> list[str]:
    """Make the section on ways to compute the network."""
    text = (
        "*Plain* is PyTorch's pass: eager, contiguous, float32, without folded batch norms. All candidates have the same "
        "number of threads. *Memory kept* means that glibc's malloc keeps freed memory. `deconvolve` is the whole run "
        "with borders, statistics and normalization: extended by reflection, or with the outermost voxels repeated inside the "
        "network. ONNX Runtime and OpenVINO run the network with folded batch norms."
    )
    lines = section(records, "forward", "One pass of LUCYD on the CPU", text)
    if "forward" not in records:
        return lines
    found = records["forward"]
    lines += picture("forward", "Speed of the ways to compute LUCYD, relative to plain PyTorch", options)
    rows = [
        (
            name,
            duration(row["seconds"]),
            f"{row['times_as_fast']:.1f}",
            "" if row["deviation"] is None else f"{row['deviation']:.0e}",
        )
        for name, row in found["passes"].items()
    ]
    where = f"{size(found['shape'])}, {found['threads']} threads"
    lines += table((where, "time", "speed", "deviation"), rows)
    absent = [name for name, installed in found["versions"].items() if installed is None]
    present = [f"{name} {installed}" for name, installed in found["versions"].items() if installed]
    if present:
        lines += [f"With {', '.join(present)}.", ""]
    if absent:
        lines += [f"Not installed, so not measured: {', '.join(absent)}.", ""]
    return lines


def other_networks(records: Records, options: argparse.Namespace) -> list[str]:
    """Make the section on RLN and CARE."""
    text = (
        "*Plain* is PyTorch's pass, with batch norms. *As it is run* is CARE by the kernels that LLVM compiles, and RLN by "
        "PyTorch with its batch norms folded. *The middle of a block* is what a tile needs: the compiled kernels leave out "
        "what only its halo would need."
    )
    lines = section(records, "other_networks", "CARE and RLN on the CPU", text)
    if "other_networks" not in records:
        return lines
    found = records["other_networks"]
    rows = [
        (f"{title}, {way}", duration(row["seconds"]), f"{row['times_as_fast']:.1f}")
        for title, measured in found["networks"].items()
        for way, row in measured["ways"].items()
    ]
    lines += table((f"{size(found['shape'])}, {found['threads']} threads", "time", "speed"), rows)
    deviations = [f"{title} {one['deviation']:.0e}" for title, one in found["networks"].items()]
    return [*lines, f"Deviation of the output: {', '.join(deviations)}.", ""]


def roofline(records: Records, options: argparse.Namespace) -> list[str]:
    """Make the section on the share of the machine's peak rates."""
    text = (
        "The peaks are measured: the best float32 matrix product and the best copy. *Layer traffic* is the memory traffic "
        "if every layer reads from memory and writes to it. Kernels that keep planes in cache move less, so their share "
        "can exceed 100 %. Operations are those of plain convolutions. Winograd's method needs fewer, so that share can "
        "exceed 100 %, too."
    )
    lines = section(records, "roofline", "Share of the machine's peak rates", text)
    if "roofline" not in records:
        return lines
    found = records["roofline"]
    peak, copied = found["matrix_operations_per_second"], found["memory_bytes_per_second"]
    lines += picture("roofline", "Rates of LUCYD's passes below the measured roofline", options)
    lines += [
        f"Matrix product: {peak / 1e9:.0f} billion operations per second. Memory: {copied / 1e9:.1f} GB/s. LUCYD needs "
        f"{found['operations_per_voxel']:,.0f} operations and {found['layer_bytes_per_voxel']:,.0f} bytes of layer "
        "traffic per voxel.",
        "",
    ]
    rows = [
        (
            name,
            duration(row["seconds"]),
            f"{row['operations_per_second'] / 1e9:.1f}",
            percent_text(row["operations_per_second"] / peak),
            percent_text(row["layer_bytes_per_second"] / copied),
        )
        for name, row in found["passes"].items()
    ]
    columns = (
        "time",
        "10⁹ operations per second",
        "share of the matrix rate",
        "layer traffic, share of the memory rate",
    )
    return lines + table((f"pass over {size(found['shape'])}", *columns), rows)


def costs(found: dict[str, dict[str, Any]], what: str) -> list[str]:
    """Make a table of costs, with deviations if there are any."""
    known = any("deviation" in row for row in found.values())
    rows = []
    for name, row in found.items():
        cells = [name, duration(row["seconds"]), f"{row['cost']:.3g}"]
        rows.append([*cells, f"{row['deviation']:.0e}"] if known else cells)
    columns = ("time", "s per 10⁶ voxels", *(("deviation",) if known else ()))
    return table((what, *columns), rows)


def throughput(records: Records, options: argparse.Namespace) -> list[str]:
    """Make the section on the cost per voxel."""
    text = "Seconds of `deconvolve` per million voxels of the image, without its halos."
    lines = section(records, "throughput", "Throughput", text)
    if "throughput" not in records:
        return lines
    found = records["throughput"]
    lines += picture("throughput", "Cost of a voxel over size, threads, tiles and halos", options)
    rows = [(size(row["shape"]), duration(row["seconds"]), f"{row['cost']:.3g}") for row in found["sizes"]]
    lines += table(("size", "time", "s per 10⁶ voxels"), rows)
    large = [row["cost"] for row in found["sizes"] if row["voxels"] >= 2**22]
    if len(large) > 1:
        lines += [
            f"From 64×256×256 upwards, the highest cost is {max(large) / min(large):.2f} times the lowest.",
            "",
        ]
    where = f" of {size(found['shape'])}"
    for key, what in (
        ("thickness", "stacks of as many voxels"),
        ("tiles", "tile" + where),
        ("halos", "halo, in tiles" + where),
        ("thread_counts", "threads"),
        ("precisions", "precision of one pass"),
        ("types", "type of the image"),
        ("devices", "device"),
    ):
        if key in found:
            lines += costs(found[key], what)
    return lines


def small_volumes(records: Records, options: argparse.Namespace) -> list[str]:
    """Make the section on many small volumes."""
    text = (
        "Time for each of many small volumes: with a call of `deconvolve` for each, and with all in one series. "
        "The default, `lucyd`, also computes a first estimate of each."
    )
    lines = section(records, "small_volumes", "Many small volumes", text)
    if "small_volumes" not in records:
        return lines
    rows = [
        (f"`{row['model']}`", size(row["shape"]), duration(row["calls"]), duration(row["series"]))
        for row in records["small_volumes"]["volumes"]
    ]
    return lines + table(("model", "size", "a call for each", "one series"), rows)


def estimates(records: Records, options: argparse.Namespace) -> list[str]:
    """Make the section on the panel's estimates."""
    text = (
        "The panel's estimates above **Run**, and the measured run, each in a fresh process. The memory does not include "
        "the input. The estimate of time should be right within a factor of two. The estimate of memory is an upper limit."
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
    columns = ("work", "estimated time", "time", "estimated memory", "memory", "bytes per voxel")
    lines += table(("", *columns), rows)
    close = sum(0.5 <= run["estimated_seconds"] / run["seconds"] <= 2 for run in runs)
    enough = sum(run["bytes"] <= run["estimated_bytes"] for run in runs)
    lines += [
        f"Time within a factor of two on this CPU: {close} of {len(runs)}. Memory within the estimate: {enough} of {len(runs)}.",
        "",
    ]
    return lines


def out_of_core_bar(records: Records) -> Bar:
    """Compare the peak memory of the largest image with its limit."""
    what = "1024³ on the command line, OME-Zarr to OME-Zarr: peak memory"
    rows = find(records, "out_of_core", "rows")
    limit = find(records, "out_of_core", "bar_bytes") or OUT_OF_CORE_LIMIT
    aim = f"≤ {memory(limit)}"
    if not rows:
        return Bar(what, aim, "", None)
    peak = rows[-1]["peak"]
    return Bar(what, aim, memory(peak), peak <= limit)


def out_of_core(records: Records, options: argparse.Namespace) -> list[str]:
    """Make the section on images larger than memory."""
    text = (
        "`lucyd deconvolve IN.ome.zarr -o OUT.ome.zarr` on the CPU, in its own process. This includes reading, statistics, "
        "the network, writing and the lower resolutions. Memory is the peak of the whole process."
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
    return lines + table(("image", "peak memory", "time", "s per 10⁶ voxels"), rows) if rows else lines


def halo(records: Records, options: argparse.Namespace) -> list[str]:
    """Make the section on the halos of a large volume."""
    text = (
        "*Work ratio* is the work of the network's layers for all blocks, divided by that for the volume without halos. "
        "Memory is the increase of the peak. It includes the float32 result, but not the input."
    )
    lines = section(records, "halo", "Halos of a large volume", text)
    if "halo" not in records:
        return lines
    rows = [
        (
            f"tiles {run['tiles']}",
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
    columns = (
        "tiles",
        "work ratio",
        "estimated memory",
        "memory",
        "memory without the result",
        "time",
        "s per 10⁶ voxels",
    )
    return lines + table((f"{size(records['halo']['shape'])}", *columns), rows)


def host(records: Records, options: argparse.Namespace) -> list[str]:
    """Make the section on the work besides the network."""
    text = (
        "The work of the CPU in `deconvolve` besides the network; a GPU waits for it. The CPU measures the image (percentiles, extremes, voxels that are not "
        "finite), reads blocks with halos extended by reflection, and stores the output. Numpy computes the percentiles of the whole image, and reads by `numpy.pad` and copies from that."
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
    return lines + table((where, "time", "ns per voxel", "numpy", "speed relative to numpy"), rows)


def preview(records: Records, options: argparse.Namespace) -> list[str]:
    """Make the section on the latency of the preview."""
    text = (
        "Time from the request for a view to its first pixels, and to all exact ones. The intensity range of a *known "
        "image* was measured before; a *whole plane* is all of one, of a known image. The first view of a process also "
        "compiles the kernels."
    )
    lines = section(records, "preview", "Preview", text)
    if "preview" not in records:
        return lines
    found = records["preview"]
    rows = [(name, duration(row["first"]), duration(row["exact"])) for name, row in found["views"].items()]
    where = (
        f"patches of {found['patch']}×{found['patch']} of {size(found['shape'])}, {found['threads']} threads"
    )
    return lines + table((where, "first pixels", "all exact"), rows)


def training(records: Records, options: argparse.Namespace) -> list[str]:
    """Make the section on the training step."""
    text = (
        "A step of `lucyd train configs/mixture.toml`, and one with the smaller batch of `configs/nuclei.toml`. Both are compared "
        "with the same step in plain PyTorch: eager, contiguous, Adam, clipped gradients. Our step also averages the weights. Its "
        "convolutions are compiled for the CPU ([decision 0013](decisions/0013-training-kernels.md))."
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
        lines += table((where, "time", "speed"), rows)
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
    """Make the section on start-up."""
    text = (
        "Each time is measured in a fresh process. The panel opens in an existing napari window. Its first estimate waits "
        "for torch."
    )
    lines = section(records, "startup", "Start-up", text)
    if "startup" not in records:
        return lines
    found = records["startup"]
    rows = [(f"`import {name}`", duration(taken)) for name, taken in found["imports"].items()]
    rows += [
        (f"`{name}`, including Python's start", duration(taken)) for name, taken in found["commands"].items()
    ]
    for name, text in (("panel", "panel open"), ("estimate", "panel's first estimate")):
        taken = find(records, "startup", "panel", name)
        rows.append(
            (text, "not measured, because there was no display" if taken is None else duration(taken))
        )
    rows += [(f"first result: {name}", duration(taken)) for name, taken in found["first"].items()]
    return lines + table(("", "time"), rows)


def rivals(records: Records, options: argparse.Namespace) -> list[str]:
    """Make the section on LUCYD and classical methods."""
    text = (
        "All methods restore the same volume in the same run. The classical methods and `lucyd` receive the true PSF; "
        "*the network alone* is `general` straight on the image, with the borders of `lucyd`. Iterations are plain. "
        "The PSNR is for one phantom with one blur and one noise, so it does not rank the methods: see [results](results.md)."
    )
    lines = section(records, "rivals", "LUCYD and Richardson-Lucy", text)
    if "rivals" not in records:
        return lines
    found = records["rivals"]
    lines += picture("rivals", "Seconds and PSNR of LUCYD and of Richardson-Lucy by three packages", options)
    rows = [
        (
            name,
            duration(row["seconds"]),
            f"{row['network_times_as_fast']:.2g}",
            f"{row['lucyd_times_as_fast']:.2g}",
            f"{row['psnr']:.2f}",
            "–" if row["bytes"] is None else memory(row["bytes"]),
        )
        for name, row in found["methods"].items()
    ]
    where = f"{size(found['shape'])}, {found['threads']} threads"
    columns = ("time", "relative to the network", "relative to `lucyd`", "PSNR, dB", "peak memory")
    lines += table((where, *columns), rows)
    present = [f"{name} {installed}" for name, installed in found["versions"].items() if installed]
    lines += [f"PSNR of the image itself: {found['input_psnr']:.2f} dB. With {', '.join(present)}.", ""]
    if found["not_installed"]:
        lines += [f"Not installed, so not measured: {', '.join(found['not_installed'])}.", ""]
    return lines


def gpu(records: Records, options: argparse.Namespace) -> list[str]:
    """Make the section on the GPU and its tests."""
    title = "GPU"
    if "gpu" not in records:
        return [
            f"## {title}",
            "",
            "Not measured yet, because no machine with a CUDA device was available. The tests that need one were skipped. "
            "`make bench-gpu` runs both.",
            "",
        ]
    found = records["gpu"]
    tests = found["tests"]
    lines = [
        f"## {title}",
        "",
        f"{found['device']}; CUDA {found['cuda'] or 'is missing'}; {made_on(found['machine'])}.",
        "",
        f"Tests that need a GPU, at commit `{found['machine']['commit']}`: {tests['passed']} passed, "
        f"{tests['failed']} failed, {tests['skipped']} skipped.",
        "",
    ]
    rows = [
        (name, duration(row["seconds"]), f"{row['times_as_fast']:.1f}", f"{row['deviation']:.0e}")
        for name, row in found["passes"].items()
    ]
    lines += table((f"pass over {size(found['shape'])}", "time", "speed", "deviation"), rows)
    fastest = math.prod(found["shape"]) / min(row["seconds"] for row in found["passes"].values())
    lines += [f"The fastest pass computes {fastest / 1e6:.0f} million voxels per second.", ""]
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
        "estimated time",
        "first run",
        "next runs",
        "s per 10⁶ voxels",
        "GPU memory",
    )
    lines += table(("`deconvolve`", *columns), rows)
    rows = [
        (name, duration(row["seconds"]), f"{row['times_as_fast']:.2f}")
        for name, row in found["launching"].items()
    ]
    lines += table(("`deconvolve` in 32 tiles", "time", "speed"), rows)
    rows = [(name, duration(row["first"]), duration(row["exact"])) for name, row in found["views"].items()]
    lines += table(("preview", "first pixels", "all exact"), rows)
    rows = [
        (name, duration(row["seconds"]), f"{row['times_as_fast']:.2f}")
        for name, row in found["steps"].items()
    ]
    lines += table(("training step", "time", "speed"), rows)
    if classical := found.get("richardson_lucy"):
        lines += [
            f"{classical['iterations']} plain iterations of Richardson-Lucy, {size(found['shape'])}, Gaussian PSF of 15³: "
            f"{duration(classical['seconds'])}, and {duration(classical['cpu_seconds'])} on {classical['threads']} threads "
            f"of the processor ({classical['times_as_fast']:.1f} times as fast).",
            "",
        ]
    return lines


SECTIONS = (
    forward,
    other_networks,
    roofline,
    rivals,
    throughput,
    small_volumes,
    estimates,
    halo,
    out_of_core,
    host,
    preview,
    training,
    startup,
    gpu,
)


def render(records: Records, others: Sequence[Records], options: argparse.Namespace) -> str:
    """Make the page from the records, and those of other processors."""
    lines = head(records) + aims(records, others)
    for part in SECTIONS:
        lines += part(records, options)
    return "\n".join(lines).rstrip() + "\n"


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
    options.page.write_text(render(records, load_others(folder), options), encoding="utf-8")
    missed = [bar.what for bar in bars(records) if bar.reached is not True]
    print(f"page: {len(records)} records; aims not reached or not measured: {'; '.join(missed) or 'none'}")


if __name__ == "__main__":
    main()
