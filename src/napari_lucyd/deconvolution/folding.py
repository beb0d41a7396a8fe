"""The network made ready for inference: batch norms folded into their convolutions, on a copy."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from napari_lucyd.networks.network import Network

_CONVOLUTIONS = (nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose2d, nn.ConvTranspose3d)
_BATCH_NORMS = (nn.BatchNorm2d, nn.BatchNorm3d)


def fold(network: Network) -> Network:
    """A copy in which every batch norm behind a convolution is part of it, and every ReLU works in place.

    Folded in float64 and rounded once: the authors' files have running variances of 1e20, with which float32
    loses digits on the way. The network itself is left alone.

    Parameters
    ----------
    network
        In evaluation mode.
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
    weight, bias = fuse_conv_bn_weights(
        convolution.weight,
        convolution.bias,
        norm.running_mean,
        norm.running_var,
        norm.eps,
        norm.weight,
        norm.bias,
        transpose=isinstance(convolution, _TRANSPOSED),
    )
    with torch.no_grad():
        convolution.weight = nn.Parameter(weight.detach())
        convolution.bias = nn.Parameter(bias.detach())
