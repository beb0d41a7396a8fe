"""A network on first estimates as one module: image and width of its Gaussian blur in, parts out.

The steps are those of `deconvolution.first_stage`, with operations that other programs have: separable
convolutions instead of Fourier transforms, and a fixed number of iterations.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_lucyd.deconvolution import iterations_for
from napari_lucyd.export.graph import ScaledNetwork, number, quantile
from napari_lucyd.models.model import Model
from napari_lucyd.models.normalization import FIRST_ESTIMATE
from napari_lucyd.networks.lucyd import LEAST_SHARE, LucydConfig
from napari_lucyd.psf.gaussian import gaussian_psf

WIDEST_BLUR = 3.0
"""Largest standard deviation of the blur along an axis, in voxels."""
# The number of iterations is right for this noise (a share of the scale) and this blur (voxels).
_USUAL_NOISE, _USUAL_BLUR = 0.03, 1.5
# As in `deconvolution.classical.dark_level`.
_SIDE, _DARKEST, _DARK, _REACH = 5, 0.001, 0.01, 3.0
# As in `deconvolution.first_stage.estimate` and `deconvolution.statistics.noise`.
_SIGNIFICANT, _NOISE_SCALE, _PLANES = 4.0, 10.0, 9
_NORM_OF_LAPLACIANS = 6 * 0.6745
# As in `deconvolution.classical.solvers`.
_SMALLEST_PROJECTION, _SMALLEST_SENSITIVITY, _DARKEST_START = 1e-6, 1e-3, 1e-3
_SMALLEST_DIVISOR, _LARGEST_CHANGE = 1e-20, 1e3


class EstimateGraph(nn.Module):
    """Richardson-Lucy under a Gaussian blur, then the network, with scaling and borders.

    Parameters
    ----------
    model
        Model whose scaling is ``"first_estimate"``.
    num_iter
        Number of accelerated iterations; None for as many as suit a noise of 3 % and a blur of 1.5 voxels.
    blur_sigma
        Standard deviations of the blur along each axis, in voxels, for a module that takes the image alone;
        None for a second input.

    Attributes
    ----------
    outputs
        Names of the parts in the order in which they are returned.
    num_iter
        Number of iterations.
    blur_sigma
        The blur that is part of the module, or None.
    """

    def __init__(
        self, model: Model, num_iter: int | None = None, blur_sigma: Sequence[float] | None = None
    ) -> None:
        super().__init__()
        if model.normalization.method != FIRST_ESTIMATE:
            raise ValueError(f"{model.name} works on the image itself; use DirectGraph.")
        usual = gaussian_psf((_USUAL_BLUR,) * model.dimension)
        self.num_iter = iterations_for(_USUAL_NOISE, usual) if num_iter is None else num_iter
        self.pedestal = model.normalization.pedestal
        self.blur_sigma = None if blur_sigma is None else tuple(blur_sigma)
        config = model.network.config
        self.full_noise = config.full_noise if isinstance(config, LucydConfig) else None
        self.scaled = ScaledNetwork(model.network)
        self.outputs = [*self.scaled.outputs, "first_estimate"]

    def forward(self, image: Tensor, blur_sigma: Tensor | None = None) -> tuple[Tensor, ...]:
        """Restore (1, 1, [Z,] Y, X), float32; ``blur_sigma`` has one number in voxels for each axis."""
        if blur_sigma is None:
            blur_sigma = torch.tensor(self.blur_sigma, dtype=image.dtype)
        level, dark_noise = dark_level(image)
        noise = noise_of(image)
        scale = _bright_level(image, level, noise)
        pedestal = _REACH * dark_noise
        observed = (image - (level - pedestal)).clamp(min=0)
        estimate = _richardson_lucy(observed, pedestal, blur_sigma, self.num_iter) + level
        share = None
        if self.full_noise is not None:
            share = (noise / (scale * self.full_noise)).clamp(LEAST_SHARE, 1.0)
        parts = self.scaled(estimate, level - self.pedestal * scale, scale, share)
        return (*parts, estimate)


def dark_level(image: Tensor) -> tuple[Tensor, Tensor]:
    """Return the dark level of an image and the noise of single voxels there, in its units."""
    dimension = image.ndim - 2
    origin = image.flatten().amin(0)
    above = image - origin
    around = above
    for axis in (-2, -1):
        around = _symmetric(around, axis, _SIDE // 2)
    window = (1,) * (dimension - 2) + (_SIDE, _SIDE)
    pool = functional.avg_pool3d if dimension == 3 else functional.avg_pool2d
    smooth = pool(around, window, stride=1).flatten()
    ordered = smooth.sort().values
    dark = (smooth <= quantile(ordered, _DARK)).double()
    rest = (above.flatten() - smooth).double()
    count = dark.sum()
    mean = (rest * dark).sum() / count
    variance = ((rest - mean).square() * dark).sum() / count
    # The mean over the square contains the voxel itself.
    noise = (variance / (1 - 1 / _SIDE**2)).sqrt()
    return origin + quantile(ordered, _DARKEST), noise.to(image.dtype)


def _symmetric(values: Tensor, axis: int, margin: int) -> Tensor:
    """Continue an axis by its mirror image, which repeats the last voxel."""
    last = number(values.shape[axis] - 1)
    index = torch.arange(values.shape[axis] + 2 * margin) - margin
    index = torch.where(index < 0, -1 - index, index)
    index = torch.where(index > last, 2 * last + 1 - index, index)
    return values.index_select(axis, index)


def noise_of(image: Tensor) -> Tensor:
    """Estimate the standard deviation of the noise, in units of the image: the median over some planes."""
    planes = image.flatten(0, image.ndim - 3)
    # Planes are counted once, also where there are fewer than are looked at.
    last = number(planes.shape[0] - 1)
    chosen = (torch.arange(_PLANES) * last.double() / (_PLANES - 1)).round().long()
    again = torch.cat([chosen[:1] < 0, chosen[1:] == chosen[:-1]])
    planes = planes.index_select(0, chosen).double()
    along = planes[..., :-2] - 2 * planes[..., 1:-1] + planes[..., 2:]
    both = along[:, :-2] - 2 * along[:, 1:-1] + along[:, 2:]
    each = torch.stack([_median(line.abs().flatten()) for line in both.unbind()]) / _NORM_OF_LAPLACIANS
    ordered = torch.where(again, torch.full_like(each, math.inf), each).sort().values
    different = (~again).long().sum().reshape(1)
    middle = torch.cat([(different - 1) // 2, different // 2])
    return ordered.index_select(0, middle).mean().to(image.dtype)


def _median(values: Tensor) -> Tensor:
    return quantile(values.sort().values, 0.5)


def _bright_level(image: Tensor, level: Tensor, noise: Tensor) -> Tensor:
    values = image.flatten().double() - level.double()
    light = torch.where(values > _SIGNIFICANT * noise.double(), values, 0.0)
    total = light.sum()
    bright = 1.5 * light.square().sum() / torch.where(total > 0, total, 1.0)
    scale = torch.maximum(bright, _NOISE_SCALE * noise.double())
    return torch.where(scale > 0, scale, 1.0).to(image.dtype)


def _richardson_lucy(observed: Tensor, pedestal: Tensor, blur_sigma: Tensor, num_iter: int) -> Tensor:
    """Estimate the object, also where its light falls beyond the image's border, and return its inside."""
    margin = math.ceil(4 * WIDEST_BLUR)
    lines = [_line(blur_sigma[axis], margin) for axis in range(observed.ndim - 2)]
    peak = observed.flatten().amax(0)
    peak = torch.where(peak > 0, peak, 1.0)
    y, offset = observed / peak, pedestal / peak
    around = [margin, margin] * len(lines)

    def forward(estimate: Tensor) -> Tensor:
        return _convolved(estimate, lines)

    def adjoint(image: Tensor) -> Tensor:
        # A Gaussian is its own mirror image.
        return _convolved(functional.pad(image, [2 * size for size in around]), lines)

    sensitivity = adjoint(torch.ones_like(y))
    seen = sensitivity > _SMALLEST_SENSITIVITY
    weight = torch.where(seen, 1 / sensitivity.clamp(min=_SMALLEST_SENSITIVITY), 0.0)
    start = (y.double().mean().to(y.dtype) - offset).clamp(min=_DARKEST_START)
    estimate = seen.to(y.dtype) * start
    previous = estimate
    for done in range(num_iter):
        point = estimate
        if done:
            ratio = estimate / previous.clamp(min=_SMALLEST_DIVISOR)
            factor = ratio.clamp(1 / _LARGEST_CHANGE, _LARGEST_CHANGE) ** ((done + 1) / (done + 4))
            point = factor * estimate
        quotient = y / (forward(point) + offset).clamp(min=_SMALLEST_PROJECTION)
        previous, estimate = estimate, (adjoint(quotient) * weight).clamp(min=0) * point
    for axis in range(2, observed.ndim):
        estimate = estimate.narrow(axis, margin, observed.shape[axis])
    return estimate * peak


def _line(sigma: Tensor, margin: int) -> Tensor:
    """Return the Gaussian along one axis, as `gaussian_psf` makes it."""
    width = sigma.clamp(min=1e-3)
    offsets = torch.arange(-margin, margin + 1, dtype=sigma.dtype)
    line = torch.exp(-0.5 * (offsets / width).square()) * (offsets.abs() <= (4 * width).ceil())
    return line / line.sum()


def _convolved(values: Tensor, lines: list[Tensor]) -> Tensor:
    """Convolve with a line along each spatial axis, and keep what needs no voxel beyond the border."""
    convolve = functional.conv3d if len(lines) == 3 else functional.conv2d
    for axis, line in enumerate(lines):
        shape = [1, 1] + [-1 if axis == other else 1 for other in range(len(lines))]
        values = convolve(values, line.reshape(shape))
    return values
