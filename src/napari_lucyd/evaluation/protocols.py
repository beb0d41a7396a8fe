"""Test images: degraded phantoms with fixed seeds, their truth and the PSF that blurred them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial, reduce
from itertools import product

import numpy as np

from napari_lucyd.evaluation.metrics import psnr, psnr_affine
from napari_lucyd.simulation import make_psf, make_surrogate
from napari_lucyd.simulation.degradation import KERNEL_SIZE, REACH, degrade
from napari_lucyd.simulation.phantoms import FloatImage, Phantom, gaussian_kernel, make_phantom
from napari_lucyd.text import count_text

# Table 2 of the paper: blur in voxels, noise in 255ths of the range. No model was trained on the eight cells.
STRICT_CELLS = tuple(product((0.5, 2.0), (20, 50, 70, 100)))
# A grid over the training range of the open track.
OPEN_CELLS = tuple(product((0.5, 1.2, 2.0), (0, 15, 50, 100)))
SPECIMENS = ("nuclei", "membranes")
STRICT_PHANTOM = (128, 128, 128)
STRICT_PATCH = (32, 64, 64)
OPEN_PHANTOM = (48, 96, 96)
# Training phantoms count up from 1,000,000 and validation ones from 500,000.
TEST_SEEDS = (100, 101, 102, 103, 104)
# Phantom for choosing the numbers of classical methods; it is not among the test phantoms.
TUNING_SEED = 500_000


@dataclass(frozen=True)
class Sample:
    """An image and its truth, both float32 with one shape, and the true PSF with as many axes."""

    image: FloatImage
    truth: FloatImage
    psf: FloatImage


@dataclass(frozen=True)
class Protocol:
    """A test: the columns of a table, and the samples of each column and phantom.

    Parameters
    ----------
    name
        Name of the table and its files.
    title
        Description in one line.
    columns
        Headings: degradations, or specimens.
    dimension
        Number of axes of the images.
    bare
        True if networks receive the image without normalization and extension of the borders, as in the
        paper. Otherwise every method runs as a user would run it.
    photometric
        True if image and truth have the same units, so that their sums can be compared.
    samples
        Function of the number of a column and the seed of a phantom that returns images.
    affine
        True if PSNR is measured after the best scale and offset of each image.
    """

    name: str
    title: str
    columns: tuple[str, ...]
    dimension: int
    bare: bool
    photometric: bool
    samples: Callable[[int, int], list[Sample]]
    affine: bool = False

    @property
    def psnr(self) -> Callable[[FloatImage, FloatImage], float]:
        """PSNR of this test: `metrics.psnr`, or `metrics.psnr_affine`."""
        return psnr_affine if self.affine else psnr

    def restricted(self, name: str, columns: Sequence[str]) -> Protocol:
        """Return the same test with some of its columns (by heading) under another name."""
        numbers = [self.columns.index(column) for column in columns]
        return replace(
            self,
            name=name,
            columns=tuple(columns),
            samples=lambda column, seed: self.samples(numbers[column], seed),
        )


def strict_protocol(patches: int = 8) -> Protocol:
    """Return the test of the paper's Table 2: patches of 32x64x64 with unseen blur and noise.

    Parameters
    ----------
    patches
        Number of patches of each phantom in each column.
    """
    return Protocol(
        "table2",
        "blur σ in voxels, noise σ in 1/255 of the range, both unseen in the strict training",
        tuple(f"{blur:g}, {noise:g}" for blur, noise in STRICT_CELLS),
        dimension=3,
        bare=True,
        photometric=False,
        samples=partial(_strict, patches),
    )


def options_protocol(patches: int = 8) -> Protocol:
    """Return the test of `strict_protocol`, run by `deconvolve`; for `with_options`.

    Parameters
    ----------
    patches
        Number of patches of each phantom in each column.
    """
    strict = strict_protocol(patches)
    title = f"{strict.title}; run by deconvolve on the image as it is, extended beyond its borders"
    return replace(strict, name="options", title=title, bare=False)


def open_protocol(dimension: int = 3) -> Protocol:
    """Return the test of the open track: its range of blur and noise, on volumes or their middle planes.

    Parameters
    ----------
    dimension
        2 or 3.
    """
    return Protocol(
        "open" if dimension == 3 else "open2d",
        "blur σ in voxels, noise σ in 1/255 of the range, as a user runs it; the open track trained on these",
        tuple(f"{blur:g}, {noise:g}" for blur, noise in OPEN_CELLS),
        dimension=dimension,
        bare=False,
        photometric=True,
        samples=partial(_open, dimension),
    )


BEYOND = 24
"""Voxels of specimen beyond the volume, on each side: their haze reaches the image of a surrogate."""


def surrogate_protocol(beyond: int = 0) -> Protocol:
    """Return the test on surrogates of the nuclei and membranes of the paper's Table 3.

    Parameters
    ----------
    beyond
        Voxels by which the specimen extends beyond the volume on each side; their haze reaches the image.
    """
    return Protocol(
        "table3-beyond" if beyond else "table3",
        "surrogates of the paper's specimens, widefield, as a user runs it"
        + (f", with {count_text(beyond, 'voxel')} of specimen beyond the volume" if beyond else ""),
        SPECIMENS,
        dimension=3,
        bare=False,
        photometric=True,
        samples=partial(_surrogate, beyond),
    )


@lru_cache(maxsize=1)
def _phantom(shape: tuple[int, ...], seed: int) -> Phantom:
    """Make a phantom, cached for the columns that follow."""
    return make_phantom(shape, rng=seed)


def _strict(patches: int, column: int, seed: int) -> list[Sample]:
    blur, noise = STRICT_CELLS[column]
    whole = degrade(_phantom(STRICT_PHANTOM, seed), blur_sigma=blur, noise_sigma=noise / 255, rng=seed)
    psf = gaussian_psf(blur, KERNEL_SIZE, 3)
    generator = np.random.default_rng([seed, round(10 * blur), round(noise)])
    samples = []
    for _ in range(patches):
        starts = [
            int(generator.integers(size - part, endpoint=True))
            for size, part in zip(whole.image.shape, STRICT_PATCH, strict=True)
        ]
        window = tuple(slice(a, a + n) for a, n in zip(starts, STRICT_PATCH, strict=True))
        samples.append(Sample(whole.image[window], whole.truth[window], psf))
    return samples


def _open(dimension: int, column: int, seed: int) -> list[Sample]:
    blur, noise = OPEN_CELLS[column]
    volume = degrade(
        _phantom(OPEN_PHANTOM, seed), blur_sigma=blur, noise_sigma=noise / 255, photometric=True, rng=seed
    )
    image, truth = volume.image, volume.truth
    if dimension == 2:
        image, truth = image[OPEN_PHANTOM[0] // 2], truth[OPEN_PHANTOM[0] // 2]
    return [Sample(image, truth, gaussian_psf(blur, 2 * round(REACH * blur) + 1, dimension))]


def _surrogate(beyond: int, column: int, seed: int) -> list[Sample]:
    volume = make_surrogate(
        _phantom(tuple(n + 2 * beyond for n in OPEN_PHANTOM), seed),
        SPECIMENS[column],  # type: ignore[arg-type]
        field_shape=OPEN_PHANTOM if beyond else None,
        rng=seed,
    )
    psf = make_psf(**volume.parameters["psf"])
    return [Sample(volume.image, volume.truth, np.asarray(psf, np.float32))]


def gaussian_psf(sigma: float, size: int, dimension: int) -> FloatImage:
    """Sample a Gaussian with sum 1 on `size` voxels (odd) along each axis; sigma in voxels."""
    line = gaussian_kernel(sigma, size)
    return np.asarray(reduce(np.multiply.outer, [line] * dimension), np.float32)
