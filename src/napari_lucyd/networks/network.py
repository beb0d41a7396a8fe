"""The interface of a network, as deconvolution and training use it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import nn


@dataclass(frozen=True)
class NetworkConfig:
    """The settings that rebuild a network together with its weights: at least its number of spatial axes."""

    dimension: int = 3


class Network(nn.Module):
    """A network that maps a normalised image (N, 1, [Z,] Y, X) to a named tuple of images of that shape.

    Attributes
    ----------
    name, title
        Its name in files, and for display.
    parts
        Fields of the named tuple that a user can request, ``output`` among them.
    non_negative
        Parts that are never negative.
    receptive_field
        Reach in evaluation mode, in voxels to each side.
    multiple
        All spatial sizes, and the origins of blocks, must be multiples of this number.
    cpu_only
        True if it runs on the CPU only.
    config
        Settings that it was built from.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    parts: ClassVar[tuple[str, ...]]
    non_negative: ClassVar[tuple[str, ...]] = ()
    receptive_field: int
    multiple: int
    cpu_only: ClassVar[bool] = False
    config: NetworkConfig

    @property
    def border(self) -> int | None:
        """Voxels by which a volume must be extended at its borders; None for the receptive field."""
        return None

    @property
    def whole(self) -> bool:
        """True if the network needs the whole image at once, so that tiles save nothing."""
        return False

    def share(self, noise: float) -> float:
        """Return the share, up to 1, with which mask and update term count in an image with this noise.

        Parameters
        ----------
        noise
            Standard deviation as a share of the brightness of the light.
        """
        return 1.0

    def output_gain(self) -> tuple[float, float] | None:
        """Return g and o if output = max(0, g * intermediate * update_term + o), otherwise None."""
        return None
