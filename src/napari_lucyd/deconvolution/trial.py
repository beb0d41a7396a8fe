"""Whether a device can do what is asked of it, tried on something small."""

from __future__ import annotations

from collections.abc import Callable

from napari_lucyd.deconvolution.device import Device, cpu
from napari_lucyd.deconvolution.errors import DeconvolutionError, OutOfMemory
from napari_lucyd.deconvolution.inference import BlockTooLarge


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
