"""Shared parts of the benchmarks: options, interleaved turns, peak memory, and records for page.py."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).parents[1]
RECORDS = ROOT / "docs" / "benchmarks"
# The numbers of a smoke run must not replace measurements.
SMOKE = ROOT / "build" / "benchmarks"
MODEL = "general"


def repeating(model: Any) -> Any:
    """Return the model with the padding "replicate", for which volumes are extended by 2 voxels only."""
    from dataclasses import replace

    from napari_lucyd.models import Model
    from napari_lucyd.networks import LUCYD

    network = LUCYD(replace(model.network.config, padding="replicate")).eval()
    network.load_state_dict(model.network.state_dict())
    return Model.from_network(network, name=model.name, normalization=model.card["normalization"])


def parser(description: str | None) -> argparse.ArgumentParser:
    """Make the option parser of a benchmark, described by the first line of its docstring."""
    made = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    made.add_argument("--quick", action="store_true", help="use tiny sizes, to test the benchmark itself")
    made.add_argument("--output", type=Path, help="folder of the records")
    return made


def save(options: argparse.Namespace, name: str, measured: Mapping[str, Any]) -> Path:
    """Write a record with the machine, and print its path."""
    folder = options.output or (SMOKE if options.quick else RECORDS)
    folder.mkdir(parents=True, exist_ok=True)
    path: Path = folder / f"{name}.json"
    record = {"quick": options.quick, "machine": describe_machine(), **measured}
    path.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    shown = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
    print(f"{name}: wrote {shown}", flush=True)
    return path


def describe_machine() -> dict[str, Any]:
    """Describe CPU, memory, system, versions, commit and date, without names of people, hosts or folders."""
    return {
        "processor": processor(),
        "cores": cores(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "system": system(),
        "python": platform.python_version(),
        "torch": installed("torch"),
        "numpy": installed("numpy"),
        "llvmlite": installed("llvmlite"),
        "commit": commit(),
        "date": date.today().isoformat(),
    }


def processor() -> str:
    """Return the name of the CPU, and the width of its vectors if known."""
    try:
        text = Path("/proc/cpuinfo").read_text("utf-8")
    except OSError:
        return platform.processor() or platform.machine()
    lines = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    entries = {key.strip(): value.strip() for key, value in lines.items()}
    flags = entries.get("flags", "").split()
    vectors = next((name for flag, name in (("avx512f", "AVX-512"), ("avx2", "AVX2")) if flag in flags), "")
    name = entries.get("model name", platform.machine())
    return f"{name}, {vectors}" if vectors else name


def system() -> str:
    """Return the distribution, if there is one, and the kernel's version."""
    try:
        name = platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return platform.platform()
    return f"{name}, {platform.system()} {platform.release().partition('-')[0]}"


def installed(name: str) -> str | None:
    """Return the version of a package without importing it, or None if it is not installed."""
    try:
        return version(name).split("+")[0]
    except PackageNotFoundError:
        return None


def commit() -> str:
    """Return the commit, with ``+`` if the measured code has uncommitted changes.

    In a copy without history, the environment variable COMMIT gives it.
    """
    if told := os.environ.get("COMMIT"):
        return told
    try:
        found = _git("rev-parse", "--short=12", "HEAD")
        changed = _git("status", "--porcelain", "--", "src", "benchmarks")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{found}+" if changed else found


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def interleaved(candidates: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """Time candidates in turns, so that other work on the machine affects all of them.

    Each has one turn before that does not count, unless there is only one repeat.
    """
    if repeats > 1:
        for call in candidates.values():
            call()
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(repeats):
        for name, call in candidates.items():
            began = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - began)
    return seconds


def ratio(slow: Sequence[float], fast: Sequence[float]) -> float:
    """Return the speed ratio: the median over pairs of neighbouring turns."""
    return statistics.median(a / b for a, b in zip(slow, fast, strict=True))


def peak_bytes() -> int:
    """Return the peak memory of this process, since `forget_peak` if that was called."""
    try:
        # getrusage would start with the peak of the parent process.
        text = Path("/proc/self/status").read_text("utf-8")
    except OSError:
        import resource

        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("VmHWM")) * 1024


def forget_peak() -> int:
    """Reset the peak where the system allows it; return the current memory."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return peak_bytes()
    return psutil.Process().memory_info().rss


def in_fresh_process(script: str, *arguments: str) -> Any:
    """Run a benchmark's own script in a fresh process; return the JSON of its last line.

    Only a fresh process shows the peak memory of the work alone, and the time of a first import.
    """
    command = [sys.executable, script, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(arguments)} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def shape_text(shape: Sequence[int]) -> str:
    """Format a shape, such as ``"64×256×256"``."""
    return "×".join(map(str, shape))


def stack(shape: Sequence[int]) -> Any:
    """Make a random uint16 stack of any size; its values do not affect the time."""
    import numpy as np

    generator = np.random.default_rng(0)
    return generator.integers(100, 4000, size=tuple(shape), dtype=np.uint16)
