"""Fixtures that the tests of all rooms share."""

from __future__ import annotations

import os
import signal
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings

from random_networks import randomised

# A loaded machine is slow, not wrong.
settings.register_profile("house", deadline=None)
settings.load_profile("house")

# Tests neither see nor change the models of the user who runs them. This is set before any module of the
# package is imported, because some list the models when they are imported.
os.environ["NAPARI_LUCYD_MODELS"] = tempfile.mkdtemp(prefix="lucyd-models-")
# The same holds for the settings of napari and its plugins, also in the programs that tests start.
os.environ["XDG_CONFIG_HOME"] = tempfile.mkdtemp(prefix="lucyd-settings-")
os.environ["NAPARI_CONFIG"] = os.path.join(os.environ["XDG_CONFIG_HOME"], "napari", "settings.yaml")

SHARED = Path(__file__).parents[2] / "shared"


@pytest.fixture
def ctrl_c():
    """Ctrl-C as in a terminal: processes in the background often start with it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def _wrapped(network, name: str):
    from napari_lucyd.models import Model

    return Model.from_network(network, name=name, normalization={"method": "minmax"})


def _model(dimension: int):
    return _wrapped(randomised(dimension), f"random-{dimension}d")


@pytest.fixture(scope="session")
def random_model():
    """A 3D model with random weights."""
    return _model(3)


@pytest.fixture(scope="session")
def random_model_2d():
    """A 2D model with random weights."""
    return _model(2)


@pytest.fixture(scope="session")
def random_rln():
    """An RLN of the variant of Table 1 with random weights, its batch norms settled."""
    import torch

    from napari_lucyd.networks import RLN, RlnConfig

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = RLN(RlnConfig(affine=False)).train()
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm3d):
                module.momentum = None  # a plain mean, which is soon there
        for _ in range(10):
            network(torch.rand(2, 1, 12, 12, 12))
    return _wrapped(network, "random-rln")


@pytest.fixture(scope="session")
def slim_care():
    """A CARE with random weights and an eighth of its channels: sixty times as fast, otherwise the same."""
    import torch
    from torch import nn

    from napari_lucyd.networks import CARE
    from napari_lucyd.networks.care import _pair

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = CARE()
        network.encode_full, network.encode_half = _pair(1, 4, 4), _pair(4, 8, 8)
        network.bottleneck = _pair(8, 16, 8)
        network.decode_half, network.decode_full = _pair(16, 8, 4), _pair(8, 4, 4)
        network.project = nn.Conv3d(4, 1, 1)
    return _wrapped(network, "slim-care")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with real stacks and reference checkpoints; tests that need it skip without it."""
    if not (SHARED / "data").is_dir():
        pytest.skip("needs the shared folder beside the checkout")
    return SHARED


@pytest.fixture(scope="session")
def model_files(tmp_path_factory, random_model, random_model_2d) -> dict[int, Path]:
    """Files of the random models, by their dimension."""
    from napari_lucyd.models import save_model

    folder = tmp_path_factory.mktemp("models")
    return {
        model.dimension: save_model(
            folder / f"{model.name}.safetensors", model.network, normalization={"method": "minmax"}
        )
        for model in (random_model, random_model_2d)
    }
