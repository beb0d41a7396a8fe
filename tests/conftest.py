"""Fixtures that every room's tests share."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

# The window's tests are left out where there is no napari; all others run there too.
collect_ignore_glob = [] if find_spec("napari") else ["test_napari*"]

SHARED = Path(__file__).parents[2] / "shared"


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


def _model(dimension: int):
    from napari_lucyd.models import Model

    return Model.from_network(
        randomised(dimension), name=f"random-{dimension}d", normalization={"method": "minmax"}
    )


@pytest.fixture(scope="session")
def random_model():
    """A 3D model with random weights."""
    return _model(3)


@pytest.fixture(scope="session")
def random_model_2d():
    """A 2D model with random weights."""
    return _model(2)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with real stacks and reference checkpoints; tests that need it skip without it."""
    if not (SHARED / "data").is_dir():
        pytest.skip("needs the shared folder beside the checkout")
    return SHARED
