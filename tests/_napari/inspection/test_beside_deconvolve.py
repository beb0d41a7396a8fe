"""Inspect beside the Deconvolve panel: it shows the result of the last run."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

pytest.importorskip("napari")

from napari_lucyd._napari.inspection.panel import InspectWidget

pytestmark = pytest.mark.napari


@pytest.fixture
def opens_inspect(panel, monkeypatch):
    """Let the button Inspect open the panel as napari does, and return the open panels."""
    window, opened = panel.viewer.window, []

    def open_panel(self, *names):
        if not opened:
            opened.append(InspectWidget(panel.viewer))
            self.add_dock_widget(opened[0], name="Inspect")
        return opened[0].parent(), opened[0]

    monkeypatch.setattr(type(window), "add_plugin_dock_widget", open_panel)
    return opened


def test_a_run_that_ends_shows_its_result_whatever_is_selected(panel, add_image, run):
    image = add_image()
    inspect = InspectWidget(panel.viewer)
    panel.viewer.window.add_dock_widget(inspect, name="Inspect")
    chosen, selection = inspect.form.look.result, panel.viewer.layers.selection
    first = run()
    selection.active = first["output"]
    second = run()
    # The selection stays as it was, and is not taken for a choice of the user.
    assert selection.active is first["output"] and chosen.value is second["output"]
    # A layer without a result changes nothing; any layer of a result does.
    selection.active = image
    assert chosen.value is second["output"]
    selection.active = first["correction_mask"]
    assert chosen.value is first["output"]


def test_the_button_opens_it_with_the_newest_result_unless_another_was_selected_since(
    panel, add_image, run, opens_inspect
):
    add_image()
    selection = panel.viewer.layers.selection
    first = run()["output"]
    selection.active = first
    second = run()["output"]
    assert selection.active is first
    panel.footer.inspect.native.click()
    (inspect,) = opens_inspect
    assert inspect.form.look.result.value is second
    # An open panel keeps what was chosen in it.
    inspect.form.look.result.value = first
    panel.footer.inspect.native.click()
    assert inspect.form.look.result.value is first

    panel.viewer.window.remove_dock_widget(inspect)
    opens_inspect.clear()
    selection.active = second
    selection.active = first
    panel.footer.inspect.native.click()
    assert opens_inspect[0].form.look.result.value is first


def test_both_panels_judge_the_volume_that_is_shown(panel, run, qtbot):
    light = gaussian_filter(np.random.default_rng(0).random((3, 2, 96, 96)) ** 9, (0, 0, 2, 2))
    photons = np.random.default_rng(1).poisson(5 + 2000 * light).astype(np.uint16)
    panel.viewer.add_image(photons, axis_labels=("t", "c", "y", "x"), name="series")
    inspect = InspectWidget(panel.viewer)
    panel.viewer.window.add_dock_widget(inspect, name="Inspect")
    panel.model.combo.value = "lucyd-planes"
    panel.footer.score.setChecked(True)
    panel.viewer.dims.set_current_step(0, 0)
    panel.viewer.dims.set_current_step(1, 1)
    run()
    line, judged = panel.footer.score_note, inspect.form.trust.line
    qtbot.waitUntil(lambda: panel.score.work.settled and "light" in line.text(), timeout=60_000)
    inspect.form.trust.buttons[0].native.click()
    qtbot.waitUntil(lambda: inspect.judging.settled and "light" in judged.text(), timeout=60_000)
    assert judged.text().startswith("T 0, C 1: Held-out score")
    assert " · T 0, C 1: Held-out score" in line.text()
