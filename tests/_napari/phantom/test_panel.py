"""The Phantom panel in a real window: its samples, texts and errors, and recipes that repeat samples."""

import json
import re
import time
import tracemalloc
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

pytest.importorskip("napari")

from qtpy.QtCore import Qt, QTimer
from qtpy.QtTest import QTest

import napari_lucyd as nl
from napari_lucyd._napari.layers.viewer import METADATA_KEY, is_psf
from napari_lucyd._napari.phantom import worker
from napari_lucyd._napari.phantom.layers import COUNTS
from napari_lucyd._napari.phantom.panel import PhantomWidget
from napari_lucyd._napari.phantom.parameters import DEGRADATIONS, SPECIMENS, SURROGATES, PhantomParameters
from napari_lucyd._napari.phantom.task import PhantomTask
from napari_lucyd._napari.phantom.worker import Made, RunError, make
from napari_lucyd._napari.psf import optics
from napari_lucyd._napari.psf.form import NOT_YET
from napari_lucyd._napari.psf.optics import MICROSCOPES, OpticsPsf
from napari_lucyd._napari.workers.events import Note
from napari_lucyd.evaluation import psnr
from napari_lucyd.simulation import repeat_simulation, simulated_psf

pytestmark = pytest.mark.napari

SHAPE = (24, 36, 33)
OPTICS = OpticsPsf("gaussian", numerical_aperture=0.8, emission_um=0.525)


@pytest.fixture
def phantom(make_napari_viewer, qtbot, kept_programs):
    """The Phantom panel in a real window, set to a small volume."""
    viewer = make_napari_viewer(show=True)
    widget = PhantomWidget(viewer)
    viewer.window.add_dock_widget(widget, name="Phantom")
    set_shape(widget, SHAPE)
    yield widget
    widget.session.cancel()
    qtbot.waitUntil(lambda: not widget.session.is_running, timeout=60_000)


@pytest.fixture
def made(phantom, qtbot):
    """Press Make, wait, and return the layers by their content."""

    def press():
        assert phantom.form.make.enabled, phantom.form.estimate.text()
        phantom.form.make.native.setFocus()
        phantom.form.make.native.click()
        assert phantom.window().focusWidget() is phantom.form.cancel.native
        qtbot.waitUntil(lambda: not phantom.session.is_running, timeout=60_000)
        assert phantom.window().focusWidget() is phantom.form.make.native
        assert phantom.session.layers, phantom.form.status.text()
        kinds = {"truth": "truth", "PSF": "psf"}
        return {
            next((kind for word, kind in kinds.items() if word in layer.name), "image"): layer
            for layer in phantom.session.layers
        }

    return press


def set_shape(widget, shape):
    for name, size in zip("ZYX", shape, strict=True):
        widget.form.shape[name].value = size


def recipe(layer):
    return json.loads(json.dumps(layer.metadata[METADATA_KEY]["simulation"]))


def assert_repeatable(layers, **keywords):
    again = repeat_simulation(recipe(layers["image"]), **keywords)
    np.testing.assert_array_equal(layers["image"].data, again.image)
    np.testing.assert_array_equal(layers["truth"].data, again.truth)
    assert recipe(layers["truth"]) == recipe(layers["image"])


def assert_fits(psf, image):
    assert is_psf(psf) and not psf.visible
    assert all(size % 2 for size in psf.data.shape)
    assert psf.data.sum() == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(psf.scale, image.scale)
    assert psf.units == image.units


def test_a_pair_with_scale_units_and_recipe(phantom, made):
    form = phantom.form
    form.z_step.value, form.pixel.value = "0,3", "0.1"
    form.seed.value = 5
    form.counts["boxes"].value = 800
    layers = made()
    image, truth = layers["image"], layers["truth"]
    assert [layer.name for layer in phantom.viewer.layers] == ["phantom truth", "phantom"]
    assert phantom.viewer.layers.selection.active is image
    assert image.visible and not truth.visible
    for layer in (image, truth):
        assert layer.data.shape == SHAPE and layer.data.dtype == np.float32
        np.testing.assert_allclose(layer.scale, (0.3, 0.1, 0.1))
        assert {str(unit) for unit in layer.units} == {"micrometer"}
        assert layer.axis_labels == ("z", "y", "x")
    # The middle of the image, also in a window that was empty.
    assert phantom.viewer.dims.current_step[0] == pytest.approx(SHAPE[0] / 2, abs=1)
    assert recipe(image)["phantom"] == {
        "shape": list(SHAPE),
        "spheres": 150,
        "ellipsoids": 150,
        "boxes": 800,
        "rng": 5,
    }
    assert_repeatable(layers)
    # By the functions that the guide names, too.
    sharp = nl.make_phantom(SHAPE, boxes=800, rng=5)
    sample = nl.degrade(sharp, blur_sigma=1.2, noise_sigma=0.06, photometric=True, rng=5)
    np.testing.assert_allclose(image.data, COUNTS * sample.image, rtol=1e-6, atol=1e-4)
    assert "Made in" in form.status.text() and "“phantom”, “phantom truth”" in form.status.text()
    # The same sample again beside it, with one new number for both layers.
    layers = made()
    assert [layer.name for layer in layers.values()] == ["phantom 2", "phantom truth 2"]
    np.testing.assert_array_equal(layers["image"].data, image.data)


def test_blurs_of_all_kinds_can_be_repeated(phantom, made):
    form = phantom.form
    form.outputs["psf"].value = True
    form.lines["blur_sigma"].value = "2, 1, 1"
    form.lines["photons"].value = "60"
    form.lines["noise_sigma"].value = ""
    layers = made()
    assert recipe(layers["image"])["photons"] == 60 and recipe(layers["image"])["noise_sigma"] == 0
    assert_repeatable(layers)
    assert_fits(layers["psf"], layers["image"])
    np.testing.assert_array_equal(layers["psf"].data, simulated_psf(recipe(layers["image"])))
    # The settings of the paper.
    form.photometric.value = False
    form.lines["noise_sigma"].value = "50"
    layers = made()
    assert recipe(layers["image"])["noise_sigma"] == pytest.approx(0.5)
    assert layers["psf"].data.shape == (7, 7, 7)
    assert_repeatable(layers)
    # A single plane.
    set_shape(phantom, (1, 40, 36))
    form.lines["blur_sigma"].value = "1.5"
    assert not form.z_step.enabled and "from a volume of" in form.estimate.text()
    layers = made()
    assert layers["image"].name == "phantom 2D" and layers["image"].data.shape == (40, 36)
    assert_repeatable(layers)
    assert_fits(layers["psf"], layers["image"])


def test_optics_and_surrogates_can_be_repeated(phantom, made):
    form = phantom.form
    form.outputs["psf"].value = True
    form.degradation.value = "optics"
    form.lines["photons"].value = "not looked at, as it is hidden"
    form.lines["photons_per_unit"].value = "2"
    form.z_step.value = form.pixel.value = "0.6"
    assert form.psf.isVisible() and not form.psf.lines["voxel_size"].native.isVisible()
    form.psf.microscope.value = "confocal"
    layers = made()
    parameters = recipe(layers["image"])
    assert (parameters["psf"]["kind"], parameters["psf"]["excitation_um"]) == ("confocal", 0.488)
    assert parameters["psf"]["voxel_size"] == [0.6] * 3
    assert (parameters["photons_per_unit"], parameters["read_noise"]) == (2, 0.5)
    assert_repeatable(layers)
    assert_fits(layers["psf"], layers["image"])
    assert layers["psf"].metadata[METADATA_KEY]["optics"]["microscope"] == "confocal"
    assert "21 × 21 × 21 voxels of 0.6 × 0.6 × 0.6 µm" in form.psf.about.text()
    # For other choices, the size is not known yet.
    form.pixel.value = "0.5"
    assert form.psf.about.text() == NOT_YET
    form.degradation.value = "light_sheet"
    form.lines["sheet_fwhm_um"].value = "2"
    layers = made()
    assert layers["image"].name == "light sheet surrogate"
    assert recipe(layers["image"])["psf"]["sheet_fwhm_um"] == 2
    assert_repeatable(layers)
    # The PSF layer holds the part of the surrogate's PSF that a classical method accepts.
    assert_fits(layers["psf"], layers["image"])


def test_an_empty_field_is_background_and_noise():
    parameters = PhantomParameters(shape=SHAPE, spheres=0, ellipsoids=0, boxes=0, degradation="optics")
    *_, event = make(PhantomTask(parameters, OPTICS), lambda: False)
    (image, keywords, _), (truth, _, _) = event.layers
    # Away from the border, which the phantom's smoothing darkens.
    assert np.ptp(truth[8:-8, 8:-8, 8:-8]) < 1e-3
    assert image[8:-8, 8:-8, 8:-8].mean() == pytest.approx(30, abs=1)
    assert keywords["contrast_limits"][0] < keywords["contrast_limits"][1]


@pytest.mark.parametrize(
    ("degradation", "kind"),
    [*(("optics", kind) for kind in MICROSCOPES), *((kind, "gaussian") for kind in SURROGATES)],
)
def test_what_the_thread_makes_can_be_repeated(degradation, kind):
    own = {"confocal": {"excitation_um": 0.488}, "light_sheet": {"sheet_fwhm_um": 3.0}}.get(kind, {})
    parameters = PhantomParameters(shape=SHAPE, voxel_size=(0.9, 0.6, 0.6), degradation=degradation)
    *_, event = make(PhantomTask(parameters, replace(OPTICS, kind=kind, **own)), lambda: False)
    (image, keywords, _), (truth, _, _) = event.layers
    again = repeat_simulation(json.loads(json.dumps(keywords["metadata"][METADATA_KEY]["simulation"])))
    np.testing.assert_array_equal(image, again.image)
    np.testing.assert_array_equal(truth, again.truth)


def test_a_psf_from_a_layer_is_named_in_the_recipe(phantom, made, qtbot):
    spot = np.multiply.outer([1, 2, 1], np.multiply.outer([1, 3, 1], [1, 2, 1])).astype(np.float32)
    bead = phantom.viewer.add_image(spot, name="bead", scale=(0.1625,) * 3, units=("µm",) * 3)
    form = phantom.form
    form.degradation.value = "optics"
    form.psf.kind.value = "layer"
    assert "Choose a PSF layer" in form.estimate.text() and not form.make.enabled
    form.psf.layer.value = bead
    layers = made()
    assert recipe(layers["image"])["psf"] == {"layer": "bead"}
    assert_repeatable(layers, psf=spot)
    # A PSF with another voxel size or other axes is refused.
    for spoil, words in (
        (lambda: setattr(form.pixel, "value", "0.2"), "“bead”"),
        (lambda: set_shape(phantom, (1, 36, 36)), "the psf has shape (3, 3, 3)"),
    ):
        spoil()
        before = len(phantom.viewer.layers)
        form.make.native.click()
        qtbot.waitUntil(lambda: not phantom.session.is_running, timeout=60_000)
        assert words in form.status.text() and form.status.property("problem")
        assert len(phantom.viewer.layers) == before and form.make.enabled
        bead.scale, bead.units = (1, 1, 1), ("pixel",) * 3


def test_a_sample_is_in_sight_also_beside_an_image_and_a_psf_with_more_planes(phantom, made):
    viewer = phantom.viewer
    viewer.add_image(np.zeros((90, 20, 20)), contrast_limits=(0, 1), name="other")
    viewer.dims.set_point(0, 80)
    phantom.form.outputs["psf"].value = True
    image = made()["image"]
    low, high = viewer.layers.get_extent([image]).world[:, 0]
    assert low <= viewer.dims.point[0] <= high
    # A plane within the sample stays.
    viewer.dims.set_point(0, high)
    plane = viewer.dims.point[0]
    made()
    assert viewer.dims.point[0] == plane


def test_richardson_lucy_takes_the_psf_layer_as_it_is(panel, ready, run, qtbot):
    widget = PhantomWidget(panel.viewer)
    panel.viewer.window.add_dock_widget(widget, name="Phantom")
    set_shape(widget, (24, 40, 40))
    widget.form.lines["blur_sigma"].value = "2"
    widget.form.lines["noise_sigma"].value = "1"
    widget.form.outputs["psf"].value = True
    widget.form.make.native.click()
    qtbot.waitUntil(lambda: not widget.session.is_running, timeout=60_000)
    image, truth, psf = widget.session.layers
    assert psf.data.shape == (17, 17, 17)
    panel.method.combo.value = "richardson-lucy"
    panel.method.device.value = "cpu"
    panel.microscope.form.kind.value, panel.microscope.form.layer.value = "layer", psf
    ready()
    assert panel.image.layer is image
    output = run()["output"].data
    assert psnr(output, truth.data) > psnr(image.data, truth.data) + 1


@pytest.mark.parametrize("specimen", [name for name in SPECIMENS if name != "phantom"])
@pytest.mark.parametrize(
    "choices",
    [
        {"blur_sigma": (2.0, 1.2, 1.2), "voxel_size": (0.2, 0.1, 0.1)},
        {"photometric": False, "photons": 200.0},
        {"shape": (1, 40, 44)},
        {"degradation": "optics", "outputs": ("truth", "psf")},
        {"degradation": "membranes", "voxel_size": (0.6,) * 3},
    ],
    ids=str,
)
def test_structures_can_be_repeated(specimen, choices):
    parameters = PhantomParameters(**{"shape": SHAPE, "specimen": specimen, "rng": 3, **choices})
    *_, event = make(PhantomTask(parameters, OPTICS), lambda: False)
    (image, keywords, _), (truth, _, _), *_ = event.layers
    record = json.loads(json.dumps(keywords["metadata"][METADATA_KEY]["simulation"]))
    assert record["phantom"]["kind"] == specimen
    again = repeat_simulation(record)
    np.testing.assert_array_equal(image, again.image)
    np.testing.assert_array_equal(truth, again.truth)
    if parameters.photometric:  # in the specimen's units
        assert np.ptp(truth) == pytest.approx(np.ptp(nl.make_structures(**record["phantom"]).image), rel=1e-5)


def test_structures_are_chosen_in_the_panel_and_hide_the_numbers_of_the_phantom(phantom, made):
    form = phantom.form
    assert form.counts["spheres"].native.isVisible()
    form.specimen.value = "filaments"
    assert not any(box.native.isVisible() for box in form.counts.values())
    assert "24 × 36 × 33 voxels, filaments; 2 layers" in form.estimate.text()
    layers = made()
    assert layers["image"].name == "filaments" and recipe(layers["image"])["phantom"]["kind"] == "filaments"
    assert_repeatable(layers)
    form.specimen.value = "phantom"
    assert form.counts["spheres"].native.isVisible() and "spheres" in form.estimate.text()


def test_the_panel_opens_from_the_plugin_menu_and_says_what_make_would_do(make_napari_viewer):
    viewer = make_napari_viewer()
    _, widget = viewer.window.add_plugin_dock_widget("napari-lucyd", "Phantom")
    form = widget.form
    assert type(widget).__name__ == "PhantomWidget" and form.make.enabled
    assert form.estimate.text().startswith(
        "64 × 128 × 128 voxels, 75 spheres, 75 ellipsoids, 200 boxes; 2 layers of 4.2 MB; "
    )
    form.outputs["psf"].value = True
    assert re.search(r"2 layers of 4\.2 MB and a PSF of [\d.]+ [kM]B; ", form.estimate.text())
    form.outputs["psf"].value = False
    form.outputs["truth"].value = False
    assert "1 layer of 4.2 MB" in form.estimate.text()
    form.counts["spheres"].value = 0
    assert "0 spheres" in form.estimate.text()
    # Mistakes are reported at once, in the panel's words, and the message goes when they are corrected.
    for name, text, words in (
        ("blur_sigma", "wide", "Blur σ: 'wide' is not a number"),
        ("blur_sigma", "1, 2", "Blur σ: 2 numbers. Enter one for all axes, or one for each of Z, Y, X"),
        ("noise_sigma", "-1", "Noise σ: -1 % is negative"),
        ("noise_sigma", "1e9", "Noise σ: 1e+09 % is too large. Enter 1000 % at most."),
        ("blur_sigma", "1e9", "Blur σ: 1e+09 is too large. Enter 100 at most."),
        ("photons", "1e12", "Photons: 1e+12 is too large. Enter 1e+09 at most."),
        ("photons", "0", "Photons: 0 is not above 0"),
    ):
        before = form.lines[name].value
        form.lines[name].value = text
        assert words in form.estimate.text() and not form.make.enabled, form.estimate.text()
        assert form.estimate.property("problem")
        form.lines[name].value = before
        assert form.make.enabled
    form.pixel.value = "1e9"
    assert form.estimate.text() == "Voxel size: 1e+09 is too large. Enter 1000 at most."
    form.pixel.value = ""
    assert form.estimate.text() == "Enter the Voxel size in µm."
    form.pixel.value = "0.1"
    form.degradation.value = "optics"
    form.psf.lines["numerical_aperture"].value = ""
    assert "Enter the NA" in form.estimate.text() and not form.make.enabled


@pytest.mark.parametrize("planes", [64, 1])
def test_nothing_moves_when_an_entry_is_wrong(phantom, planes):
    form = phantom.form
    form.shape["Z"].value = planes
    for line in (form.pixel, form.z_step):
        before, height = line.value, line.native.sizeHint()
        line.value = "wide"
        assert line.native.property("problem") or not line.enabled
        assert line.native.sizeHint() == height
        line.value = before


@pytest.mark.parametrize("planes", ["0", "-3"])
def test_a_number_of_planes_that_cannot_be_is_refused_and_not_changed(phantom, planes):
    box = phantom.form.shape["Z"]
    line = box.native.lineEdit()
    line.selectAll()
    QTest.keyClicks(line, planes)
    QTest.keyClick(line, Qt.Key.Key_Tab)
    assert phantom.form.estimate.text() == (f"Shape: Z is {planes}. It must be 20 or more, or 1 for a plane.")
    assert box.value == int(planes) and not phantom.form.make.enabled


@pytest.mark.parametrize(
    ("choices", "words"),
    [
        ({"shape": (10, 64, 64)}, "Shape: Z is 10. It must be 20 or more, or 1 for a plane."),
        ({"shape": (1, 64, 8)}, "Shape: X is 8. It must be 20 or more."),
        ({"shape": (1, 64, 64), "degradation": "nuclei"}, "A surrogate must be a volume"),
        ({"voxel_size": (0.1, 0.0, 0.0)}, "Voxel size: 0 is not above 0."),
        ({"spheres": 0, "ellipsoids": 0, "boxes": 0}, "choose “Optics and camera” for an empty field."),
        ({"degradation": "optics", "read_noise": -1.0}, "Read noise: -1 is negative."),
        ({"degradation": "optics", "photons_per_unit": float("nan")}, "Photons: nan"),
        ({"degradation": "light_sheet", "sheet_fwhm_um": 0.0}, "Sheet: 0 is not above 0."),
    ],
)
def test_what_cannot_be_made_is_refused_in_words(choices, words):
    with pytest.raises(ValueError) as caught:
        PhantomParameters(**choices).check()
    assert words in str(caught.value)


def test_more_than_the_free_memory_is_refused(monkeypatch):
    task = PhantomTask(PhantomParameters(shape=(256, 256, 256)))
    task.check()
    monkeypatch.setattr("napari_lucyd._napari.phantom.task.free_host_memory", lambda: 10**8)
    with pytest.raises(ValueError, match=r"need about \d+ MB of memory, and only 100 MB are free"):
        task.check()


@pytest.mark.parametrize(
    "choices",
    [
        {},
        {"photons": 100.0, "outputs": ("truth", "psf")},
        {"shape": (1, 256, 256)},
        {"degradation": "optics"},
        {"degradation": "nuclei", "voxel_size": (0.4,) * 3, "outputs": ("truth", "psf")},
        {"degradation": "light_sheet", "shape": (32, 40, 40), "voxel_size": (0.25,) * 3},
    ],
    ids=str,
)
def test_the_memory_is_what_was_said(choices):
    parameters = PhantomParameters(**{"shape": (56, 64, 72), **choices})
    task = PhantomTask(parameters, OPTICS if parameters.degradation == "optics" else None)
    tracemalloc.start()
    try:
        list(make(task, lambda: False))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert 0.75 * peak < task.memory_bytes < 1.5 * peak


@pytest.mark.parametrize("specimen", [name for name in SPECIMENS if name != "phantom"])
def test_the_memory_that_is_said_suffices_for_structures_however_crowded(specimen):
    peaks = []
    for seed in (1, 2, 3):
        task = PhantomTask(PhantomParameters(shape=(56, 64, 72), specimen=specimen, rng=seed))
        tracemalloc.start()
        try:
            list(make(task, lambda: False))
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    assert max(peaks) < task.memory_bytes < 50 * min(peaks)


@pytest.mark.parametrize("degradation", DEGRADATIONS)
def test_a_stop_ends_it_wherever_it_is(degradation):
    task = PhantomTask(PhantomParameters(shape=SHAPE, degradation=degradation, voxel_size=(1.0,) * 3), OPTICS)
    optics._made.clear()  # a PSF that is known is not computed again
    asked = []
    *_, last = make(task, lambda: bool(asked.append(1)))
    assert isinstance(last, Made)
    for number in {1, len(asked) // 2, len(asked)}:
        optics._made.clear()
        left = iter([False] * (number - 1))
        *_, last = make(task, lambda left=left: next(left, True))
        assert last == Note(worker.CANCELLED)


def test_cancel_adds_nothing_and_make_is_there_again(phantom, made, qtbot, monkeypatch):
    draw = worker.draw

    def slow(parameters, ask):
        for _ in range(1000):
            time.sleep(0.01)
            ask()
        return draw(parameters, ask)

    monkeypatch.setattr(worker, "draw", slow)
    form = phantom.form
    form.make.native.click()
    assert form.cancel.enabled and not form.make.enabled
    with pytest.raises(ValueError, match="is being made"):
        phantom.session.start(phantom.task())
    qtbot.waitUntil(lambda: "Drawing" in form.progress.native.format(), timeout=10_000)
    # A change of mind does not let a second run begin.
    form.seed.value = 3
    assert not form.make.enabled
    form.cancel.native.click()
    qtbot.waitUntil(lambda: not phantom.session.is_running, timeout=5_000)
    assert form.status.text() == worker.CANCELLED
    assert not phantom.viewer.layers and not form.cancel.enabled
    monkeypatch.setattr(worker, "draw", draw)
    assert recipe(made()["image"])["rng"] == 3


def test_errors_in_the_thread_are_told(phantom, qtbot, monkeypatch):
    for error, words in (
        (RuntimeError("out of luck"), "out of luck"),
        (MemoryError("no room"), "no room"),
        (ValueError("blur_sigma is odd"), "Blur σ is odd"),
    ):

        def fail(*_, error=error):
            raise error

        monkeypatch.setattr(worker, "draw", fail)
        phantom.form.make.native.click()
        qtbot.waitUntil(lambda: not phantom.session.is_running, timeout=10_000)
        assert words in phantom.form.status.text() and phantom.form.status.property("problem")
        assert phantom.form.make.enabled and not phantom.viewer.layers
        with pytest.raises(RunError, match=words):
            list(make(phantom.task(), lambda: False))


def test_a_panel_that_is_closed_stops_its_thread(make_napari_viewer, qtbot, monkeypatch):
    viewer = make_napari_viewer()
    widget = PhantomWidget(viewer)
    stopped = []

    def draw(parameters, ask):
        try:
            while True:
                time.sleep(0.01)
                ask()
        finally:
            stopped.append(True)

    monkeypatch.setattr(worker, "draw", draw)
    widget.form.make.native.click()
    qtbot.waitUntil(lambda: "Drawing" in widget.form.progress.native.format(), timeout=10_000)
    widget.deleteLater()
    qtbot.waitUntil(lambda: bool(stopped), timeout=10_000)


def test_the_window_goes_on_while_a_sample_is_made(phantom, qtbot):
    set_shape(phantom, (80, 128, 128))
    form = phantom.form
    form.degradation.value = "membranes"
    found = []
    for _ in range(3):  # other work may use the processors for a moment, so the best time counts
        ticks = []
        timer = QTimer(phantom)
        timer.setInterval(20)
        # napari draws the added layers, and we cannot make that faster.
        timer.timeout.connect(lambda ticks=ticks: phantom.session._made or ticks.append(time.monotonic()))
        timer.start()
        form.make.native.click()
        qtbot.waitUntil(lambda: not phantom.session.is_running, timeout=60_000)
        timer.stop()
        found.append(max(later - earlier for earlier, later in pairwise(ticks)))
        assert len(ticks) > 10
        phantom.viewer.layers.clear()
        if found[-1] < 0.2:
            return
    pytest.fail(f"the window stood still for {found} s")
