"""The Inspect panel in a real window: image against result, strength, and the change part by part."""

from __future__ import annotations

import numpy as np
import pytest

import napari_lucyd as nl
from told_models import blobs, told_model

pytest.importorskip("napari")

from napari_lucyd._napari.inspection.panel import InspectWidget
from napari_lucyd._napari.layers.results import result_layers
from napari_lucyd._napari.layers.source_layer import SourceLayer
from napari_lucyd._napari.layers.viewer import METADATA_KEY, UNFINISHED, add_image, is_preview
from napari_lucyd._napari.workers.window_words import in_window_words

pytestmark = pytest.mark.napari

ALL = ("output", "correction_mask", "update_term", "first_estimate")
CUT = (slice(0, 6), slice(2, 30), slice(4, 34))


def add_result(viewer, layer, result, region=None):
    tuples = result_layers(SourceLayer.from_layer(layer), result, "told", axes="ZYX", region=region)
    added = [add_image(viewer, data, keywords) for data, keywords, _ in tuples]
    return {each.metadata[METADATA_KEY]["quantity"]: each for each in added}


@pytest.fixture
def result():
    return nl.deconvolve(
        blobs(6, 30, 34), told_model(3), blur_sigma=1.2, region=CUT, outputs=ALL, device="cpu"
    )


@pytest.fixture
def window(make_napari_viewer, kept_programs, result):
    """A panel in a window with an image and the result of a region of it."""
    viewer = make_napari_viewer(show=True)
    layer = viewer.add_image(blobs(6, 30, 34), name="cells", scale=(0.3, 0.1, 0.1), units="um")
    parts = add_result(viewer, layer, result, CUT)
    panel = InspectWidget(viewer)
    viewer.window.add_dock_widget(panel, name="Inspect")
    return panel, layer, parts


def veil(panel):
    found = [layer for layer in panel.viewer.layers if is_preview(layer)]
    assert len(found) <= 1
    return found[0] if found else None


def test_the_image_is_seen_while_the_button_is_held_and_behind_the_curtain(window):
    panel, layer, parts = window
    look = panel.form.look
    assert (look.result.value, look.image.value) == (parts["output"], layer)
    before = [each.visible for each in panel.viewer.layers]
    look.hold.native.pressed.emit()
    assert layer.visible and not any(each.visible for each in parts.values())
    look.hold.native.released.emit()
    assert [each.visible for each in panel.viewer.layers] == before

    look.curtain.setValue(50)
    curtain = veil(panel)
    np.testing.assert_array_equal(curtain.data, layer.data[CUT][..., :15])
    np.testing.assert_allclose(curtain.translate, parts["output"].translate)
    assert curtain.contrast_limits == layer.contrast_limits
    look.curtain.setValue(0)
    assert veil(panel) is None


def test_a_strength_is_shown_without_a_run_and_kept_with_its_recipe(window, result):
    panel, layer, parts = window
    panel.form.look.strength.setValue(40)
    expected = nl.adjust_strength(layer.data, result, 0.4).output
    np.testing.assert_allclose(np.asarray(veil(panel).data), expected, rtol=1e-5, atol=1e-3)
    count = len(panel.viewer.layers)
    panel.form.look.keep.native.click()
    kept = panel.viewer.layers[-1]
    assert len(panel.viewer.layers) == count and veil(panel) is None
    np.testing.assert_allclose(np.asarray(kept.data), expected, rtol=1e-5, atol=1e-3)
    known = kept.metadata[METADATA_KEY]
    assert (known["strength"], known["quantity"], known["source"]) == (0.4, "output", "cells")
    # The full result stays the chosen one.
    assert panel.run.output is parts["output"]


def test_the_curtain_is_above_a_weaker_result_also_when_that_is_kept(window):
    panel, _, _ = window
    look, layers = panel.form.look, panel.viewer.layers
    look.curtain.setValue(50)
    look.strength.setValue(40)
    assert [layer.name.split()[0] for layer in layers][-2:] == ["strength", "curtain"]
    look.keep.native.click()
    assert [layer.name.split()[0] for layer in layers][-2:] == ["output", "curtain"]


def test_curtain_and_strength_are_no_tiles_of_a_grid_and_come_back_after_it(window, qtbot):
    from napari_lucyd._napari.layers.side_by_side import SideBySide

    panel, layer, parts = window
    look, viewer = panel.form.look, panel.viewer
    look.curtain.setValue(50)
    look.strength.setValue(40)
    grid = SideBySide(viewer)
    grid.show([layer, parts["output"]])
    assert not any(is_preview(each) for each in viewer.layers)
    assert viewer.canvas.grid.actual_shape(viewer.layers) == (1, 2)
    assert not look.curtain.isEnabled() and "not shown side by side" in panel.status.text()
    # Also another result that is chosen meanwhile, and a key, leave the grid as it is.
    look.curtain.setValue(70)
    panel.choose(parts["output"])
    assert not look.curtain.isEnabled() and not any(is_preview(each) for each in viewer.layers)
    grid.hide()
    assert [each.name.split()[0] for each in viewer.layers][-2:] == ["strength", "curtain"]
    assert look.curtain.isEnabled() and panel.status.text() == ""


def test_limits_are_the_image_s_and_back_with_a_note_on_what_is_cut_off(window):
    panel, layer, parts = window
    own = list(parts["output"].contrast_limits)
    layer.contrast_limits = (0, float(np.percentile(parts["output"].data, 90)))
    button = panel.form.look.limits.native
    button.click()
    assert parts["output"].contrast_limits == layer.contrast_limits
    assert "10 % of the result's voxels" in panel.form.look.limits_note.text()
    button.click()
    assert parts["output"].contrast_limits == [0, own[1]]
    assert panel.form.look.limits_note.isHidden()


def test_a_blur_in_doubt_is_named_by_score_and_map_as_in_the_deconvolve_panel(window, monkeypatch, qtbot):
    from types import SimpleNamespace

    from napari_lucyd import referee
    from napari_lucyd.referee.scores.score import BLUR_IN_DOUBT

    panel, _, parts = window
    blocks = np.ones(parts["output"].data.shape, np.float32)
    found = SimpleNamespace(verdict=BLUR_IN_DOUBT, summary="Held-out score 0.5", held_out=0.5)
    monkeypatch.setattr(referee, "score", lambda *_, **__: found)
    marks = SimpleNamespace(
        share=1.0, false_discovery_rate=0.05, significant=blocks > 0, unexplained=blocks, blur="a blur"
    )
    monkeypatch.setattr(referee, "trust_map", lambda *_, **__: marks)
    for kind in ("score", "trust map"):
        panel.ask(kind)
        qtbot.waitUntil(lambda: panel.judging.settled, timeout=60_000)
        assert panel.form.trust.line.text().startswith(f"{BLUR_IN_DOUBT} ")
        assert panel.form.trust.line.property("problem")


def test_questions_are_answered_one_after_another_and_all_answers_stay(window, monkeypatch, qtbot):
    from threading import Event
    from types import SimpleNamespace

    from napari_lucyd import referee

    panel, _, parts = window
    trust, may_end = panel.form.trust, Event()

    def score(*_, **__):
        may_end.wait(20)
        return SimpleNamespace(verdict="", summary="Held-out score 0.5", held_out=0.5)

    def beads(*_, **__):
        raise ValueError("There is no empty corner.")

    monkeypatch.setattr(referee, "score", score)
    monkeypatch.setattr(referee, "plant_beads", beads)
    for button in (trust.score, trust.beads, trust.methods, trust.score):
        button.native.click()
    # A question that is asked again while it waits is answered once.
    assert trust.line.text() == "Score is being measured… Then: planted beads, methods."
    may_end.set()
    qtbot.waitUntil(lambda: panel.judging.settled, timeout=60_000)
    lines = trust.line.text().splitlines()
    assert lines[:2] == ["Score. Held-out score 0.5", "Planted beads. There is no empty corner."]
    assert lines[2].startswith("Methods. Copied: ") and trust.line.property("problem")

    # The next question begins anew, and what is asked of a result that is removed is dropped.
    may_end.clear()
    trust.score.native.click()
    trust.methods.native.click()
    panel.viewer.layers.remove(parts["output"])
    assert trust.line.text() == ""
    may_end.set()
    qtbot.waitUntil(lambda: panel.judging.settled, timeout=60_000)
    assert trust.line.text() == ""


def test_the_voxel_under_the_cursor_and_the_layers_show_the_parts_of_the_change(window, result, qtbot):
    panel, layer, parts = window
    change = nl.explain_change(layer.data, result)
    at = (3, 10, 20)
    panel.viewer.cursor.position = parts["output"].data_to_world(at)
    qtbot.waitUntil(lambda: panel.voxel is not None, timeout=20_000)
    voxel = panel.voxel
    assert voxel.image + sum(voxel.parts.values()) == pytest.approx(voxel.output, abs=1e-9 * voxel.output)
    for name, amount in voxel.parts.items():
        assert amount == pytest.approx(getattr(change, name)[at], rel=1e-3, abs=1e-3)
    assert panel.form.change.values["image"].text() == f"{layer.data[CUT][at]:.1f}"

    panel.form.change.change.native.click()
    panel.form.change.parts.native.click()
    whole, *added = panel.viewer.layers[-5:]
    assert [each.visible for each in added] == [True, False, False, False]  # they would hide each other
    np.testing.assert_allclose(np.asarray(whole.data), change.total, rtol=0, atol=1e-3)
    np.testing.assert_allclose(sum(np.asarray(each.data) for each in added), change.total, rtol=0, atol=1e-2)
    assert len({tuple(each.contrast_limits) for each in (whole, *added)}) == 1
    np.testing.assert_allclose(added[0].translate, parts["output"].translate)


def test_a_result_without_its_first_estimate_says_what_to_do(window):
    panel, _, parts = window
    panel.viewer.layers.remove(parts["first_estimate"])
    panel.choose(parts["output"])
    assert "tick first estimate" in panel.form.change.why.text()
    assert not panel.form.change.parts.enabled and panel.form.change.change.enabled


def test_an_unfinished_result_says_so_instead_of_asking_for_parts_that_are_ticked(window):
    panel, _, parts = window
    for part, each in parts.items():
        each.metadata[METADATA_KEY][UNFINISHED] = f"{part}.ome.zarr"
    panel.viewer.layers.remove(parts["first_estimate"])
    panel.choose(parts["output"])
    assert panel.form.change.why.text().startswith("This run is unfinished.")
    assert not panel.form.change.parts.enabled


def test_without_a_result_or_with_another_image_it_says_so(make_napari_viewer, kept_programs, result):
    viewer = make_napari_viewer()
    panel = InspectWidget(viewer)
    assert "no result" in panel.status.text()
    small = viewer.add_image(np.zeros((6, 30, 30), np.float32), name="cells")
    add_result(viewer, small, result)
    assert "The image has the shape (6, 30, 30)" in panel.status.text()
    assert not panel.form.look.hold.enabled
    panel.deleteLater()


def test_score_map_beads_report_and_methods_are_those_of_python(
    make_napari_viewer, kept_programs, qtbot, tmp_path
):
    viewer = make_napari_viewer()
    # Two channels, of which the second is shown.
    data = np.stack([blobs(96, 96), blobs(96, 96, seed=1)])
    layer = viewer.add_image(data, name="cells")
    result = nl.deconvolve(data, nl.load_model("planes"), axes="CYX", device="cpu")
    tuples = result_layers(SourceLayer.from_layer(layer), result, "planes", axes="CYX", region=None)
    for values, keywords, _ in tuples:
        add_image(viewer, values, keywords)
    viewer.dims.set_point(0, 1)
    panel = InspectWidget(viewer)

    def answer(kind, **keywords):
        panel.ask(kind, **keywords)
        qtbot.waitUntil(lambda: panel.judging.settled, timeout=60_000)
        return panel.form.trust.line.text()

    bare = nl.deconvolution.Result(result.output, None, None, None, result.recipe)
    shown = {"volume": {"C": 1}}
    score = nl.score(data, bare, **shown)
    assert answer("score") == in_window_words(f"{score.verdict} {score.summary}".lstrip())
    expected = nl.trust_map(data, bare, **shown)
    assert f"C 1: {100 * expected.share:.1f} % of the tested voxels" in answer("trust map")
    drawn = viewer.layers[-1]
    assert drawn.name == "C 1 · not explained · cells (planes)"
    np.testing.assert_array_equal(np.isfinite(drawn.data[0]), expected.significant)
    np.testing.assert_allclose(drawn.translate, (1, 0, 0))
    # The model has no calibration, and the panel says so.
    assert answer("interval") == nl.interval(bare).reason
    beads = nl.plant_beads(data, bare, **shown).text()
    assert answer("planted beads") == in_window_words(f"C 1: {beads}")
    assert answer("methods").startswith("Copied: ")
    page = tmp_path / "cells.html"
    assert "Saved cells.html and cells.json" in answer("report", path=page)
    assert "cells" in page.read_text("utf-8")
    # A file that is there is not replaced unasked.
    assert "cells.html" in answer("report", path=page)
    assert panel.form.trust.line.property("problem")
    panel.deleteLater()
