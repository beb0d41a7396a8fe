"""Resolution of an image by decorrelation, without parameters.

The image is correlated with a copy of itself. In the copy, all Fourier coefficients have magnitude 1 up to a
radius r, and are 0 beyond it. The correlation rises with r while the coefficients hold signal, and falls
where they hold noise. High-pass filters move the maximum towards the highest frequency with signal, which is
the cut-off.

References
----------
A. Descloux, K. S. Grußmayer, A. Radenovic, "Parameter-free image resolution estimation based on decorrelation
analysis", Nature Methods 16 (2019) 918-924.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import fft

# Number of high-pass filters, and the width of the narrowest, in voxels.
_FILTERS, _NARROWEST = 40, 0.15
# A maximum must stand out by this much to its right, and be this high.
_SMALLEST_FALL, _LOWEST = 5e-4, 0.05
# Voxels at each border that are tapered.
_TAPER = 20

_Doubles = npt.NDArray[np.float64]


def decorrelation_resolution(planes: npt.NDArray[Any]) -> float | None:
    """Return the resolution along Y and X: the smallest period with signal, in voxels, at least 2.

    Parameters
    ----------
    planes
        (Y, X) or (Z, Y, X), finite, at least 16 voxels along Y and X. All planes are judged together.

    Returns
    -------
    float or None
        None if no frequency stands out from the noise.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy import fft
    >>> random = np.random.default_rng(0)
    >>> spectrum = fft.rfft2(random.random((256, 256)) > 0.98)
    >>> spectrum[np.hypot(fft.fftfreq(256)[:, None], fft.rfftfreq(256)) > 0.2] = 0
    >>> image = fft.irfft2(spectrum) + random.normal(0, 0.001, (256, 256))
    >>> round(decorrelation_resolution(image), 1)
    5.0
    """
    radii, moduli, squares, counts = _radial_sums(planes if planes.ndim == 3 else planes[None])
    seen = np.maximum(np.cumsum(counts), 1)

    def cut_off(weights: _Doubles) -> tuple[float, float]:
        total = float((squares * weights**2).sum())
        if total <= 0:
            return 0.0, 0.0
        index, height = _last_maximum(np.cumsum(moduli * weights) / np.sqrt(total * seen))
        return float(radii[index]), height

    first, height = cut_off(np.ones_like(radii))
    found = [first] if height > 0 else []
    widest = max(2 / first if first else len(radii) / 2, 2 * _NARROWEST)
    for width in np.geomspace(widest, _NARROWEST, _FILTERS):
        radius, height = cut_off(1 - np.exp(-2 * (width * radii) ** 2))
        if height > _LOWEST:
            found.append(radius)
    highest = max(found, default=0.0)
    return 2 / highest if highest > 0 else None


def _radial_sums(planes: npt.NDArray[Any]) -> tuple[_Doubles, _Doubles, _Doubles, _Doubles]:
    """Return radii (1 is the Nyquist frequency), sums of moduli and of their squares, and counts."""
    height, width = planes.shape[1:]
    count = min(height, width)
    radius = 2 * np.hypot(fft.fftfreq(height)[:, None], fft.rfftfreq(width)[None])
    ring = np.rint(radius * count).astype(int)
    inside = (ring > 0) & (ring <= count)
    # Columns of a half spectrum stand for two, except the first and that of the Nyquist frequency.
    doubled = np.full(ring.shape, 2.0)
    doubled[:, 0] = 1
    if width % 2 == 0:
        doubled[:, -1] = 1
    ring, doubled = ring[inside], doubled[inside]
    window = (_taper(height)[:, None] * _taper(width)).astype(np.float32)
    moduli, squares = np.zeros(count + 1), np.zeros(count + 1)
    for plane in planes:
        values = np.asarray(plane, np.float32)
        size = np.abs(fft.rfft2((values - values.mean(dtype=float)) * window))[inside].astype(float)
        moduli += np.bincount(ring, size * doubled, count + 1)
        squares += np.bincount(ring, size**2 * doubled, count + 1)
    counts = len(planes) * np.bincount(ring, doubled, count + 1).astype(float)
    return np.arange(1, count + 1) / count, moduli[1:], squares[1:], counts[1:]


def _last_maximum(curve: _Doubles) -> tuple[int, float]:
    """Return place and height of the maximum that stands out; height 0 without one."""
    stop = len(curve)
    while stop > 1:
        index = int(np.argmax(curve[:stop]))
        if index == 0:
            return 0, 0.0
        if index < stop - 1 and curve[index] - curve[index:stop].min() > _SMALLEST_FALL:
            return index, float(curve[index])
        stop = index
    return 0, 0.0


def _taper(n: int) -> _Doubles:
    width = min(_TAPER, n // 4)
    rise = (1 - np.cos(np.pi * (np.arange(width) + 0.5) / width)) / 2
    return np.concatenate([rise, np.ones(n - 2 * width), rise[::-1]])
