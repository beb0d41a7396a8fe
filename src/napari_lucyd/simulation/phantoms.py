"""Phantoms of dots, bars, blocks, solid spheres and ellipsoidal surfaces.

The recipe is that of Li et al., "Incorporating the image formation process into deep learning improves
network performance" (RLN), Nature Methods 2022. LUCYD was trained on these phantoms.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_lucyd import checks

FloatImage = npt.NDArray[np.float32]

# Li et al. keep centres 9 voxels from the border of their 128 and radii at 4 to 7.
MARGIN = 9
RADII = (4, 7)
BACKGROUND = 30.0
SMOOTHING_SIGMA = 0.7
# A 2D phantom is the middle plane of a volume this thick, which holds every object that can cross the plane.
THICKNESS = 32
# Sizes (Z, Y, X) of the eight groups of boxes: lower and upper limit of a uniform integer, both included.
_FIXED, _LONG, _BLOCK = (2, 2), (2, 10), (2, 6)
_BOXES: tuple[tuple[tuple[int, int], ...], ...] = (
    (_FIXED, _FIXED, _FIXED),
    (_LONG, _FIXED, _FIXED),
    (_FIXED, _LONG, _FIXED),
    (_FIXED, _FIXED, _LONG),
    (_LONG, _LONG, _FIXED),
    (_LONG, _FIXED, _LONG),
    (_FIXED, _LONG, _LONG),
    (_BLOCK, _BLOCK, _BLOCK),
)
# The group of bars with an additional intensity uniform in [0, 50).
_BRIGHTER_GROUP = 1


@dataclass(frozen=True)
class Phantom:
    """A sharp synthetic image.

    Parameters
    ----------
    image
        (Z, Y, X) or (Y, X), float32; intensities of about 14 to 880 from `make_phantom`.
    parameters
        Plain JSON data to make it again, by ``make_phantom(**parameters)``, or by
        ``make_structures(**parameters)`` if they have a kind.
    """

    image: FloatImage
    parameters: dict[str, Any] = field(default_factory=dict)

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> npt.NDArray[Any]:
        if copy:
            return np.array(self.image, dtype=dtype)
        return np.asarray(self.image, dtype=dtype)


def make_phantom(
    shape: tuple[int, ...] = (128, 128, 128),
    *,
    spheres: int = 150,
    ellipsoids: int = 150,
    boxes: int = 400,
    rng: int = 0,
    progress: Callable[[int, int], object] | None = None,
) -> Phantom:
    """Draw a phantom.

    The objects are solid spheres of radius 4 to 7, ellipsoidal surfaces with radii 4 to 7, and eight equal
    groups of boxes (2x2x2 dots, bars 2 to 10 long along one axis or two, blocks 2 to 6 long). Each object
    overwrites the voxels with an intensity uniform in [50, 850). A background of 30 is added, and a 5x5x5
    Gaussian of sigma 0.7 with zero padding smooths the edges.

    Parameters
    ----------
    shape
        (Z, Y, X), or (Y, X) for the middle plane of a phantom 32 planes thick; at least 20 along each axis.
    spheres, ellipsoids, boxes
        Number of objects in a volume of 128x128x128; other sizes have the same density. Li et al. draw 100
        spheres and 100 ellipsoids; 150 of each reproduce the figures of the LUCYD paper best.
    rng
        Seed.
    progress
        Called after each object with the number of finished objects and the total. An exception from it stops
        the drawing.

    Returns
    -------
    Phantom
        The image and the parameters that made it.

    Raises
    ------
    ValueError
        If the shape has not two or three axes or is too small for the objects, or if a number of objects is
        negative.

    Examples
    --------
    >>> import napari_lucyd as nl
    >>> phantom = nl.make_phantom((32, 64, 64), rng=1)
    >>> phantom.image.shape, phantom.parameters["rng"]
    ((32, 64, 64), 1)
    """
    expected = f"(Z, Y, X) or (Y, X), with at least {2 * MARGIN + 2} voxels each"
    shape = tuple(checks.integer("shape", size) for size in checks.items("shape", shape, expected))
    if len(shape) not in (2, 3) or min(shape) < 2 * MARGIN + 2:
        raise ValueError(f"The shape is {shape}; give (Z, Y, X) or (Y, X), each at least {2 * MARGIN + 2}.")
    spheres = checks.integer("spheres", spheres, least=0)
    ellipsoids = checks.integer("ellipsoids", ellipsoids, least=0)
    boxes = checks.integer("boxes", boxes, least=0)
    rng = checks.integer("rng", rng, least=0)
    checks.function("progress", progress)
    parameters = {
        "shape": list(shape),
        "spheres": spheres,
        "ellipsoids": ellipsoids,
        "boxes": boxes,
        "rng": rng,
    }
    counts = count_objects(shape, spheres=spheres, ellipsoids=ellipsoids, boxes=boxes)
    report = _counter(sum(counts.values()), progress)
    generator = np.random.default_rng(rng)
    volume = np.zeros(volume_shape(shape), np.float32)
    _draw_spheres(volume, counts["spheres"], generator, report)
    _draw_shells(volume, counts["ellipsoids"], generator, report)
    _draw_boxes(volume, counts["boxes"], generator, report)
    volume += BACKGROUND
    kernel = gaussian_kernel(SMOOTHING_SIGMA, 5)
    for axis in range(3):
        volume = ndimage.correlate1d(volume, kernel, axis=axis, mode="constant")
    return Phantom(volume if len(shape) == 3 else volume[THICKNESS // 2].copy(), parameters)


def volume_shape(shape: Sequence[int]) -> tuple[int, ...]:
    """Return the shape of the volume that the objects are drawn into; a plane is its middle.

    Examples
    --------
    >>> volume_shape((256, 256))
    (32, 256, 256)
    """
    return tuple(shape) if len(shape) == 3 else (THICKNESS, *shape)


def count_objects(
    shape: Sequence[int], *, spheres: int = 150, ellipsoids: int = 150, boxes: int = 400
) -> dict[str, int]:
    """Count the objects that `make_phantom` draws; for a plane, those of the volume around it.

    Parameters
    ----------
    shape, spheres, ellipsoids, boxes
        Shape and numbers of objects; see `make_phantom`.

    Raises
    ------
    ValueError
        If a number is negative.

    Examples
    --------
    >>> count_objects((64, 128, 128))
    {'spheres': 75, 'ellipsoids': 75, 'boxes': 200}
    """
    if min(spheres, ellipsoids, boxes) < 0:
        raise ValueError(
            f"spheres is {spheres}, ellipsoids {ellipsoids} and boxes {boxes}; give numbers of at least 0."
        )
    share = float(np.prod(volume_shape(shape))) / 128**3
    groups = len(_BOXES)
    return {
        "spheres": round(spheres * share),
        "ellipsoids": round(ellipsoids * share),
        "boxes": groups * round(boxes * share / groups),
    }


def _counter(total: int, progress: Callable[[int, int], object] | None) -> Callable[[], None]:
    """Return a function to call after each object."""
    done = 0

    def count() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, total)

    return count


def gaussian_kernel(sigma: float, size: int) -> npt.NDArray[np.float32]:
    """Sample a Gaussian of `size` (odd) taps with sum 1; sigma in voxels."""
    offsets = np.arange(size) - size // 2
    kernel = np.exp(-0.5 * (offsets / sigma) ** 2)
    return np.asarray(kernel / kernel.sum(), np.float32)


def _centre(volume: FloatImage, generator: np.random.Generator) -> npt.NDArray[np.int64]:
    """Draw a centre uniform in MARGIN … n - MARGIN - 1 (9 to 118 of 128)."""
    return generator.integers(MARGIN, np.array(volume.shape) - MARGIN)


def _draw_spheres(
    volume: FloatImage, count: int, generator: np.random.Generator, report: Callable[[], None]
) -> None:
    for _ in range(count):
        radius = int(generator.integers(RADII[0], RADII[1], endpoint=True))
        window, distance = _distance(_centre(volume, generator), (radius, radius, radius), 1.0)
        volume[window][distance <= 1] = generator.uniform(50, 850)
        report()


def _draw_shells(
    volume: FloatImage, count: int, generator: np.random.Generator, report: Callable[[], None]
) -> None:
    for _ in range(count):
        radii = generator.integers(RADII[0], RADII[1], size=3, endpoint=True)
        window, distance = _distance(_centre(volume, generator), tuple(radii.tolist()), 1.3)
        volume[window][(distance >= 0.8) & (distance <= 1.3)] = generator.uniform(50, 850)
        report()


def _distance(
    centre: npt.NDArray[np.int64], radii: tuple[int, ...], largest: float
) -> tuple[tuple[slice, ...], npt.NDArray[np.float64]]:
    """Return the window with a normalized squared distance up to `largest`, and that distance."""
    reach = [int(radius * largest**0.5) for radius in radii]
    window = tuple(slice(int(c) - r, int(c) + r + 1) for c, r in zip(centre, reach, strict=True))
    axes = [(np.arange(-r, r + 1) / radius) ** 2 for r, radius in zip(reach, radii, strict=True)]
    return window, axes[0][:, None, None] + axes[1][:, None] + axes[2]


def _draw_boxes(
    volume: FloatImage, count: int, generator: np.random.Generator, report: Callable[[], None]
) -> None:
    for group, limits in enumerate(_BOXES):
        for _ in range(count // len(_BOXES)):
            size = [int(generator.integers(low, high, endpoint=True)) for low, high in limits]
            corner = _centre(volume, generator) - np.array(size) // 2
            intensity = generator.uniform(50, 850)
            if group == _BRIGHTER_GROUP:
                intensity += generator.uniform(0, 50)
            window = tuple(slice(int(c), int(c) + n) for c, n in zip(corner, size, strict=True))
            volume[window] = intensity
            report()
