"""Gain of methods on real images of the user: pairs of a blurred and a sharp image, and sharp stacks.

Sharp stacks are blurred and made noisy here, by Gaussians and by whole widefield PSFs.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.signal import fftconvolve

from napari_lucyd.deconvolution import deconvolve, richardson_lucy
from napari_lucyd.evaluation.compared_methods import UNTOLD, Competitor, Trained, Untold, load_competitor
from napari_lucyd.evaluation.metrics import psnr_affine
from napari_lucyd.evaluation.protocols import Sample
from napari_lucyd.evaluation.records import describe_environment, write_files
from napari_lucyd.io import read_image
from napari_lucyd.models.catalogue import DEFAULT_MODEL, DEFAULT_PLANES
from napari_lucyd.psf.gaussian import gaussian_psf
from napari_lucyd.simulation import Microscope
from napari_lucyd.simulation.phantoms import FloatImage

RICHARDSON_LUCY, ESTIMATE = "richardson-lucy", "estimate"
# Ends of the file names of a pair, image and truth, without the suffix; and of a sharp stack.
PAIR_ENDS = (("_wf", "_sim"), ("_image", "_truth"), ("_low", "_high"))
SHARP_ENDS = ("_sharp", "_cells3d")
PAIR_SIGMA = 1.35
"""Standard deviation in voxels of the blur of pairs, if none is given: that of BioSR's widefield images."""
# Standard deviations of the blur along (Z, Y, X), photons of the brightest voxels, read noise as a share of
# the range.
TEXTURES = (
    ((1.5, 1.5, 1.5), 1000.0, 0.015),
    ((1.5, 1.5, 1.5), 100.0, 0.02),
    ((2.0, 1.4, 1.4), 400.0, 0.01),
    ((2.9, 2.1, 2.1), 200.0, 0.01),
)
# Numerical aperture and refractive index; voxels of equal size in optical units.
OBJECTIVES = ((0.5, 1.0), (1.1, 1.33), (1.4, 1.515))
_EMISSION_UM = 0.525
_WIDEFIELD_PHOTONS, _WIDEFIELD_NOISE = 600.0, 0.01
_PSF_SHAPE = (63, 101, 101)
# Largest field that is cut out of a stack, and the margin that a widefield image loses.
_FIELD, _MARGIN = (40, 128, 128), (8, 24, 24)
# Accelerated iterations, tried in turn until two in a row were worse than the best.
_ITERATIONS = (3, 5, 8, 12, 18, 27, 40, 60, 90, 135, 200, 300, 450, 675, 1000)
_SUFFIXES = (".tif", ".tiff", ".zarr")


@dataclass(frozen=True)
class RealCase:
    """An image with its truth and the PSF that is told."""

    name: str
    group: str
    sample: Sample


@dataclass(frozen=True)
class Gain:
    """The gain of a method on an image.

    Attributes
    ----------
    image, group, method
        Names.
    psnr
        PSNR of the image in dB, after the best affine map to the truth.
    gain
        PSNR of the method's output minus that; None if the method does not take such images.
    setting
        Number that was chosen for a classical method.
    sha256
        SHA-256 of a model's weights.
    """

    image: str
    group: str
    method: str
    psnr: float
    gain: float | None
    setting: str = ""
    sha256: str = ""


@dataclass(frozen=True)
class RealTable:
    """Gains of all methods on all images, with the data needed to repeat them."""

    environment: dict[str, str]
    blur_sigma: float
    gains: list[Gain] = field(default_factory=list)

    name = "real"

    @property
    def methods(self) -> list[str]:
        """Names of the methods in the order of the columns."""
        return list(dict.fromkeys(entry.method for entry in self.gains))

    def mean(self, group: str, method: str) -> float | None:
        """Return the mean gain of a method over a group of images; None if it does not take them."""
        values = [g.gain for g in self.gains if (g.group, g.method) == (group, method) and g.gain is not None]
        return float(np.mean(values)) if values else None

    def markdown(self) -> str:
        """Return a table for each group: gains over the image in dB, then the mean."""
        return "\n\n".join(self._group(group) for group in dict.fromkeys(g.group for g in self.gains))

    def _group(self, group: str) -> str:
        methods = self.methods
        lines = [[group, "PSNR", *methods], ["---"] * (len(methods) + 2)]
        for image in dict.fromkeys(g.image for g in self.gains if g.group == group):
            row = [g for g in self.gains if (g.image, g.group) == (image, group)]
            lines.append([image, f"{row[0].psnr:.2f}", *(_decibels(g.gain) for g in row)])
        means = (_decibels(self.mean(group, method)) for method in methods)
        lines.append(["**mean**", "", *(f"**{mean}**" for mean in means)])
        return "\n".join("| " + " | ".join(line) + " |" for line in lines)

    @classmethod
    def load(cls, path: str | Path) -> RealTable:
        """Read a ``.json`` file that `save` has written."""
        entries = json.loads(Path(path).read_text("utf-8"))
        return cls(**entries | {"gains": [Gain(**gain) for gain in entries["gains"]]})

    def save(self, folder: str | Path) -> list[Path]:
        """Write ``real.md``, ``.csv`` and ``.json``; return the paths."""
        rows = [asdict(entry) for entry in self.gains]
        return write_files(folder, self.name, markdown=self.markdown(), rows=rows, record=asdict(self))


def measure_real(
    folder: str | Path,
    methods: Sequence[str],
    *,
    blur_sigma: float = PAIR_SIGMA,
    progress: Callable[[int, int], None] | None = None,
) -> RealTable:
    """Measure methods on the real images of a folder.

    Parameters
    ----------
    folder
        Folder with pairs ``NAME_wf`` and ``NAME_sim`` (or ``_image`` and ``_truth``, ``_low`` and ``_high``)
        of equal shape, and sharp stacks ``NAME_sharp`` or ``NAME_cells3d``, as TIFF or OME-Zarr.
    methods
        Names as for `load_competitor`. ``"lucyd"`` is `lucyd-planes` on planes. ``"richardson-lucy"`` is
        accelerated, and gets the number of iterations that is best for each image, which a user does not
        know. ``"estimate"`` is the first estimate of ``"lucyd"`` alone.
    blur_sigma
        Standard deviation in voxels of the blur that is told for pairs.
    progress
        Called with the number of finished images and the total.

    Raises
    ------
    ValueError
        If the folder holds neither pairs nor sharp stacks.
    """
    found = list(_find(Path(folder), blur_sigma))
    if not found:
        ends = ", ".join(f"NAME{a} and NAME{b}" for a, b in PAIR_ENDS)
        raise ValueError(
            f"{folder} holds no pairs ({ends}) and no sharp stacks (NAME{', NAME'.join(SHARP_ENDS)}); rename "
            "the files, or choose another folder."
        )
    table = RealTable(describe_environment(), float(blur_sigma))
    for done, make in enumerate(found, 1):
        case = make()
        before = psnr_affine(case.sample.image, case.sample.truth)
        for method in methods:
            output, setting, sha256 = _restored(method, case.sample)
            gain = None if output is None else psnr_affine(output, case.sample.truth) - before
            table.gains.append(Gain(case.name, case.group, method, before, gain, setting, sha256))
        if progress:
            progress(done, len(found))
    return table


def _restored(method: str, sample: Sample) -> tuple[FloatImage | None, str, str]:
    """Return output, setting and SHA-256 of a method; no output if it does not take such images."""
    dimension = sample.image.ndim
    default = DEFAULT_MODEL if dimension == 3 else DEFAULT_PLANES
    if method == RICHARDSON_LUCY:
        return *_richardson_lucy(sample), ""
    if method == ESTIMATE:
        options: dict[str, Any] = {"outputs": ("first_estimate",), "psf": sample.psf, "device": "cpu"}
        return deconvolve(sample.image, default, **options).first_estimate, "", ""
    name = method.removeprefix(UNTOLD)
    entry: Competitor = load_competitor(method.replace(name, default) if name == DEFAULT_MODEL else method)
    if isinstance(entry, Trained) and entry.model.dimension != dimension:
        return None, "", ""
    if not isinstance(entry, Trained | Untold):
        entry = entry.tuned([sample], psnr_affine)  # type: ignore[union-attr]
    return entry.restore(sample, bare=False), entry.setting, entry.sha256


def _richardson_lucy(sample: Sample) -> tuple[FloatImage, str]:
    image = sample.image - min(0.0, float(sample.image.min()))
    best, worse = (-math.inf, sample.image, 0), 0
    for number in _ITERATIONS:
        output = richardson_lucy(image, sample.psf, num_iter=number, acceleration=True)
        score = psnr_affine(output, sample.truth)
        worse = 0 if score > best[0] else worse + 1
        best = max(best, (score, output, number), key=lambda trial: trial[0])
        if worse == 2:
            break
    return best[1], f"num_iter={best[2]}"


def _find(folder: Path, blur_sigma: float) -> Iterator[Callable[[], RealCase]]:
    """Yield functions that make the cases, so that one at a time is in memory."""
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is not a folder; name one with pairs of images.")
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in _SUFFIXES)
    stems = {path.name.split(".")[0]: path for path in files}
    for stem in stems:
        for low, high in PAIR_ENDS:
            if stem.endswith(low) and stem.removesuffix(low) + high in stems:
                name = stem.removesuffix(low)
                yield partial(_pair, name, stems[stem], stems[name + high], blur_sigma)
    for stem, path in stems.items():
        if stem.endswith(SHARP_ENDS):
            yield from (partial(_texture, path, number) for number in range(len(TEXTURES)))
            yield from (partial(_widefield, path, number) for number in range(len(OBJECTIVES)))


def _pair(name: str, image: Path, truth: Path, blur_sigma: float) -> RealCase:
    low, high = (np.squeeze(np.asarray(read_image(path).data)).astype(np.float32) for path in (image, truth))
    if low.shape != high.shape or low.ndim not in (2, 3):
        raise ValueError(
            f"{image.name} has shape {low.shape} and {truth.name} {high.shape}; give pairs of equal shape, "
            "with two or three axes."
        )
    psf = gaussian_psf((blur_sigma,) * low.ndim)
    label = name.removeprefix("biosr_").replace("_", " ")
    return RealCase(label, f"pairs, {low.ndim}D", Sample(low, high, psf))


def _sharp(path: Path, margin: tuple[int, ...]) -> FloatImage:
    """Read the middle of a sharp stack: background 0, the 99.9th percentile 1."""
    stack = np.squeeze(np.asarray(read_image(path).data)).astype(np.float32)
    if stack.ndim != 3:
        raise ValueError(f"{path.name} has shape {stack.shape}; give a sharp stack with axes Z, Y, X.")
    sizes = [min(n, m + 2 * extra) for n, m, extra in zip(stack.shape, _FIELD, margin, strict=True)]
    starts = [(n - m) // 2 for n, m in zip(stack.shape, sizes, strict=True)]
    part = stack[tuple(slice(a, a + n) for a, n in zip(starts, sizes, strict=True))]
    low, high = np.percentile(part, (1, 99.9))
    return np.asarray(np.clip((part - low) / (high - low), 0, None), np.float32)


def _noisy(light: FloatImage, photons: float, read_noise: float, seed: int) -> FloatImage:
    """Draw photons and read noise; light and result are shares of the range."""
    generator = np.random.default_rng(seed)
    counted = generator.poisson(np.clip(light + 0.05, 0, None) * photons) / photons
    return np.asarray(counted + generator.normal(0, read_noise, light.shape), np.float32)


def _texture(path: Path, number: int) -> RealCase:
    sigma, photons, read_noise = TEXTURES[number]
    truth = _sharp(path, (0, 0, 0))
    image = _noisy(gaussian_filter(truth, sigma), photons, read_noise, 11)
    name = f"{_label(path)}, blur {', '.join(f'{s:g}' for s in sigma)}, {photons:g} photons"
    return RealCase(name, "sharp stacks, Gaussian blur", Sample(image, truth, gaussian_psf(sigma)))


def _widefield(path: Path, number: int) -> RealCase:
    aperture, index = OBJECTIVES[number]
    lateral = 0.25 * _EMISSION_UM / aperture
    axial = 0.17 * _EMISSION_UM / (index - math.sqrt(index**2 - aperture**2))
    microscope = Microscope(
        "widefield", numerical_aperture=aperture, refractive_index=index, emission_um=_EMISSION_UM
    )
    psf = microscope.psf((axial, lateral, lateral), _PSF_SHAPE)
    truth = _sharp(path, _MARGIN) + np.float32(0.03)
    around = np.pad(truth, [(n // 2, n // 2) for n in _PSF_SHAPE], mode="edge")
    light = fftconvolve(around, psf / psf.sum(), "valid")
    light = (light - light.min()) / (np.percentile(light, 99.9) - light.min())
    image = _noisy(light, _WIDEFIELD_PHOTONS, _WIDEFIELD_NOISE, 12)
    inner = tuple(
        slice((n - min(n, m)) // 2, (n - min(n, m)) // 2 + min(n, m))
        for n, m in zip(truth.shape, _FIELD, strict=True)
    )
    name = f"{_label(path)}, widefield, NA {aperture:g}"
    return RealCase(name, "sharp stacks, widefield", Sample(image[inner], truth[inner], psf))


def _label(path: Path) -> str:
    stem = path.name.split(".")[0]
    for end in SHARP_ENDS:
        stem = stem.removesuffix(end)
    return stem.replace("_", " ")


def _decibels(gain: float | None) -> str:
    return "–" if gain is None else f"{gain:+.2f}"
