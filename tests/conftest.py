"""Fixtures that every room's tests share."""

from __future__ import annotations

import signal
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import settings

# The window's tests are left out where there is no napari; all others run there too.
collect_ignore_glob = [] if find_spec("napari") else ["test_napari*"]

# A loaded machine is slow, not wrong.
settings.register_profile("house", deadline=None)
settings.load_profile("house")

SHARED = Path(__file__).parents[2] / "shared"


@pytest.fixture
def ctrl_c():
    """Ctrl-C as in a terminal: what runs in the background is often started with it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


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


def write_ome_set(folder: Path, images) -> list[list[Path]]:
    """Write images (T, Z, Y, X), each time point into a file that tells of all files, as microscopes do."""
    import tifffile

    names = [[f"s{p}_T{t}.ome.tif" for t in range(len(image))] for p, image in enumerate(images)]
    described = ""
    for image, files in zip(images, names, strict=True):
        count, depth, height, width = image.shape
        planes = "".join(
            f'<TiffData FirstT="{t}" FirstZ="{z}" IFD="{z}" PlaneCount="1">'
            f'<UUID FileName="{file}">urn:uuid:{file}</UUID></TiffData>'
            for t, file in enumerate(files)
            for z in range(depth)
        )
        described += (
            f'<Image ID="{files[0]}"><Pixels ID="{files[0]}" DimensionOrder="XYZCT" Type="{image.dtype}" '
            f'SizeX="{width}" SizeY="{height}" SizeZ="{depth}" SizeC="1" SizeT="{count}">'
            f'<Channel ID="C" SamplesPerPixel="1"/>{planes}</Pixels></Image>'
        )
    namespace = "http://www.openmicroscopy.org/Schemas/OME/2016-06"
    for image, files in zip(images, names, strict=True):
        for stack, file in zip(image, files, strict=True):
            text = f'<?xml version="1.0"?><OME xmlns="{namespace}" UUID="urn:uuid:{file}">{described}</OME>'
            tifffile.imwrite(folder / file, stack, description=text, metadata=None, photometric="minisblack")
    return [[folder / file for file in files] for files in names]


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
    """A CARE with random weights and an eighth of its channels: sixty times quicker, the same in all else."""
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


@pytest.fixture
def panel(make_napari_viewer, qtbot, model_files, kept_programs):
    """The Deconvolve panel in a real window, ready, with the random 2D model chosen."""
    from napari_lucyd._napari.widget import DeconvolveWidget

    viewer = make_napari_viewer(show=True)
    widget = DeconvolveWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Deconvolve")
    widget.model.load(model_files[2])
    qtbot.waitUntil(lambda: widget.model.name == str(model_files[2]), timeout=60_000)
    qtbot.waitUntil(lambda: widget.estimator.settled, timeout=60_000)
    yield widget
    # A test that failed half-way must not leave its thread to the next one.
    with suppress(RuntimeError):  # where the test closed the window, and the panel with it
        widget.objectName()
        widget.session.cancel()
        qtbot.waitUntil(lambda: not widget.session.is_running and widget.estimator.settled, timeout=60_000)


@pytest.fixture
def kept_programs(monkeypatch):
    """Keep napari's shader programs for the length of a test that removes layers.

    Mesa 22.3 (Debian 12) draws from freed memory, and takes Python down, once a program was deleted whose
    twin is in use: two image layers, the lower one removed and another added is enough, without a plugin.
    """
    glir = pytest.importorskip("vispy.gloo.glir")
    monkeypatch.setattr(glir.GlirProgram, "delete", lambda program: None)


@pytest.fixture
def add_image(panel):
    """Add an image of random numbers below 1000 to the panel's viewer."""
    import numpy as np

    def add(shape=(40, 44), seed=0, **keywords):
        data = (1000 * np.random.default_rng(seed).random(shape)).astype(np.uint16)
        return panel.viewer.add_image(data, **{"name": f"image {seed}", **keywords})

    return add


@pytest.fixture
def ready(panel, qtbot):
    """Wait until the estimate is of the present choices."""

    def wait():
        qtbot.waitUntil(lambda: panel.estimator.settled, timeout=30_000)
        return panel

    return wait


@pytest.fixture
def run(panel, qtbot, ready):
    """Press Run, wait for the layers, and return them by what they show."""

    def press():
        ready()
        assert panel.form.run.enabled, panel.form.estimate.text()
        panel.form.run.native.click()
        qtbot.waitUntil(lambda: not panel.session.is_running, timeout=60_000)
        return {layer.metadata["napari-lucyd"]["quantity"]: layer for layer in panel.session.results}

    return press


@pytest.fixture
def slow_tiles(monkeypatch):
    """Tiles that take a tenth of a second each, so that a test can act in between."""
    import time

    from napari_lucyd.deconvolution import Job

    steps = Job.steps

    def slow(self, should_stop=None):
        for step in steps(self, should_stop):
            time.sleep(0.1)
            yield step

    monkeypatch.setattr(Job, "steps", slow)
