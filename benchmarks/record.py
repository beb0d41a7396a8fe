"""What all benchmarks share: their options, fair turns, peak memory, and the record that page.py reads."""

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
# What a smoke run gives is no measurement, and must not replace one.
SMOKE = ROOT / "build" / "benchmarks"
MODEL = "general"


def parser(description: str | None) -> argparse.ArgumentParser:
    """Options of every benchmark; the first line of its docstring says what it is about."""
    made = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    made.add_argument("--quick", action="store_true", help="tiny sizes: shows that it runs, measures nothing")
    made.add_argument("--output", type=Path, help="folder of the records")
    return made


def save(options: argparse.Namespace, name: str, measured: Mapping[str, Any]) -> Path:
    """Write a record with the machine, and say where it is."""
    folder = options.output or (SMOKE if options.quick else RECORDS)
    folder.mkdir(parents=True, exist_ok=True)
    path: Path = folder / f"{name}.json"
    record = {"quick": options.quick, "machine": describe_machine(), **measured}
    path.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    shown = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
    print(f"{name}: wrote {shown}", flush=True)
    return path


def describe_machine() -> dict[str, Any]:
    """Processor, memory, system, versions, commit and date; no names of people, hosts or folders."""
    return {
        "processor": processor(),
        "cores": cores(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": system(),
        "python": platform.python_version(),
        "torch": installed("torch"),
        "numpy": installed("numpy"),
        "llvmlite": installed("llvmlite"),
        "commit": commit(),
        "date": date.today().isoformat(),
    }


def processor() -> str:
    """The processor's name, and how wide its vectors are where that is told."""
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
    """The distribution where there is one, and the kernel's version."""
    try:
        name = platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return platform.platform()
    return f"{name}, {platform.system()} {platform.release().partition('-')[0]}"


def installed(name: str) -> str | None:
    """A distribution's version, without importing it; None where it is not installed."""
    try:
        return version(name).split("+")[0]
    except PackageNotFoundError:
        return None


def commit() -> str:
    """What is checked out; with ``+`` where the code that is measured has been changed since.

    On a machine that has a copy without its history, COMMIT in the environment says it.
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
    """Processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def interleaved(candidates: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """Seconds of each candidate, who take turns: whatever else the machine does meets all of them.

    Before that each has a turn that does not count, unless one is all that there are.
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
    """How many times as fast, by the median of turns that stood beside each other."""
    return statistics.median(a / b for a, b in zip(slow, fast, strict=True))


def peak_bytes() -> int:
    """The most memory that this process has had, or has had since `forget_peak`."""
    try:
        # Not what getrusage tells, for a process begins with the peak of its parent there.
        text = Path("/proc/self/status").read_text("utf-8")
    except OSError:
        import resource

        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("VmHWM")) * 1024


def forget_peak() -> int:
    """Begin anew to watch for the peak, where the system can do that; returns the memory at present."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return peak_bytes()
    return psutil.Process().memory_info().rss


def in_fresh_process(script: str, *arguments: str) -> Any:
    """What a benchmark's own script prints as JSON on its last line, run in a process of its own.

    Only there is the peak of memory that of the work alone, and an import the first one.
    """
    command = [sys.executable, script, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(arguments)} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def shape_text(shape: Sequence[int]) -> str:
    """E.g. ``"64×256×256"``."""
    return "×".join(map(str, shape))


def stack(shape: Sequence[int]) -> Any:
    """A stack of any size made on the fly, uint16: random, since no time depends on what is in it."""
    import numpy as np

    generator = np.random.default_rng(0)
    return generator.integers(100, 4000, size=tuple(shape), dtype=np.uint16)
