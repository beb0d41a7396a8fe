"""What the engine and the training ask of a network, whichever it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import nn


@dataclass(frozen=True)
class NetworkConfig:
    """What is needed, beside its weights, to rebuild a network: at least how many axes it takes."""

    dimension: int = 3


class Network(nn.Module):
    """A network from a normalised image (N, 1, [Z,] Y, X) to a named tuple of images of its shape.

    Attributes
    ----------
    name, title
        What files and what people call it.
    parts
        The fields of its named tuple that a user can ask for, ``output`` among them.
    non_negative
        Those of the parts that are never below 0.
    receptive_field
        How far it sees in evaluation mode, in voxels to each side.
    multiple
        What spatial sizes, and the origins of the blocks that a volume is cut into, are multiples of.
    config
        What it was built from.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    parts: ClassVar[tuple[str, ...]]
    non_negative: ClassVar[tuple[str, ...]] = ()
    receptive_field: ClassVar[int]
    multiple: ClassVar[int]
    config: NetworkConfig

    def output_gain(self) -> tuple[float, float] | None:
        """Gain g and offset o where output = max(0, g * intermediate * update_term + o), otherwise None."""
        return None
