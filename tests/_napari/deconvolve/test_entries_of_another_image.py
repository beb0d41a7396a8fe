"""Entries that are kept: switches, and optics that were entered for another image."""

import numpy as np
import pytest

pytest.importorskip("napari")

from napari_lucyd._napari.deconvolve.panel import DeconvolveWidget
from napari_lucyd.io import Optics, write_image

pytestmark = pytest.mark.napari


def origin(panel):
    line = panel.microscope.form.origin
    assert not (line.text() and line.isHidden())
    return line.text()


@pytest.fixture
def again(panel, qtbot):
    """Open a second panel, as in the next session."""

    def open_again():
        opened = DeconvolveWidget(panel.viewer)
        panel.viewer.window.add_dock_widget(opened, name="Again")
        works = (opened.estimator, opened.examination.work)
        qtbot.waitUntil(lambda: all(work.settled for work in works), timeout=60_000)
        return opened

    return open_again


@pytest.mark.parametrize("wanted", [True, False])
def test_the_score_and_the_type_of_numbers_are_kept_at_once(panel, again, wanted):
    panel.footer.score.setChecked(not wanted)
    panel.footer.score.setChecked(wanted)
    panel.footer.save_as.value = "uint16"
    opened = again()
    assert opened.footer.score.isChecked() is wanted
    assert opened.footer.save_as.value == "uint16"


def test_optics_of_another_image_are_named(panel, add_image, ready):
    first = add_image((6, 20, 22), seed=0)
    assert origin(panel) == ""
    lines = panel.microscope.form.lines
    lines["numerical_aperture"].value, lines["emission_um"].value = "0.8", "0.525"
    assert origin(panel) == ""
    second = add_image((6, 20, 22), seed=1)
    panel.viewer.layers.selection.active = second
    assert origin(panel) == "Entries from “image 0”: check them for this image."
    panel.viewer.layers.selection.active = first
    assert origin(panel) == ""
    panel.viewer.layers.selection.active = second
    lines["emission_um"].value = "0.6"
    assert origin(panel) == ""
    panel.viewer.layers.selection.active = first
    assert "“image 1”" in origin(panel)
    # An unknown blur is not from another image.
    panel.microscope.form.kind.value = "unknown"
    assert origin(panel) == ""


def test_an_image_that_was_removed_and_opened_again_is_the_same(panel, ready, qtbot, tmp_path):
    stack = np.random.default_rng(0).integers(0, 900, (6, 20, 22)).astype("uint16")
    like = {"axes": "ZYX", "voxel_size": (0.3, 0.1, 0.1), "unit": "µm"}
    paths = [str(write_image(tmp_path / f"{name}.ome.tif", stack, **like)) for name in "ab"]
    viewer, lines = panel.viewer, panel.microscope.form.lines

    def open_alone(path):
        viewer.layers.clear()
        (layer,) = viewer.open(path, plugin="napari-lucyd")
        qtbot.waitUntil(lambda: not panel.image.files.is_pending(layer), timeout=30_000)
        ready()

    open_alone(paths[0])
    lines["numerical_aperture"].value, lines["emission_um"].value = "0.8", "0.525"
    open_alone(paths[0])
    assert origin(panel) == ""
    open_alone(paths[1])
    assert "“a”" in origin(panel)


def test_nothing_moves_while_optics_of_another_image_are_corrected(panel, add_image, ready):
    panel.method.combo.value = "richardson-lucy"
    panel.viewer.layers.selection.active = add_image((6, 20, 22), name="an image with a long name" * 3)
    form = panel.microscope.form
    lines = form.lines
    lines["numerical_aperture"].value, lines["emission_um"].value = "0.8", "0.525"
    ready()
    panel.viewer.layers.selection.active = add_image((6, 20, 22), seed=1)
    ready()
    assert "an image" in origin(panel)

    def place(widget):
        return widget.mapTo(panel, widget.rect().topLeft())

    below = lines["emission_um"].native, panel.region.combo.native
    before = [place(widget) for widget in below]
    lines["numerical_aperture"].value = ""
    ready()
    assert origin(panel) == "" and [place(widget) for widget in below] == before
    # Nothing is left of it under another source, where other rows are shown.
    form.kind.value = "unknown"
    assert form.origin.isHidden()


def test_the_file_of_an_image_takes_the_place_of_earlier_optics(panel, add_image):
    add_image((6, 20, 22), seed=0)
    lines = panel.microscope.form.lines
    lines["numerical_aperture"].value, lines["emission_um"].value = "0.8", "0.525"
    panel.viewer.layers.selection.active = add_image((6, 20, 22), seed=1)
    assert origin(panel)
    # A file may state only a part.
    panel.microscope.fill(Optics(numerical_aperture=1.4))
    assert origin(panel)
    panel.microscope.fill(Optics(numerical_aperture=1.4, emission_um=(0.6,)))
    assert origin(panel) == ""


def test_a_psf_that_is_taken_and_given_back_is_no_entry(panel, add_image):
    add_image((6, 20, 22), seed=0)
    lines = panel.microscope.form.lines
    lines["numerical_aperture"].value, lines["emission_um"].value = "0.8", "0.525"
    psf = add_image((7, 7, 7), name="psf")
    panel.viewer.layers.selection.active = add_image((6, 20, 22), seed=1)
    panel.microscope.take_layer(psf)
    assert origin(panel) == ""
    panel.microscope.give_back()
    assert "“image 0”" in origin(panel)


def test_optics_of_an_earlier_session_are_named(panel, add_image, ready, again):
    panel.method.combo.value = "richardson-lucy"
    add_image((6, 20, 22), scale=(0.3, 0.1, 0.1), units=("µm",) * 3)
    lines = panel.microscope.form.lines
    lines["numerical_aperture"].value, lines["emission_um"].value = "0.8", "0.525"
    ready()
    assert origin(again()).startswith("Entries from an earlier session")
