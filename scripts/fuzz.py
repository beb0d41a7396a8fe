"""Call the public functions with odd arguments, and count the errors that do not explain themselves.

    python scripts/fuzz.py --calls 10000 --seed 0

A call passes if it returns, or raises a TypeError, a ValueError or an error of this package whose message
names one of the call's arguments. Every other error is opaque; it is printed with the seed that repeats it:

    python scripts/fuzz.py --calls 1 --seed 4711 --verbose
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import dask.array
import numpy as np
import torch

import napari_lucyd as nl
from napari_lucyd.deconvolution import DeconvolutionError, OutOfMemory, plan

EXPLAINED = (TypeError, ValueError, FileNotFoundError, FileExistsError, OutOfMemory, DeconvolutionError)
# Other words for an argument in messages.
WORDS = {
    "volume": ("image", "voxels", "percentiles", "values"),
    "image": ("values",),
    "model": ("There is no model", "file"),
    "psf": ("PSF",),
    "region": ("part",),
    "out": (".zarr", "folder"),
    "path": ("model", "file", ".safetensors"),
    "truth": ("voxels", "image"),
    "normalization": ("percentiles", "pedestal"),
    "card": ("JSON",),
}
LONGEST_MESSAGE = 600
# Limits of a call: seconds of the processor, and seconds of the clock for a call that waits for something.
SECONDS, SECONDS_OF_THE_CLOCK = 60, 1200


class Mute:
    """An object that fails at everything."""

    def __repr__(self) -> str:
        raise RuntimeError("no description")

    __str__ = __len__ = __iter__ = __float__ = __index__ = __bool__ = __repr__  # type: ignore[assignment]


class TooSlow(BaseException):
    """A call took longer than `SECONDS` or `SECONDS_OF_THE_CLOCK`."""


# Values that few arguments accept.
ODD: tuple[Callable[[], Any], ...] = (
    lambda: None,
    lambda: True,
    lambda: -1,
    lambda: 0,
    lambda: 2.5,
    lambda: 10**400,
    lambda: float("nan"),
    lambda: float("inf"),
    lambda: -1e300,
    lambda: 1j,
    lambda: "",
    lambda: "x",
    lambda: "Σ²",
    lambda: b"bytes",
    lambda: (),
    lambda: [1, "a", None],
    lambda: [[1], [2, 3]],
    lambda: {"a": 1},
    lambda: {1, 2},
    lambda: (1e30, 1, 1),
    lambda: ("1", "1", "1"),
    lambda: slice(0, 4),
    lambda: (slice("a"), slice(None)),
    lambda: (slice(0, 4, 0), slice(None)),
    lambda: (-99, slice(None)),
    lambda: np.ones(2),
    lambda: np.float32(3),
    lambda: np.array("text"),
    lambda: np.array(None, dtype=object),
    lambda: torch.ones(2),
    lambda: object(),
    lambda: len,
    lambda: Mute(),
    lambda: range(3),
    lambda: (n for n in range(3)),
    lambda: Path("nowhere/at.all"),
    lambda: np.datetime64("2020-01-01"),
)


def image(pick: random.Random, dimension: int) -> Any:
    """Return an image, mostly a valid one."""
    shape = tuple(
        pick.choice((1, 2, 3, 5, 8, 13)) for _ in range(pick.choice((dimension, dimension, dimension + 1)))
    )
    values = np.random.default_rng(pick.randrange(100)).random(shape) * pick.choice((1, 255, 1e30, 1e-30))
    kind = pick.choice(
        ("float32", "float64", "uint8", "uint16", "int64", "bool", "float16", "complex64", ">f4")
    )
    with np.errstate(all="ignore"):
        values = values.astype(kind)
    change = pick.randrange(12)
    if change == 0:
        return np.zeros_like(values)
    if change == 1 and values.dtype.kind == "f":
        values[...] = np.nan
    if change == 2 and values.dtype.kind == "f":
        values.flat[0] = np.inf
    if change == 3:
        return dask.array.from_array(values)
    if change == 4:
        return np.ma.masked_array(values, values == values.flat[0])
    if change == 5:
        return values.tolist()
    return values


def network() -> Any:
    """Return a network with random weights."""
    from napari_lucyd.networks import LUCYD, LucydConfig

    return LUCYD(LucydConfig(dimension=2, epsilon=0.01))


def psf(pick: random.Random) -> Any:
    """Return a PSF."""
    return np.ones([pick.choice((1, 2, 3)) for _ in range(pick.choice((2, 2, 3)))])


MODELS = {name: nl.load_model(name) for name in ("planes", "general", "nuclei-rln")}
LETTERS = ("YX", "ZYX", "TYX", "CZYX", "TCZYX", "zyx", "SYX", "YXZ", "ÄYX")
SMALL = (0, 1, 2, 3, 8)

# For each option of a run, a function that returns a plausible value.
RUN: dict[str, Callable[[random.Random], Any]] = {
    "device": lambda pick: pick.choice(("cpu", "auto", "cuda", "cuda:3", "mps", torch.device("cpu"))),
    "tile_shape": lambda pick: tuple(pick.choice(SMALL) for _ in range(pick.choice((2, 3)))),
    "halo": lambda pick: pick.choice((0, 2, 24, 10**6)),
    "normalization": lambda pick: pick.choice(
        ("model", "minmax", "none", {"method": "percentile", "low": pick.choice((1, 99, "a")), "high": 50})
    ),
    "voxel_size": lambda pick: tuple(
        pick.choice((0.1, 0.3, 1, 0, -1, 1e30)) for _ in range(pick.choice((2, 3)))
    ),
    "outputs": lambda pick: tuple(
        pick.sample(("output", "correction_mask", "update_term", "intermediate"), 2)
    ),
    "isotropic": lambda pick: pick.choice((True, False)),
    "prefilter": lambda pick: pick.choice(("auto", 1, 0.5, 11)),
    "subtract_background": lambda pick: pick.choice(("auto", 16, 3)),
    "flips": lambda pick: pick.choice((True, False)),
    "precision": lambda pick: pick.choice(("float32", "float16", "float64")),
    "axes": lambda pick: pick.choice(LETTERS),
    "separate": lambda pick: pick.choice(("C", "T", "", "CT", "3")),
    "region": lambda pick: tuple(
        pick.choice((slice(None), slice(1, 3), slice(3, 1), slice(None, None, 2), -1, 0, 99, -99))
        for _ in range(pick.choice((2, 3)))
    ),
    "progress": lambda pick: lambda *step: None,
}
CLASSICAL: dict[str, Callable[[random.Random], Any]] = {
    "num_iter": lambda pick: pick.choice((1, 2, 3, 0)),
    "background": lambda pick: pick.choice((0, 0.5, -1)),
    "total_variation": lambda pick: pick.choice((0, 0.002, 0.2, 1)),
    "tolerance": lambda pick: pick.choice((None, 0.1, 0)),
    "local_stopping": lambda pick: pick.choice((True, False)),
}
OPTICS: dict[str, Callable[[random.Random], Any]] = {
    "kind": lambda pick: pick.choice(
        ("widefield", "widefield", "gaussian", "confocal", "light_sheet", "other")
    ),
    "shape": lambda pick: tuple(pick.choice((1, 3, 3, 5, 5, 7, 4)) for _ in range(pick.choice((2, 3, 3)))),
    "numerical_aperture": lambda pick: pick.choice((0.3, 0.8, 0.9, 1.4, 3)),
    "refractive_index": lambda pick: pick.choice((1, 1.33, 1.515, 1.515, 0)),
    "emission_um": lambda pick: pick.choice((0.52, 0.52, 0.6, 0.6, 520)),
    "voxel_size": lambda pick: pick.choice((0.1, 0.1, 0.2, (0.3, 0.1, 0.1), 0, (0.1, 0.1))),
    "excitation_um": lambda pick: pick.choice((None, 0.488, 488)),
    "pinhole_airy": lambda pick: pick.choice((None, 1, 0)),
    "sheet_fwhm_um": lambda pick: pick.choice((None, 2, 0)),
    "sample_index": lambda pick: pick.choice((None, 1.33, 0)),
    "depth_um": lambda pick: pick.choice((None, 0, 5)),
    "spherical_aberration": lambda pick: pick.choice((0, 0.1)),
}


def arguments(
    pick: random.Random,
) -> tuple[str, Callable[..., Any], dict[str, Any], dict[str, Callable[[], Any]]]:
    """Choose a function; return its name, itself, its required arguments, and its optional ones."""
    name = pick.choice(
        [
            "deconvolve",
            "plan",
            "classical",
            "store",
            "richardson_lucy",
            "wiener",
            "RichardsonLucy",
            "Wiener",
            "load_model",
            "save_model",
            "degrade",
            "make_phantom",
            "make_psf",
            "make_surrogate",
        ]
    )
    options = {key: (lambda value=value: value(pick)) for key, value in RUN.items()}
    if name in ("deconvolve", "plan", "store"):
        kind = pick.choice(("planes", "planes", "planes", "general", "nuclei-rln"))
        model = MODELS[kind]
        given = {"volume": image(pick, model.dimension), "model": model}
        if name == "plan":
            del options["progress"]
            return name, plan, given, options
        if name == "store":
            given["out"] = Path(tempfile.mkdtemp(dir=FOLDER)) / "result.ome.zarr"
            return name, nl.deconvolve_to_zarr, given, options
        return name, nl.deconvolve, given, options
    if name == "classical":
        kernel = psf(pick)
        method = nl.Wiener(kernel) if pick.random() < 0.5 else nl.RichardsonLucy(kernel, num_iter=2)
        return name, nl.deconvolve, {"volume": image(pick, kernel.ndim), "model": method}, options
    numbers = {key: (lambda value=value: value(pick)) for key, value in CLASSICAL.items()}
    if name == "RichardsonLucy":
        return name, nl.RichardsonLucy, {"psf": psf(pick)}, numbers
    if name == "Wiener":
        return name, nl.Wiener, {"psf": psf(pick)}, {"balance": lambda: pick.choice((0.1, 0, 5))}
    if name == "richardson_lucy":
        numbers["device"] = options["device"]
        return name, nl.richardson_lucy, {"image": image(pick, 2), "psf": psf(pick)}, numbers
    if name == "wiener":
        more = {"balance": lambda: pick.choice((0.1, 0, 5)), "device": options["device"]}
        return name, nl.wiener, {"image": image(pick, 2), "psf": psf(pick)}, more
    if name == "load_model":
        return name, nl.load_model, {"model": pick.choice(("general", "other", __file__, FOLDER))}, {}
    if name == "save_model":
        path = Path(tempfile.mkdtemp(dir=FOLDER)) / pick.choice(("a.safetensors", "a.pth"))
        more = {
            "normalization": lambda: pick.choice((None, {"method": "minmax"}, {"method": "x"}, {"low": "a"})),
            "card": lambda: pick.choice((None, {"title": "mine"}, {"title": object()})),
            "half_precision": lambda: True,
            "overwrite": lambda: True,
        }
        return name, nl.save_model, {"path": path, "network": network()}, more
    if name == "make_psf":
        optics = {key: (lambda value=value: value(pick)) for key, value in OPTICS.items()}
        required = ("kind", "shape", "numerical_aperture", "refractive_index", "emission_um", "voxel_size")
        return name, nl.make_psf, {key: optics.pop(key)() for key in required}, optics
    if name == "make_phantom":
        more = {key: lambda: pick.choice((0, 1, 3, -1)) for key in ("spheres", "ellipsoids", "boxes", "rng")}
        shape = tuple(pick.choice((1, 24, 32, 2)) for _ in range(pick.choice((2, 3))))
        return name, nl.make_phantom, {"shape": shape, "spheres": 2, "ellipsoids": 2, "boxes": 2}, more
    truth = np.random.default_rng(0).random([pick.choice((1, 8, 24)) for _ in range(pick.choice((2, 3)))])
    if name == "degrade":
        more = {
            "blur_sigma": lambda: pick.choice((1, (1, 1, 1), -1, (1, 2))),
            "noise_sigma": lambda: pick.choice((0.1, 0, -1)),
            "photons": lambda: pick.choice((None, 100, 0)),
            "photometric": lambda: True,
            "noise_reference": lambda: pick.choice(("truth", "blurred", "other")),
            "hot_pixels": lambda: pick.choice((0, 3, -1, 10**9)),
            "rng": lambda: pick.choice((0, -1)),
        }
        return name, nl.degrade, {"truth": truth}, more
    more = {
        "specimen": lambda: pick.choice(("nuclei", "membranes", "other")),
        "voxel_size": lambda: pick.choice((0.1625, (0.3, 0.1, 0.1), 0)),
        "sheet_fwhm_um": lambda: pick.choice((None, 2, 0)),
        "field_shape": lambda: pick.choice((None, (16, 16, 16), (0, 1, 2))),
        "rng": lambda: pick.choice((0, -1)),
    }
    return name, nl.make_surrogate, {"truth": truth}, more


def fuzz(seed: int) -> tuple[str, str, BaseException | None]:
    """Make one call; return the function's name, the outcome and the error."""
    pick = random.Random(seed)
    name, function, given, optional = arguments(pick)
    for key in pick.sample(sorted(optional), min(len(optional), pick.choice((0, 1, 1, 2, 3)))):
        given[key] = optional[key]()
    if pick.random() < 0.6:
        key = pick.choice(sorted({*given, *optional}))
        given[key] = pick.choice(ODD)()
    if name == "store" and not isinstance(given["out"], (dict, Path)):
        given["out"] = {"output": given["out"]} if pick.random() < 0.5 else given["out"]
    try:
        with time_limit():
            function(**given)
    except EXPLAINED as error:
        text = str(error)
        names = {*given, *optional}  # an error may also name an argument that is missing
        words = [word for key in names for word in (key, key.replace("_", " "), *WORDS.get(key, ()))]
        named = any(word in text for word in words)
        return name, "explained" if named and len(text) <= LONGEST_MESSAGE else "opaque", error
    except TooSlow as error:
        return name, "slow", error
    except Exception as error:
        return name, "opaque", error
    return name, "returned", None


@contextmanager
def time_limit() -> Iterator[None]:
    """Interrupt a call that takes longer than `SECONDS` or `SECONDS_OF_THE_CLOCK`.

    On a busy machine a short call may take long by the clock, so the clock alone says nothing.
    """

    def stop(*_: Any) -> None:
        raise TooSlow

    timers = {signal.SIGPROF: (signal.ITIMER_PROF, SECONDS)}
    timers[signal.SIGALRM] = (signal.ITIMER_REAL, SECONDS_OF_THE_CLOCK)
    before = {number: signal.signal(number, stop) for number in timers}
    try:
        for timer, seconds in timers.values():
            signal.setitimer(timer, seconds)
        yield
    finally:
        for timer, _ in timers.values():
            signal.setitimer(timer, 0)
        for number, handler in before.items():
            signal.signal(number, handler)


def main() -> int:
    """Make the calls, print the opaque errors, and return 1 if there were any."""
    global FOLDER
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0, help="seed of the first call; the others follow")
    parser.add_argument("--verbose", action="store_true", help="print every error, with its traceback")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    outcomes: Counter[tuple[str, str]] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        FOLDER = folder
        for seed in range(options.seed, options.seed + options.calls):
            name, outcome, error = fuzz(seed)
            outcomes[name, outcome] += 1
            if outcome in ("opaque", "slow") or (options.verbose and error is not None):
                with suppress(Exception):
                    print(f"{seed}: {name}: {outcome}: {type(error).__name__}: {error!s:.300}", flush=True)
                if options.verbose:
                    traceback.print_exception(error)
    for (name, outcome), count in sorted(outcomes.items()):
        print(f"{name:16} {outcome:10} {count}")
    opaque = sum(count for (_, outcome), count in outcomes.items() if outcome in ("opaque", "slow"))
    print(f"{sum(outcomes.values())} calls, {opaque} opaque")
    return int(opaque > 0)


FOLDER = tempfile.gettempdir()

if __name__ == "__main__":
    sys.exit(main())
