"""The Compare panel in a real window: layers, metrics, profile, projections, side by side, export."""

import csv

import dask.array as da
import numpy as np
import pytest

pytest.importorskip("napari")

from PIL import Image as Picture
from scipy.ndimage import gaussian_filter

from comparison_choice import choose_layers
from napari_lucyd._napari.compare.panel import DRAW, CompareWidget
from napari_lucyd._napari.compare.views.metrics_view import NO_TRUTH
from napari_lucyd._napari.compare.views.profile_plot import ticks
from napari_lucyd._napari.layers.drawing import LINE_LAYER, drawn_line, rectangle_layer
from napari_lucyd._napari.layers.viewer import METADATA_KEY
from napari_lucyd.evaluation import psnr, ssim_global, ssim_windowed

pytestmark = pytest.mark.napari

SHAPE = (8, 20, 24)
TRUTH = np.random.default_rng(0).random(SHAPE)
NOISY = TRUTH + np.random.default_rng(1).normal(0, 0.1, SHAPE)
PLACE = {"scale": (0.3, 0.1, 0.1), "units": ("µm",) * 3, "axis_labels": ("z", "y", "x")}


@pytest.fixture
def viewer(make_napari_viewer, kept_programs):
    return make_napari_viewer(show=True)


@pytest.fixture
def opened(viewer, qtbot, monkeypatch):
    """Dock the panel, and wait until it has come to rest."""
    monkeypatch.setattr("napari_lucyd._napari.compare.panel.SLOW_MS", 40)

    def dock():
        panel = CompareWidget(viewer)
        viewer.window.add_dock_widget(panel, name="Compare")
        rest(panel)
        return panel

    def rest(panel):
        # Wait until its timers were started: napari reports some changes one turn of the event loop later.
        qtbot.wait(30)
        qtbot.waitUntil(lambda: panel.settled, timeout=60_000)

    dock.rest = rest
    return dock


def add(viewer, data, name, quantity=None, **keywords):
    if quantity:
        keywords["metadata"] = {METADATA_KEY: {"quantity": quantity, "source": "sample"}}
    return viewer.add_image(data, name=name, **keywords)


def draw(panel, start, stop):
    panel.form.draw.native.click()
    line = panel.viewer.layers.selection.active
    line.add_lines(np.array([start, stop], float))
    return line


def cells(panel):
    table = panel.form.metrics
    return [
        [table.item(row, column).text() for column in range(table.columnCount())]
        for row in range(table.rowCount())
    ]


def table(path):
    return list(csv.DictReader(path.read_text("utf-8").splitlines()))


def test_the_last_run_its_image_and_its_truth_are_chosen(viewer, opened):
    truth = add(viewer, TRUTH, "sample truth", visible=False)
    image = add(viewer, NOISY, "sample")
    add(viewer, TRUTH[0], "other")
    output = add(viewer, TRUTH, "sample – output", "output")
    add(viewer, TRUTH, "sample – update term", "update_term", visible=False)
    panel = opened()
    assert panel.chosen.truth is truth and panel.chosen.ticked() == [image, output]
    later = add(viewer, TRUTH, "sample – output 2", "output")
    assert panel.chosen.ticked() == [image, output, later]


def test_layers_opened_later_are_chosen_until_a_person_chooses(viewer, opened):
    panel = opened()
    assert panel.form.projections_note.text().startswith("Open an image first")
    truth = add(viewer, TRUTH, "sample truth", visible=False)
    image = add(viewer, NOISY, "sample")
    assert panel.chosen.ticked() == [image] and panel.chosen.truth is truth
    panel.form.layers.item(0).setCheckState(panel.form.layers.item(0).checkState().Unchecked)
    assert panel.chosen.ticked() == []
    add(viewer, NOISY, "another")
    assert panel.chosen.ticked() == []


def test_metrics_are_those_of_the_truth_under_their_names(viewer, opened):
    add(viewer, TRUTH, "sample truth", visible=False)
    add(viewer, NOISY, "sample")
    panel = opened()
    span = TRUTH.max()
    values = psnr(NOISY, TRUTH), ssim_global(NOISY / span, TRUTH / span), ssim_windowed(NOISY, TRUTH)
    assert cells(panel) == [["sample", f"{values[0]:.2f}", f"{values[1]:.4f}", f"{values[2]:.4f}"]]
    heads = [panel.form.metrics.horizontalHeaderItem(i).text().split() for i in (1, 2, 3)]
    assert heads == [["PSNR", "(dB)"], ["SSIM", "global"], ["SSIM", "windowed"]]


def test_without_a_truth_there_is_no_number(viewer, opened):
    first, second = add(viewer, NOISY, "sample"), add(viewer, TRUTH, "second")
    panel = opened()
    assert panel.metrics.shown is None and not panel.form.metrics.isVisible()
    assert panel.form.metrics_note.text().endswith(NO_TRUTH)
    assert len(panel.pictures.views) == 2
    choose_layers(panel, [first], second)
    # Neither a line nor another image changes the choice of the user.
    panel.draw()
    add(viewer, TRUTH, "third")
    opened.rest(panel)
    assert panel.chosen.ticked() == [first] and panel.chosen.truth is second
    assert panel.metrics.shown is not None and panel.form.metrics.isVisible()


def test_what_cannot_be_measured_is_told_of(viewer, opened):
    truth = add(viewer, TRUTH, "sample truth")
    images = [
        add(viewer, TRUTH[:, :10], "cut"),
        add(viewer, TRUTH, "sample – update term", "update_term"),
        add(viewer, NOISY, "moved", translate=(0, 5, 0)),
    ]
    panel = opened()
    choose_layers(panel, images, truth)
    opened.rest(panel)
    assert [row[1] for row in cells(panel)] == ["–", "–", f"{psnr(NOISY, TRUTH):.2f}"]
    text = panel.form.metrics_note.text()
    for words in ("Z 8 × Y 10 × X 24", "an update term cannot be compared", "its position differs"):
        assert words in text


def notes(panel):
    form = panel.form
    lines = (form.picked_note, form.metrics_note, form.held_out_note, form.projections_note)
    return "\n".join(line.text() for line in lines)


@pytest.mark.parametrize("layer", [None, "labels", "truth"])
def test_without_an_image_the_panel_says_to_open_one(viewer, opened, layer):
    if layer == "labels":
        viewer.add_labels(np.ones((8, 20, 24), int))
    panel = opened()
    if layer == "truth":
        choose_layers(panel, [], add(viewer, TRUTH, "only"))
        opened.rest(panel)
        assert "Open an image to compare with the ground truth." in notes(panel)
        return
    assert "Labels, shapes and other kinds of layers cannot be compared" in notes(panel)
    assert "Tick" not in notes(panel) and "Choose" not in notes(panel)
    panel.draw()
    assert "Open an image first" in panel.form.status.text()
    panel.ask_and_export()
    assert "Open an image first" in panel.form.status.text()


def test_images_that_are_no_results_get_messages_that_say_what_to_do(viewer, opened):
    add(viewer, NOISY, "sample")
    panel = opened()
    panel.form.held_out.native.click()
    opened.rest(panel)
    assert "Tick a result of the Deconvolve panel and its image" in notes(panel)
    for data, name in ((TRUTH[:, :10], "cut"), (TRUTH[3], "plane"), (TRUTH, "other")):
        add(viewer, data, name)
    opened.rest(panel)
    panel.form.held_out.native.click()
    opened.rest(panel)
    text = notes(panel)
    image = "and that of the image is Z 8 × Y 20 × X 24. Tick layers of equal shape, or crop one."
    assert f"“cut”: its shape is Z 8 × Y 10 × X 24, {image}" in text
    assert f"“plane”: its shape is Y 20 × X 24, {image}" in text
    assert "“other”: RSP" in text
    assert text.count("Deconvolve the image in the Deconvolve panel, or choose a ground-truth layer") == 3
    # No word of Python.
    assert "(8, 20, 24)" not in text and "_" not in text and "recipe" in text


def test_an_image_with_one_value_is_no_image_of_the_others(viewer, opened):
    add(viewer, np.zeros_like(TRUTH), "empty")
    add(viewer, TRUTH, "sample")
    panel = opened()
    assert "“empty” has one value everywhere" in notes(panel) and "RSP" not in notes(panel)


def test_a_truth_in_colours_is_refused_also_after_scores_were_asked_for(viewer, opened):
    photo = viewer.add_image(np.zeros((20, 24, 3), np.uint8), rgb=True, name="photo")
    panel = opened()
    choose_layers(panel, [add(viewer, TRUTH[3], "plane")], photo)
    opened.rest(panel)
    panel.form.held_out.native.click()
    opened.rest(panel)
    assert "“photo” is a colour (RGB) image" in panel.form.picked_note.text()


def test_colours_are_refused_in_words(viewer, opened):
    photo = viewer.add_image(np.zeros((20, 20, 3), np.uint8), rgb=True, name="photo")
    panel = opened()
    choose_layers(panel, [photo])
    opened.rest(panel)
    assert "Split RGB" in panel.form.picked_note.text()
    assert panel.pictures.views == []


def test_the_profile_is_that_of_the_current_slice_along_the_line(viewer, opened):
    add(viewer, TRUTH, "sample truth", **PLACE)
    add(viewer, da.from_array(NOISY, chunks=(2, 20, 24)), "sample", **PLACE)
    panel = opened()
    viewer.dims.set_current_step(0, 3)
    panel.form.draw.native.click()
    assert panel.form.status.text() == DRAW
    line = draw(panel, (4, 2), (4, 20))
    assert line.name == LINE_LAYER and line.mode == "add_line"
    opened.rest(panel)
    # The line is there: the hint would only be in the way.
    assert panel.form.status.text() == ""
    truth, image = panel.pictures.profile.curves
    assert truth.is_truth and not image.is_truth
    np.testing.assert_allclose(truth.values, TRUTH[3, 4, 2:21])
    np.testing.assert_allclose(image.values, NOISY[3, 4, 2:21])
    assert panel.pictures.profile.unit == "µm"
    np.testing.assert_allclose(panel.pictures.profile.distance, np.arange(19) * 0.1)
    viewer.dims.set_current_step(0, 5)
    opened.rest(panel)
    np.testing.assert_allclose(panel.pictures.profile.curves[1].values, NOISY[5, 4, 2:21])
    # Another line, made by moving the first one.
    line.data = [np.array([[0, 1], [10, 1]], float)]
    opened.rest(panel)
    np.testing.assert_allclose(panel.pictures.profile.curves[1].values, NOISY[5, 0:11, 1])


def test_the_profile_goes_through_the_world(viewer, opened):
    # A layer twice as fine along X, one turned by a right angle, and one that the line does not cross.
    plain = np.add.outer(np.arange(20.0), np.zeros(24))
    add(viewer, plain, "plain")
    add(viewer, np.repeat(plain, 2, axis=1), "fine", scale=(1, 0.5), translate=(0, -0.25))
    add(viewer, plain.T[:, ::-1], "turned", rotate=90, translate=(19, 0))
    add(viewer, plain, "far", translate=(100, 0))
    panel = opened()
    viewer.add_shapes([[[3, 5], [12, 9]]], shape_type="line")
    opened.rest(panel)
    curves = {curve.name: curve.values for curve in panel.pictures.profile.curves}
    np.testing.assert_allclose(curves["plain"], np.linspace(3, 12, len(curves["plain"])))
    np.testing.assert_allclose(curves["fine"], curves["plain"])
    np.testing.assert_allclose(curves["turned"], curves["plain"])
    assert np.isnan(curves["far"]).all()
    assert "does not cross “far”" in panel.form.profile_note.text()


def test_the_profile_keeps_its_unit_beside_a_layer_without_a_voxel_size(viewer, opened):
    truth = add(viewer, TRUTH, "truth")
    add(viewer, NOISY, "in µm", **PLACE)
    panel = opened()
    choose_layers(panel, [viewer.layers["in µm"]], truth)
    viewer.dims.set_current_step(0, 3)
    viewer.add_shapes([[[0.4, 0.2], [0.4, 2.0]]], shape_type="line")
    opened.rest(panel)
    profile = panel.pictures.profile
    assert profile.unit == "µm" and profile.distance[-1] == pytest.approx(1.8)
    text = panel.form.profile_note.text()
    assert "The voxel size of “truth” is unknown: a pixel counts as 1 µm" in text and "“in µm” is" not in text


def test_layers_in_other_units_of_length_lie_where_they_are_shown(viewer, opened):
    add(viewer, NOISY, "in µm", **PLACE)
    nanometres = {"scale": (300, 100, 100), "units": ("nm",) * 3}
    truth = add(viewer, TRUTH, "truth", **{**PLACE, **nanometres})
    panel = opened()
    viewer.dims.set_current_step(0, 3)
    for first, second in (("in µm", "truth"), ("truth", "in µm")):
        # The line is in the units of the last layer.
        choose_layers(panel, [viewer.layers[first], viewer.layers[second]])
        panel.draw()
        line = viewer.layers.selection.active
        line.add_lines(np.array([[4, 2], [4, 20]], float))
        opened.rest(panel)
        for curve in panel.pictures.profile.curves:
            data = viewer.layers[curve.name].data[3, 4]
            at = np.linspace(2, 20, len(curve.values))
            np.testing.assert_allclose(curve.values, np.interp(at, np.arange(24), data))
        length = {"µm": 1.8, "nm": 1800}[panel.pictures.profile.unit]
        assert panel.pictures.profile.distance[-1] == pytest.approx(length)
        viewer.layers.remove(line)
    choose_layers(panel, [viewer.layers["in µm"]], truth)
    opened.rest(panel)
    assert float(cells(panel)[0][1]) == pytest.approx(psnr(NOISY, TRUTH), abs=0.01)


def test_a_line_in_another_orientation(viewer, opened):
    add(viewer, NOISY, "sample")
    panel = opened()
    viewer.dims.order = (1, 0, 2)
    viewer.dims.set_current_step(1, 6)
    panel.draw()
    shapes = viewer.layers.selection.active
    shapes.add_lines(np.array([[1, 6, 2], [1, 6, 20]], float))
    opened.rest(panel)
    np.testing.assert_allclose(panel.pictures.profile.curves[0].values, NOISY[1, 6, 2:21])
    viewer.dims.set_current_step(1, 9)
    opened.rest(panel)
    np.testing.assert_allclose(panel.pictures.profile.curves[0].values, NOISY[1, 9, 2:21])


def test_the_current_time_point_and_channel_are_compared(viewer, opened):
    truth = np.random.default_rng(2).random((3, 2, 9, 10))
    image = truth + np.random.default_rng(3).normal(0, 0.1, truth.shape)
    labels = {"axis_labels": ("t", "c", "y", "x")}
    add(viewer, truth, "sample truth", **labels)
    add(viewer, da.from_array(image), "sample", **labels)
    panel = opened()
    viewer.dims.current_step = (2, 1, 0, 0)
    opened.rest(panel)
    assert cells(panel)[0][1] == f"{psnr(image[2, 1], truth[2, 1]):.2f}"
    assert "T 2, C 1 (counted from 0)" in panel.form.metrics_note.text()
    assert panel.metrics.shown.position == "T 2, C 1"
    assert [view.axial for view in panel.pictures.views] == [None, None]
    before = panel.metrics.shown
    add(viewer, truth[:2], "short", **labels)
    choose_layers(panel, [viewer.layers["short"], viewer.layers["sample"]], viewer.layers["sample truth"])
    opened.rest(panel)
    assert "does not reach the current position: its last T is 1" in panel.form.picked_note.text()
    assert panel.metrics.shown == before


def test_projections_have_the_layers_colours_and_the_sizes_of_the_world(viewer, opened):
    volume = np.zeros(SHAPE)
    volume[2, 5, 7] = 1
    layer = add(viewer, volume, "sample", **PLACE, colormap="green", contrast_limits=(0, 1))
    panel = opened()
    (view,) = panel.pictures.views
    assert view.lateral.pixels[5, 7].tolist() == view.axial.pixels[2, 7].tolist() == [0, 255, 0, 255]
    assert (view.lateral.pixels[..., 1] > 0).sum() == 1
    assert (view.lateral.height, view.lateral.width) == pytest.approx((2.0, 2.4))
    assert (view.axial.height, view.axial.width) == pytest.approx((2.4, 2.4))
    layer.contrast_limits = (0, 2)
    opened.rest(panel)
    assert panel.pictures.views[0].lateral.pixels[5, 7, 1] == pytest.approx(128, abs=1)


def test_large_projections_keep_single_bright_voxels(viewer, opened):
    plane = np.zeros((1500, 20))
    plane[1001, 13] = 1
    add(viewer, plane, "sample", contrast_limits=(0, 1))
    pixels = opened().pictures.views[0].lateral.pixels
    assert pixels.shape[0] <= 640 and pixels[1001 // 3, 13].tolist() == [255] * 4


def test_layers_may_go_change_and_be_renamed(viewer, opened):
    truth = add(viewer, TRUTH, "sample truth")
    image, other = add(viewer, NOISY, "sample"), add(viewer, TRUTH, "other")
    panel = opened()
    choose_layers(panel, [image, other], truth)
    line = draw(panel, (1, 1), (8, 9))
    opened.rest(panel)
    image.name = "renamed"
    opened.rest(panel)
    assert [row[0] for row in cells(panel)] == ["renamed", "other"]
    image.data = TRUTH
    opened.rest(panel)
    assert cells(panel)[0][1] == "inf"
    viewer.layers.remove(line)
    viewer.layers.remove(image)
    viewer.layers.remove(truth)
    opened.rest(panel)
    assert panel.chosen.ticked() == [other] and panel.chosen.truth is None
    assert panel.metrics.shown is None and panel.pictures.profile is None
    viewer.layers.clear()
    opened.rest(panel)
    assert panel.pictures.views == [] and panel.form.layers.count() == 0


def test_side_by_side_shows_the_ticked_layers_and_puts_the_view_back(viewer, opened, qtbot):
    truth = add(viewer, TRUTH, "sample truth", visible=False)
    image, other = add(viewer, NOISY, "sample"), add(viewer, TRUTH, "other")
    panel = opened()
    choose_layers(panel, [image], truth)
    viewer.scene.camera.zoom = 3.21
    before = viewer.screenshot(canvas_only=True, flash=False)
    panel.form.side_by_side.native.click()
    assert [layer.visible for layer in viewer.layers] == [True, True, False]
    qtbot.wait(100)
    assert np.abs(viewer.screenshot(canvas_only=True, flash=False).astype(int) - before).max() > 40
    panel.form.layers.item(1).setCheckState(panel.form.layers.item(0).checkState())
    assert [layer.visible for layer in viewer.layers] == [True, True, True] and other.name_overlay.visible
    panel.form.side_by_side.native.click()
    assert not viewer.canvas.grid.enabled and viewer.scene.camera.zoom == pytest.approx(3.21)
    assert [layer.visible for layer in viewer.layers] == [False, True, True]
    assert not any(layer.name_overlay.visible for layer in viewer.layers)


def test_two_panels_share_one_side_by_side_view(viewer, opened):
    add(viewer, NOISY, "sample")
    hidden = add(viewer, TRUTH, "hidden", visible=False)
    first, second = opened(), opened()
    choose_layers(second, [hidden])
    first.form.side_by_side.native.click()
    second.form.side_by_side.native.click()
    assert not first.form.side_by_side.native.isChecked() and hidden.visible
    second.form.side_by_side.native.click()
    assert not viewer.canvas.grid.enabled and not hidden.visible and viewer.layers["sample"].visible


def test_export_writes_tables_and_a_figure_and_overwrites_nothing(viewer, opened, qtbot, tmp_path):
    add(viewer, TRUTH, "sample truth", **PLACE)
    add(viewer, NOISY, "sample", **PLACE)
    panel = opened()
    draw(panel, (4, 2), (4, 20))
    opened.rest(panel)
    for _ in range(2):
        panel.tell("")
        panel.export(tmp_path)
        qtbot.waitUntil(lambda: "Saved" in panel.form.status.text(), timeout=20_000)
    names = {path.name for path in tmp_path.iterdir()}
    ends = ("_metrics.csv", "_profile.csv", ".png", "_notes.txt")
    assert names == {stem + end for stem in ("comparison", "comparison_2") for end in ends}
    (row,) = table(tmp_path / "comparison_metrics.csv")
    assert (row["layer"], row["truth"]) == ("sample", "sample truth")
    assert float(row["PSNR (dB)"]) == psnr(NOISY, TRUTH)
    rows = table(tmp_path / "comparison_profile.csv")
    assert list(rows[0]) == ["distance (µm)", "z (µm)", "y (µm)", "x (µm)", "sample truth (truth)", "sample"]
    assert float(rows[-1]["distance (µm)"]) == pytest.approx(1.8)
    assert float(rows[-1]["x (µm)"]) == pytest.approx(2.0)
    assert float(rows[5]["sample"]) == pytest.approx(NOISY[viewer.dims.current_step[0], 4, 7])
    picture = np.asarray(Picture.open(tmp_path / "comparison.png"))
    assert picture.shape[1] == 1600 and picture.std() > 20


def test_an_export_that_fails_is_told_of(viewer, opened, qtbot, tmp_path):
    add(viewer, NOISY, "sample")
    panel = opened()
    panel.export(tmp_path / "missing")
    qtbot.waitUntil(lambda: "Not exported" in panel.form.status.text(), timeout=20_000)


def test_errors_in_reading_are_told_of_and_the_others_go_on(viewer, opened):
    def broken(block):
        raise OSError("the disk is gone")

    truth, image = add(viewer, TRUTH, "sample truth"), add(viewer, NOISY, "sample")
    panel = opened()
    choose_layers(panel, [image], truth)
    opened.rest(panel)
    # napari itself must not read it.
    viewer.dims.set_current_step(0, 0)
    bad = da.from_array(NOISY, chunks=(1, 20, 24))
    bad = da.concatenate([bad[:5], bad[5:].map_blocks(broken, dtype=float, meta=np.zeros((0, 0, 0)))])
    layer = add(viewer, bad, "broken", contrast_limits=(0, 1))
    choose_layers(panel, [layer, image], truth)
    opened.rest(panel)
    assert "the disk is gone" in panel.form.metrics_note.text()
    assert [row[1] == "–" for row in cells(panel)] == [False, True]
    assert [bool(view.problem) for view in panel.pictures.views] == [False, False, True]


def test_a_line_is_no_region_and_a_rectangle_is_no_line(viewer, opened):
    add(viewer, NOISY, "sample")
    panel = opened()
    draw(panel, (1, 1), (8, 9))
    assert rectangle_layer(viewer) is None
    viewer.layers.remove(LINE_LAYER)
    viewer.add_shapes([[1, 1], [1, 5], [5, 5], [5, 1]], shape_type="rectangle")
    assert drawn_line(viewer) is None


def test_closing_the_panel_lets_go_of_the_viewer(viewer, opened, qtbot):
    image = add(viewer, NOISY, "sample")
    panel = opened()
    panel.form.side_by_side.native.click()
    panel.refresh()
    with qtbot.waitSignal(panel.destroyed):
        viewer.window.remove_dock_widget(panel)
    assert not viewer.canvas.grid.enabled
    # A callback that is still connected would raise, because its Qt objects are gone.
    image.name = "other"
    viewer.dims.set_current_step(0, 2)
    add(viewer, TRUTH, "new")
    viewer.layers.clear()
    qtbot.wait(100)


def test_ticks_are_round_numbers_within_the_range():
    assert ticks(-0.31, 1.02) == [0.0, 0.5, 1.0]
    assert ticks(1e-7, 9e-7) == [2e-7, 4e-7, 6e-7, 8e-7]
    assert ticks(3, 3) == []


def test_without_a_truth_layers_are_compared_with_their_image_and_peaks_have_widths(
    viewer, opened, qtbot, tmp_path
):
    sharp = np.zeros((40, 48), np.float32)
    sharp[20, 24] = sharp[8, 12] = 1000
    blurred = gaussian_filter(sharp, 2.0) + 10
    image = np.random.default_rng(0).poisson(blurred).astype(np.float32)
    add(viewer, image, "sample")
    add(viewer, gaussian_filter(sharp, 1.0), "output", quantity="output")
    add(viewer, np.roll(blurred, 9, axis=1), "elsewhere")
    panel = opened()
    for layer in viewer.layers:
        panel.chosen.tick(layer, True)
    opened.rest(panel)
    head, output, elsewhere, *_ = panel.form.metrics_note.text().splitlines()
    assert "“sample”" in head
    # The numbers have words.
    assert "RSP: correlation, 1 is best." in head and "RSE: difference, in units of the image." in head
    assert float(output.split("RSP ")[1].split(",")[0]) > 0.7
    assert float(elsewhere.split("RSP ")[1].split(",")[0]) < 0.3

    draw(panel, (20, 10), (20, 38))
    opened.rest(panel)
    widths = {curve.name: curve.width for curve in panel.pictures.profile.curves}
    # 2.355 standard deviations; linear interpolation adds a little.
    assert widths["output"] == pytest.approx(2.355, rel=0.1)
    assert "“output” 2." in panel.form.profile_note.text()

    # There is no table without a truth, so the export has the sentences.
    panel.export(tmp_path)
    qtbot.waitUntil(lambda: "Saved" in panel.form.status.text(), timeout=20_000)
    notes = (tmp_path / "comparison_notes.txt").read_text("utf-8")
    assert output in notes and "“output” 2." in notes
    assert NO_TRUTH not in notes


def test_held_out_scores_of_results_with_a_recipe_on_request(viewer, opened, qtbot):
    import napari_lucyd as nl

    points = np.zeros((64, 64))
    points[8::16, 8::16] = 2e4
    image = np.random.default_rng(0).poisson(gaussian_filter(points, 1.5) + 20).astype(np.float32)
    add(viewer, image, "sample")
    for name, method, told in (
        ("lucyd", "lucyd", {"blur_sigma": 1.5}),
        ("planes", "planes", {}),
        ("psf", nl.RichardsonLucy(np.ones((3, 3)), num_iter=2), {}),
    ):
        made = nl.deconvolve(image, method, device="cpu", **told)
        entry = {**made.recipe, "quantity": "output", "source": "sample"}
        viewer.add_image(made.output, name=name, metadata={METADATA_KEY: entry})
    add(viewer, image, "elsewhere")
    panel = opened()
    for layer in viewer.layers:
        panel.chosen.tick(layer, True)
    opened.rest(panel)
    panel.form.held_out.native.click()
    qtbot.waitUntil(lambda: panel.form.held_out.text == "Cancel", timeout=30_000)
    opened.rest(panel)
    assert panel.form.held_out.text == "Held-out scores"
    head, itself, *lines = panel.form.held_out_note.text().splitlines()
    assert "the PSF of the run" in head
    scores = {line.split("”")[0][1:]: line.split(": ")[1] for line in (itself, *lines)}
    number = {name: float(scores[name].split(" ")[0]) for name in ("sample", "lucyd", "planes")}
    assert number["lucyd"] > number["sample"]
    recipe = nl.deconvolve(image, "lucyd", device="cpu", blur_sigma=1.5).recipe
    assert number["lucyd"] == pytest.approx(nl.score(image, recipe, device="cpu").held_out, abs=1e-3)
    assert "a result does not keep it" in scores["psf"] and "no run to repeat" in scores["elsewhere"]

    # Scores of other layers than those that are ticked are removed; a request can be cancelled.
    panel.chosen.tick(viewer.layers["planes"], False)
    opened.rest(panel)
    assert panel.form.held_out_note.text() == ""
    panel.form.held_out.native.click()
    qtbot.waitUntil(lambda: panel.form.held_out.text == "Cancel", timeout=30_000)
    panel.form.held_out.native.click()
    opened.rest(panel)
    assert panel.form.held_out_note.text() == "" and panel.form.held_out.text == "Held-out scores"
