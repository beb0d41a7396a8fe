"""Which device computes, by name, and why."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch

from napari_lucyd.compute.host_memory import free_host_memory
from napari_lucyd.errors import BlockTooLarge, DeconvolutionError, OutOfMemory

# Memory of a run whatever its blocks' size: torch's own buffers and code, and some planes of each layer that
# compiled kernels keep. benchmarks/estimates.py: at most 122 MiB.
FIXED_BYTES = 2**27


@dataclass(frozen=True)
class Device:
    """Where the network runs.

    Attributes
    ----------
    torch
        As torch names it: ``"cpu"``, ``"cuda:0"``, ``"mps"``.
    name
        For a person: ``"CPU, 2 threads"``, ``"NVIDIA RTX A4000"``.
    reason
        Why it is not the one asked for; empty where it is.
    compiled
        Whether the network is computed by kernels compiled for the device instead of by torch.
    half
        Whether the network is computed in half precision, as far as it bears that.
    """

    torch: str
    name: str
    reason: str = ""
    compiled: bool = False
    half: bool = False

    @property
    def kind(self) -> str:
        """``"cpu"``, ``"cuda"`` or ``"mps"``."""
        return self.torch.partition(":")[0]

    def __str__(self) -> str:
        return f"{self.name} ({self.reason})" if self.reason else self.name


def cpu(reason: str = "") -> Device:
    """The processor."""
    threads = torch.get_num_threads()
    return Device("cpu", f"CPU, {threads} thread{'s' if threads != 1 else ''}", reason)


def choose_device(wish: Any = "auto") -> Device:
    """The device for a wish.

    Parameters
    ----------
    wish
        ``"auto"`` (CUDA, else MPS, else the CPU), ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``, a
        `torch.device` or a `Device`. A device that is not there is replaced by the CPU, and ``reason`` says
        so.

    Raises
    ------
    ValueError
        If the wish names no kind of device that is known.

    Examples
    --------
    >>> choose_device("cpu").torch
    'cpu'
    """
    if isinstance(wish, Device):
        wish = wish.torch
    text = str(wish).strip().lower()
    kind, _, number = text.partition(":")
    if kind not in ("auto", "cpu", "cuda", "mps") or (number and not number.isdigit()):
        raise ValueError(
            f"device is {wish!r}; it can be 'auto', 'cpu', 'cuda', 'cuda:1' (and so on) or 'mps'."
        )
    if kind == "cpu":
        return cpu()
    if kind == "auto":
        if torch.cuda.is_available():
            return _cuda(torch.cuda.current_device())
        return _mps() if torch.backends.mps.is_available() else cpu()
    if kind == "mps":
        if torch.backends.mps.is_available():
            return _mps()
        return cpu(f"MPS was asked for, but {why_no_mps()}")
    if not torch.cuda.is_available():
        return cpu(f"CUDA was asked for, but {why_no_cuda()}")
    count = torch.cuda.device_count()
    index = int(number) if number else torch.cuda.current_device()
    if index >= count:
        return replace(
            _cuda(0), reason=f"cuda:{index} was asked for, but there are only {count} CUDA devices"
        )
    return _cuda(index)


def _cuda(index: int) -> Device:
    return Device(f"cuda:{index}", torch.cuda.get_device_name(index))


def _mps() -> Device:
    return Device("mps", f"Apple GPU ({platform.machine()}, Metal)")


def why_no_cuda() -> str:
    """In words, why torch has no CUDA device."""
    if torch.version.cuda is None and getattr(torch.version, "hip", None) is None:
        return "the installed torch is a build without CUDA; see pytorch.org for one with it"
    return "torch finds no CUDA device (no NVIDIA GPU, or no driver that this torch can use)"


def why_no_mps() -> str:
    """In words, why torch has no MPS device."""
    if not torch.backends.mps.is_built():
        return "the installed torch is a build without MPS (it needs macOS on Apple silicon)"
    return "torch finds no Metal device (macOS 12.3 or later is needed)"


def free_memory(device: Device) -> int:
    """Bytes that can be taken on a device now."""
    if device.kind == "cuda":
        free, _ = torch.cuda.mem_get_info(torch.device(device.torch))
        return int(free)
    return free_host_memory()


def release_memory(device: Device) -> None:
    """Give back to the system what torch keeps of a device's memory."""
    if device.kind == "cuda":
        torch.cuda.empty_cache()
    elif device.kind == "mps":
        torch.mps.empty_cache()


_keepers: list[None] = []


@contextmanager
def keeping_memory() -> Iterator[None]:
    """Have torch keep a GPU's memory from run to run, and give it back at the end: asking for it takes time.

    What it keeps of the processor's memory for copies to the GPU goes with it; without this, that stays until
    the process ends.
    """
    _keepers.append(None)
    try:
        yield
    finally:
        _keepers.pop()
        if not _keepers:
            if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
                torch.cuda.empty_cache()
                # Only newer versions of torch can.
                getattr(torch.accelerator, "empty_host_cache", lambda: None)()
            if torch.backends.mps.is_available():
                torch.mps.empty_cache()


def release_after_run(device: Device) -> None:
    """Give back what torch keeps of a device's memory after a run, unless somebody has it kept."""
    if not _keepers:
        release_memory(device)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of torch or numpy means that memory ran out."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    text = str(error).lower()
    return "out of memory" in text or "can't allocate memory" in text or "alloc_failed" in text


def working_device(device: Device, trial: Callable[[], object], doing: str) -> Device:
    """The device, or the CPU with the reason if a trial fails on the device.

    Parameters
    ----------
    device
        As chosen; the CPU is taken without a trial.
    trial
        Uses the device.
    doing
        What it does, for the reason: ``"run the network"``.
    """
    if device.kind == "cpu":
        return device
    try:
        trial()
    except (BlockTooLarge, OutOfMemory, DeconvolutionError, RuntimeError) as error:
        cause = (str(error).splitlines() or [type(error).__name__])[0]
        return cpu(f"{device.name} could not {doing}: {cause}")
    return device
