"""A model with its scaling and borders as one module: an image in, its parts out, in the image's units.

Other programs run such a module without any code of ours. It does what `napari_lucyd.deconvolve` does with
one whole volume, except for missing (NaN) voxels and resampling.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from napari_lucyd.inference.fusion import fold
from napari_lucyd.models.model import Model
from napari_lucyd.models.normalization import FIRST_ESTIMATE, STANDARD, Normalization
from napari_lucyd.networks.network import Network


class DirectGraph(nn.Module):
    """A network that works on the image itself, with its scaling and borders.

    Parameters
    ----------
    model
        Model whose scaling is not ``"first_estimate"``.
    """

    def __init__(self, model: Model) -> None:
        super().__init__()
        if model.normalization.method == FIRST_ESTIMATE:
            raise ValueError(f"{model.name} works on first estimates; use EstimateGraph.")
        self.normalization = model.normalization
        self.scaled = ScaledNetwork(model.network)
        self.outputs = self.scaled.outputs

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Restore (1, 1, [Z,] Y, X), float32."""
        low, scale = scaling(image, self.normalization)
        parts: tuple[Tensor, ...] = self.scaled(image, low, scale)
        return parts


class ScaledNetwork(nn.Module):
    """A network that takes and returns images in their units, and continues them by reflection.

    Parameters
    ----------
    network
        Network; a copy is used, with its batch norms folded into the convolutions.

    Attributes
    ----------
    outputs
        Names of the parts in the order in which they are returned.
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        gain, offset = network.output_gain() or (1.0, 0.0)
        self.gain: Tensor
        self.register_buffer("gain", torch.tensor(gain, dtype=torch.float32))
        self.offset = offset
        self.outputs = [
            name for name in ("output", "correction_mask", "update_term") if name in network.parts
        ]
        self.network = fold(network)
        self.field = network.receptive_field if network.border is None else network.border
        self.multiple = network.multiple

    def forward(
        self, image: Tensor, low: Tensor, scale: Tensor, share: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        """Restore an image whose scaled values are (image - low) / scale.

        With a share, mask and update term of LUCYD count with it alone, as in
        `deconvolution.learned.outputs.tempered`.
        """
        y = (image - low) / scale
        raw = self.network(extended(y, self.field, self.multiple))
        start = _ceil_to(self.field, self.multiple)
        parts = {}
        for name in self.outputs:
            part = getattr(raw, name)
            for axis in range(2, image.ndim):
                part = part.narrow(axis, start, image.shape[axis])
            parts[name] = part
        if "correction_mask" in parts:
            # The gain of the last batch norm belongs to the mask, as in the parts that `deconvolve` returns.
            parts["correction_mask"] = self.gain * (y + parts["correction_mask"]) - y
            if share is not None:
                mask, update = share * parts["correction_mask"], 1 + share * (parts["update_term"] - 1)
                output = torch.relu((y + mask) * update + self.offset)
                parts = {"output": output, "correction_mask": mask, "update_term": update}
            parts["correction_mask"] = parts["correction_mask"] * scale
        parts["output"] = parts["output"] * scale + low
        return tuple(parts.values())


def scaling(image: Tensor, normalization: Normalization) -> tuple[Tensor, Tensor]:
    """Return the offset and the scale of an image, as the model's card says; the scale is never 0."""
    if normalization.method == "none":
        return image.new_zeros(()), image.new_ones(())
    values = image.flatten()
    if normalization.method == STANDARD:
        wide = values.double()
        mean, deviation = wide.mean(), wide.std(correction=0)
        scale = torch.where(deviation > 0, deviation, torch.ones_like(deviation))
        return mean.to(image.dtype), scale.to(image.dtype)
    minimum, maximum = values.amin(0), values.amax(0)
    low, high = minimum, maximum
    if normalization.method == "percentile":
        ordered = values.sort().values
        lower, upper = (quantile(ordered, end / 100) for end in (normalization.low, normalization.high))
        narrow = upper > lower
        low, high = torch.where(narrow, lower, minimum), torch.where(narrow, upper, maximum)
    span = high - low
    scale = torch.where(span > 0, span, torch.ones_like(span))
    return low - normalization.pedestal * scale, scale


def quantile(ordered: Tensor, share: float) -> Tensor:
    """Return a quantile of sorted values, interpolated linearly.

    `torch.quantile` refuses more than 16 million values.
    """
    last = number(ordered.shape[0] - 1)
    # In 64 bits: a float32 cannot count the voxels of a large volume.
    position = last.double() * share
    below = position.floor().long()
    ends = ordered.index_select(0, torch.cat([below, torch.minimum(below + 1, last)])).double()
    return torch.lerp(ends[0], ends[1], (position - below)[0]).to(ordered.dtype)


def number(value: int) -> Tensor:
    """Return a whole number as a tensor, which a size that differs from image to image has to be."""
    return torch.full((1,), value, dtype=torch.int64)


def extended(y: Tensor, field: int, multiple: int) -> Tensor:
    """Continue an image by ``field`` reflected voxels, and then to a multiple, along every axis."""
    start = _ceil_to(field, multiple)
    for axis in range(2, y.ndim):
        size = y.shape[axis]
        total = start + (size + field + multiple - 1) // multiple * multiple
        y = y.index_select(axis, reflection(size, -start, total))
    return y


def reflection(size: int, start: int, count: int) -> Tensor:
    """Return the voxels at ``count`` indices from ``start`` on, on an axis continued by reflection."""
    last = number(size - 1)
    period = (2 * last).clamp(min=1)
    phase = torch.remainder(torch.arange(count) + start, period)
    return torch.minimum(torch.minimum(phase, period - phase), last)


def _ceil_to(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple


def dynamic_axes(dimension: int, names: Sequence[str]) -> dict[int, str]:
    """Return the names of the spatial axes of a tensor (1, 1, [Z,] Y, X), by number."""
    return {2 + number: name for number, name in enumerate(names[-dimension:])}
