"""Ways to compute LUCYD on the CPU, against PyTorch's plain pass of the same layers.

    python benchmarks/forward.py [64x256x256] [--repeats 3] [--threads N] [--quick]

Prints a Markdown table and writes the record of the default shape. The candidates take turns, so that other
work on the machine affects all of them. Each time is divided by that of the plain pass next to it; the table
gives the median of these ratios. *Plain* is eager, contiguous, float32, with its batch norms and with glibc's
default malloc. *Memory kept* means a process whose malloc keeps freed memory. OpenVINO and ONNX Runtime run
if they are installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import record

KEEP = {"MALLOC_MMAP_THRESHOLD_": str(2**40), "MALLOC_TRIM_THRESHOLD_": str(2**40), "MALLOC_TOP_PAD_": "0"}
SHAPE = "64x256x256"
TOLD = "deconvolve by lucyd, told a PSF of 15³, noise 3 %"
RIVALS = {"OpenVINO": "openvino", "ONNX Runtime": "onnxruntime"}


def candidates(shape: tuple[int, ...], threads: int) -> dict[str, Callable[[], Any]]:
    """Prepare the candidates of this process, each of which returns x', and call each once."""
    import torch

    from napari_lucyd import deconvolve, load_model
    from napari_lucyd.inference.fusion import fold
    from napari_lucyd.inference.lucyd.cpu import CompiledLucyd, unsupported_reason

    torch.set_num_threads(threads)
    model = load_model(record.MODEL)
    network = model.network
    torch.manual_seed(0)
    y = torch.rand((1, 1, *shape))
    folded = fold(network)
    last = fold(network).to(memory_format=torch.channels_last_3d)
    found: dict[str, Callable[[], Any]] = {
        "plain": lambda: network(y).output,
        "batch norm folded": lambda: folded(y).output,
        "folded, channels last": lambda: last(y.to(memory_format=torch.channels_last_3d)).output,
    }
    if importlib.util.find_spec("openvino"):
        found["OpenVINO"] = openvino(folded, y, threads)
    if importlib.util.find_spec("onnxruntime") and importlib.util.find_spec("onnx"):
        found["ONNX Runtime"] = onnx_runtime(folded, y, threads)
    if not unsupported_reason():
        compiled = CompiledLucyd(network, threads)
        found["compiled kernels"] = lambda: compiled(y).output
    volume, image, psf = y[0, 0].numpy(), scene(shape), gaussian_psf([2.0] * 3, 15)

    def run(image: Any, model: Any, **told: Any) -> Any:
        return torch.from_numpy(deconvolve(image, model, device="cpu", outputs="output", **told).output)

    repeating = record.repeating(model)
    found["deconvolve"] = lambda: run(volume, model, normalization="none")
    found["deconvolve, borders repeated"] = lambda: run(volume, repeating, normalization="none")
    found[TOLD] = lambda: run(image, "lucyd", psf=psf)
    return found


def gaussian_psf(sigmas: Sequence[float], size: int) -> Any:
    """Make a Gaussian PSF with ``size`` voxels along each axis."""
    import numpy as np

    at = np.arange(size) - size // 2
    lines = [np.exp(-0.5 * (at / sigma) ** 2) for sigma in sigmas]
    psf = np.einsum("i,j,k->ijk", *lines)
    return (psf / psf.sum()).astype(np.float32)


def scene(shape: tuple[int, ...]) -> Any:
    """Make a blurred image of structures with noise of 3 % of their brightness (`bright_level`)."""
    import numpy as np
    from scipy.ndimage import gaussian_filter

    from napari_lucyd.simulation import make_structures

    made = make_structures("mixture", shape, rng=0, blur_sigma=[2.0] * 3, background=100.0)
    blurred = gaussian_filter(made.image, 2.0)
    light = np.clip(blurred - np.median(blurred), 0, None).astype(np.float64)
    noise = 0.03 * 1.5 * float(np.square(light).sum() / light.sum())
    return (blurred + np.random.default_rng(0).normal(0, noise, shape)).astype(np.float32)


def openvino(network: Any, y: Any, threads: int) -> Callable[[], Any]:
    """Run the folded network with OpenVINO in float32, on the same number of threads."""
    import openvino as ov
    import torch

    converted = ov.convert_model(network, example_input=y[..., :16, :16, :16], input=list(y.shape))
    options = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}
    request = ov.Core().compile_model(converted, "CPU", options).create_infer_request()

    def run() -> Any:
        outputs = request.infer([y.numpy()], share_inputs=True, share_outputs=True)
        return torch.from_numpy(outputs[0])

    return run


def onnx_runtime(network: Any, y: Any, threads: int) -> Callable[[], Any]:
    """Run the folded network with ONNX Runtime in float32, on the same number of threads."""
    import onnxruntime
    import torch
    from torch import nn

    class Output(nn.Module):
        """The network with x' alone."""

        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, image: Any) -> Any:
            return self.network(image).output

    file = io.BytesIO()
    # The newer exporter needs another package. Without evaluation mode, batch norms would use the batch.
    torch.onnx.export(Output().eval(), (y[..., :16, :16, :16],), file, dynamo=False, **_any_size(y))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(file.getvalue(), options, providers=["CPUExecutionProvider"])

    def run() -> Any:
        return torch.from_numpy(session.run(None, {"y": y.numpy()})[0])

    return run


def _any_size(y: Any) -> dict[str, Any]:
    axes = {axis: f"size_{axis}" for axis in range(2, y.ndim)}
    return {"input_names": ["y"], "output_names": ["x"], "dynamic_axes": {"y": axes, "x": axes}}


def serve(shape: tuple[int, ...], threads: int) -> None:
    """Run candidates named on standard input; print the seconds and the deviation from the plain pass."""
    import torch

    with torch.inference_mode():
        found = candidates(shape, threads)
        reference = found["plain"]()
        span = float(reference.max() - reference.min())
        for run in found.values():
            run()
        print(*found, sep=";", flush=True)
        for line in sys.stdin:
            begin = time.perf_counter()
            result = found[line.strip()]()
            seconds = time.perf_counter() - begin
            if TOLD in line:  # another network, of another image
                print(seconds, "nan", flush=True)
                continue
            # `deconvolve` extends the volume by reflection, the network by zeros.
            inside = tuple(slice(24, -24) for _ in shape) if "deconvolve" in line else ()
            there = result.reshape(shape)[inside], reference.reshape(shape)[inside]
            deviation = float((there[0] - there[1]).abs().max()) / span if there[0].numel() else float("nan")
            print(seconds, deviation, flush=True)


class Server:
    """A process that runs candidates on demand."""

    def __init__(self, shape: str, threads: int, environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, shape, "--threads", str(threads), "--serve"],
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.names = self._answer().split(";")

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        if not line:
            raise RuntimeError("A process of the benchmark ended; run it with --serve to see why.")
        return line

    def run(self, name: str) -> tuple[float, float]:
        """Return the seconds and the deviation of one pass."""
        assert self._process.stdin is not None
        self._process.stdin.write(name + "\n")
        self._process.stdin.flush()
        seconds, deviation = self._answer().split()
        return float(seconds), float(deviation)

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write the record."""
    parser = record.parser(__doc__)
    parser.add_argument("shape", nargs="?", default=SHAPE)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=record.cores())
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.quick:
        options.shape, options.repeats = "8x16x16", 1
    if options.serve:
        serve(tuple(int(n) for n in options.shape.split("x")), options.threads)
        return
    default = Server(options.shape, options.threads, {})
    work = [(name, default, name) for name in default.names]
    servers = [default]
    if not options.quick:
        kept = Server(options.shape, options.threads, KEEP)
        work += [(f"{name}, memory kept", kept, name) for name in kept.names]
        servers.append(kept)
    seconds: dict[str, list[float]] = {label: [] for label, _, _ in work}
    deviations: dict[str, float] = {}
    for _ in range(options.repeats):
        for label, server, name in work:
            taken, deviation = server.run(name)
            seconds[label].append(taken)
            deviations[label] = deviation
    for server in servers:
        server.close()
    rows = {
        label: {
            "seconds": statistics.median(seconds[label]),
            "times_as_fast": record.ratio(seconds["plain"], seconds[label]),
            "deviation": None if math.isnan(deviations[label]) else deviations[label],
        }
        for label, _, _ in work
    }
    print(f"{options.shape}, {options.threads} threads, median of {options.repeats} interleaved repeats\n")
    print("| | seconds | times as fast as plain | deviation, of the range |")
    print("|---|---|---|---|")
    for label, row in rows.items():
        deviation = "" if row["deviation"] is None else f"{row['deviation']:.1e}"
        print(f"| {label} | {row['seconds']:.2f} | {row['times_as_fast']:.1f} | {deviation} |")
    if options.shape == SHAPE or options.quick:
        measured = {
            "shape": tuple(int(n) for n in options.shape.split("x")),
            "threads": options.threads,
            "repeats": options.repeats,
            "versions": {name: record.installed(package) for name, package in RIVALS.items()},
            "passes": rows,
        }
        record.save(options, "forward", measured)


if __name__ == "__main__":
    main()
