"""Loading of torch and of the core without stopping the window.

Importing torch takes seconds. Most of the pure Python in it shares the interpreter with the window's thread.
But its largest library is loaded by one call into the dynamic linker, which holds the interpreter's lock
throughout. Called through ctypes, the same call releases the lock, and the import that follows finds the
library in place.

torch must not be imported in a thread of Qt's pool. pybind11, in torch before 2.13, keeps Python's state of
the thread that imports it, and uses it whenever that thread frees a tensor later. Qt deletes this state after
each task and keeps the thread, so the next task would crash. A thread of Python's own ends with its state.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_lucyd._napari.workers import garbage_collection

if TYPE_CHECKING:
    from napari_lucyd.models import Model

# In the order of their dependencies; a CPU build has only the first, second and last.
_LIBRARIES = ("c10", "torch_cpu", "c10_cuda", "torch_cuda", "torch")
SPARED = 0
"""Number of processors that runs leave to the window; ``benchmarks/window.py`` measures another one."""
_lock = threading.RLock()
_loaded = threading.Event()
_models: dict[tuple[str, float], Model] = {}


class TorchLoadingError(Exception):
    """PyTorch or the core cannot be loaded; the message says why and what to do."""


def is_loaded() -> bool:
    """Return True if the core can be used without waiting for imports."""
    return _loaded.is_set()


def load() -> None:
    """Import torch and the core; call it off the window's thread, and in each thread that computes.

    Raises
    ------
    TorchLoadingError
        If that fails.
    """
    with _lock, garbage_collection.held():
        if not sys.modules.get("torch"):
            # The executor's thread has ended when the block is left.
            with ThreadPoolExecutor(1, thread_name_prefix="lucyd torch import") as executor:
                executor.submit(_import).result()
        else:
            _import()
        import torch

        # OpenMP keeps the number for each thread that asks, so it is set by whichever thread is about to
        # compute.
        torch.set_num_threads(max(1, min(torch.get_num_threads(), _processors() - SPARED)))
        _loaded.set()


def _import() -> None:
    try:
        if "torch" not in sys.modules:
            _preload_libraries()
        import torch  # noqa: F401

        from napari_lucyd.deconvolution import Cancelled, plan  # noqa: F401  (loaded when named)
        from napari_lucyd.models import load_model  # noqa: F401
    except ModuleNotFoundError as error:
        raise TorchLoadingError(f"{error.name} is not installed; run: pip install {error.name}") from error
    except OSError as error:
        raise TorchLoadingError(_explain(error)) from error


def get_model(name: str) -> Model:
    """Load a model by its shipped name or its path; a second call returns the same object.

    A changed file is read again. Call it off the window's thread.
    """
    from napari_lucyd.models import load_model

    path = Path(name)
    key = (name, path.stat().st_mtime if path.is_file() else 0.0)
    with _lock:
        if key not in _models:
            _models[key] = load_model(name)
        return _models[key]


def loaded_model(name: str) -> Model | None:
    """Return the model if it is in memory; never wait."""
    return next((model for (known, _), model in reversed(_models.items()) if known == name), None)


def list_devices() -> list[tuple[str, str]]:
    """List the devices as (label, name), the automatic choice first. Call it after `load`."""
    import torch

    devices = [("Automatic", "auto"), ("CPU", "cpu")]
    for index in range(torch.cuda.device_count()):
        devices.append((torch.cuda.get_device_name(index), f"cuda:{index}"))
    if torch.backends.mps.is_available():
        devices.append(("Apple GPU (MPS)", "mps"))
    return devices


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _preload_libraries() -> None:
    # On Windows torch itself loads its libraries through ctypes, which releases the lock.
    spec = importlib.util.find_spec("torch")
    if os.name == "nt" or spec is None or not spec.origin:
        return
    folder = Path(spec.origin).parent / "lib"
    suffix = "dylib" if sys.platform == "darwin" else "so"
    with contextlib.suppress(AttributeError, OSError):
        dlopen: Any = ctypes.CDLL(None).dlopen
        dlopen.restype, dlopen.argtypes = ctypes.c_void_p, [ctypes.c_char_p, ctypes.c_int]
        # torch does this first as well: the other libraries must see its math libraries.
        order = [("torch_global_deps", os.RTLD_GLOBAL), *((name, os.RTLD_LOCAL) for name in _LIBRARIES)]
        for name, visibility in order:
            library = folder / f"lib{name}.{suffix}"
            if library.is_file():
                # An error here occurs again in the import, which reports it.
                dlopen(os.fsencode(library), os.RTLD_NOW | visibility)


def _explain(error: OSError) -> str:
    if os.name == "nt":
        return (
            f"PyTorch cannot be loaded ({error}). On Windows its libraries can conflict with those of Qt. "
            "Install the Microsoft Visual C++ Redistributable (x64) and the newest torch. If that does not "
            "help, import torch first and start napari from Python: "
            'python -c "import torch, napari; napari.Viewer(); napari.run()"'
        )
    return f"PyTorch cannot be loaded: {error}. Reinstall it with: pip install --force-reinstall torch"
