"""Signs of life in a network: channels that vary, and a correction mask that is more than a line.

A batch norm whose input no longer varies, and a ReLU that never opens, pass on a constant: whatever lies
before them is lost to the output, and no gradient brings it back. A correction mask that is a straight line
in the image adds nothing to it but a gain and an offset.
"""

from __future__ import annotations

from collections.abc import Iterable
from types import TracebackType
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn

from napari_lucyd.networks.lucyd import LUCYD
from napari_lucyd.networks.network import Network

# A channel is dead where the variance in use is below this share of the one that its batch norm has stored.
DEAD_VARIANCE = 1e-3
# Share of a patch to cut off at each side, where the zeros beyond the border shape the mask.
_BORDER = 1 / 8
_NORMS = (nn.BatchNorm2d, nn.BatchNorm3d)


class Health(NamedTuple):
    """The findings of `measure_health`.

    ``dead_channels`` is the share of channels that are dead, 0 to 1, and ``dead_layers`` names the
    convolutions without a living channel. ``mask_share`` is the share of the correction mask's variance that
    is no line in the network's input. ``mask_spread`` is the standard deviation of that part, divided by the
    input's range from its 1st to its 99th percentile. Both are medians over the images, and None where there
    is no mask. The mask is the one that is shown, g (y + M) - y with the gain g of the last batch norm.
    """

    dead_channels: float
    dead_layers: tuple[str, ...]
    mask_share: float | None
    mask_spread: float | None


class ChannelWatch:
    """A record of every channel's input variance and largest activation, while it is entered.

    Channels are those of convolutions followed by a batch norm, a ReLU or both in one `torch.nn.Sequential`.

    Parameters
    ----------
    network
        Network in evaluation mode. It must compute one patch or more before `dead` is called.
    """

    def __init__(self, network: nn.Module) -> None:
        self._network = network
        self._handles: list[torch.utils.hooks.RemovableHandle] = []
        self._norms: dict[str, nn.BatchNorm2d | nn.BatchNorm3d] = {}
        # For each layer: number of values, and their sums and sums of squares for each channel.
        self._sums: dict[str, tuple[int, Tensor, Tensor]] = {}
        self._largest: dict[str, Tensor] = {}

    def __enter__(self) -> Self:
        for name, block in self._network.named_modules():
            if not isinstance(block, nn.Sequential):
                continue
            layer = ""
            for index, module in block.named_children():
                if isinstance(module, _NORMS):
                    self._watch_norm(layer, module)
                elif isinstance(module, nn.ReLU):
                    self._watch_activation(layer, module)
                else:
                    layer = f"{name}.{index}"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def dead(self) -> tuple[float, tuple[str, ...]]:
        """Return the share of channels that are dead, and the convolutions that have no living one."""
        flags: dict[str, Tensor] = {}
        for layer, (count, total, squares) in self._sums.items():
            variance = squares / count - (total / count).square()
            stored = self._norms[layer].running_var
            assert stored is not None
            flags[layer] = variance < DEAD_VARIANCE * stored.double()
        for layer, largest in self._largest.items():
            closed = largest <= 0
            flags[layer] = flags[layer] | closed if layer in flags else closed
        channels = sum(len(flag) for flag in flags.values())
        share = sum(int(flag.sum()) for flag in flags.values()) / max(1, channels)
        return share, tuple(sorted(layer for layer, flag in flags.items() if flag.all()))

    def _watch_norm(self, layer: str, norm: nn.BatchNorm2d | nn.BatchNorm3d) -> None:
        self._norms[layer] = norm

        def note(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            values = inputs[0].double().transpose(0, 1).flatten(1)
            count, total, squares = self._sums.get(layer, (0, torch.zeros(()), torch.zeros(())))
            self._sums[layer] = (
                count + values.shape[1],
                total.to(values.device) + values.sum(1),
                squares.to(values.device) + values.square().sum(1),
            )

        self._handles.append(norm.register_forward_pre_hook(note))

    def _watch_activation(self, layer: str, activation: nn.ReLU) -> None:
        def note(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            largest = output.transpose(0, 1).flatten(1).amax(1)
            known = self._largest.get(layer)
            self._largest[layer] = largest if known is None else torch.maximum(known, largest)

        self._handles.append(activation.register_forward_hook(note))


@torch.no_grad()
def measure_health(network: Network, patches: Iterable[Tensor]) -> Health:
    """Find dead channels, and how much of the correction mask is no line in the network's input.

    Parameters
    ----------
    network
        Network in evaluation mode.
    patches
        Normalised inputs (N, 1, [Z,] Y, X), float32, of the kind that it is used on; one or more.

    Returns
    -------
    Health
        The variance of a channel is over all patches; figures of the mask are medians over the images.

    Examples
    --------
    >>> import torch
    >>> from napari_lucyd.networks import LUCYD, LucydConfig, measure_health
    >>> network = LUCYD(LucydConfig(dimension=2, epsilon=1e-2)).eval()
    >>> measure_health(network, [torch.rand(1, 1, 32, 32)]).mask_share > 0
    True
    """
    figures: list[tuple[float, float]] = []
    with ChannelWatch(network) as watch:
        for patch in patches:
            figures += mask_figures(network, patch, network(patch))
    return health_of(watch, figures)


def mask_figures(network: Network, y: Tensor, result: Any) -> list[tuple[float, float]]:
    """Return what `mask_beyond_line` says of each image of a batch; nothing for networks without a mask."""
    if not isinstance(network, LUCYD):
        return []
    gain, _ = network.output_gain()
    masks = gain * result.intermediate - y
    return [mask_beyond_line(image, mask) for image, mask in zip(y, masks, strict=True)]


def health_of(watch: ChannelWatch, figures: list[tuple[float, float]]) -> Health:
    """Put together what was watched and the `mask_figures` of the same patches."""
    dead, layers = watch.dead()
    if not figures:
        return Health(dead, layers, None, None)
    share, spread = torch.tensor(figures, dtype=torch.float64).median(0).values.tolist()
    return Health(dead, layers, share, spread)


def mask_beyond_line(y: Tensor, mask: Tensor) -> tuple[float, float]:
    """Measure the part of a correction mask that no line a·y + b explains, away from the border.

    Parameters
    ----------
    y, mask
        One image (1, [Z,] Y, X): the network's input and its correction mask.

    Returns
    -------
    share, spread
        Share of the mask's variance, and standard deviation divided by the range of y from its 1st to its
        99th percentile. Both are 0 if the mask is constant, and the second also if y is.
    """
    inner = tuple(slice(round(n * _BORDER), n - round(n * _BORDER)) for n in y.shape[1:])
    values, wanted = (image[0][inner].double().flatten() for image in (y, mask))
    values, wanted = values - values.mean(), wanted - wanted.mean()
    slope = (values @ wanted) / (values @ values).clamp(min=1e-300)
    rest, whole = (wanted - slope * values).square().mean().item(), wanted.square().mean().item()
    # Rounding of float32, on the scale of normalised images.
    share = rest / whole if whole > 1e-14 else 0.0
    ordered = values.sort().values
    low, high = (ordered[round(part * (len(ordered) - 1))].item() for part in (0.01, 0.99))
    return share, float(rest**0.5 / (high - low)) if high > low else 0.0
