"""A hook of mkdocs that adds what the browser page needs: models, the runtime, a sample and their list.

They are made when the site is built, so they cannot differ from the package, and are kept in
``build/browser`` until the package changes. Without npm or a network the site is built without the runtime,
and the page says so.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).parent))
import node

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "build" / "browser"
METHODS: dict[str, dict[str, Any]] = {
    "sharpen": {"stack": "lucyd", "plane": "lucyd-planes", "blur": True},
    "denoise": {"stack": "general", "plane": "planes", "blur": False},
}
RUNTIME = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
SAMPLE = (24, 96, 96)
# mkdocs counts warnings of this logger, and a strict build with warnings fails.
log = logging.getLogger("mkdocs.hooks.browser")


def on_files(files: Any, config: Any) -> Any:
    """Add the parts to the files of the site, below ``browser/``."""
    from mkdocs.structure.files import File

    for path in make_parts(BUILD):
        uri = f"browser/{path.relative_to(BUILD).as_posix()}"
        files.append(File.generated(config, uri, abs_src_path=str(path)))
    return files


def make_parts(folder: Path) -> list[Path]:
    """Make models, runtime, sample and their list ``models.json`` in a folder, and return the files."""
    models = _models(folder / "models")
    sample = _sample(folder / "sample.tif")
    try:
        runtime = _runtime(folder / "runtime")
    except RuntimeError as error:
        runtime = []
        log.info("The browser page is built without its runtime, and will say so: %s", error)
    listed = {
        "methods": METHODS,
        "models": {path.stem: _entry(folder, path) for path in models},
        "runtime": _entry(folder, *runtime) if runtime else None,
        "sample": _entry(folder, sample),
    }
    catalogue = folder / "models.json"
    catalogue.write_text(json.dumps(listed, indent=2) + "\n", "utf-8")
    return [catalogue, sample, *models, *runtime]


def _entry(folder: Path, *paths: Path) -> dict[str, Any]:
    file = paths[0].relative_to(folder).as_posix()
    return {"file": file, "bytes": sum(path.stat().st_size for path in paths)}


def _models(folder: Path) -> list[Path]:
    names = [method[kind] for method in METHODS.values() for kind in ("stack", "plane")]
    paths = [folder / f"{name}.onnx" for name in names]
    mark, state = folder / "made-from.txt", _package_state()
    if mark.is_file() and mark.read_text("utf-8") == state and all(path.is_file() for path in paths):
        return paths
    from napari_lucyd import export_model

    folder.mkdir(parents=True, exist_ok=True)
    mark.unlink(missing_ok=True)
    for name, path in zip(names, paths, strict=True):
        log.info("Exporting %s for the browser page", name)
        export_model(name, path, overwrite=True)
    mark.write_text(state, "utf-8")
    return paths


def _package_state() -> str:
    """Return a checksum of the package's code and weights, and of the exporter's version."""
    import onnxscript
    import torch

    digest = hashlib.sha256(f"{torch.__version__} {onnxscript.__version__}".encode())
    package = ROOT / "src" / "napari_lucyd"
    for path in sorted([*package.rglob("*.py"), *package.rglob("*.safetensors")]):
        if "_napari" not in path.parts and "cli" not in path.parts:
            digest.update(path.read_bytes())
    return digest.hexdigest()


def sample_image() -> npt.NDArray[np.uint16]:
    """Make the sample, (Z, Y, X): a phantom with a blur of 1.5 voxels and noise, in camera counts."""
    from napari_lucyd import degrade, make_phantom

    truth = make_phantom(SAMPLE, spheres=30, ellipsoids=30, boxes=60, rng=3)
    image = degrade(truth, blur_sigma=1.5, noise_sigma=0.025, rng=4).image
    counts = 100 + 1000 * (image - image.min()) / np.ptp(image)
    return counts.round().astype(np.uint16)


def _sample(path: Path) -> Path:
    from napari_lucyd.io import write_image

    path.unlink(missing_ok=True)
    write_image(path, sample_image(), axes="ZYX", voxel_size=(0.1, 0.1, 0.1), unit="micrometer")
    return path


def _runtime(folder: Path) -> list[Path]:
    """Copy onnxruntime-web out of npm's package."""
    source = node.packages(BUILD.parent / "npm") / "onnxruntime-web"
    folder.mkdir(parents=True, exist_ok=True)
    for name in RUNTIME:
        shutil.copyfile(source / "dist" / name, folder / name)
    return [folder / name for name in RUNTIME]
