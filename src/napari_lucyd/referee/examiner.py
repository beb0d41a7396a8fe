"""The public function `examine`: noise, sampling, blur and resolution of an image, before a run."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from napari_lucyd.deconvolution.arguments import check_voxel_size
from napari_lucyd.deconvolution.image.source import Source
from napari_lucyd.models.catalogue import DEFAULT_MODEL, DEFAULT_PLANES
from napari_lucyd.photons import estimate_noise
from napari_lucyd.referee.examination import Examination, Recommendation
from napari_lucyd.referee.sample import draw_volume_sample


def examine(
    volume: Any,
    *,
    voxel_size: Any = None,
    microscope: Any = None,
    axes: str | None = None,
) -> Examination:
    """Examine an image before it is deconvolved.

    A sample of the image is read, so the time hardly grows with its size. Of a time series, the frame in the
    middle is examined.

    Parameters
    ----------
    volume
        ([…,] Z, Y, X) or (…, Y, X): a numpy, dask, zarr or xarray array of real numbers.
    voxel_size
        Voxel size along (Z, Y, X) or (Y, X), in µm.
    microscope
        The `Microscope` that took the image, or a list with one for each channel.
    axes
        One letter for each axis, e.g. ``"CZYX"``. By default the array's own names or its shape decide.

    Returns
    -------
    Examination
        The findings; ``print`` shows them as text.

    Raises
    ------
    TypeError, ValueError
        If the image or an argument is invalid; the message says what to do.

    Examples
    --------
    >>> import numpy as np, napari_lucyd as nl
    >>> light = 50 * (1 + np.sin(np.arange(128) / 5))
    >>> image = np.random.default_rng(0).poisson(np.broadcast_to(light, (128, 128)))
    >>> found = nl.examine(image)
    >>> found.poisson, round(found.gain), f"{found.noise:.0%}"
    (True, 1, '10%')
    """
    source = Source(volume, 3, axes)
    if source.axes.size("Z") == 1:
        source = Source(volume, 2, axes)
    steps = check_voxel_size(voxel_size, source.axes)
    channels = source.axes.size("C") if "C" in source.axes.leading else 1
    found = [
        _of_channel(source, number if channels > 1 else None, steps, microscope) for number in range(channels)
    ]
    if channels == 1:
        return found[0]
    worst = max(found, key=lambda one: one.noise)
    return replace(worst, channel=None, channels=tuple(found))


def _of_channel(source: Source, channel: int | None, steps: Any, microscope: Any) -> Examination:
    axes = source.axes
    lead = tuple(
        (channel or 0) if name == "C" else size // 2
        for name, size in zip(axes.leading, axes.leading_shape, strict=True)
    )
    sample = draw_volume_sample(source, lead)
    noise = estimate_noise(sample.values)
    flat = axes.dimension == 2
    model = DEFAULT_PLANES if flat else DEFAULT_MODEL
    return Examination(
        axes=axes.names,
        shape=axes.shape,
        voxel_size=steps,
        poisson=noise.poisson,
        poisson_reason=noise.reason,
        gain=noise.gain if noise.poisson else None,
        offset=noise.offset,
        read_noise=noise.read_noise if noise.poisson else None,
        noise=noise.noise,
        saturated=noise.saturated,
        empty_planes=_empty_planes(sample.values),
        sampling=None,
        blur_sigma=None,
        blur_sigma_error=None,
        resolution=None,
        recommendation=Recommendation(DEFAULT_MODEL, model),
        channel=channel,
    )


def _empty_planes(values: np.ndarray) -> tuple[int, ...]:
    if values.ndim == 2:
        return ()
    return tuple(z for z, plane in enumerate(values) if plane.min() == plane.max())
