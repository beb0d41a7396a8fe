"""Routes to a faster pass on the CPU: the evidence behind docs/decisions/0011-cpu-kernels.md.

    python benchmarks/kernels.py [--quick]

Prints Markdown tables. The times are processor time of one thread, in turns: other programs on the machine
disturb it less than wall time. Each is the least of its turns.

- *Instructions*: how many multiplications a core does in a second by float32 multiply-adds, and by the dot
  products of bfloat16 pairs, where the processor has them.
- *Layers*: each kind of layer, plain and by Winograd's method, in a block that does not fit into the
  processor's caches, and in a smaller one.
- *Pass*: the same for all layers.
- *Deviation*: the largest difference from float64, as a share of the range, over the four results. bfloat16
  rounds the weights and inputs of every convolution, and adds in float32, as the dot products do.
"""

from __future__ import annotations

import argparse
import copy
import ctypes
import statistics
import time
from collections.abc import Callable, Mapping, Sequence

import torch
from record import describe_machine
from torch import Tensor, nn

from napari_lucyd import load_model
from napari_lucyd.compute import llvm
from napari_lucyd.inference.fusion import fold
from napari_lucyd.inference.half_precision import HARMLESS
from napari_lucyd.inference.lucyd import cpu_winograd
from napari_lucyd.inference.lucyd.cpu import CompiledLucyd
from napari_lucyd.inference.lucyd.cpu_work import Work, Workers
from napari_lucyd.inference.lucyd.graph import BLOCK, CHANNELS, LAYERS, Layer
from napari_lucyd.networks.lucyd import LUCYD
from napari_lucyd.spans import Span

WAYS = {"plain": False, "Winograd": True}
SHAPES = ((64, 256, 256), (32, 128, 128))
MODELS = ("general", "lucyd", "nuclei", "mixture", "membranes", "planes", "lucyd-planes")
# Independent sums, more than an instruction takes cycles.
_SUMS = 12


def instruction_rate(call: str, declaration: str, products: int, turns: int) -> float:
    """Measure the multiplications per second of an instruction on registers."""
    heads = [f"  %s{k} = phi <16 x float> [zeroinitializer, %entry], [%r{k}, %again]" for k in range(_SUMS)]
    bodies = [f"  %r{k} = call <16 x float> {call.format(sum=f'%s{k}')}" for k in range(_SUMS)]
    ends = [f"  store <16 x float> %r{k}, ptr %to, align 4" for k in range(_SUMS)]
    text = "\n".join(
        [
            declaration,
            "define void @kernel(ptr %to, i64 %count) {\nentry:",
            "  %a = load volatile <16 x float>, ptr %to, align 4",
            "  %pairs = bitcast <16 x float> %a to <32 x bfloat>",
            "  br label %again\nagain:",
            "  %i = phi i64 [0, %entry], [%n, %again]",
            *heads,
            *bodies,
            "  %n = add i64 %i, 1\n  %more = icmp slt i64 %n, %count",
            "  br i1 %more, label %again, label %end\nend:",
            *[line.replace("store", "store volatile") for line in ends],
            "  ret void\n}",
        ]
    )
    function = llvm.function(text, ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64))
    memory, count = (ctypes.c_float * 16)(), 100_000
    seconds = least({"": lambda: function(ctypes.addressof(memory), count)}, turns)[""]
    return products * _SUMS * count / seconds


def instructions(turns: int) -> list[str]:
    """Make the table of instructions."""
    rows = ["| instruction | 10⁹ multiplications per second |", "| --- | --- |"]
    single = "<16 x float> @llvm.fma.v16f32(<16 x float>{}, <16 x float>{}, <16 x float>{})"
    rate = instruction_rate(
        single[len("<16 x float> ") :].format(" %a", " %a", " {sum}"),
        f"declare {single.format('', '', '')}",
        16,
        turns,
    )
    rows.append(f"| float32 multiply-add | {rate / 1e9:.0f} |")
    if "+avx512bf16" in llvm.host().features:
        name = "@llvm.x86.avx512bf16.dpbf16ps.512"
        rate = instruction_rate(
            f"{name}(<16 x float> {{sum}}, <32 x bfloat> %pairs, <32 x bfloat> %pairs)",
            f"declare <16 x float> {name}(<16 x float>, <32 x bfloat>, <32 x bfloat>)",
            32,
            turns,
        )
        rows.append(f"| dot product of bfloat16 pairs | {rate / 1e9:.0f} |")
    return rows


def least(calls: Mapping[str, Callable[[], object]], turns: int) -> dict[str, float]:
    """Return the least processor time of each call."""
    found = dict.fromkeys(calls, float("inf"))
    for _ in range(turns):
        for name, call in calls.items():
            began = time.thread_time()
            call()
            found[name] = min(found[name], time.thread_time() - began)
    return found


class Clock(Workers):
    """One thread that adds up the processor time of each layer."""

    def __init__(self, names: Mapping[int, str]) -> None:
        super().__init__(1, cpu_winograd.NARROW.floats, 0)
        self._names = names
        self.seconds: dict[str, float] = {}

    def do(self, work: Work, planes: Span) -> None:
        """Compute some planes of a layer, and add the time."""
        began = time.thread_time()
        super().do(work, planes)
        name = self._names[work.tables[3]]
        self.seconds[name] = self.seconds.get(name, 0.0) + time.thread_time() - began


class Timed(CompiledLucyd):
    """A compiled pass on one thread that adds up the processor time of each layer."""

    def __init__(self, network: LUCYD, winograd: bool) -> None:
        super().__init__(network, 1, winograd=winograd)
        names = {found.weights.ctypes.data: name for name, found in self._parameters.items()}
        self._workers = Clock(names)
        self.seconds = self._workers.seconds


def kind(layer: Layer) -> str:
    """Describe a kind of layer in words."""
    sources, kernel = sum(CHANNELS[name] for name in layer.inputs), layer.kernel
    shape = "doubling" if kernel.transposed else f"{kernel.taps}³"
    words = f"{sources} → {layer.channels}, {shape}"
    words += f", {kernel.reduce} of {BLOCK}" if kernel.reduce else ""
    words += ", halving" if kernel.stride == 2 else ""
    return words + (", half size" if layer.half else "")


@torch.inference_mode()
def layers(
    network: LUCYD, shape: tuple[int, ...], turns: int
) -> tuple[dict[str, dict[str, float]], list[float]]:
    """Measure the ns per voxel of each kind of layer and of the pass, and the ratios of its turns."""
    y = torch.rand(1, 1, *shape)
    passes = {way: Timed(network, chosen) for way, chosen in WAYS.items()}
    rows: dict[str, dict[str, float]] = {}
    whole: dict[str, list[float]] = {way: [] for way in WAYS}
    for turn in range(turns + 1):
        for way, run in passes.items():
            run.seconds.clear()
            began = time.thread_time()
            run(y)
            if turn == 0:
                continue
            whole[way].append(time.thread_time() - began)
            sums: dict[str, float] = {}
            for layer in LAYERS:
                sums[kind(layer)] = sums.get(kind(layer), 0.0) + run.seconds[layer.name]
            for name, seconds in {**sums, "the pass": whole[way][-1]}.items():
                row = rows.setdefault(name, {})
                row[way] = min(row.get(way, float("inf")), 1e9 * seconds / y.numel())
    return rows, [a / b for a, b in zip(whole["plain"], whole["Winograd"], strict=True)]


@torch.inference_mode()
def deviations(network: LUCYD, y: Tensor) -> dict[str, float]:
    """Measure the deviations from float64 on one block."""
    exact = copy.deepcopy(network).double()(y.double())
    found = {"torch, float32": network(y)}
    found |= {way: CompiledLucyd(network, 1, winograd=chosen)(y) for way, chosen in WAYS.items()}
    found["bfloat16"] = in_bfloat16(network)(y)
    return {
        way: max(
            float((a - b).abs().max() / (a.max() - a.min())) for a, b in zip(exact, results, strict=True)
        )
        for way, results in found.items()
    }


def in_bfloat16(network: LUCYD) -> LUCYD:
    """Make a folded copy whose convolutions multiply bfloat16."""
    rounded = fold(network)

    def inputs(_: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return tuple(each.bfloat16().float() for each in given)

    for module in rounded.modules():
        if isinstance(module, nn.Conv2d | nn.Conv3d | nn.ConvTranspose2d | nn.ConvTranspose3d):
            module.weight.data = module.weight.data.bfloat16().float()
            module.register_forward_pre_hook(inputs)
    return rounded


def block(dimension: int, seed: int) -> Tensor:
    """Make noise with some bright voxels and a bright spot, normalised as networks expect it."""
    generator = torch.Generator().manual_seed(seed)
    shape = (24, 48, 48)[-dimension:]
    y = 0.05 * torch.rand(shape, generator=generator)
    for place in torch.rand((20, dimension), generator=generator):
        y[tuple(int(p * n) for p, n in zip(place, shape, strict=True))] = 1
    along = torch.exp(-(((torch.arange(48) - 20) / 6) ** 2))
    return (y + along[:, None] * along)[None, None]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="use tiny sizes, to test the benchmark itself")
    parser.add_argument("--turns", type=int, default=5)
    options = parser.parse_args(arguments)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        report(options.quick, 1 if options.quick else options.turns)
    finally:
        torch.set_num_threads(threads)


def report(quick: bool, turns: int) -> None:
    """Print the tables."""
    machine = describe_machine()
    print(
        f"{machine['processor']}; llvmlite {machine['llvmlite']}; one thread; commit {machine['commit']}.\n"
    )
    print(*instructions(10 * turns), sep="\n")
    for shape in ((2, 8, 8),) if quick else SHAPES:
        rows, ratios = layers(load_model("general").network, shape, turns)
        size = "×".join(map(str, shape))
        print(f"\n| {size} | plain, ns per voxel | Winograd | times as fast |\n| --- | --- | --- | --- |")
        for name, row in rows.items():
            times = row["plain"] / row["Winograd"]
            print(f"| {name} | {row['plain']:.2f} | {row['Winograd']:.2f} | {times:.2f} |")
        print(f"\nThe pass, median of neighbouring turns: {statistics.median(ratios):.2f} times as fast.")
    ways = ("torch, float32", *WAYS, "bfloat16")
    print(f"\n| deviation | {' | '.join(ways)} |\n|{' --- |' * (1 + len(ways))}")
    for name in MODELS[:1] if quick else MODELS:
        network = load_model(name).network
        each = [
            deviations(network, block(network.config.dimension, seed)) for seed in range(1 if quick else 3)
        ]
        print(f"| {name} | " + " | ".join(f"{max(found[way] for found in each):.0e}" for way in ways) + " |")
    print(f"\nHalf precision may change a result by {HARMLESS:g} of its range.")


if __name__ == "__main__":
    main()
