"""The live preview in a real window: its layer over the image; everything else stays as it is."""

from __future__ import annotations

import gc
import threading
import time

import numpy as np
import pytest

pytest.importorskip("napari")

from napari_lucyd._napari.preview.live import LivePreview, PreviewRequest, is_preview
from napari_lucyd.deconvolution import deconvolve

pytestmark = pytest.mark.napari

OPTIONS = {"device": "cpu", "normalization": "model", "voxel_size": None, "isotropic": False, "separate": "C"}
LIMITS = (0, 1000)


def speckles(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return (1000 * np.random.default_rng(seed).random(shape)).astype(np.uint16)


class Preview:
    """A live preview of one layer, driven as the panel drives it."""

    def __init__(self, qtbot, viewer, layer, model, **options) -> None:
        self.qtbot, self.viewer, self.layer, self.model = qtbot, viewer, layer, model
        self.options, self.axes = {**OPTIONS, **options}, None
        self.told: list[str] = []
        self.live = LivePreview(viewer, self.request)
        self.live.status.connect(self.told.append)

    def request(self) -> PreviewRequest | None:
        if self.layer is None:
            return None
        return PreviewRequest(self.layer, self.axes, self.model, dict(self.options))

    def on(self) -> Preview:
        self.live.set_enabled(True)
        self.settle()
        return self

    def settle(self) -> None:
        """Wait until the preview has come to rest after the last action."""
        del self.told[:]
        self.qtbot.waitUntil(lambda: self.live.settled, timeout=60_000)

    def hear(self, text: str) -> None:
        self.qtbot.waitUntil(lambda: any(text in line for line in self.told), timeout=20_000)

    @property
    def overlay(self):
        found = [layer for layer in self.viewer.layers if is_preview(layer)]
        assert len(found) <= 1
        return found[0] if found else None

    def shown(self) -> np.ndarray:
        """Return the pixels of the preview, on the grid of its source; NaN elsewhere."""
        whole = np.full(self.level0.shape, np.nan, dtype=np.float32)
        layer = self.overlay
        offset = np.round(self.layer.world_to_data(layer.data_to_world((0,) * layer.ndim))).astype(int)
        whole[tuple(slice(o, o + n) for o, n in zip(offset, layer.data.shape, strict=True))] = layer.data
        return whole

    @property
    def level0(self):
        return self.layer.data[0] if self.layer.multiscale else self.layer.data

    def assert_as_run(self, index, least: float = 0.99) -> None:
        """Compare the preview at ``index`` with a run; at least this share of it must be there."""
        options = {**self.options, "axes": self.axes, "outputs": ("output",)}
        run = deconvolve(self.level0, self.model, **options).output[index]
        preview = self.shown()[index]
        there = np.isfinite(preview)
        assert there.mean() >= least
        # 1e-5 of the range; a random network stretches that, and the rounding of float32 with it.
        scale = max(np.ptp(np.asarray(self.level0)), np.ptp(run))
        np.testing.assert_allclose(preview[there], run[there], rtol=0, atol=1e-5 * scale)


@pytest.fixture
def viewer(make_napari_viewer, kept_programs):
    made = make_napari_viewer(show=True)
    made.window.resize(900, 700)
    return made


@pytest.fixture
def preview(qtbot, viewer):
    """Makes previews; each is closed at the end, its thread ended."""
    made: list[Preview] = []

    def make(layer, model, **options) -> Preview:
        made.append(Preview(qtbot, viewer, layer, model, **options))
        return made[-1]

    yield make
    for one in made:
        one.live.close()
        assert not one.live._worker.running
        one.viewer = one.layer = None


def picture(qtbot, viewer) -> np.ndarray:
    qtbot.wait(60)
    return viewer.screenshot(canvas_only=True, flash=False)[..., :3].astype(int)


def test_a_3d_preview_holds_what_run_gives_in_the_slice_and_in_it_alone(viewer, preview, random_model):
    layer = viewer.add_image(speckles((3, 15, 19)), contrast_limits=LIMITS)
    viewer.dims.set_point(0, 1)
    made = preview(layer, random_model).on()
    made.assert_as_run(1)
    assert np.isnan(made.shown()[[0, 2]]).all()


def test_it_is_seen_over_the_image_and_goes_when_switched_off(qtbot, viewer, preview, random_model_2d):
    layer = viewer.add_image(speckles((60, 80)), contrast_limits=LIMITS, name="cells")
    before = picture(qtbot, viewer)
    made = preview(layer, random_model_2d).on()

    during = picture(qtbot, viewer)
    overlay = made.overlay
    assert overlay.name == "preview · cells"
    assert np.mean(np.abs(during - before).max(axis=2) > 20) > 0.2

    # It hides the image: only the preview is visible.
    layer.visible = False
    np.testing.assert_array_equal(picture(qtbot, viewer), during)
    layer.visible = True

    made.live.set_enabled(False)
    assert made.overlay is None
    np.testing.assert_array_equal(picture(qtbot, viewer), before)


def test_the_source_shows_through_where_nothing_is_restored_yet(qtbot, viewer, preview, random_model_2d):
    layer = viewer.add_image(speckles((60, 80)), contrast_limits=LIMITS)
    before = picture(qtbot, viewer)
    made = preview(layer, random_model_2d).on()
    made.overlay.data[...] = np.nan
    made.overlay.refresh()
    np.testing.assert_array_equal(picture(qtbot, viewer), before)


def test_the_users_layers_selection_and_view_are_left_alone(viewer, preview, random_model_2d):
    layer = viewer.add_image(speckles((4, 60, 80)), contrast_limits=LIMITS, scale=(2, 0.5, 0.5))
    points = viewer.add_points([[1, 5, 5]], name="mine")
    viewer.layers.selection.active = points
    viewer.dims.set_point(0, 4)
    heard = []
    viewer.layers.selection.events.active.connect(lambda event: heard.append(event.value))

    def state():
        camera = viewer.scene.camera
        return (camera.center, camera.zoom, viewer.dims.point, viewer.dims.range, viewer.dims.axis_labels)

    before = state()
    made = preview(layer, random_model_2d).on()
    viewer.dims.set_point(0, 2)
    made.settle()
    viewer.dims.set_point(0, 4)
    made.settle()

    assert state() == before
    assert viewer.layers.selection.active is points
    assert set(viewer.layers.selection) == {points}
    assert heard == []
    assert [item for item in viewer.layers if not is_preview(item)] == [layer, points]
    made.live.set_enabled(False)
    assert state() == before
    assert viewer.layers.selection.active is points


def test_several_selected_layers_stay_selected(viewer, preview, random_model_2d):
    first = viewer.add_image(speckles((20, 30)), contrast_limits=LIMITS)
    second = viewer.add_image(speckles((20, 30)), contrast_limits=LIMITS)
    viewer.layers.selection = {first, second}
    made = preview(first, random_model_2d).on()
    assert set(viewer.layers.selection) == {first, second}
    # It lies right above its source, below what the user has put on top.
    assert list(viewer.layers) == [first, made.overlay, second]


def test_it_stays_above_an_image_that_is_moved_up_and_where_it_is_put_above(
    qtbot, viewer, preview, random_model_2d
):
    layer = viewer.add_image(speckles((15, 19)), contrast_limits=LIMITS)
    other = viewer.add_image(speckles((15, 19)), contrast_limits=LIMITS, visible=False)
    made = preview(layer, random_model_2d).on()
    overlay, selected = made.overlay, set(viewer.layers.selection)
    assert list(viewer.layers) == [layer, overlay, other]
    seen = picture(qtbot, viewer)
    viewer.layers.move(0, 3)
    qtbot.waitUntil(lambda: list(viewer.layers) == [other, layer, overlay], timeout=2_000)
    assert set(viewer.layers.selection) == selected
    assert np.abs(picture(qtbot, viewer) - seen).max() == 0
    viewer.layers.move(1, 0)
    qtbot.wait(50)
    assert list(viewer.layers) == [layer, other, overlay]


def test_look_and_place_follow_the_source(viewer, preview, random_model_2d):
    layer = viewer.add_image(
        speckles((40, 50)), contrast_limits=LIMITS, colormap="magma", gamma=0.7, scale=(0.2, 0.2), units="um"
    )
    made = preview(layer, random_model_2d).on()
    overlay = made.overlay
    for name in ("gamma", "units", "axis_labels"):
        assert getattr(overlay, name) == getattr(layer, name)
    assert overlay.colormap.name == "magma"
    # Its own upper limit and the lower limit of the image, as for the output of a run.
    upper = overlay.contrast_limits[1]
    assert upper == pytest.approx(np.nanpercentile(overlay.data, 99.99))

    layer.contrast_limits, layer.colormap, layer.name = (-100, 400), "green", "renamed"
    assert list(overlay.contrast_limits) == [-100, upper]
    assert overlay.colormap.name == "green"
    assert overlay.name == "preview · renamed"

    layer.translate = (3, -2)
    made.settle()
    made.assert_as_run(slice(None), least=0.5)  # after the move, a part is out of view


def test_limits_stay_from_slice_to_slice_until_a_brighter_one_and_begin_anew_with_other_settings(
    viewer, preview, random_model_2d
):
    data = speckles((3, 40, 50))
    data[0] //= 4
    data[2] //= 2
    layer = viewer.add_image(data, contrast_limits=LIMITS)

    def limits(at: int) -> list[float]:
        viewer.dims.set_point(0, at)
        made.settle()
        return list(made.overlay.contrast_limits)

    viewer.dims.set_point(0, 1)
    made = preview(layer, random_model_2d).on()
    bright = list(made.overlay.contrast_limits)
    assert bright[1] == pytest.approx(np.nanpercentile(made.overlay.data, 99.99))
    assert [limits(at) for at in (2, 0, 1)] == [bright] * 3

    # A preview that comes back, here from 3D, has them at once.
    viewer.dims.ndisplay = 3
    made.hear("not available in 3D")
    viewer.dims.ndisplay = 2
    assert limits(0) == bright

    # Other settings have limits of their own, which a brighter slice widens.
    made.options["normalization"] = "none"
    made.live.refresh()
    made.settle()
    dark = list(made.overlay.contrast_limits)
    assert dark[1] == pytest.approx(np.nanpercentile(made.overlay.data, 99.99))
    wide = limits(1)
    assert wide[1] == pytest.approx(np.nanpercentile(made.overlay.data, 99.99)) and wide[1] > dark[1]
    assert limits(0) == wide


PLACES = {
    "scaled": {"scale": (2.0, 0.5, 0.25), "translate": (10, -3, 7)},
    "turned": {"rotate": 30, "scale": (3, 1, 1), "translate": (1, 2, 3)},
    "sheared": {"shear": [0, 0, 0.4]},
    "affine": {"affine": np.array([[1, 0, 0, 5], [0, 0.9, 0.2, 1], [0, -0.2, 1.1, 2], [0, 0, 0, 1]])},
}


@pytest.mark.parametrize("place", PLACES)
def test_a_layer_that_is_placed_in_the_world_is_covered_exactly(
    qtbot, viewer, preview, random_model_2d, place
):
    spatial = PLACES[place]
    if place == "turned":
        angle = np.deg2rad(30)
        turn = np.eye(3)
        turn[1:, 1:] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
        spatial = {**spatial, "rotate": turn}
    layer = viewer.add_image(speckles((3, 24, 30)), contrast_limits=LIMITS, **spatial)
    made = preview(layer, random_model_2d).on()
    made.assert_as_run(viewer.dims.current_step[0])

    # Seen on the canvas, a run's layer at the place of the source looks the same as the preview.
    during = picture(qtbot, viewer)
    limits = made.overlay.contrast_limits
    run = deconvolve(layer.data, random_model_2d, outputs=("output",), **made.options).output
    made.live.set_enabled(False)
    viewer.add_image(run, contrast_limits=limits, **spatial)
    after = picture(qtbot, viewer)
    # In a turned layer, the edge of a voxel may lie on either side of the middle of a canvas pixel.
    assert np.mean(np.abs(after - during).max(axis=2) > 8) < 0.002


def test_axes_in_another_order_are_previewed_in_the_order_of_the_data(viewer, preview, random_model_2d):
    layer = viewer.add_image(speckles((3, 24, 30)), contrast_limits=LIMITS)
    viewer.dims.order = (0, 2, 1)
    made = preview(layer, random_model_2d).on()
    made.assert_as_run(viewer.dims.current_step[0])
    viewer.dims.order = (1, 0, 2)
    made.settle()
    made.assert_as_run((slice(None), viewer.dims.current_step[1]))


def test_a_slider_brings_the_new_slice_and_hides_the_old_one_at_once(qtbot, viewer, preview, random_model_2d):
    layer = viewer.add_image(speckles((5, 30, 40)), contrast_limits=LIMITS)
    made = preview(layer, random_model_2d).on()
    at = viewer.dims.current_step[0]
    with_preview = picture(qtbot, viewer)
    made.live.pause()
    viewer.dims.set_current_step(0, at + 1)
    plain = picture(qtbot, viewer)
    made.overlay.visible = False
    np.testing.assert_array_equal(picture(qtbot, viewer), plain)
    made.overlay.visible = True
    made.live.resume()
    made.settle()
    made.assert_as_run(at + 1)
    assert np.isnan(made.shown()[at]).all()
    assert not np.array_equal(with_preview, plain)


def test_panning_keeps_what_is_there_and_adds_what_comes_into_view(viewer, preview, random_model_2d):
    layer = viewer.add_image(speckles((400, 500)), contrast_limits=LIMITS)
    camera = viewer.scene.camera
    camera.zoom, camera.center = 3, (0, 200, 200)
    made = preview(layer, random_model_2d).on()
    first = made.shown()
    assert 0 < np.isfinite(first).mean() < 0.5

    computed = []
    original = made.live._overlay.put
    made.live._overlay.put = lambda pieces: (computed.extend(p.rectangle for p in pieces), original(pieces))
    camera.center = (0, 210, 220)
    made.settle()
    second = made.shown()
    common = np.isfinite(first) & np.isfinite(second)
    np.testing.assert_array_equal(first[common], second[common])
    assert 0 < sum(r.area for r in computed) < 0.6 * np.isfinite(second).sum()
    made.assert_as_run(slice(None), least=0.05)

    # Zooming in computes nothing new.
    del computed[:]
    camera.zoom = 6
    made.settle()
    assert computed == []


def test_the_patch_begins_at_the_cursor(qtbot, viewer, preview, random_model_2d):
    layer = viewer.add_image(speckles((200, 200)), contrast_limits=LIMITS)
    made = preview(layer, random_model_2d)
    viewer.mouse_over_canvas = True
    viewer.cursor.position = (150.0, 30.0)
    seen = []
    made.live._worker.submit = lambda view, focus: seen.append(focus)
    made.live.set_enabled(True)
    qtbot.waitUntil(lambda: bool(seen), timeout=5000)
    assert seen[-1] == (150.0, 30.0)
    viewer.mouse_over_canvas = False
    made.live.refresh()
    qtbot.waitUntil(lambda: len(seen) > 1, timeout=5000)
    np.testing.assert_allclose(seen[-1], (99.5, 99.5), atol=1)


def test_another_model_or_scaling_replaces_every_pixel(viewer, preview, random_model_2d):
    layer = viewer.add_image(speckles((30, 40)), contrast_limits=LIMITS)
    made = preview(layer, random_model_2d).on()
    first = made.shown()
    made.options["normalization"] = "percentile"
    made.live.refresh()
    made.settle()
    assert np.mean(made.shown() != first) > 0.3
    made.assert_as_run(slice(None))


def test_other_data_in_the_layer_is_measured_and_previewed_anew(viewer, preview, random_model_2d):
    layer = viewer.add_image(speckles((30, 40)), contrast_limits=LIMITS)
    made = preview(layer, random_model_2d).on()
    layer.data = 7 * speckles((30, 40), seed=1)
    made.settle()
    made.assert_as_run(slice(None))


def test_a_multiscale_layer_is_previewed_at_full_resolution(viewer, preview, random_model_2d):
    full = speckles((64, 96))
    layer = viewer.add_image([full, full[::2, ::2]], contrast_limits=LIMITS, multiscale=True)
    made = preview(layer, random_model_2d).on()
    made.assert_as_run(slice(None))


def test_a_lazy_series_with_channels_is_previewed_as_it_is_run(viewer, preview, random_model_2d):
    array = pytest.importorskip("dask.array")
    data = array.from_array(speckles((3, 2, 24, 30)) * np.array([[[1]], [[4]]]), chunks=(1, 1, 24, 30))
    layer = viewer.add_image(data, contrast_limits=LIMITS)
    viewer.dims.set_current_step(0, 2)
    viewer.dims.set_current_step(1, 1)
    made = preview(layer, random_model_2d)
    made.axes = "TCYX"
    made.on()
    made.assert_as_run((2, 1))


def test_3d_display_is_told_and_comes_back_in_2d(qtbot, viewer, preview, random_model_2d):
    layer = viewer.add_image(speckles((3, 24, 30)), contrast_limits=LIMITS)
    made = preview(layer, random_model_2d).on()
    viewer.dims.ndisplay = 3
    made.hear("2D view")
    assert made.overlay is None
    viewer.dims.ndisplay = 2
    made.settle()
    assert made.overlay is not None


def test_the_preview_is_no_tile_of_a_grid_and_comes_back_after_it(viewer, preview, random_model_2d):
    layer = viewer.add_image(speckles((3, 24, 30)), contrast_limits=LIMITS)
    made = preview(layer, random_model_2d).on()
    viewer.canvas.grid.enabled = True
    made.hear("not available side by side")
    assert made.overlay is None
    viewer.canvas.grid.enabled = False
    made.settle()
    assert made.overlay is not None


def test_errors_are_told_once_and_open_no_dialog(qtbot, viewer, preview, random_model_2d):
    from napari.utils.notifications import notification_manager

    layer = viewer.add_image(np.full((30, 40), np.inf, dtype=np.float32), contrast_limits=LIMITS)
    made = preview(layer, random_model_2d)
    told_by_napari = len(notification_manager.records)
    made.live.set_enabled(True)
    made.hear("infinite")
    for row in range(5):
        viewer.cursor.position = (float(row), 3.0)
        qtbot.wait(10)
    assert sum("infinite" in line for line in made.told) == 1
    assert len(notification_manager.records) == told_by_napari

    rgb = viewer.add_image(np.zeros((20, 20, 3), dtype=np.uint8), rgb=True)
    made.layer = rgb
    made.live.refresh()
    made.hear("RGB")
    made.layer = None
    made.live.refresh()
    qtbot.waitUntil(lambda: made.told[-1] == "", timeout=5000)


def test_deleting_the_preview_or_its_source_does_no_harm(qtbot, viewer, preview, random_model_2d):
    layer = viewer.add_image(speckles((30, 40)), contrast_limits=LIMITS)
    other = viewer.add_image(speckles((30, 40), seed=2), contrast_limits=LIMITS)
    made = preview(layer, random_model_2d).on()
    # Deleting its layer switches the preview off.
    with qtbot.waitSignal(made.live.dismissed):
        viewer.layers.remove(made.overlay)
    viewer.scene.camera.zoom *= 1.01
    qtbot.wait(300)
    assert made.overlay is None and not made.live.enabled
    made.on().assert_as_run(slice(None))

    viewer.layers.remove(layer)
    qtbot.waitUntil(lambda: made.overlay is None, timeout=5000)
    assert list(viewer.layers) == [other]
    made.layer = other
    made.live.refresh()
    made.settle()
    made.assert_as_run(slice(None))


def test_a_run_does_not_wait_and_the_preview_goes_on_after_it(qtbot, viewer, preview, random_model_2d):
    layer = viewer.add_image(speckles((300, 400)), contrast_limits=LIMITS)
    made = preview(layer, random_model_2d)
    made.live.set_enabled(True)
    qtbot.waitUntil(lambda: made.live._worker.busy, timeout=20_000)
    made.live.pause()
    assert not made.live._worker.busy
    viewer.scene.camera.zoom *= 1.1
    qtbot.wait(300)
    assert not made.live._worker.busy
    made.live.resume()
    made.settle()


def test_a_run_that_begins_before_a_piece_is_fetched_does_not_end_the_preview(
    qtbot, viewer, preview, random_model_2d
):
    layer = viewer.add_image(speckles((300, 400)), contrast_limits=LIMITS)
    made = preview(layer, random_model_2d)
    made.live.set_enabled(True)
    qtbot.waitUntil(lambda: made.live._worker.busy, timeout=20_000)
    end = time.monotonic() + 20  # without the window's loop, so that nothing is fetched
    while made.live._worker._updates.empty() and time.monotonic() < end:
        time.sleep(0.005)
    assert not made.live._worker._updates.empty()
    made.live.pause()
    made.live.resume()
    made.settle()
    made.assert_as_run(slice(None), least=0.9)


def test_closing_the_viewer_during_a_preview_ends_its_thread(
    qtbot, make_napari_viewer, kept_programs, random_model_2d
):
    viewer = make_napari_viewer(show=True)
    layer = viewer.add_image(speckles((600, 800)), contrast_limits=LIMITS)
    made = Preview(qtbot, viewer, layer, random_model_2d)
    made.live.set_enabled(True)
    qtbot.waitUntil(lambda: made.live._worker.busy, timeout=20_000)
    viewer.close()
    qtbot.waitUntil(lambda: not made.live._worker.running, timeout=10_000)
    made.viewer = made.layer = made.live = layer = None
    gc.collect()


def test_a_forgotten_preview_ends_its_thread(qtbot, viewer, random_model_2d):
    layer = viewer.add_image(speckles((30, 40)), contrast_limits=LIMITS)
    made = Preview(qtbot, viewer, layer, random_model_2d).on()
    thread = made.live._worker._thread
    assert isinstance(thread, threading.Thread)
    made.live.deleteLater()
    made.live = None
    del made
    gc.collect()
    qtbot.wait(50)
    gc.collect()
    qtbot.waitUntil(lambda: not thread.is_alive(), timeout=3000)


def test_looking_again_without_a_change_lets_the_work_go_on(qtbot, viewer, preview, random_model_2d):
    layer = viewer.add_image(speckles((300, 400)), contrast_limits=LIMITS)
    made = preview(layer, random_model_2d)
    views = []
    original = made.live._worker.submit
    made.live._worker.submit = lambda view, focus: (views.append(view), original(view, focus))
    made.live.set_enabled(True)
    qtbot.waitUntil(lambda: bool(views), timeout=20_000)
    while not made.live.settled:
        made.live.refresh()
        qtbot.wait(150)
    assert len(views) == 1


def test_the_panels_switch_shows_what_its_run_gives(qtbot, panel):
    viewer = panel.viewer
    layer = viewer.add_image(speckles((3, 40, 50)), contrast_limits=LIMITS, name="cells")
    viewer.dims.set_point(0, 1)
    qtbot.waitUntil(lambda: panel.estimate.preview_request() is not None, timeout=60_000)
    # The panel has narrowed the canvas since the image was added, and the preview shows what is visible.
    viewer.reset_view()
    panel.footer.preview.setChecked(True)
    qtbot.waitUntil(lambda: panel.preview.settled, timeout=60_000)

    request = panel.estimate.preview_request()
    assert request.layer is layer
    assert panel.image.layer is layer
    run = deconvolve(layer.data, request.model, **{**request.options, "outputs": ("output",)}).output
    overlay = next(item for item in viewer.layers if is_preview(item))
    scale = max(np.ptp(layer.data), np.ptp(run))
    np.testing.assert_allclose(overlay.data[0], run[1], rtol=0, atol=1e-5 * scale)

    panel.footer.preview.setChecked(False)
    assert not any(is_preview(item) for item in viewer.layers)
