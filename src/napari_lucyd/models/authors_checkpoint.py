"""Import of the checkpoints that LUCYD's authors published.

Their ``.pth`` files are plain state dictionaries with 179 entries, whose names are mapped to ours. 2D and 3D
files have the same names and differ in the rank of the kernels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from napari_lucyd.networks import LUCYD, LucydConfig

# The authors' value. With it, the running statistics after the division are of the order of 1e20; another
# value would change the result.
AUTHORS_EPSILON = 1e-12

# Ours on the left: a block (convolution, batch norm). Theirs on the right: ``X.main.0``, ``X.main.1``.
_BLOCKS = {
    "correction_encode.0": "correction_branch.0",
    "correction_halve": "correction_branch.1",
    "correction_decode.0": "correction_branch.2",
    "correction_decode.2": "correction_branch.3",
    "update_encode.0": "update_branch.0",
    "update_halve": "update_branch.1",
    "division.project": "update_branch.2.conv1",
    "division.embed": "update_branch.2.conv2",
    "backward_mix": "update_branch.3",
    "backward_project.1": "update_branch.4",
    "bottleneck_encode.0": "bottleneck.0",
    "bottleneck_decode.0": "bottleneck.1",
    "bottleneck_decode.2": "bottleneck.2",
    "fuse_fine.mix": "AFFs.0.conv.0",
    "fuse_fine.refine": "AFFs.0.conv.1",
    "fuse_coarse.mix": "AFFs.1.conv.0",
    "fuse_coarse.refine": "AFFs.1.conv.1",
}
_RESIDUALS = {
    "correction_encode.1": "Encoder.0",
    "update_encode.1": "Encoder.1",
    "bottleneck_encode.1": "Encoder.2",
    "bottleneck_decode.1": "Decoder.0",
    "correction_decode.1": "Decoder.1",
    "backward_project.0": "Decoder.2",
}
_NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def key_map() -> dict[str, str]:
    """Map our name of each entry of the state dictionary to the authors' name."""
    blocks = dict(_BLOCKS)
    for ours, theirs in _RESIDUALS.items():
        blocks[f"{ours}.first"] = f"{theirs}.layers.0.main.0"
        blocks[f"{ours}.second"] = f"{theirs}.layers.0.main.1"
    names = {f"rescale.{entry}": f"up.0.{entry}" for entry in _NORM}
    for ours, theirs in blocks.items():
        names[f"{ours}.0.weight"] = f"{theirs}.main.0.weight"
        names |= {f"{ours}.1.{entry}": f"{theirs}.main.1.{entry}" for entry in _NORM}
    return names


def convert(state: dict[str, Tensor]) -> LUCYD:
    """Build the network of one of the authors' state dictionaries.

    Parameters
    ----------
    state
        Tensors by the authors' names.

    Returns
    -------
    LUCYD
        Network in evaluation mode, equal to the authors' up to rounding.

    Raises
    ------
    ValueError
        If entries are missing, unknown or of the wrong shape; the message names them.
    """
    names = key_map()
    missing = sorted(set(names.values()) - set(state))
    unknown = sorted(set(state) - set(names.values()))
    if missing or unknown:
        lists = (("missing", missing), ("unknown", unknown))
        odd = "; ".join(_listed(what, entries) for what, entries in lists if entries)
        raise ValueError(f"This is not a checkpoint of LUCYD's authors: {odd}.")
    rank = state["correction_branch.0.main.0.weight"].ndim
    if rank not in (4, 5):
        raise ValueError(f"The kernels of this checkpoint have {rank} axes; LUCYD needs 4 (2D) or 5 (3D).")
    with torch.device("cpu"):
        network = LUCYD(LucydConfig(dimension=rank - 2, epsilon=AUTHORS_EPSILON)).float()
    expected = network.state_dict()
    unfit = [
        f"{theirs} has shape {tuple(state[theirs].shape)}, not {tuple(expected[ours].shape)}"
        for ours, theirs in names.items()
        if state[theirs].shape != expected[ours].shape
    ]
    if unfit:
        raise ValueError("This is not a checkpoint of LUCYD's authors: " + "; ".join(unfit[:3]) + ".")
    network.load_state_dict({ours: state[theirs] for ours, theirs in names.items()})
    return network.eval()


def _listed(what: str, names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    shortened = ", ".join(f"{name:.80}" for name in names[:3])
    return f"{len(names)} of its entries {'is' if len(names) == 1 else 'are'} {what} ({shortened}{more})"
