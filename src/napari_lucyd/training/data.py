"""Training patches, each determined by the seed and its number.

So the patches do not depend on the number of workers, and a resumed run continues with the next patch.
Another version of numpy may round differently, after which the photon noise of a patch is another draw.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from torch import Tensor
from torch.utils.data import Dataset

from napari_lucyd.models.normalization import Normalization
from napari_lucyd.simulation.degradation import blur, blur_truncated, scale_to_unit
from napari_lucyd.simulation.phantoms import FloatImage, make_phantom
from napari_lucyd.simulation.surrogates import make_surrogate
from napari_lucyd.training.config import DataConfig, TrainingConfig
from napari_lucyd.training.estimates import EstimateSpecimen

# First seeds of the phantoms for training and validation. The test phantoms of napari_lucyd.evaluation have
# seeds below 1000, so none of them is used in training.
TRAINING_PHANTOMS = 1_000_000
VALIDATION_PHANTOMS = 500_000
# Root mean square error of a blurred, moderately noisy image, on the scale where it runs from 0 to 1.
TYPICAL_ERROR = 0.1


class Patch(NamedTuple):
    """A patch: image and truth, float32 tensors (1, [Z,] Y, X), and the factor that undoes their gain."""

    image: Tensor
    truth: Tensor
    weight: Tensor


class _Pair(NamedTuple):
    image: FloatImage
    truth: FloatImage
    peak: float


class _StrictSpecimen:
    """A phantom with each of the paper's blurs; the noise is drawn for each patch."""

    def __init__(self, data: DataConfig, seed: int) -> None:
        self.truth = scale_to_unit(make_phantom(data.phantom_shape, rng=seed).image)
        self.blurred = [
            scale_to_unit(blur_truncated(self.truth, [sigma] * self.truth.ndim)) for sigma in data.blur_sigma
        ]
        self.noise = data.noise_sigma

    def patch(self, window: tuple[int | slice, ...], generator: np.random.Generator) -> _Pair:
        image = self.blurred[int(generator.integers(len(self.blurred)))][window]
        sigma = self.noise[int(generator.integers(len(self.noise)))] / 255
        noise = generator.normal(0, 1, image.shape).astype(np.float32)
        return _Pair(image + np.float32(sigma) * noise, self.truth[window], 1.0)


class _OpenSpecimen:
    """A phantom of random density and coarseness under one random microscope, like a real stack.

    Truth and image are scaled by the image's percentiles, so that the network learns to keep the flux.
    """

    def __init__(self, data: DataConfig, normalization: Normalization, seed: int) -> None:
        generator = np.random.default_rng([data.seed, seed])
        sharp = self._sharp(data, seed, generator)
        self.bright = data.bright > 0 and generator.random() < data.bright
        if self.bright:
            # Dust, beads, dead cells: specks of two voxels along each axis, which are blurred too.
            _speckle(sharp, 2, generator)
        image = self._noisy(self._blurred(sharp, data, generator), data, generator)
        if self.bright:
            # Hot pixels of the camera are not blurred, and not part of the truth.
            _speckle(image, 1, generator)
        self.image, self.truth, peak = _scaled(image, sharp, normalization)
        # Noisy patches must not dominate the loss, so errors count more in patches that need little
        # correction.
        error = float(np.sqrt(np.mean((self.image - self.truth) ** 2))) / peak
        self.peak = peak * float(np.clip(np.sqrt(error / TYPICAL_ERROR), 0.5, 1.0))

    def patch(self, window: tuple[int | slice, ...], generator: np.random.Generator) -> _Pair:
        return _pair(self.image[window], self.truth[window], self.peak, self.bright)

    @staticmethod
    def _sharp(data: DataConfig, seed: int, generator: np.random.Generator) -> FloatImage:
        zoom = int(generator.choice([1, 2, 3], p=[0.6, 0.25, 0.15]))
        density = 10 ** generator.uniform(-1.2, 0.15)
        shape = tuple(max(24, -(-n // zoom)) for n in data.phantom_shape)
        counts: dict[str, Any] = {
            name: round(n * density * zoom)
            for name, n in (("spheres", 150), ("ellipsoids", 150), ("boxes", 400))
        }
        image = make_phantom(shape, **counts, rng=seed).image
        if zoom > 1:
            for axis in range(image.ndim):
                image = np.repeat(image, zoom, axis=axis)
            image = blur(image, [zoom / 2] * image.ndim)
        image = image[tuple(slice(n) for n in data.phantom_shape)]
        # Real structures are not uniform: uneven stain inside the objects, and uneven haze behind them.
        stain = 1 + generator.uniform(0, 0.5) * _smooth(image.shape, generator.uniform(1, 6), generator)
        haze = 1 + generator.uniform(0, 0.7) * _smooth(image.shape, generator.uniform(8, 24), generator)
        background = generator.uniform(0, 300) * np.clip(haze, 0, 3)
        return np.asarray(image * np.clip(stain, 0.2, 3) + background, np.float32)

    @staticmethod
    def _blurred(sharp: FloatImage, data: DataConfig, generator: np.random.Generator) -> FloatImage:
        lateral = generator.uniform(data.blur_sigma[0], data.blur_sigma[1])
        # Resampled or light-sheet stacks have an axial ratio near 1, widefield stacks a high one.
        axial = min(lateral * generator.uniform(*data.axial_ratio), 2 * data.blur_sigma[1])
        sigmas = [axial, lateral, lateral][-sharp.ndim :]
        image = blur(sharp, sigmas)
        if generator.random() < data.haze:
            # Light from far out of focus: the PSF has a narrow peak on a wide foot.
            share, width = generator.uniform(0, 0.4), generator.uniform(2, 5)
            image = (1 - share) * image + share * _wide_blur(sharp, [width * s + 2 for s in sigmas])
        return image

    @staticmethod
    def _noisy(image: FloatImage, data: DataConfig, generator: np.random.Generator) -> FloatImage:
        span = float(np.percentile(image, 99.9) - image.min())
        # Between 10 photons in the bright parts (fast time series) and 30,000 (fixed samples). A quarter of
        # the images is nearly free of noise, so that the network learns to leave good images as they are.
        clean = generator.random() < 0.25
        if generator.random() < 0.6:
            photons = 10 ** generator.uniform(3 if clean else 1, 4.5)
            image = (generator.poisson(image / span * photons) * (span / photons)).astype(np.float32)
        low, high = data.noise_sigma
        # Squared, because little noise is more common than much noise.
        share = 0.04 * generator.random() if clean else generator.random() ** 2
        sigma = (low + (high - low) * share) / 255 * span
        return image + generator.normal(0, sigma, image.shape).astype(np.float32)


class _SurrogateSpecimen:
    """A phantom of random density, imaged with the optics and the camera of one kind of specimen."""

    def __init__(self, data: DataConfig, normalization: Normalization, seed: int) -> None:
        generator = np.random.default_rng([data.seed, seed])
        density = 10 ** generator.uniform(-1, 0.15)
        counts: dict[str, Any] = {
            name: round(n * density) for name, n in (("spheres", 150), ("ellipsoids", 150), ("boxes", 400))
        }
        sharp = make_phantom(data.phantom_shape, **counts, rng=seed).image
        self.bright = data.bright > 0 and generator.random() < data.bright
        if self.bright:
            _speckle(sharp, 2, generator)
        assert data.specimen is not None
        sample = make_surrogate(sharp, data.specimen, rng=seed)
        image = sample.image
        if self.bright:
            span = float(np.ptp(np.percentile(image, (1, 99))))
            sigma = generator.random() * max(data.noise_sigma) / 255 * span
            image = image + generator.normal(0, sigma, image.shape).astype(np.float32)
            _speckle(image, 1, generator)
        self.image, self.truth, self.peak = _scaled(image, sample.truth, normalization)

    def patch(self, window: tuple[int | slice, ...], generator: np.random.Generator) -> _Pair:
        return _pair(self.image[window], self.truth[window], self.peak, self.bright)


_Specimen = _StrictSpecimen | _OpenSpecimen | _SurrogateSpecimen | EstimateSpecimen
MakeSpecimen = Callable[[int], EstimateSpecimen]
"""Function that makes a specimen from a seed."""


def _scaled(
    image: FloatImage, truth: FloatImage, normalization: Normalization
) -> tuple[FloatImage, FloatImage, float]:
    """Scale image and truth by the image's percentiles, as in use; return them and the peak of the truth."""
    lo, hi = np.percentile(image, (normalization.low, normalization.high))
    image = ((image - lo) / (hi - lo) + normalization.pedestal).astype(np.float32)
    truth = ((truth - lo) / (hi - lo) + normalization.pedestal).astype(np.float32)
    # A few bright objects in a dark volume lie far above the percentile; they must not dominate the loss.
    return image, truth, max(1.0, float(np.percentile(truth, 99.99)) - normalization.pedestal)


def _pair(image: FloatImage, truth: FloatImage, peak: float, bright: bool) -> _Pair:
    """Make a patch of image and truth; if there are specks, the brightest voxel counts as 3 in the loss."""
    return _Pair(image, truth, max(peak, float(image.max()) / 3, float(truth.max()) / 3) if bright else peak)


def _speckle(image: FloatImage, size: int, generator: np.random.Generator) -> None:
    """Add up to about twenty cubes in place, 2 to 60 times as bright as the bright parts of the image."""
    span = float(np.percentile(image, 99.9) - image.min())
    for _ in range(generator.poisson(max(2, image.size / 100_000))):
        start = [int(generator.integers(n - size)) for n in image.shape]
        image[tuple(slice(a, a + size) for a in start)] += span * 2 * 30 ** generator.random()


def _smooth(shape: tuple[int, ...], width: float, generator: np.random.Generator) -> FloatImage:
    """Make noise of unit variance with a correlation length of about `width` voxels."""
    step = max(1, int(width / 2))
    coarse = generator.normal(0, 1, [-(-n // step) + 1 for n in shape]).astype(np.float32)
    coarse = blur(coarse, [width / step] * len(shape))
    fine = ndimage.zoom(coarse, step, order=1) if step > 1 else coarse
    fine = fine[tuple(slice(n) for n in shape)]
    return np.asarray(fine / fine.std(), np.float32)


def _wide_blur(image: FloatImage, sigmas: list[float]) -> FloatImage:
    """Blur with a wide Gaussian at half the resolution, which is fine enough for it."""
    halves = np.pad(image, [(0, n % 2) for n in image.shape], mode="edge")
    for axis in range(image.ndim):
        even, odd = (halves[(slice(None),) * axis + (slice(first, None, 2),)] for first in (0, 1))
        halves = (even + odd) / np.float32(2)
    coarse = blur(halves, [s / 2 for s in sigmas])
    fine = ndimage.zoom(coarse, 2, order=1, grid_mode=True, mode="nearest")
    return np.asarray(fine[tuple(slice(n) for n in image.shape)], np.float32)


class Patches(Dataset[Patch]):
    """The patches of a run, by number.

    Parameters
    ----------
    config
        Configuration of the run.
    phantoms
        Seed of the first phantom; each next one adds 1.
    make_specimen
        Function that makes a specimen from its seed; None for the one of the configuration's track.
    """

    def __init__(
        self,
        config: TrainingConfig,
        phantoms: int = TRAINING_PHANTOMS,
        make_specimen: MakeSpecimen | None = None,
    ) -> None:
        self.config, self._make_specimen = config, make_specimen
        self.phantoms = phantoms + 10_000 * config.data.seed
        self._specimens: OrderedDict[int, _Specimen] = OrderedDict()

    def __getitem__(self, index: int) -> Patch:
        data = self.config.data
        generator = np.random.default_rng([data.seed, self.phantoms, index])
        number = index // data.patches_per_phantom + int(generator.integers(data.alive))
        slices = len(data.phantom_shape) - len(data.patch_shape)
        planes = [int(generator.integers(n)) for n in data.phantom_shape[:slices]]
        step = 2 if data.track == "open" and generator.random() < data.subsampled else 1
        sizes = zip(data.phantom_shape[slices:], data.patch_shape, strict=True)
        starts = [int(generator.integers(whole - part * step, endpoint=True)) for whole, part in sizes]
        crop = [slice(a, a + n * step, step) for a, n in zip(starts, data.patch_shape, strict=True)]
        window: tuple[int | slice, ...] = (*planes, *crop)
        image, truth, peak = self._specimen(number).patch(window, generator)
        image, truth = _flipped(image, truth, generator)
        gain = 1.0
        if data.photometric or generator.random() < 0.5:
            gain = float(np.exp(generator.uniform(*np.log(data.gain))))
        pedestal = np.float32(self.config.normalization.pedestal)
        shift = float(generator.uniform(*data.offset))
        return Patch(
            _tensor((image - pedestal) * np.float32(gain) + np.float32(pedestal + shift)),
            _tensor((truth - pedestal) * np.float32(gain) + np.float32(pedestal + shift)),
            torch.tensor(1 / (gain * peak), dtype=torch.float32).reshape([1] * (image.ndim + 1)),
        )

    def _specimen(self, number: int) -> _Specimen:
        if number not in self._specimens:
            data, normalization = self.config.data, self.config.normalization
            seed = self.phantoms + number
            if self._make_specimen is not None:
                self._specimens[number] = self._make_specimen(seed)
            elif data.track == "strict":
                self._specimens[number] = _StrictSpecimen(data, seed)
            elif data.track == "estimates":
                self._specimens[number] = EstimateSpecimen(data, normalization, seed)
            else:
                kind = _OpenSpecimen if data.track == "open" else _SurrogateSpecimen
                self._specimens[number] = kind(data, normalization, seed)
            while len(self._specimens) > data.alive + 1:
                self._specimens.popitem(last=False)
        self._specimens.move_to_end(number)
        return self._specimens[number]


def _flipped(
    image: FloatImage, truth: FloatImage, generator: np.random.Generator
) -> tuple[FloatImage, FloatImage]:
    """Apply one of the flips, and swap Y and X half of the time if they have the same size."""
    axes = tuple(axis for axis in range(image.ndim) if generator.random() < 0.5)
    swap = generator.random() < 0.5 and image.shape[-1] == image.shape[-2]
    image, truth = np.flip(image, axes), np.flip(truth, axes)
    return (image.swapaxes(-1, -2), truth.swapaxes(-1, -2)) if swap else (image, truth)


def _tensor(image: npt.NDArray[np.float32]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(image))[None]
