"""Benchmarks on a GPU, and the tests that need one.

    python benchmarks/gpu.py [--quick]

Measures a network pass in several precisions, `deconvolve` over size, blocks launched ahead, the preview, the
training step and Richardson-Lucy, and then runs ``pytest -m gpu``. Without a CUDA device it says so and keeps
the last record.
"""

from __future__ import annotations

import copy
import statistics
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import preview
import record
import rivals
import training_step

SIZES = ((64, 256, 256), (128, 512, 512), (512, 512, 512))


def waited(call: Callable[[], object], device: str) -> Callable[[], None]:
    """Wrap a call so that it returns only when the device is finished."""
    import torch

    def run() -> None:
        call()
        if device != "cpu":
            torch.cuda.synchronize()

    return run


def captured(network: Any, y: Any) -> Callable[[Any], Any]:
    """Capture the network for inputs like ``y`` as one CUDA graph; each result overwrites the last."""
    import torch

    given = y.clone()
    exact = torch.backends.cudnn.flags(enabled=True, allow_tf32=False)
    # A graph captures kernels only, so the first calls, which also set things up, run before.
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.inference_mode(), torch.cuda.stream(aside):
        for _ in range(3):
            network(given)
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with exact, torch.inference_mode(), torch.cuda.graph(graph):
        found = network(given)

    def run(y: Any) -> Any:
        given.copy_(y)
        graph.replay()
        return found

    return run


def passes(model: Any, device: str, shape: tuple[int, ...], repeats: int) -> dict[str, dict[str, float]]:
    """Measure one pass of the network in several precisions, and its deviation from the exact one."""
    import torch

    from napari_lucyd.inference.fusion import fold
    from napari_lucyd.inference.half_precision import in_half_precision
    from napari_lucyd.inference.lucyd.cuda import CudaLucyd, unsupported_reason

    plain, folded = model.network.to(device), fold(model.network).to(device)
    half = in_half_precision(model.network).to(device)
    contiguous = copy.deepcopy(half).to(memory_format=torch.contiguous_format)
    y = torch.rand(1, 1, *shape, device=device)
    outputs: dict[str, Any] = {}

    def call(name: str, network: Any, context: Callable[[], AbstractContextManager[Any]]) -> None:
        with torch.inference_mode(), context():
            outputs[name] = network(y).output.float()

    def precision(tf32: bool) -> Callable[[], AbstractContextManager[Any]]:
        return lambda: torch.backends.cudnn.flags(enabled=True, allow_tf32=tf32)

    choices = {
        "plain PyTorch, float32": (plain, precision(False)),
        "batch norms folded, float32": (folded, precision(False)),
        "batch norms folded, TensorFloat-32": (folded, precision(True)),
        "half precision": (contiguous, precision(False)),
        "half precision, channels last": (half, precision(False)),
    }
    if device != "cpu":
        others: dict[str, Callable[[Any], Any]] = {
            "batch norms folded, float32, CUDA graph": captured(folded, y),
            "half precision, channels last, CUDA graph": captured(half, y),
        }
        if unsupported_reason(device):
            print(f"gpu: our kernels are not measured: {unsupported_reason(device)}")
        else:
            others["our kernels, float32"] = CudaLucyd(model.network, torch.device(device))
        choices |= {name: (network, precision(False)) for name, network in others.items()}
    calls = {
        name: waited(lambda name=name, choice=choice: call(name, *choice), device)
        for name, choice in choices.items()
    }
    seconds = record.interleaved(calls, repeats)
    exact = outputs["plain PyTorch, float32"]
    span = float(exact.max() - exact.min())
    model.network.to("cpu")
    return {
        name: {
            "seconds": statistics.median(times),
            "times_as_fast": record.ratio(seconds["plain PyTorch, float32"], times),
            "deviation": float((outputs[name] - exact).abs().max()) / span,
        }
        for name, times in seconds.items()
    }


def over_size(
    model: Any, device: str, sizes: Sequence[tuple[int, ...]], repeats: int
) -> list[dict[str, Any]]:
    """Measure `deconvolve` over size: estimate, time and device memory, for all layers and for one.

    The first run of a size allocates memory that the next ones reuse.
    """
    from napari_lucyd.deconvolution.api import DEFAULT_OUTPUTS

    found = []
    for shape in sizes:
        volume = record.stack(shape)
        for outputs in (DEFAULT_OUTPUTS, ("output",)):
            runs = [one_run(model, device, volume, outputs) for _ in range(1 + repeats)]
            seconds = statistics.median(run["seconds"] for run in runs[1:])
            found.append(
                {
                    "shape": shape,
                    "layers": len(outputs),
                    "work": runs[0]["work"],
                    "estimated_seconds": runs[0]["estimated_seconds"],
                    "first_seconds": runs[0]["seconds"],
                    "seconds": seconds,
                    "cost": 1e6 * seconds / volume.size,
                    "device_bytes": runs[0]["device_bytes"],
                }
            )
    return found


def one_run(model: Any, device: str, volume: Any, outputs: Sequence[str]) -> dict[str, Any]:
    """Time a run from its plan to its result; the estimate is made before and does not count."""
    import torch

    from napari_lucyd.deconvolution import plan

    estimated = plan(volume, model, device=device, outputs=outputs).estimate_seconds()
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()
    began = time.perf_counter()
    job = plan(volume, model, device=device, outputs=outputs)
    for _ in job.steps():
        pass
    job.result()
    return {
        "seconds": time.perf_counter() - began,
        "work": job.work,
        "estimated_seconds": estimated,
        "device_bytes": 0 if device == "cpu" else torch.cuda.max_memory_allocated(),
    }


def launching(
    model: Any, device: str, shape: tuple[int, ...], repeats: int
) -> dict[str, dict[str, float | None]]:
    """Compare blocks that wait for the last one with blocks launched ahead, in `deconvolve`."""
    from unittest.mock import patch

    from napari_lucyd.deconvolution import deconvolve
    from napari_lucyd.deconvolution.learned import pipeline

    volume = record.stack(shape)
    tile = tuple(max(2, n // 4 if axis else n // 2) for axis, n in enumerate(shape))

    def call(kinds: tuple[str, ...]) -> None:
        with patch.object(pipeline, "LAUNCHES_AHEAD", kinds):
            deconvolve(volume, model, device=device, tile_shape=tile)

    kind = device.partition(":")[0]
    calls = {
        "one after another": lambda: call(()),
        "the next one launched ahead": lambda: call((kind,)),
    }
    seconds = record.interleaved(calls, repeats)
    return {
        name: {
            "seconds": statistics.median(times),
            "times_as_fast": record.ratio(seconds["one after another"], times),
        }
        for name, times in seconds.items()
    }


def steps(device: str, quick: bool) -> dict[str, dict[str, float]]:
    """Measure the training step without torch's compiler, which takes longer than it saves here."""
    from napari_lucyd.training import load_config
    from napari_lucyd.training.data import Patch

    config = load_config(training_step.CONFIG)
    if quick:
        small = replace(config.data, patch_shape=(8, 16, 16))
        config = replace(config, data=small, schedule=replace(config.schedule, batch_size=1))
    batch = Patch(*(tensor.to(device) for tensor in training_step.random_batch(config)))
    made = {
        "plain PyTorch": training_step.plain_step(config, device),
        "ours, not compiled": training_step.our_step(config, compiled=False, device=device),
    }
    calls = {name: waited(lambda step=step: step(batch), device) for name, step in made.items()}
    seconds = record.interleaved(calls, 1 if quick else 10)
    return {
        name: {
            "seconds": statistics.median(times),
            "times_as_fast": record.ratio(seconds["plain PyTorch"], times),
        }
        for name, times in seconds.items()
    }


def richardson_lucy(device: str, shape: tuple[int, ...], repeats: int) -> dict[str, float]:
    """Measure Richardson-Lucy on the device and on two threads of the processor, in turns."""
    import torch

    import napari_lucyd as nl

    scene, before, threads = rivals.make_scene(shape), torch.get_num_threads(), 2

    def run(where: str) -> None:
        nl.richardson_lucy(scene.image, scene.psf, num_iter=rivals.ITERATIONS[0], device=where)

    torch.set_num_threads(threads)
    try:
        calls = {"here": lambda: run(device), "processor": lambda: run("cpu")}
        seconds = record.interleaved(calls, repeats)
    finally:
        torch.set_num_threads(before)
    return {
        "iterations": rivals.ITERATIONS[0],
        "threads": threads,
        "seconds": statistics.median(seconds["here"]),
        "cpu_seconds": statistics.median(seconds["processor"]),
        "times_as_fast": record.ratio(seconds["processor"], seconds["here"]),
    }


def run_tests() -> dict[str, int]:
    """Run the tests marked ``gpu``; return the numbers that passed, failed and were skipped."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", f"--junitxml={report}"]
        subprocess.run(command, cwd=record.ROOT, check=False)
        suite = ET.parse(report).getroot().find("testsuite")
    if suite is None:
        raise RuntimeError("pytest wrote no report.")
    tests, skipped = int(suite.get("tests", 0)), int(suite.get("skipped", 0))
    failed = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
    return {"passed": tests - skipped - failed, "failed": failed, "skipped": skipped}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write the record."""
    made = record.parser(__doc__)
    made.add_argument("--device", default="cuda", help="cpu tries this script where there is no GPU")
    options = made.parse_args(arguments)
    import torch

    from napari_lucyd import load_model
    from napari_lucyd.compute.device import choose_device, why_no_cuda

    if options.device != "cpu" and not torch.cuda.is_available():
        print(f"gpu: not measured, because {why_no_cuda()}.")
        return
    quick, model = options.quick, load_model(record.MODEL)
    shape, patch, repeats = ((8, 32, 32), 16, 1) if quick else (preview.SHAPE, preview.PATCH, 7)
    device = choose_device(options.device)
    record.save(
        options,
        "gpu",
        {
            "device": device.name,
            "cuda": torch.version.cuda,
            "shape": shape,
            "passes": passes(model, device.torch, shape, repeats),
            "sizes": over_size(model, device.torch, (shape,) if quick else SIZES, 1 if quick else 3),
            "launching": launching(model, device.torch, shape if quick else SIZES[1], 1 if quick else 5),
            "views": preview.latencies(model, device.torch, shape, patch, repeats),
            "steps": steps(device.torch, quick),
            "richardson_lucy": richardson_lucy(device.torch, (20, 24, 24) if quick else shape, repeats),
            "tests": {"passed": 0, "failed": 0, "skipped": 0} if quick else run_tests(),
        },
    )


if __name__ == "__main__":
    main()
