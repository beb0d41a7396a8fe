"""The command ``lucyd info``: facts for a bug report, or the contents of a file."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_lucyd.cli.shared.console import fail
from napari_lucyd.text import axes_text, printable

if TYPE_CHECKING:
    from napari_lucyd.io import Image

_PACKAGES = (
    "napari",
    "numpy",
    "scipy",
    "dask",
    "zarr",
    "tifffile",
    "imagecodecs",
    "safetensors",
    "magicgui",
    "qtpy",
    "PyQt6",
    "PyQt5",
    "PySide6",
    "PySide2",
)


def info(
    file: Annotated[
        Path | None,
        typer.Argument(metavar="[FILE]", help="An image file, to be described.", show_default=False),
    ] = None,
) -> None:
    """Print versions, devices, and why the GPU is or is not used, as plain text for a bug report.

    With a FILE, print its axes, its voxel size and the recipe that made it.

    \b
    Examples:
      lucyd info
      lucyd info restored.ome.tif
    """
    if file is None:
        typer.echo(report())
        return
    from napari_lucyd.io import ImageFileError, read_image

    try:
        typer.echo(describe_image(read_image(file, lazy=True)))
    except ImageFileError as error:
        fail(error)


def report() -> str:
    """Describe this installation and machine as plain text.

    torch is imported; napari and Qt are looked up, not imported, so that no display is needed.

    Returns
    -------
    str
        Lines of ``name: value`` under headings; no user name, host name or path.

    Examples
    --------
    >>> print(report().splitlines()[0])                                 # doctest: +ELLIPSIS
    napari-lucyd ...
    """
    from napari_lucyd import __version__

    lines = [
        f"napari-lucyd {__version__}",
        "",
        *_system(),
        "",
        "Packages",
        *_packages(),
        "",
        "Devices",
        *_devices(),
    ]
    lines += ["", "Models", *_models()]
    return "\n".join(lines)


def describe_image(image: Image) -> str:
    """Describe the contents of an image file as plain text: axes, voxels, recipe.

    Parameters
    ----------
    image
        An image from :func:`napari_lucyd.io.read_image`; its voxels are not read.
    """
    sizes = axes_text(image.axes, image.data.shape)
    lines = [f"{image.name}: {sizes}, {image.data.dtype}"]
    if image.voxel_size is None:
        lines.append("Voxel size: not stated in the file")
    else:
        letters = "".join(letter for letter in image.axes if letter in "ZYX")
        steps = " × ".join(f"{a} {step:.6g}" for a, step in zip(letters, image.voxel_size, strict=True))
        lines.append(f"Voxel size: {steps} {image.unit or 'pixels'}")
    lines += _optics(image)
    lines += [f"Note: {warning}" for warning in image.warnings]
    if image.metadata:
        stored = json.dumps(image.metadata, indent=2, ensure_ascii=False)
        lines += ["Stored by napari-lucyd:", *stored.splitlines()]
    return "\n".join(map(printable, lines))


def _optics(image: Image) -> Iterator[str]:
    if image.optics is not None:
        stated = {"NA": image.optics.numerical_aperture, "refractive index": image.optics.refractive_index}
        known = [f"{name} {value:g}" for name, value in stated.items() if value is not None]
        waves = [f"{wave:g}" for wave in image.optics.emission_um if wave is not None]
        known += [f"emission {', '.join(waves)} µm"] if waves else []
        yield f"Optics: {', '.join(known)}" if known else "Optics: excitation alone is stated"


def _system() -> Iterator[str]:
    yield f"Python: {platform.python_version()} ({platform.python_implementation()})"
    yield f"System: {_system_name()} ({platform.machine()})"
    import psutil

    memory = psutil.virtual_memory()
    yield f"Memory: {memory.total / 1e9:.1f} GB, {memory.available / 1e9:.1f} GB free"
    yield f"Processor cores: {_cores()}"


def _system_name() -> str:
    try:
        return f"{platform.freedesktop_os_release()['PRETTY_NAME']}, Linux {platform.release()}"
    except (OSError, KeyError):
        return platform.platform()


def _cores() -> str:
    count = os.cpu_count() or 1
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else count
    return str(count) if usable == count else f"{count}, of which this process may use {usable}"


def _packages() -> Iterator[str]:
    for name in _PACKAGES:
        try:
            yield f"{name}: {metadata.version(name)}"
        except metadata.PackageNotFoundError:
            if name in ("napari", "numpy", "zarr", "tifffile"):  # the others are optional
                yield f"{name}: not installed"


def _devices() -> Iterator[str]:
    driver = _nvidia_driver()
    try:
        import torch
    # A library that fails to load raises OSError, a broken package ImportError.
    except (ImportError, OSError) as error:
        yield f"torch cannot be imported: {error}"
        if platform.system() == "Windows":
            yield (
                "On Windows the Microsoft Visual C++ Redistributable (x64) is often missing; install it and "
                "restart napari."
            )
        return
    from napari_lucyd.compute.device import choose_device, why_no_cuda
    from napari_lucyd.inference.lucyd.cpu import unsupported_reason

    # The installed package's version does not say for which device it was built.
    yield f"torch: {torch.__version__}"
    yield f"Used with device 'auto': {choose_device('auto')}"
    yield f"CPU threads: {torch.get_num_threads()}"
    reason = unsupported_reason()
    yield f"LUCYD on the CPU: {f'by torch: {reason}' if reason else 'by kernels compiled for this processor'}"
    yield f"NVIDIA driver: {driver or 'none found (nvidia-smi is missing or does not answer)'}"
    build = torch.version.cuda or getattr(torch.version, "hip", None)
    yield f"torch built for CUDA: {build or 'no'}"
    yield from _cuda(torch, why_no_cuda(), bool(driver))
    yield from _mps(torch)


def _cuda(torch: Any, reason: str, driver: bool) -> Iterator[str]:
    if not torch.cuda.is_available():
        yield f"CUDA is not used: {reason}"
        if driver and torch.version.cuda is None:
            yield (
                "This machine has an NVIDIA GPU. To use it, install a CUDA build of torch by the command "
                "that pytorch.org/get-started gives for this system"
            )
        elif torch.version.cuda is not None:
            yield f"CUDA reports: {_why_cuda_fails(torch)}"
        return
    from napari_lucyd.inference.lucyd import cuda

    built_for = torch.cuda.get_arch_list()
    for index in range(torch.cuda.device_count()):
        major, minor = torch.cuda.get_device_capability(index)
        free, total = torch.cuda.mem_get_info(index)
        yield (
            f"cuda:{index}: {torch.cuda.get_device_name(index)}, {total / 1e9:.1f} GB, "
            f"{free / 1e9:.1f} GB free, capability {major}.{minor}"
        )
        reason = cuda.unsupported_reason(f"cuda:{index}")
        yield f"LUCYD on cuda:{index}: {f'by torch: {reason}' if reason else 'by kernels compiled for it'}"
        if built_for and not any(_runs_on(name, major, minor) for name in built_for):
            yield f"this torch was not built for cuda:{index} (it was built for {', '.join(built_for)})"


def _runs_on(built_for: str, major: int, minor: int) -> bool:
    """Tell if code for ``sm_86``, for example, runs on a device: same generation, same or later step."""
    digits = built_for.partition("_")[2].rstrip("af")
    if not digits.isdigit():
        return True  # another kind of name (gfx90a of ROCm): not comparable
    built_major, built_minor = int(digits[:-1]), int(digits[-1])
    if built_for.startswith("compute"):  # PTX is compiled on the device and runs on any later generation
        return (built_major, built_minor) <= (major, minor)
    return built_major == major and built_minor <= minor


def _why_cuda_fails(torch: Any) -> str:
    try:
        torch.cuda.init()
    except (RuntimeError, AssertionError, OSError) as error:
        return " ".join(str(error).split())
    return "nothing"


def _mps(torch: Any) -> Iterator[str]:
    if platform.system() != "Darwin":
        return
    from napari_lucyd.compute.device import why_no_mps

    if torch.backends.mps.is_available():
        yield "mps: Apple GPU (Metal)"
    else:
        yield f"MPS is not used: {why_no_mps()}"


def _nvidia_driver() -> str:
    program = shutil.which("nvidia-smi")
    if program is None:
        return ""
    query = [program, "--query-gpu=driver_version,name", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return "; ".join(line.strip() for line in done.stdout.splitlines() if line.strip())


def _models() -> Iterator[str]:
    from napari_lucyd.models import list_models

    for card in list_models():
        network = card.get("network", {})
        kind = f"{str(network.get('type', '?')).upper()} in {network.get('dimension', '?')}D"
        yield f"{card['name']}: {kind}, SHA-256 {card.get('sha256', '?')}"
