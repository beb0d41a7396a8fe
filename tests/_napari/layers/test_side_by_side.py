"""The side-by-side view in a real window: its names, its part of the image, and the view that comes back."""

import numpy as np
import pytest

pytest.importorskip("napari")

pytestmark = pytest.mark.napari


@pytest.fixture
def viewer(make_napari_viewer):
    return make_napari_viewer(show=True)


@pytest.fixture
def grid(viewer):
    from napari_lucyd._napari.layers.side_by_side import SideBySide

    return SideBySide(viewer)


def add(viewer, shape=(9, 40, 44), **keywords):
    return viewer.add_image(np.random.default_rng(0).random(shape), **keywords)


@pytest.mark.parametrize("switches", [(2, 3, 2), (3, 3, 2), (3, 2, 2), (2, 2, 3, 2)])
def test_the_plane_stays_by_way_of_3d(viewer, grid, qtbot, switches):
    """The parameters are the displayed axes before the grid, in it, and after it."""
    layers = [add(viewer), add(viewer, name="output")]
    dims = viewer.dims
    before, within, *after = switches
    dims.set_point(0, 6)

    def show(number):
        dims.ndisplay = number
        qtbot.wait(50)  # the canvas draws, and updates the camera
        assert dims.point[0] == 6

    show(before)
    grid.show(layers)
    assert dims.point[0] == 6
    show(within)
    grid.hide()
    assert dims.ndisplay == before and dims.point[0] == 6
    for number in after:
        show(number)


def test_a_plane_that_was_chosen_in_the_grid_stays(viewer, grid, qtbot):
    layers = [add(viewer), add(viewer, name="output")]
    viewer.dims.set_point(0, 6)
    grid.show(layers)
    viewer.dims.set_point(0, 3)
    qtbot.wait(50)
    grid.hide()
    qtbot.wait(50)
    assert viewer.dims.point[0] == 3


def test_the_result_of_a_region_stands_beside_the_same_part_of_the_image(viewer, grid, qtbot):
    image = add(viewer, (9, 200, 220), scale=(2, 1, 1))
    result = add(viewer, (3, 41, 61), scale=(2, 1, 1), translate=(10, 120, 20))
    other = add(viewer, (9, 50, 50))
    dims, camera = viewer.dims, viewer.scene.camera
    dims.set_point(0, 2)
    qtbot.wait(50)
    before = camera.center, camera.zoom
    grid.show([image, result])
    qtbot.wait(50)
    assert image.visible and result.visible and not other.visible
    # The region fills its cell, and is in the middle of it.
    np.testing.assert_allclose(camera.center[-2:], (140, 50), atol=1)
    assert camera.zoom > 1.5 * before[1]
    # The result has no voxels at the plane that was shown.
    assert 10 <= dims.point[0] <= 14
    grid.hide()
    qtbot.wait(50)
    assert dims.point[0] == 2 and other.visible
    assert (camera.center, camera.zoom) == (pytest.approx(before[0]), pytest.approx(before[1]))


def test_names_fit_also_when_the_window_gets_another_size(viewer, grid, qtbot):
    names = [f"{part} · 2026-11-30_medium_well_A03_001.tif" for part in ("image", "output", "update term")]
    layers = [viewer.add_image(np.zeros((20, 22)), contrast_limits=(0, 1), name=name) for name in names]
    window = viewer.window._qt_window

    def sizes():
        return [layer.name_overlay.font_size for layer in layers]

    def resize(width):
        window.resize(width, 700)
        qtbot.waitUntil(lambda: window.width() == width, timeout=20_000)
        qtbot.wait(100)

    def cut():
        """True if a name reaches the right border of its cell."""
        pixels = viewer.screenshot(canvas_only=True, flash=False)[..., :3].max(axis=(0, 2))
        _, columns = viewer.canvas.grid.actual_shape(viewer.layers)
        borders = [round(len(pixels) * k / columns) for k in range(1, columns + 1)]
        assert pixels.max() > 150
        return any(pixels[border - 8 : border].max() > 60 for border in borders)

    resize(1800)
    usual = sizes()
    grid.show(layers)
    wide = sizes()
    qtbot.wait(100)
    assert not cut()
    resize(1100)
    assert all(small < large for small, large in zip(sizes(), wide, strict=True))
    assert not cut()
    resize(1800)
    assert sizes() == wide
    grid.hide()
    assert sizes() == usual
    resize(1100)
    assert sizes() == usual


def test_names_too_long_for_their_cells_are_shortened_and_come_back(viewer, grid, qtbot):
    end = "2026-11-30 a long name of a medium well A03 001 after bleaching correction (lucyd)"
    layers = [add(viewer, name=f"{part} · {end}") for part in ("image", "output", "update term")]
    names = [layer.name for layer in layers]
    window = viewer.window._qt_window
    window.resize(1000, 700)

    def written():
        drawn = viewer.window._qt_viewer.canvas._layer_overlay_to_visual
        return [drawn[layer][layer.name_overlay].node.text for layer in layers]

    layers[0].name_overlay.visible = True
    grid.show(layers)
    qtbot.wait(100)
    for text, name in zip(written(), names, strict=True):
        first, last = text.split("…")
        assert first and name.startswith(first) and last and name.endswith(last)
    layers[2].name = names[2].replace("update term", "correction")
    assert written()[2].startswith("corr") and "…" in written()[2]
    layers[1].name = "output"
    assert written()[1] == "output"
    assert [layer.name for layer in layers[:2]] == [names[0], "output"]
    grid.hide()
    assert written()[0] == names[0]


def test_a_plane_and_a_stack_stand_side_by_side(viewer, grid, qtbot):
    stack, plane = add(viewer), add(viewer, (40, 44))
    grid.show([stack, plane])
    qtbot.wait(50)
    assert viewer.canvas.grid.enabled
    grid.show([plane])
    grid.hide()
