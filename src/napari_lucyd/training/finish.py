"""What is done to a network at the end of its training, and measured for its card."""

from __future__ import annotations

from torch import Tensor

from napari_lucyd.networks import LUCYD, Network, centre_update_term, division_share


def finish(network: Network, images: Tensor) -> dict[str, float]:
    """Centre LUCYD's update term and measure its division; the others are left as they are.

    Parameters
    ----------
    network
        In evaluation mode; changed in place.
    images
        Normalised images (N, 1, [Z,] Y, X) of the kind that it was trained on.

    Returns
    -------
    dict
        Entries for the card's metrics.
    """
    if not isinstance(network, LUCYD):
        return {}
    centre_update_term(network, images)
    return {"division_share": round(division_share(network, images), 3)}
