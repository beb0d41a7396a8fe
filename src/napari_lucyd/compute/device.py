"""The device that computes: its choice, its name, its memory."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch

from napari_lucyd import checks
from napari_lucyd.compute.host_memory import free_host_memory
from napari_lucyd.errors import BlockTooLarge, DeconvolutionError, OutOfMemory
from napari_lucyd.text import count_text

# Memory that a run takes whatever the size of its blocks: torch's buffers and code, and the planes of each
# layer that compiled kernels keep. Measured by benchmarks/estimates.py: at most 128 MB.
FIXED_BYTES = 2**27


@dataclass(frozen=True)
class Device:
    """A device that can run a network.

    Attributes
    ----------
    torch
        Torch's name: ``"cpu"``, ``"cuda:0"``, ``"mps"``.
    name
        Name for messages: ``"CPU, 2 threads"``, ``"NVIDIA RTX A4000"``.
    reason
        Reason why another device was requested but not used; empty if this is the requested one.
    compiled
        True if kernels compiled for this device compute the network, instead of torch.
    half
        True if the layers that tolerate half precision are computed in it.
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
    """Return the processor as a device."""
    return Device("cpu", f"CPU, {count_text(torch.get_num_threads(), 'thread')}", reason)


def visible_gpus() -> tuple[str, ...]:
    """Return the NVIDIA or AMD GPUs that this process can use, as ``CUDA_VISIBLE_DEVICES`` names them."""
    if not torch.cuda.is_available():
        return ()
    named = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    count = torch.cuda.device_count()
    return tuple(named.split(",")[:count]) if named else tuple(str(number) for number in range(count))


def choose_device(wish: Any = "auto") -> Device:
    """Choose a device.

    Parameters
    ----------
    wish
        ``"auto"`` (CUDA, else MPS, else the CPU), ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``, a
        `torch.device` or a `Device`. If the device is unavailable, the CPU is used and ``reason`` says why.

    Raises
    ------
    TypeError, ValueError
        If it is not a known kind of device.

    Examples
    --------
    >>> choose_device("cpu").torch
    'cpu'
    """
    if isinstance(wish, Device):
        wish = wish.torch
    expected = "'auto', 'cpu', 'cuda', 'cuda:1' (a numbered GPU) or 'mps'"
    if not isinstance(wish, torch.device):
        checks.text("device", wish, expected)
    kind, _, number = str(wish).strip().lower().partition(":")
    known = kind in ("auto", "cpu", "cuda", "mps") and (not number or (number.isascii() and number.isdigit()))
    if not known or len(number) > 3:
        raise ValueError(f"device is {checks.shown(wish)}; give {expected}.")
    if kind == "cpu":
        return cpu()
    if kind == "auto":
        if torch.cuda.is_available():
            return _cuda(torch.cuda.current_device())
        return _mps() if torch.backends.mps.is_available() else cpu()
    if kind == "mps":
        if torch.backends.mps.is_available():
            return _mps()
        return cpu(f"MPS was requested, but {why_no_mps()}")
    if not torch.cuda.is_available():
        return cpu(f"CUDA was requested, but {why_no_cuda()}")
    count = torch.cuda.device_count()
    index = int(number) if number else torch.cuda.current_device()
    if index >= count:
        return replace(
            _cuda(0), reason=f"cuda:{index} was requested, but there are only {count} CUDA devices"
        )
    return _cuda(index)


def _cuda(index: int) -> Device:
    return Device(f"cuda:{index}", torch.cuda.get_device_name(index))


def _mps() -> Device:
    return Device("mps", f"Apple GPU ({platform.machine()}, Metal)")


def why_no_cuda() -> str:
    """Say why torch has no CUDA device."""
    if torch.version.cuda is None and getattr(torch.version, "hip", None) is None:
        return "the installed torch was built without CUDA; pytorch.org has builds with it"
    return "torch found no CUDA device (no NVIDIA GPU, or no driver that this torch can use)"


def why_no_mps() -> str:
    """Say why torch has no MPS device."""
    if not torch.backends.mps.is_built():
        return "the installed torch was built without MPS (which needs macOS on Apple silicon)"
    return "torch found no Metal device (macOS 12.3 or later is needed)"


def free_memory(device: Device) -> int:
    """Return the number of free bytes on a device."""
    if device.kind == "cuda":
        free, _ = torch.cuda.mem_get_info(torch.device(device.torch))
        return int(free)
    return free_host_memory()


def release_memory(device: Device) -> None:
    """Return the device memory in torch's cache to the system."""
    if device.kind == "cuda":
        torch.cuda.empty_cache()
    elif device.kind == "mps":
        torch.mps.empty_cache()


_keepers: list[None] = []


@contextmanager
def keeping_memory() -> Iterator[None]:
    """Keep GPU memory in torch's cache between runs, and return it at the end: allocating it again is slow.

    At the end torch also returns its cache of processor memory for copies to the GPU. Otherwise that cache
    stays until the process ends.
    """
    _keepers.append(None)
    try:
        yield
    finally:
        _keepers.pop()
        if not _keepers:
            if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
                torch.cuda.empty_cache()
                # Only newer versions of torch have it.
                getattr(torch.accelerator, "empty_host_cache", lambda: None)()
            if torch.backends.mps.is_available():
                torch.mps.empty_cache()


def release_after_run(device: Device) -> None:
    """Return cached device memory after a run, unless `keeping_memory` is active."""
    if not _keepers:
        release_memory(device)


def without_autocast(device: Device) -> AbstractContextManager[Any]:
    """Return a context in which torch keeps float32, even inside the caller's ``torch.autocast``."""
    if device.kind == "cpu" and not torch.is_autocast_enabled("cpu"):
        return nullcontext()
    return torch.autocast(device.kind, enabled=False)


@contextmanager
def torch_defaults() -> Iterator[None]:
    """Run with torch's own defaults: float32 on the processor without autocast.

    The default type is set for the whole process, so use this for work that has the process to itself.
    """
    dtype = torch.get_default_dtype()
    with ExitStack() as stack:
        stack.callback(torch.set_default_dtype, dtype)
        torch.set_default_dtype(torch.float32)
        # Taken from a tensor, because get_default_device of torch 2.6 fails after the default was reset.
        if torch.empty(0).device.type != "cpu":
            stack.enter_context(torch.device("cpu"))
        for kind in ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",):
            stack.enter_context(torch.autocast(kind, enabled=False))
        yield


def is_out_of_memory(error: BaseException) -> bool:
    """Return True if an error of torch or numpy means that memory ran out."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    text = str(error).lower()
    return "out of memory" in text or "can't allocate memory" in text or "alloc_failed" in text


@contextmanager
def torch_errors() -> Iterator[None]:
    """Translate errors of torch into those that a run handles.

    Raises
    ------
    BlockTooLarge
        If memory runs out.
    DeconvolutionError
        If torch reports another error.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if is_out_of_memory(error):
            raise BlockTooLarge(str(error)) from None
        raise DeconvolutionError(f"torch could not compute the image: {error}") from error


def working_device(device: Device, trial: Callable[[], object], doing: str) -> Device:
    """Return the device, or the CPU with the reason if a trial on the device fails.

    Parameters
    ----------
    device
        The chosen device; the CPU needs no trial.
    trial
        Function that uses the device.
    doing
        Name of the trial, for the reason: ``"run the network"``.
    """
    if device.kind == "cpu":
        return device
    try:
        trial()
    except (BlockTooLarge, OutOfMemory, DeconvolutionError, RuntimeError) as error:
        cause = (str(error).splitlines() or [type(error).__name__])[0]
        return cpu(f"{device.name} could not {doing}: {cause}")
    return device
