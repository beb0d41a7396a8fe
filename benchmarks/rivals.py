"""LUCYD against the alternatives of a user, on the same volume in the same run.

    python benchmarks/rivals.py [--quick]

The alternatives are Richardson-Lucy with 10, 20 and 50 plain iterations from scikit-image, from RedLionfish
(on the CPU, if it is installed) and from this package. They receive the true PSF, and so does `lucyd`; the
network alone is not told it. Times are medians of interleaved repeats. The PSNR (one phantom, one blur, one
noise) shows that time is not everything. Memory is the increase of the peak in a fresh process, with two
iterations; it does not grow with their number.
"""

from __future__ import annotations

import importlib.util
import json
import statistics
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import record

SHAPE = (64, 256, 256)
ITERATIONS = (10, 20, 50)
ALONE, TOLD = "the network alone", "lucyd, told the PSF"
# Defaults of `degrade`. The Gaussian falls to zero well inside the PSF.
BLUR, NOISE, PSF_SIZE = 1.2, 15 / 255, 15
OFFSET = 100


class Scene(NamedTuple):
    """A truth, its microscope image and the PSF."""

    truth: Any
    image: Any
    psf: Any


def make_scene(shape: tuple[int, ...]) -> Scene:
    """Make a blurred and noisy phantom in camera counts."""
    from napari_lucyd import degrade, make_phantom

    phantom = make_phantom(shape, rng=900)
    made = degrade(phantom, blur_sigma=BLUR, noise_sigma=NOISE, photometric=True, rng=900)
    along = np.arange(PSF_SIZE) - PSF_SIZE // 2
    line = np.exp(-(along**2) / (2 * BLUR**2))
    psf = line[:, None, None] * line[:, None] * line
    # A camera offset, because Richardson-Lucy accepts no negative voxels.
    image = np.maximum(1000 * made.image + OFFSET, 0).astype(np.float32)
    return Scene(1000 * made.truth, image, (psf / psf.sum()).astype(np.float32))


def network_alone(scene: Scene) -> Any:
    """Run LUCYD straight on the image, for the output alone, with the borders of `lucyd`."""
    from napari_lucyd import deconvolve, load_model

    model = record.repeating(load_model(record.MODEL))
    return deconvolve(scene.image, model, device="cpu", outputs=("output",)).output


def told(scene: Scene) -> Any:
    """Run the default model, which is told the PSF, for the output alone."""
    from napari_lucyd import deconvolve

    return deconvolve(scene.image, "lucyd", psf=scene.psf, device="cpu", outputs=("output",)).output


def our_richardson_lucy(scene: Scene, iterations: int) -> Any:
    """Run Richardson-Lucy of this package."""
    from napari_lucyd import richardson_lucy

    return richardson_lucy(scene.image, scene.psf, num_iter=iterations, device="cpu")


def scikit_image(scene: Scene, iterations: int) -> Any:
    """Run Richardson-Lucy of scikit-image."""
    from skimage.restoration import richardson_lucy

    return richardson_lucy(scene.image, scene.psf, num_iter=iterations, clip=False)


def redlionfish(scene: Scene, iterations: int) -> Any:
    """Run Richardson-Lucy of RedLionfish on the CPU."""
    from RedLionfishDeconv import doRLDeconvolutionFromNpArrays

    return doRLDeconvolutionFromNpArrays(scene.image, scene.psf, niter=iterations, method="cpu")


CLASSICAL = {
    "napari-lucyd": ("napari_lucyd", our_richardson_lucy),
    "scikit-image": ("skimage", scikit_image),
    "RedLionfish": ("RedLionfishDeconv", redlionfish),
}
PACKAGES = {"napari-lucyd": "napari-lucyd", "scikit-image": "scikit-image", "RedLionfish": "RedLionfish"}


def missing() -> list[str]:
    """Return the rivals that are not installed."""
    return [name for name, (module, _) in CLASSICAL.items() if importlib.util.find_spec(module) is None]


def candidates(scene: Scene) -> dict[str, Callable[[], Any]]:
    """Return the methods that can run here."""
    found: dict[str, Callable[[], Any]] = {ALONE: lambda: network_alone(scene), TOLD: lambda: told(scene)}
    for iterations in ITERATIONS:
        for name, (_, call) in CLASSICAL.items():
            if name not in missing():
                label = f"Richardson-Lucy, {iterations} iterations, {name}"
                found[label] = lambda call=call, iterations=iterations: call(scene, iterations)
    return found


def redlionfish_ratio(seconds: dict[str, list[float]]) -> float | None:
    """Return how many times as fast as RedLionfish's our 10 iterations are; None if it is not installed."""
    theirs, ours = (
        seconds.get(f"Richardson-Lucy, 10 iterations, {name}") for name in ("RedLionfish", "napari-lucyd")
    )
    return record.ratio(theirs, ours) if theirs and ours else None


def measure_memory(name: str, shape: tuple[int, ...]) -> int:
    """Measure the increase of the peak memory over a small run before, in this process."""
    small, scene = make_scene((20, 32, 32)), make_scene(shape)

    def run(on: Scene) -> None:
        if name in (ALONE, TOLD):
            (told if name == TOLD else network_alone)(on)
        else:
            CLASSICAL[name][1](on, 2)

    run(small)
    before = record.forget_peak()
    run(scene)
    return record.peak_bytes() - before


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write the record."""
    made = record.parser(__doc__)
    made.add_argument("--memory", nargs=2, metavar=("NAME", "SHAPE"), help="of one, here; prints it")
    options = made.parse_args(arguments)
    if options.memory:
        print(json.dumps(measure_memory(options.memory[0], tuple(map(int, options.memory[1].split("x"))))))
        return
    import torch

    from napari_lucyd.evaluation import psnr

    shape = (20, 24, 24) if options.quick else SHAPE
    scene = make_scene(shape)
    results: dict[str, Any] = {}

    def keep(name: str, call: Callable[[], Any]) -> None:
        results[name] = call()

    calls = {name: lambda name=name, call=call: keep(name, call) for name, call in candidates(scene).items()}
    seconds = record.interleaved(calls, 1 if options.quick else 3)
    memory = {}
    if not options.quick:
        text = "x".join(map(str, shape))
        for name in (ALONE, TOLD, *(name for name in CLASSICAL if name not in missing())):
            memory[name] = record.in_fresh_process(__file__, "--memory", name, text)
    rows = {
        name: {
            "seconds": statistics.median(times),
            "network_times_as_fast": record.ratio(times, seconds[ALONE]),
            "lucyd_times_as_fast": record.ratio(times, seconds[TOLD]),
            "psnr": psnr(results[name] - OFFSET, scene.truth),
            "bytes": memory.get(name, memory.get(name.rpartition(", ")[2])),
        }
        for name, times in seconds.items()
    }
    record.save(
        options,
        "rivals",
        {
            "shape": shape,
            "psf_shape": scene.psf.shape,
            "threads": torch.get_num_threads(),
            "input_psnr": psnr(scene.image - OFFSET, scene.truth),
            "versions": {name: record.installed(package) for name, package in PACKAGES.items()},
            "not_installed": missing(),
            "redlionfish_ratio": redlionfish_ratio(seconds),
            "methods": rows,
        },
    )


if __name__ == "__main__":
    main()
