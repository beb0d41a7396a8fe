"""Method ▸ bioimage.io in the Deconvolve panel, in a real window."""

import numpy as np
import pytest

pytest.importorskip("napari")
pytest.importorskip("onnxruntime")

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFileDialog

import napari_lucyd as nl
from napari_lucyd._napari.deconvolve.choices.network_model import NO_PACKAGE
from small_packages import Unet, description, onnx_of, write_package

pytestmark = pytest.mark.napari

STANDARD = {"id": "zero_mean_unit_variance", "kwargs": {}}


@pytest.fixture
def asked(monkeypatch):
    """Answer the dialog with a path, and count how often it was shown."""
    answers = {"path": "", "times": 0}

    def ask(*_):
        answers["times"] += 1
        return str(answers["path"]), ""

    monkeypatch.setattr(QFileDialog, "getOpenFileName", ask)
    return answers


def test_a_package_is_asked_for_and_run_and_remembered(panel, qtbot, asked, tmp_path):
    image = np.random.default_rng(0).poisson(50, (40, 48)).astype(np.uint16)
    panel.viewer.add_image(image, name="cells", axis_labels=("y", "x"))
    panel.method.combo.value = "onnx"
    panel.model.browse.native.click()
    assert asked["times"] == 1 and panel.model.name == ""  # nothing was chosen

    asked["path"] = write_package(
        tmp_path / "tiny.zip", description(2, before=[STANDARD]), onnx_of(Unet(2), 2)
    )
    panel.model.browse.native.click()
    qtbot.waitUntil(
        lambda: panel.method.name == "onnx" and panel.model.name.endswith("tiny.zip"), timeout=120_000
    )
    assert panel.method.shown_name == "bioimage.io"
    assert asked["times"] == 2
    qtbot.waitUntil(lambda: panel.estimator.settled, timeout=240_000)
    panel.footer.run.native.click()
    qtbot.waitUntil(lambda: not panel.session.is_running and bool(panel.session.results), timeout=120_000)
    (layer,) = panel.session.results
    expected = nl.deconvolve(image, nl.load_model(asked["path"]), axes="YX").output
    assert np.abs(layer.data - expected).max() < 1e-5 * np.ptp(expected)

    from napari_lucyd._napari.deconvolve.panel import DeconvolveWidget

    again = DeconvolveWidget(panel.viewer)
    panel.viewer.window.add_dock_widget(again, name="Again")
    qtbot.waitUntil(lambda: again.method.name == "onnx", timeout=120_000)
    assert again.model.name.endswith("tiny.zip")
    assert asked["times"] == 2
    qtbot.waitUntil(lambda: again.estimator.settled, timeout=120_000)


def test_a_package_that_cannot_be_used_says_why(panel, qtbot, asked, tmp_path):
    weights = {"torchscript": {"source": "w.pt"}}
    asked["path"] = write_package(tmp_path / "script.zip", description(2, weights=weights), b"")
    said = []
    panel.model.failed.connect(said.append)
    panel.method.combo.value = "onnx"
    panel.model.browse.native.click()
    qtbot.waitUntil(lambda: bool(said), timeout=120_000)
    assert "TorchScript is a program" in said[0]
    assert panel.model.name == ""


def test_the_arrow_keys_pass_the_entry_of_packages(panel, qtbot, asked, add_image):
    add_image()
    methods, box = panel.method.combo, panel.method.combo.native
    methods.value = "care"
    qtbot.keyClick(box, Qt.Key.Key_Down)
    assert methods.value == "onnx"
    qtbot.waitUntil(lambda: panel.estimator.settled, timeout=60_000)
    assert NO_PACKAGE in (panel.footer.estimate.text(), panel.model.about.text())
    assert not panel.footer.run.enabled
    qtbot.keyClick(box, Qt.Key.Key_Down)
    assert methods.value == "richardson-lucy"
    qtbot.keyClick(box, Qt.Key.Key_Home)
    qtbot.waitUntil(lambda: panel.estimator.settled, timeout=60_000)
    assert panel.footer.run.enabled and asked["times"] == 0
