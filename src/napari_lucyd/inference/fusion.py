"""Networks for inference: batch norms folded into their convolutions, on a copy."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from napari_lucyd.networks.network import Network

_CONVOLUTIONS = (nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose2d, nn.ConvTranspose3d)
_BATCH_NORMS = (nn.BatchNorm2d, nn.BatchNorm3d)


def fold(network: Network) -> Network:
    """Copy a network, with batch norms folded into the convolutions before them and with in-place ReLUs.

    Folding is done in float64 and rounded once. The authors' files have running variances of 1e20, with which
    float32 would lose digits. The network itself is not changed.

    Parameters
    ----------
    network
        Network in evaluation mode.
    """
    folded = copy.deepcopy(network).double().eval()
    _fold_children(folded)
    return folded.float().requires_grad_(False)


def _fold_children(module: nn.Module) -> None:
    for name, child in list(module.named_children()):
        _fold_children(child)
        if isinstance(child, nn.Sequential):
            setattr(module, name, nn.Sequential(*_fold_layers(list(child))))


def _fold_layers(layers: list[nn.Module]) -> list[nn.Module]:
    result: list[nn.Module] = []
    for layer in layers:
        previous = result[-1] if result else None
        if isinstance(layer, _BATCH_NORMS) and isinstance(previous, _CONVOLUTIONS + _TRANSPOSED):
            _fuse(previous, layer)
        elif isinstance(layer, nn.ReLU) and isinstance(previous, _CONVOLUTIONS + _TRANSPOSED):
            result.append(nn.ReLU(inplace=True))
        else:
            result.append(layer)
    return result


def _fuse(convolution: Any, norm: Any) -> None:
    weight, bias = _fused(convolution, norm)
    with torch.no_grad():
        convolution.weight = nn.Parameter(weight.detach())
        convolution.bias = nn.Parameter(bias.detach())


def _fused(convolution: Any, norm: Any) -> tuple[Tensor, Tensor]:
    return fuse_conv_bn_weights(
        convolution.weight.double(),
        None if convolution.bias is None else convolution.bias.double(),
        norm.running_mean.double(),
        norm.running_var.double(),
        norm.eps,
        norm.weight.double(),
        norm.bias.double(),
        transpose=isinstance(convolution, _TRANSPOSED),
    )


@torch.no_grad()
def folded_convolution(network: Network, place: str) -> tuple[Tensor, Tensor]:
    """Return weight and bias of one convolution with its batch norm folded in: float32, on the processor.

    Reading all convolutions in this way is far faster than copying the whole network as `fold` does.

    Parameters
    ----------
    network
        Network in evaluation mode.
    place
        Name of the convolution. Its batch norm follows it in an `nn.Sequential`.
    """
    owner, _, index = place.rpartition(".")
    layers: Any = network.get_submodule(owner)
    weight, bias = _fused(layers[int(index)], layers[int(index) + 1])
    return weight.float().cpu(), bias.float().cpu()
