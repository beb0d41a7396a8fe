"""Networks with random weights, for tests."""

from __future__ import annotations


def randomised(dimension: int, seed: int = 0):
    """A seeded LUCYD whose batch norms hold statistics of its own features, so that outputs are O(1)."""
    import torch

    from napari_lucyd.networks import LUCYD, LucydConfig

    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = LUCYD(LucydConfig(dimension=dimension, epsilon=1e-2))
        shape = (2, 1, *[16] * dimension)
        network.train()
        for _ in range(50):
            network(torch.rand(shape, generator=generator))
    return network.eval()


def repeating(network):
    """A copy that repeats the outermost voxels beyond the borders, instead of zeros."""
    return _changed(network, padding="replicate")


def limited(network):
    """A copy that shows its layers nothing above 0.6, so that random blocks from 0 to 1 exceed it."""
    return _changed(network, ceiling=0.6)


def _changed(network, **settings):
    from dataclasses import replace

    from napari_lucyd.networks import LUCYD

    copied = LUCYD(replace(network.config, **settings)).eval()
    copied.load_state_dict(network.state_dict())
    copied.division.epsilon = network.division.epsilon
    return copied
