"""A problem names the field by its label in the window, and the field is marked."""

import pytest

pytest.importorskip("napari")

pytestmark = pytest.mark.napari


def marked(panel):
    lines = panel.microscope.form.lines
    own = {"num_iter": panel.method.num_iter, "axes": panel.image.axes, "tile": panel.advanced.tile, **lines}
    own |= panel.image.voxel_size.lines
    return {name for name, line in own.items() if line.native.property("problem")}


@pytest.mark.parametrize(
    ("name", "text", "label", "fields"),
    [
        ("numerical_aperture", "9", "NA is 9;", {"numerical_aperture", "refractive_index"}),
        ("numerical_aperture", "0.01", "Check NA: it is 0.01;", {"numerical_aperture"}),
        ("numerical_aperture", "a", "NA: 'a'", {"numerical_aperture"}),
        ("numerical_aperture", "", "Enter the NA.", {"numerical_aperture"}),
        ("emission_um", "525", "Emission is 525", {"emission_um"}),
        ("refractive_index", "", "Enter the Refractive index.", {"refractive_index"}),
        ("shape", "4", "PSF size is (4, 4, 4);", {"shape"}),
        ("voxel_size", "1, 2", "Voxel size has 2 numbers", {"voxel_size"}),
        ("depth_um", "-1", "Depth", {"depth_um", "sample_index"}),
    ],
)
def test_a_line_of_the_optics(panel, add_image, ready, name, text, label, fields):
    panel.method.combo.value = "richardson-lucy"
    lines = panel.microscope.form.lines
    lines["numerical_aperture"].value, lines["emission_um"].value = "0.8", "0.525"
    add_image((6, 20, 22), scale=(0.3, 0.1, 0.1), units=("µm",) * 3)
    ready()
    assert marked(panel) == set()
    before, heights = lines[name].value, lines[name].native.sizeHint()
    lines[name].value = text
    ready()
    said = panel.footer.estimate.text()
    assert label in said and "numerical aperture" not in said and "_" not in said
    assert marked(panel) == fields
    assert lines[name].native.sizeHint() == heights
    lines[name].value = before
    ready()
    assert marked(panel) == set()


@pytest.mark.parametrize("method", ["auto", "richardson-lucy"])
def test_a_line_that_cannot_be_read_is_told_of_while_others_are_empty(panel, add_image, ready, method):
    panel.method.combo.value = method
    add_image((6, 20, 22), scale=(0.3, 0.1, 0.1), units=("µm",) * 3)
    panel.microscope.form.lines["refractive_index"].value = "abc"
    ready()
    assert "Refractive index: 'abc'" in panel.footer.estimate.text() and not panel.footer.run.enabled
    assert marked(panel) == {"refractive_index"}
    panel.microscope.form.lines["refractive_index"].value = "1.33"
    ready()
    said = panel.footer.estimate.text()
    words = "Enter the NA. Or choose From ▸ Blur width, or the method Semi-blind Richardson-Lucy"
    assert said.startswith(words) is (method == "richardson-lucy")


def test_lines_of_other_sections(panel, add_image, ready):
    panel.method.combo.value = "richardson-lucy"
    panel.microscope.form.kind.value, panel.microscope.form.sigma.value = "blur", "1.2"
    add_image((6, 20, 22), scale=(0.3, 0.1, 0.1), units=("µm",) * 3)
    panel.method.num_iter.value = "0"
    ready()
    assert marked(panel) == {"num_iter"}
    panel.method.num_iter.value = "5"
    panel.image.axes.native.setText("ZZX")
    panel.image.axes.native.editingFinished.emit()
    ready()
    assert marked(panel) == {"axes"}
    panel.image.axes.native.setText("ZYX")
    panel.image.axes.native.editingFinished.emit()
    panel.image.voxel_size.lines["Y"].native.setText("wide")
    panel.image.voxel_size.lines["Y"].native.editingFinished.emit()
    ready()
    assert marked(panel) == {"Z", "Y", "X"}


def test_the_tile_of_a_network(panel, add_image, ready):
    add_image()
    panel.advanced.tile.value = "8, 8, 8, 8"
    ready()
    assert "Tile is (8, 8, 8, 8)" in panel.footer.estimate.text()
    assert marked(panel) == {"tile"}
