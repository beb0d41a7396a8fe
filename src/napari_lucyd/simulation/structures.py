"""Specimens as microscopes see them: puncta, filaments, sheets, bodies, tubules and mixtures."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np
from scipy import ndimage

from napari_lucyd.simulation.objects import DRAW
from napari_lucyd.simulation.phantoms import FloatImage, Phantom
from napari_lucyd.simulation.rasterization import Grid
from napari_lucyd.simulation.smooth_noise import SmoothNoise, lognormal

StructureKind = Literal["mixture", "puncta", "filaments", "sheets", "bodies", "tubules", "phantom"]

# Contrast of the blurred image, in the units of the phantoms, whose objects reach 850.
CONTRAST = 1000.0
BACKGROUND_LEVEL = 100.0
# Blur in voxels, typical of a well-sampled microscope.
BLUR_SIGMA = 1.5
# A class of a mixture has at least this share of the brightest one's contrast.
FAINTEST_CLASS = 0.03
# Thickness in pixels of the volume around a 2D specimen.
THICKNESS_PIXELS = 16
_MOST_CLASSES = 3


def make_structures(
    kind: StructureKind = "mixture",
    shape: tuple[int, ...] = (64, 160, 160),
    *,
    rng: int = 0,
    density: float | None = None,
    blur_sigma: float | Sequence[float] = BLUR_SIGMA,
    contrast: float = CONTRAST,
    background: float = BACKGROUND_LEVEL,
    anisotropy: float = 1.0,
) -> Phantom:
    """Draw a specimen of objects that microscopes see.

    Each class of objects is scaled so that its *blurred* image has the given contrast: blur removes most of
    the brightness of a point, and none of a large body. Contrast is the mean brightness of the light,
    weighted by itself, so it does not depend on the filled share of the volume. The brightness of the objects
    in a class is log-normal. If a mixture has several classes, one has the full contrast and the others down
    to 3 % of it.

    Parameters
    ----------
    kind
        ``"puncta"``: spots with a standard deviation of 0.24 to 1.25 pixels, alone and in clusters.
        ``"filaments"``: fibres with a radius of 0.5 to 1.3 pixels. ``"sheets"``: curved membranes with a
        standard deviation of 0.6 to 1.2 pixels across. ``"bodies"``: textured cells or nuclei.
        ``"tubules"``: hollow tubes. ``"phantom"``: the objects of `make_phantom`. ``"mixture"``: one to
        three of these together.
    shape
        (Z, Y, X), or (Y, X) for the middle plane of a volume 16 pixels thick.
    rng
        Seed; equal seeds make equal specimens.
    density
        Density from 0 (no objects) to 1 (crowded). None draws it from the seed for each class.
    blur_sigma
        Standard deviation in voxels of the Gaussian for measuring the contrast: one number, or one per axis.
        The returned image is sharp.
    contrast
        Contrast of the blurred image above the background.
    background
        Mean level of the background, which varies by up to 40 % (standard deviation).
    anisotropy
        Distance between planes in pixels. Objects have the same size along Z as across, in fewer planes.

    Returns
    -------
    Phantom
        Sharp image, float32, not negative, with its parameters.

    Raises
    ------
    ValueError
        If the kind is unknown, the shape has not two or three axes, or a number is invalid.

    Examples
    --------
    >>> import napari_lucyd as nl
    >>> specimen = nl.make_structures("filaments", (16, 64, 64), rng=1)
    >>> specimen.image.shape, specimen.parameters["kind"]
    ((16, 64, 64), 'filaments')
    >>> sample = nl.degrade(specimen, noise_sigma=0.03, photometric=True, noise_reference="image")

    Under a microscope, with the light of a specimen that is larger than the camera's field:

    >>> from napari_lucyd.simulation import acquire
    >>> microscope = nl.Microscope("widefield", numerical_aperture=0.8, refractive_index=1.33,
    ...                            emission_um=0.525)
    >>> sample = acquire(nl.make_structures("bodies", (32, 64, 64)), microscope.psf(0.2, (17, 33, 33)),
    ...                  background=100, photons_per_unit=0.5, read_noise=1.5, field_shape=(16, 32, 32))
    >>> sample.image.shape, sample.truth.shape
    ((16, 32, 32), (16, 32, 32))
    """
    sizes = tuple(operator.index(n) for n in shape)
    sigmas = _checked(kind, sizes, density, blur_sigma, contrast, background, anisotropy)
    parameters: dict[str, Any] = {
        "kind": kind,
        "shape": list(sizes),
        "rng": operator.index(rng),
        "density": None if density is None else float(density),
        "blur_sigma": list(sigmas),
        "contrast": float(contrast),
        "background": float(background),
        "anisotropy": float(anisotropy),
    }
    planes = sizes[0] if len(sizes) == 3 else max(1, round(THICKNESS_PIXELS / anisotropy))
    grid = Grid((planes, sizes[-2], sizes[-1]), anisotropy)
    if len(sigmas) == 2:  # a plane has the same blur along Z as across, in pixels
        sigmas = (sigmas[0] / anisotropy, *sigmas)
    generator = np.random.default_rng(rng)
    image = _background(grid, background, generator)
    if density != 0:
        for drawn, share in _classes(kind, generator):
            crowding = generator.random() if density is None else density
            light = DRAW[drawn](grid, crowding, generator)
            brightness = _brightness(light, sigmas)
            if brightness > 0:
                light *= np.float32(share * contrast / brightness)
                image += light
    return Phantom(image if len(sizes) == 3 else image[planes // 2].copy(), parameters)


def _classes(kind: StructureKind, generator: np.random.Generator) -> list[tuple[str, float]]:
    """Draw the classes of a specimen, and the share of the contrast that each has."""
    if kind != "mixture":
        return [(kind, 1.0)]
    names = generator.choice(
        sorted(DRAW), size=generator.integers(1, _MOST_CLASSES, endpoint=True), replace=False
    )
    shares = np.exp(generator.uniform(math.log(FAINTEST_CLASS), 0, len(names)))
    shares[0] = 1.0
    return list(zip(names.tolist(), shares.tolist(), strict=True))


def _background(grid: Grid, level: float, generator: np.random.Generator) -> FloatImage:
    """Draw the background, which is uneven on the scale of the field."""
    spacing = generator.uniform(0.3, 1.0) * max(grid.size)
    noise = SmoothNoise(grid.shape, grid.voxels(spacing), generator).values()
    return np.float32(level) * lognormal(noise, generator.uniform(0, 0.4))


def _brightness(light: FloatImage, sigmas: Sequence[float]) -> float:
    """Return the mean brightness of the blurred light, weighted by itself."""
    blurred = ndimage.gaussian_filter(light, sigmas, mode="constant", truncate=3.0)
    total = float(blurred.sum(dtype=np.float64))
    return float(np.vdot(blurred, blurred)) / total if total > 0 else 0.0


def _checked(
    kind: str,
    sizes: tuple[int, ...],
    density: float | None,
    blur_sigma: float | Sequence[float],
    contrast: float,
    background: float,
    anisotropy: float,
) -> tuple[float, ...]:
    """Refuse invalid arguments; return the blur along each axis."""
    if kind not in get_args(StructureKind):
        raise ValueError(f"kind is {kind!r}; give one of {', '.join(get_args(StructureKind))}.")
    if len(sizes) not in (2, 3) or min(sizes) < 1:
        raise ValueError(f"The shape is {sizes}; give (Z, Y, X) or (Y, X), each at least 1.")
    if density is not None and not 0 <= density <= 1:
        raise ValueError(f"The density is {density}; give a number from 0 to 1, or None to draw one.")
    if not (0 <= contrast < math.inf and 0 <= background < math.inf):
        raise ValueError(
            f"contrast is {contrast} and background is {background}; give numbers of at least 0."
        )
    if not 0 < anisotropy < math.inf:
        raise ValueError(
            f"anisotropy is {anisotropy}; give the Z step divided by the pixel size, a number above 0."
        )
    given = [float(s) for s in np.ravel(np.asarray(blur_sigma, np.float64))]
    sigmas = tuple(given if np.ndim(blur_sigma) else given * len(sizes))
    if len(sigmas) != len(sizes) or not all(0 <= s < math.inf for s in sigmas):
        raise ValueError(
            f"blur_sigma is {blur_sigma}; give one number of at least 0, or {len(sizes)} of them."
        )
    return sigmas
