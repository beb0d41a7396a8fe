"""Classical methods in the Deconvolve panel, in a real window: their results, and the sources of PSFs."""

import time
from itertools import pairwise

import numpy as np
import pytest

pytest.importorskip("napari")

from napari.utils.notifications import notification_manager
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QFileDialog
from scipy import ndimage

import napari_lucyd as nl
from napari_lucyd._napari.deconvolve.status.run_view import OWN_SAMPLE
from napari_lucyd._napari.deconvolve.task import Failed
from napari_lucyd._napari.layers.viewer import METADATA_KEY, is_psf
from napari_lucyd._napari.psf.optics import MICROSCOPES
from napari_lucyd._napari.psf.origins import Psf
from napari_lucyd._napari.workers import notification
from napari_lucyd.deconvolution.classical.methods import Unchanged
from napari_lucyd.deconvolution.method_choice import MethodChoice
from napari_lucyd.io import read_image, write_image
from napari_lucyd.psf.cleaning import UNLIKE_A_POINT

pytestmark = pytest.mark.napari

OPTICS = {"numerical_aperture": 0.8, "refractive_index": 1.33, "emission_um": 0.525}
STEPS = (0.3, 0.1, 0.1)
SPOT = np.multiply.outer([1, 2, 1], np.multiply.outer([1, 3, 1], [1, 2, 1])).astype(np.float32)


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    """Give one thread to both runs that are compared: Fourier transforms round differently with another."""
    import torch

    before = torch.get_num_threads()
    monkeypatch.setattr("napari_lucyd._napari.workers.torch_loading._processors", lambda: 2)
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def classical(panel):
    """The panel with Richardson-Lucy chosen; gives a function that chooses the PSF."""

    def choose(psf, method="richardson-lucy"):
        panel.method.combo.value = method
        form = panel.microscope.form
        if isinstance(psf, dict):
            for name, value in {**OPTICS, **psf}.items():
                form.lines[name].value = str(value)
        elif hasattr(psf, "data"):
            form.kind.value, form.layer.value = "layer", psf
        else:
            form.kind.value, form.path.value = "file", str(psf)
        return panel

    panel.method.device.value = "cpu"
    return choose


@pytest.fixture
def spot(panel):
    """A PSF as a layer."""

    def add(data=SPOT, **keywords):
        active = panel.viewer.layers.selection.active
        layer = panel.viewer.add_image(data, **{"name": "bead", "contrast_limits": (0, 10), **keywords})
        panel.viewer.layers.selection.active = active or layer
        return layer

    return add


def volume(add_image, shape=(7, 16, 18), **keywords):
    return add_image(shape, **{"scale": STEPS, "units": ("µm",) * 3, **keywords})


def test_richardson_lucy_with_a_psf_from_the_optics_equals_deconvolve(panel, add_image, classical, run):
    layer = volume(add_image, colormap="green")
    classical({})
    panel.method.num_iter.value = "4"
    panel.advanced.numbers["background"].value = "20"
    panel.advanced.numbers["total_variation"].value = "0,002"
    results = run()
    assert list(results) == ["output"]
    output = results["output"]
    psf = nl.Microscope("widefield", **OPTICS).psf(STEPS)
    assert psf.shape[0] > layer.data.shape[0]
    method = nl.RichardsonLucy(psf, num_iter=4, background=20, total_variation=0.002)
    np.testing.assert_array_equal(output.data, nl.deconvolve(layer.data, method, device="cpu").output)
    assert output.name == "output · image 0 (richardson-lucy)"
    np.testing.assert_allclose(output.scale, STEPS)
    assert (output.units, output.colormap.name) == (layer.units, "green")
    recipe = output.metadata[METADATA_KEY]
    assert recipe["method"]["iterations"] == [4]
    assert recipe["psf"]["origin"]["optics"]["numerical_aperture"] == 0.8
    assert recipe["psf"]["origin"]["voxel_size"] == list(STEPS)
    assert panel.footer.progress.max == panel.footer.progress.value == 1
    assert (
        f"{' × '.join(map(str, psf.shape))} voxels of 0.3 × 0.1 × 0.1 µm"
        in panel.microscope.form.about.text()
    )


def test_wiener_with_a_psf_from_a_file_equals_deconvolve(panel, add_image, classical, run, tmp_path):
    layer = volume(add_image)
    path = write_image(tmp_path / "p.ome.tif", SPOT, axes="ZYX", voxel_size=(300, 100, 100), unit="nanometer")
    classical(path, "wiener")
    panel.method.balance.value = "0.4"
    output = run()["output"]
    expected = nl.deconvolve(layer.data, nl.Wiener(SPOT, balance=0.4), device="cpu").output
    np.testing.assert_array_equal(output.data, expected)
    assert output.name == "output · image 0 (wiener)"
    assert output.metadata[METADATA_KEY]["psf"]["origin"] == {"file": "p.ome.tif"}


def test_several_series_in_one_run_with_a_psf_from_a_layer(panel, add_image, classical, run, spot, ready):
    layers = [add_image((2, 2, 4, 9, 8), seed=n) for n in range(2)]
    psf = spot()
    classical(psf)
    panel.method.num_iter.value = "2"
    # The PSF is not processed as an image, even if it is selected with the images.
    panel.viewer.layers.selection = {*layers, psf}
    panel.viewer.layers.selection.active = layers[0]
    panel.viewer.layers.selection = {*layers, psf}
    ready()
    assert "both selected images: “image 0”, “image 1”" in panel.image.also.text()
    assert "2 images, 4 whole volumes of 4 × 9 × 8, 2 iterations each" in panel.footer.estimate.text()
    seen = []
    panel.session.advanced.connect(lambda event: seen.append((event.done, event.total)))
    run()
    assert seen == [(n, 16) for n in range(1, 17)]
    for layer, output in zip(layers, panel.session.results, strict=True):
        expected = nl.deconvolve(layer.data, nl.RichardsonLucy(SPOT, num_iter=2), device="cpu").output
        np.testing.assert_array_equal(output.data, expected)
        assert output.metadata[METADATA_KEY]["psf"]["origin"] == {"layer": "bead"}


def test_a_plane_gets_the_plane_in_focus(panel, add_image, classical, run):
    layer = add_image((30, 32), scale=(100, 100), units=("nm", "nm"))
    classical({"shape": "9"})
    psf = nl.make_psf("widefield", (9, 9), voxel_size=0.1, **OPTICS)
    panel.method.num_iter.value = "10"
    method = nl.RichardsonLucy(psf, num_iter=10)
    expected = nl.deconvolve(layer.data, method, device="cpu").output
    np.testing.assert_array_equal(run()["output"].data, expected)
    # The same holds for a movie of planes, once its axes are corrected.
    film = add_image((3, 30, 32), scale=(1, 100, 100), units=("s", "nm", "nm"))
    panel.image.axes.native.setText("TYX")
    panel.image.axes.native.editingFinished.emit()
    expected = nl.deconvolve(film.data, method, axes="TYX", device="cpu").output
    np.testing.assert_array_equal(run()["output"].data, expected)


def test_a_region_is_what_the_whole_run_gives_there(panel, add_image, classical, run, spot, ready):
    layer = volume(add_image)
    classical(spot())
    panel.method.num_iter.value = "5"
    whole = run()["output"].data
    panel.region.combo.value = "rectangle"
    panel.region.draw_button.native.click()
    shapes = panel.viewer.layers["LUCYD region"]
    corners = [layer.data_to_world((0, y, x))[-2:] for y, x in ((4, 5), (4, 12), (11, 12), (11, 5))]
    shapes.add_rectangles(np.asarray([shapes.world_to_data(corner) for corner in corners]))
    ready()
    panel.region.planes.value = (2, 4)
    output = run()["output"]
    np.testing.assert_array_equal(output.data, whole[2:5, 4:12, 5:13])
    np.testing.assert_allclose(output.data_to_world((0, 0, 0)), layer.data_to_world((2, 4, 5)))


def test_only_the_controls_that_a_method_has_are_shown(panel, add_image, classical, ready):
    add_image()
    panel.advanced.expand(animate=False)
    network = [
        panel.model.combo,
        panel.model.normalization,
        panel.model.isotropic,
        *(box for name, box in panel.destination.outputs.items() if name != "first_estimate"),
        panel.advanced.tile,
        panel.advanced.halo,
    ]
    network.append(panel.advanced.flips)
    own = {
        "lucyd": network,
        "richardson-lucy": [
            panel.method.num_iter,
            panel.advanced.numbers["background"],
            panel.advanced.numbers["tolerance"],
            panel.advanced.acceleration,
            panel.advanced.local_stopping,
            panel.microscope.form.kind,
        ],
        "semi-blind": [
            panel.advanced.numbers["background"],
            panel.advanced.acceleration,
            panel.microscope.form.kind,
        ],
        "wiener": [panel.method.balance, panel.microscope.form.kind],
    }
    common = [
        panel.image.combo,
        panel.image.axes,
        panel.method.combo,
        panel.method.device,
        panel.region.combo,
        *panel.advanced.steps.values(),
    ]
    for method in ("richardson-lucy", "wiener", "semi-blind", "lucyd"):
        panel.method.combo.value = method
        for control in (*common, *own[method]):
            assert control.native.isVisible(), (method, control)
        for other in {
            id(c): c for controls in own.values() for c in controls if c not in own[method]
        }.values():
            assert not other.native.isVisible(), (method, other)
    classical({})
    lines, microscope = panel.microscope.form.lines, panel.microscope.form.microscope
    for kind, shown in (("widefield", []), ("confocal", ["excitation_um", "pinhole_airy"])):
        microscope.value = kind
        assert lines["numerical_aperture"].native.isVisible()
        for name in ("excitation_um", "pinhole_airy", "sheet_fwhm_um"):
            assert lines[name].native.isVisible() == (name in shown)
    panel.microscope.form.kind.value = "file"
    assert panel.microscope.form.path.native.isVisible() and not microscope.native.isVisible()


def test_the_live_preview_is_off_for_classical_methods_and_says_why(
    panel, add_image, classical, ready, qtbot
):
    from napari_lucyd._napari.preview.live import is_preview

    add_image((40, 40))
    ready()
    panel.footer.preview.setChecked(True)
    qtbot.waitUntil(lambda: any(is_preview(entry) for entry in panel.viewer.layers), timeout=20_000)
    classical({"voxel_size": 0.1})
    assert not any(is_preview(entry) for entry in panel.viewer.layers)
    assert not panel.footer.preview.isEnabled()
    assert "Live preview is not available for Richardson-Lucy" in panel.footer.preview_note.text()
    panel.method.combo.value = "lucyd"
    qtbot.waitUntil(lambda: any(is_preview(entry) for entry in panel.viewer.layers), timeout=20_000)
    assert "not available" not in panel.footer.preview_note.text()


def test_a_cancel_in_the_first_volume_leaves_no_layer(
    panel, add_image, classical, ready, qtbot, slow_tiles, spot
):
    layer, psf = volume(add_image), spot()
    classical(psf)
    panel.method.num_iter.value = "500"
    ready()
    panel.footer.run.native.click()
    qtbot.waitUntil(lambda: panel.footer.progress.value >= 2, timeout=30_000)
    panel.footer.cancel.native.click()
    qtbot.waitUntil(lambda: not panel.session.is_running, timeout=2_000)
    assert panel.session.partial is None
    assert not panel.footer.keep.native.isVisible()
    assert list(panel.viewer.layers) == [layer, psf]
    assert "nothing was finished" in panel.status.text()


@pytest.mark.parametrize("keeping", [False, True])
def test_a_cancel_in_the_second_volume_keeps_the_first_and_says_so_once(
    panel, add_image, classical, ready, qtbot, slow_tiles, spot, monkeypatch, keeping
):
    monkeypatch.setattr(notification, "LONG_SECONDS", 0)
    volume(add_image, (3, 4, 9, 8), scale=(1, *STEPS), units=("s", "µm", "µm", "µm"))
    classical(spot())
    panel.method.num_iter.value = "5"
    ready()
    panel.footer.run.native.click()
    qtbot.waitUntil(lambda: panel.footer.progress.value >= 6, timeout=30_000)
    notification_manager.records.clear()
    if keeping:
        # The panel keeps the part by itself.
        panel.footer.stop_and_keep.native.click()
    panel.footer.cancel.native.click()
    if not keeping:
        qtbot.waitUntil(lambda: not panel.session.is_running, timeout=2_000)
        assert "Stopped after 33 % of “image 0”. Finished: T 0." in panel.status.text()
        panel.footer.keep.native.click()
    qtbot.waitUntil(lambda: not panel.session.is_running and bool(panel.session.results), timeout=10_000)
    # The second volume may end, with fewer iterations, before the cancel is heard.
    output = panel.session.results[0].data
    finished = 2 if keeping and np.isfinite(output[1]).all() else 1
    assert np.isfinite(output[:finished]).all() and np.isnan(output[finished:]).all()
    where = "T 0" if finished == 1 else "T 0 to 1"
    assert panel.status.text() == f"Kept the finished part, {where}; the rest of the image is empty."
    told = [note.message for note in notification_manager.records if "Inconsistent units" not in note.message]
    assert len(told) == 1 and where in told[0] and panel.footer.run.enabled


def test_a_layer_that_cannot_be_the_psf_is_refused_in_words(panel, add_image, classical, ready, spot):
    volume(add_image)
    ones = np.ones((2, 3, 5, 5), np.float32)
    for data, keywords, words in (
        (ones, {}, "PSF “bead”: The psf has shape (2, 3, 5, 5)"),
        (np.ones((5, 5, 3), np.uint8), {"rgb": True}, "The PSF “bead” is a colour (RGB) image"),
        (np.zeros((3, 5, 5)), {}, "PSF “bead”: The psf is empty: all its voxels are 0."),
        (SPOT - 2, {}, "PSF “bead”: The psf has negative voxels"),
    ):
        psf = spot(data, **keywords)
        classical(psf)
        ready()
        # The image has no part in it.
        assert panel.footer.estimate.text().startswith(words)
        assert panel.footer.estimate.property("problem")
        assert not panel.footer.run.enabled
        panel.viewer.layers.remove(psf)


@pytest.mark.parametrize("method", ["richardson-lucy", "wiener"])
def test_an_image_of_a_specimen_as_the_psf_stands_out_before_run(
    method, panel, add_image, classical, ready, spot
):
    volume(add_image)
    cells = nl.make_structures("sheets", (9, 48, 48), rng=0).image + 100
    psf = spot(cells, name="cells")
    classical(psf, method)
    ready()
    assert UNLIKE_A_POINT in panel.footer.estimate.text()
    assert panel.footer.estimate.property("problem") and panel.footer.run.enabled
    assert "more planes" not in panel.microscope.form.about.text()
    panel.viewer.layers.remove(psf)
    classical(spot(nl.make_psf("widefield", (9, 31, 31), voxel_size=0.1, **OPTICS)), method)
    ready()
    assert UNLIKE_A_POINT not in panel.footer.estimate.text()
    assert not panel.footer.estimate.property("problem")


def test_a_psf_file_that_cannot_be_read_is_named_once_without_its_folder(
    panel, add_image, classical, ready, tmp_path
):
    layers = [volume(add_image), volume(add_image)]
    panel.viewer.layers.selection = set(layers)
    panel.method.combo.value = "richardson-lucy"
    (tmp_path / "text.tif").write_text("hello")
    form = panel.microscope.form
    form.kind.value, form.path.value = "file", str(tmp_path / "text.tif")
    ready()
    assert panel.footer.estimate.text() == "PSF file “text.tif”: cannot be read: damaged, or no TIFF file"
    form.path.value = str(tmp_path / "none.tif")
    ready()
    assert panel.footer.estimate.text() == "PSF file “none.tif”: no such file or folder"


def test_what_is_missing_or_wrong_is_told_before_run(panel, add_image, classical, ready, spot, tmp_path):

    def says(words):
        ready()
        assert words in panel.footer.estimate.text(), panel.footer.estimate.text()
        assert not panel.footer.run.enabled

    layer = add_image((7, 16, 18))
    panel.method.combo.value = "wiener"
    says("Enter the NA.")
    classical({}, "wiener")
    says("voxel size is unknown: “image 0” has none")
    panel.microscope.form.lines["voxel_size"].value = "0.3, wide"
    says("'0.3, wide' is not a number")
    panel.microscope.form.lines["voxel_size"].value = "0.3, 0.1"
    says("3 of them")
    panel.microscope.form.lines["voxel_size"].value = "0.3, 0.1, 0.1"
    ready()
    assert panel.footer.run.enabled
    panel.microscope.form.microscope.value = "confocal"
    says("Excitation is missing; a confocal PSF needs it")
    panel.microscope.form.microscope.value = "widefield"
    panel.method.balance.value = "0"
    says("Balance is 0.0")
    panel.method.balance.value = "0.1"
    panel.microscope.form.lines["emission_um"].value = "525"
    says("0.525 for 525 nm")
    panel.microscope.form.kind.value = "layer"
    says("Choose a PSF layer")
    panel.microscope.form.layer.value = layer
    says("“image 0” is both the image and the PSF")
    panel.microscope.form.kind.value = "beads"
    panel.microscope.form.beads.value = layer
    says("“image 0” is both the image and the bead layer")
    panel.microscope.form.kind.value = "file"
    says("File: choose a PSF file")
    panel.microscope.form.path.value = str(tmp_path / "none.tif")
    says("no such file")
    broken = tmp_path / "broken.tif"
    broken.write_bytes(b"no image")
    panel.microscope.form.path.value = str(broken)
    says("PSF file “broken.tif”: cannot be read")


def test_the_psf_choice_follows_the_layers(panel, add_image, classical, ready, spot):
    image, psf = volume(add_image), spot()
    classical(psf)
    ready()
    assert panel.footer.run.enabled
    psf.name = "renamed"
    assert panel.microscope.form.layer.native.currentText() == "renamed"
    # The image stays chosen when the user selects the PSF.
    panel.viewer.layers.selection.active = psf
    assert panel.image.layer is image
    psf.data = np.zeros_like(SPOT)
    ready()
    assert "all its voxels are 0" in panel.footer.estimate.text()
    panel.viewer.layers.remove(psf)
    ready()
    assert "Choose a PSF layer" in panel.footer.estimate.text()
    assert [entry for entry in panel.microscope.form.layer.choices if entry is not None] == [image]


def test_a_psf_from_the_optics_can_be_seen_and_saved(panel, add_image, classical, qtbot, tmp_path):
    image = volume(add_image)
    special = {
        "confocal": {"excitation_um": 0.488, "pinhole_airy": 1.0},
        "light_sheet": {"sheet_fwhm_um": 2.0},
    }
    offered = panel.microscope.form.microscope.choices
    assert offered == tuple(MICROSCOPES)[:3] == ("widefield", "confocal", "light_sheet")
    for number, microscope in enumerate(offered, 1):
        own = special.get(microscope, {})
        classical({**own, "shape": "5, 7, 7"})
        panel.microscope.form.microscope.value = microscope
        panel.microscope.form.show_layer.native.click()
        qtbot.waitUntil(lambda n=number: sum(map(is_psf, panel.viewer.layers)) == n, timeout=20_000)
        layer = panel.viewer.layers[-1]
        expected = nl.make_psf(microscope, (5, 7, 7), voxel_size=STEPS, **OPTICS, **own)
        np.testing.assert_array_equal(layer.data, expected)
        np.testing.assert_allclose(layer.scale, STEPS)
        assert [str(unit) for unit in layer.units] == ["micrometer"] * 3
        assert panel.viewer.layers.selection.active is image
        path = tmp_path / f"{microscope}.ome.tif"
        panel.microscope.save(path)
        qtbot.waitUntil(lambda p=path: f"Saved {p.name}" in panel.status.text(), timeout=20_000)
        saved = read_image(path)
        np.testing.assert_array_equal(saved.data, expected)
        assert saved.voxel_size == pytest.approx(STEPS)
        assert saved.metadata["optics"] == {"microscope": microscope, **OPTICS, **own}


def test_a_psf_that_was_made_large_enough_is_so_as_a_layer(panel, add_image, classical, ready, qtbot):
    layer = volume(add_image)
    for shape, cut in (("", False), ("5, 31, 31", True)):
        panel.microscope.form.kind.value = "optics"
        classical({"shape": shape})
        panel.microscope.form.show_layer.native.click()
        count = len(panel.viewer.layers)
        qtbot.waitUntil(lambda n=count: len(panel.viewer.layers) > n, timeout=30_000)
        psf = panel.viewer.layers[-1]
        panel.viewer.layers.selection.active = layer
        classical(psf)
        ready()
        assert ("still reaches the edge planes; more planes" in panel.microscope.form.about.text()) == cut


def test_a_saved_psf_gets_a_suffix_and_replaces_nothing_that_was_not_asked_about(
    panel, classical, qtbot, tmp_path, monkeypatch
):
    classical({"shape": "5, 7, 7", "voxel_size": "0.3, 0.1, 0.1"})
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(tmp_path / "mine"), ""))
    panel.microscope.form.save.native.click()
    qtbot.waitUntil(lambda: "Saved mine.ome.tif" in panel.status.text(), timeout=20_000)
    panel.microscope.form.save.native.click()
    qtbot.waitUntil(lambda: "mine.ome.tif" in panel.status.text() and "exists" in panel.status.text())


def test_a_psf_needs_no_image(panel, classical, qtbot):
    classical({"voxel_size": "0.1", "shape": "9"})
    panel.microscope.form.show_layer.native.click()
    qtbot.waitUntil(lambda: len(panel.viewer.layers) == 1, timeout=20_000)
    assert panel.viewer.layers[0].data.shape == (9, 9, 9)
    # As a layer it is a PSF of known origin.
    psf = panel.viewer.layers[0]
    assert panel.image.layer is None
    classical(psf)
    origin = panel.microscope.source().load(None, "ZYX").origin
    assert origin["layer"] == "PSF Widefield NA 0.8"
    assert origin["optics"] == {"microscope": "widefield", **OPTICS}
    assert origin["voxel_size"] == [0.1, 0.1, 0.1]
    panel.microscope.form.kind.value = "optics"
    panel.viewer.layers.clear()
    panel.microscope.form.lines["voxel_size"].value = ""
    panel.microscope.form.show_layer.native.click()
    qtbot.waitUntil(lambda: "no image to take it from" in panel.status.text(), timeout=20_000)


def test_a_large_psf_is_computed_beside_the_window_and_dropped_when_not_wanted(
    panel, add_image, classical, ready, qtbot, monkeypatch
):
    from napari_lucyd.simulation import diffraction

    intensity = diffraction._intensity

    def slow(*arguments):
        time.sleep(0.2)
        return intensity(*arguments)

    volume(add_image, (63, 16, 18))
    classical({"shape": "3"})
    ready()
    monkeypatch.setattr(diffraction, "_intensity", slow)
    ticks = []
    timer = QTimer()
    timer.timeout.connect(lambda: ticks.append(time.monotonic()))
    timer.start(20)
    panel.microscope.form.lines["shape"].value = "63, 15, 15"
    qtbot.wait(1000)
    assert not panel.estimator.settled
    begin = time.monotonic()
    panel.microscope.form.lines["shape"].value = "3"
    ready()
    # All 32 planes would take more than six seconds. They were dropped, and the window never waited for one.
    assert time.monotonic() - begin < 5
    assert "3 × 3 × 3" in panel.microscope.form.about.text()
    timer.stop()
    assert max(b - a for a, b in pairwise(ticks)) < 2


@pytest.mark.parametrize("kind", ["beads", "layer"])
def test_a_psf_never_becomes_the_image_by_itself(panel, add_image, classical, ready, kind):
    # The only image is also the PSF: the panel says so until the user chooses another one for either.
    layer = volume(add_image)
    panel.method.combo.value = "richardson-lucy"
    form = panel.microscope.form
    form.kind.value = kind
    (form.beads if kind == "beads" else form.layer).value = layer
    psf = Psf(SPOT, "from image 0", STEPS, "µm", {})
    panel.microscope._add_layer(psf)
    ready()
    assert panel.image.layer is layer and not panel.footer.run.enabled
    panel.viewer.layers.selection.active = panel.viewer.layers[-1]
    assert panel.image.layer is layer
    panel.viewer.layers.remove(layer)
    assert panel.image.layer is None
    form.kind.value = "optics"
    assert panel.image.layer is None
    other = volume(add_image)
    assert panel.image.layer is other


def test_a_psf_on_other_voxels_is_resampled_with_a_note(panel, add_image, classical, ready, run, spot):
    layer = volume(add_image)
    classical(spot(scale=(0.3, 0.2, 0.2), units=("µm",) * 3))
    panel.method.num_iter.value = "3"
    ready()
    assert "The PSF was resampled from voxels of 0.3 × 0.2 × 0.2" in panel.footer.estimate.text()
    method = nl.RichardsonLucy(SPOT, num_iter=3, psf_voxel_size=(0.3, 0.2, 0.2))
    expected = nl.deconvolve(layer.data, method, voxel_size=STEPS, device="cpu").output
    np.testing.assert_allclose(run()["output"].data, expected, rtol=1e-5, atol=1e-3)


def test_each_channel_gets_its_emission_or_its_psf(panel, add_image, classical, ready, run, spot):
    layer = add_image(
        (2, 5, 16, 18), scale=(1, *STEPS), units=("pixel", "µm", "µm", "µm"), axis_labels=("c", "z", "y", "x")
    )
    classical({"emission_um": "0.46, 0.7", "shape": "5, 9, 9"})
    panel.method.num_iter.value = "3"
    output = run()["output"]
    optics = {**OPTICS, "emission_um": [0.46, 0.7]}
    psfs = list(nl.make_psf("widefield", (5, 9, 9), voxel_size=STEPS, **optics))
    expected = nl.deconvolve(
        layer.data, nl.RichardsonLucy(psfs, num_iter=3), axes="CZYX", device="cpu"
    ).output
    np.testing.assert_allclose(output.data, expected, rtol=1e-5, atol=1e-3)
    entries = output.metadata[METADATA_KEY]["psf"]
    assert [entry["origin"]["optics"]["emission_um"] for entry in entries] == [[0.46, 0.7]] * 2
    assert "2 PSFs of 5 × 9 × 9" in panel.microscope.form.about.text()
    told = panel.microscope.told()["microscope"]
    assert [microscope.emission_um for microscope in told] == [0.46, 0.7]
    # The same as a layer with an axis of channels.
    layer_of_psfs = spot(np.stack(psfs), axis_labels=("c", "z", "y", "x"), name="both")
    classical(layer_of_psfs)
    np.testing.assert_allclose(run()["output"].data, expected, rtol=1e-5, atol=1e-3)
    panel.microscope.form.kind.value = "optics"
    panel.microscope.form.lines["emission_um"].value = "0.46, 0.5, 0.7"
    ready()
    assert "lists 3 PSFs, one for each channel, but the image has 2 channels" in panel.footer.estimate.text()


def test_a_psf_is_measured_on_a_layer_of_beads(panel, add_image, classical, ready, run, qtbot):
    layer = volume(add_image, (9, 20, 20), scale=(0.3, 0.1, 0.1))
    random, beads = np.random.default_rng(0), np.zeros((25, 80, 80), np.float32)
    point = nl.make_psf("gaussian", (15, 21, 21), voxel_size=STEPS, **OPTICS)
    for y in (18, 60):
        for x in (18, 60):
            beads[5:20, y - 10 : y + 11, x - 10 : x + 11] += 5e4 * point
    beads += random.normal(100, 1, beads.shape)
    image_of_beads = panel.viewer.add_image(beads, name="beads", scale=STEPS, units=("µm",) * 3)
    panel.viewer.layers.selection.active = layer
    panel.method.combo.value = "richardson-lucy"
    panel.method.num_iter.value = "3"
    form = panel.microscope.form
    form.kind.value = "beads"
    ready()
    assert "Choose a bead layer." in panel.footer.estimate.text()
    form.beads.value, form.diameter.value = image_of_beads, "0.1"
    ready()
    assert "4 of 4 beads used" in form.about.text()
    assert form.beads.native.isVisible() and form.diameter.native.isVisible()
    form.diameter.value = "100"
    ready()
    assert "Bead diameter is 100, but the beads look only" in panel.footer.estimate.text()
    form.diameter.value = "0.1"
    ready()
    measured = nl.psf_from_beads(beads, STEPS, bead_diameter_um=0.1)
    expected = nl.deconvolve(layer.data, nl.RichardsonLucy(measured.psf, num_iter=3), device="cpu").output
    output = run()["output"]
    np.testing.assert_allclose(output.data, expected, rtol=1e-4, atol=1e-2)
    origin = output.metadata[METADATA_KEY]["psf"]["origin"]
    assert (origin["beads"], origin["used"], origin["bead_diameter_um"]) == ("beads", 4, 0.1)
    assert set(panel.microscope.told()) == {"psf", "psf_voxel_size"}
    # The room of a long report stays while a setting is corrected.
    below = panel.region.combo.native
    before = below.mapTo(panel, below.rect().topLeft())
    form.diameter.value = "wide"
    ready()
    assert "Bead diameter: 'wide' is not a number" in panel.footer.estimate.text()
    assert "once it is known" in form.about.text() and below.mapTo(panel, below.rect().topLeft()) == before


def test_a_stack_of_beads_with_too_few_planes_is_told_what_to_do(panel, add_image, classical, ready):
    layer = volume(add_image, (9, 20, 20), scale=(0.3, 0.1, 0.1))
    beads = np.random.default_rng(0).normal(100, 1, (25, 80, 80)).astype(np.float32)
    point = nl.make_psf("gaussian", (15, 21, 21), voxel_size=STEPS, **OPTICS)
    beads[5:20, 30:51, 30:51] += 5e4 * point
    panel.method.combo.value = "richardson-lucy"
    form = panel.microscope.form
    form.kind.value = "beads"

    def told(stack):
        spots = panel.viewer.add_image(
            stack, name="spots", scale=STEPS[-stack.ndim :], units=("µm",) * stack.ndim
        )
        panel.viewer.layers.selection.active = layer
        form.beads.value = spots
        ready()
        return form.about.text(), panel.footer.estimate.text()

    about, _ = told(beads[11:14])
    assert "To include more haze, record the beads over more planes above and below them." in about
    _, refused = told(beads[12:20])
    assert "Take the stack of beads with more planes above and below them" in refused
    assert "shape" not in refused


def test_a_psf_layer_has_the_voxel_size_of_its_file(panel, add_image, classical, ready, tmp_path):
    layer = volume(add_image, (9, 20, 20))
    point = nl.make_psf("gaussian", (15, 21, 21), voxel_size=STEPS, **OPTICS)
    path = write_image(tmp_path / "beads.ome.tif", point, axes="ZYX", voxel_size=STEPS, unit="micrometer")
    # napari's own reader drops the voxel size.
    (opened,) = panel.viewer.open(path, plugin="napari", name="one bead")
    np.testing.assert_array_equal(opened.scale, 1)
    panel.viewer.layers.selection.active = layer
    classical(opened)
    ready()
    assert "15 × 21 × 21 voxels of 0.3 × 0.1 × 0.1 µm" in panel.microscope.form.about.text()
    panel.microscope.form.kind.value, panel.microscope.form.beads.value = "beads", opened
    ready()
    assert "voxel size" not in panel.footer.estimate.text()
    bare = panel.viewer.add_image(point, name="bare")
    panel.viewer.layers.selection.active = layer
    panel.microscope.form.beads.value = bare
    ready()
    assert "“bare” has no voxel size. Choose it under Image" in panel.footer.estimate.text()


def test_the_width_of_a_gaussian_is_enough(panel, add_image, classical, ready, run):
    from napari_lucyd.psf.gaussian import gaussian_psf

    layer = volume(add_image)
    panel.method.combo.value = "richardson-lucy"
    panel.method.num_iter.value = "3"
    form = panel.microscope.form
    form.kind.value = "blur"
    for text, words in (
        ("", "Enter the width of the blur"),
        ("0", "enter numbers above 0"),
        ("1, 2", "enter one, or one for each of Z, Y, X"),
        ("wide", "'wide' is not a number"),
    ):
        form.sigma.value = text
        ready()
        assert words in panel.footer.estimate.text()
    form.sigma.value = "2, 1.2, 1.2"
    expected = nl.deconvolve(
        layer.data, nl.RichardsonLucy(gaussian_psf((2, 1.2, 1.2)), num_iter=3), device="cpu"
    ).output
    np.testing.assert_allclose(run()["output"].data, expected, rtol=1e-5, atol=1e-3)
    assert panel.microscope.told() == {"blur_sigma": (2.0, 1.2, 1.2)}


def test_semi_blind_needs_nothing_and_takes_a_microscope(panel, add_image, classical, ready, run):
    layer = volume(add_image)
    panel.method.combo.value = "semi-blind"
    assert panel.microscope.told() == {}
    output = run()["output"]
    expected = nl.deconvolve(layer.data, nl.SemiBlind(), device="cpu").output
    np.testing.assert_allclose(output.data, expected, rtol=1e-5, atol=1e-3)
    form = panel.microscope.form
    form.kind.value, form.sigma.value = "blur", "1.3"
    ready()
    assert "finds the blur itself" in panel.footer.estimate.text()
    form.kind.value = "unknown"
    ready()
    assert panel.footer.run.enabled and not form.show_layer.native.isVisible()
    panel.method.combo.value = "richardson-lucy"
    ready()
    assert "This method needs the PSF" in panel.footer.estimate.text()
    panel.method.combo.value = "semi-blind"
    form.kind.value = "optics"
    for name, value in OPTICS.items():
        form.lines[name].value = str(value)
    ready()
    told = panel.microscope.told()["microscope"]
    assert told == nl.Microscope("widefield", **OPTICS)
    assert panel.estimate.entries[0].model.microscope == told
    form.lines["emission_um"].value = "0.46, 0.7"
    ready()
    assert "Emission lists 2 wavelengths, but the image has 1 channel" in panel.footer.estimate.text()


def test_the_estimate_so_far_can_be_kept(panel, add_image, classical, ready, qtbot, slow_tiles, spot):
    volume(add_image)
    classical(spot())
    footer = panel.footer
    panel.method.num_iter.value = "500"
    ready()
    assert not footer.stop_and_keep.native.isVisible()
    footer.run.native.click()
    qtbot.waitUntil(lambda: footer.progress.value >= 2, timeout=30_000)
    assert footer.stop_and_keep.native.isVisible()
    footer.stop_and_keep.native.click()
    qtbot.waitUntil(lambda: not panel.session.is_running, timeout=20_000)
    (output,) = panel.session.results
    recipe = output.metadata[METADATA_KEY]
    assert 2 <= recipe["method"]["num_iter"] < 100
    assert np.isfinite(output.data).all()
    assert "the result is that estimate" in panel.status.text()
    assert not footer.stop_and_keep.native.isVisible()


def test_the_held_out_likelihood_is_drawn_while_the_number_is_chosen(
    panel, add_image, classical, ready, qtbot, spot
):
    random = np.random.default_rng(0)
    light = 20 + ndimage.gaussian_filter(400.0 * (random.random((4, 64, 64)) > 0.98), (0.8, 1.2, 1.2))
    image = (random.poisson(light) + random.normal(100, 1, light.shape)).astype(np.float32)
    panel.viewer.add_image(image, name="photons")
    classical(spot())
    ready()
    curves, titles = [], []
    panel.session.advanced.connect(lambda event: curves.append(event.curve))
    panel.session.advanced.connect(lambda event: titles.append(panel.footer.curve.title))
    panel.footer.run.native.click()
    qtbot.waitUntil(lambda: not panel.session.is_running, timeout=60_000)
    curve = panel.footer.curve
    assert curve.isVisible() and len(curve.points) > 2
    assert curve.points == tuple(curves[-1])
    assert curve.best == panel.session.results[0].metadata[METADATA_KEY]["method"]["iterations"][0]
    assert titles[-1].endswith(f"; best so far: {curve.best}")
    assert curve.title.endswith(f"; used: {curve.best}")
    drawn = curve.grab().toImage()
    colours = {drawn.pixel(x, y) for x in range(drawn.width()) for y in range(drawn.height())}
    assert len(colours) > 3
    # Another method has another curve.
    panel.method.combo.value = "wiener"
    assert not curve.isVisible()
    panel.method.combo.value = "richardson-lucy"
    panel.method.num_iter.value = "2"
    ready()
    panel.footer.run.native.click()
    qtbot.waitUntil(lambda: not panel.session.is_running, timeout=60_000)
    assert not curve.isVisible()


def test_what_was_entered_is_remembered_and_optics_of_a_file_take_its_place(
    panel, add_image, classical, run, own_settings
):
    from napari_lucyd._napari.deconvolve.choices.microscope import MicroscopeSection
    from napari_lucyd.io import Optics

    volume(add_image)
    classical({"shape": "5, 7, 7", "emission_um": "0.46"})
    panel.microscope.form.microscope.value = "confocal"
    panel.microscope.form.lines["excitation_um"].value = "0.405"
    panel.method.num_iter.value = "1"
    run()
    assert "emission_um: '0.46'" in (own_settings / "napari-lucyd.yaml").read_text()
    later = MicroscopeSection(panel.viewer, lambda: None)
    later.setParent(
        panel
    )  # as a section always has one; alone it would be destroyed by the garbage collector
    lines = later.form.lines
    assert later.form.microscope.value == "confocal"
    assert (lines["numerical_aperture"].value, lines["emission_um"].value) == ("0.8", "0.46")
    assert lines["shape"].value == ""  # it belongs to one image
    later.fill(Optics(1.4, None, (0.52, 0.61), (0.488, None)))
    assert (lines["numerical_aperture"].value, lines["refractive_index"].value) == ("1.4", "1.33")
    assert (lines["emission_um"].value, lines["excitation_um"].value) == ("0.52, 0.61", "0.405")
    later.fill(Optics(1.4, 1.515, (0.52, 0.61)), channel=1)
    assert (lines["refractive_index"].value, lines["emission_um"].value) == ("1.515", "0.61")
    later.fill(None)
    assert lines["emission_um"].value == "0.61"


def test_automatic_leaves_an_image_of_noise_alone_and_runs_it_anyway(panel, ready, qtbot):
    data = np.random.default_rng(0).poisson(50, (64, 64)).astype(np.uint16)
    panel.viewer.add_image(data, name="noise", axis_labels=("y", "x"))
    panel.method.combo.value = "auto"
    assert not panel.method.model.isVisible()
    ready()
    panel.footer.run.native.click()
    qtbot.waitUntil(lambda: not panel.session.is_running, timeout=120_000)
    assert not panel.session.results and "left as it is" in panel.status.text()
    assert not panel.footer.anyway.native.isHidden()
    panel.footer.anyway.native.click()
    qtbot.waitUntil(lambda: not panel.session.is_running, timeout=120_000)
    assert panel.session.results and panel.footer.anyway.native.isHidden()


def test_a_new_panel_chooses_the_method_itself(make_napari_viewer, qtbot):
    from napari_lucyd._napari.deconvolve.panel import DeconvolveWidget

    viewer = make_napari_viewer(show=True)
    panel = DeconvolveWidget(viewer)
    viewer.window.add_dock_widget(panel, name="Deconvolve")
    assert panel.method.name == "auto" and panel.sections.parameters().automatic
    assert not panel.method.model.isVisible()
    qtbot.waitUntil(lambda: panel.estimator.settled, timeout=60_000)


@pytest.mark.parametrize("method", ["auto", "semi-blind"])
def test_a_model_file_of_another_day_does_not_take_the_methods_place(panel, qtbot, model_files, method):
    from napari_lucyd._napari.deconvolve.panel import DeconvolveWidget
    from napari_lucyd._napari.widgets.remembered import remember

    remember("deconvolve", {"method": method, "model": str(model_files[2])})
    again = DeconvolveWidget(panel.viewer)
    panel.viewer.window.add_dock_widget(again, name="Again")
    qtbot.waitUntil(lambda: str(model_files[2]) in again.model.combo.choices, timeout=30_000)
    assert again.method.name == method
    qtbot.waitUntil(lambda: again.estimator.settled, timeout=60_000)


def test_settings_that_are_not_valid_end_the_wait_for_pytorch(panel, add_image, qtbot):
    from napari_lucyd._napari.deconvolve.panel import DeconvolveWidget
    from napari_lucyd._napari.widgets.remembered import remember

    add_image((6, 20, 22), scale=(0.3, 0.1, 0.1), units=("µm",) * 3)
    remember("deconvolve", {"method": "wiener", "model": "lucyd"})
    again = DeconvolveWidget(panel.viewer)
    panel.viewer.window.add_dock_widget(again, name="Again")
    qtbot.waitUntil(lambda: again.footer.estimate.text().startswith("Enter the NA."), timeout=30_000)
    assert again.status.text() == "Ready."
    qtbot.waitUntil(lambda: again.examination.work.settled, timeout=60_000)


def beads(size):
    """Return a camera image of blurred points."""
    light = np.zeros((size, size))
    light[8::16, 8::16] = 3e4
    return np.random.default_rng(0).poisson(ndimage.gaussian_filter(light, 1.8) + 20).astype(np.uint16)


def test_automatic_is_told_of_before_the_run_and_compares_once(panel, ready, qtbot):
    layer = panel.viewer.add_image(beads(64), name="beads", axis_labels=("y", "x"))
    panel.method.combo.value = "auto"
    ready()
    assert "compares methods" in panel.footer.estimate.text()
    told = []
    panel.session.told.connect(told.append)

    def run():
        told.clear()
        panel.footer.run.native.click()
        # It is no longer to come: neither in the run, nor after it.
        assert "first compares" not in panel.footer.estimate.text()
        qtbot.waitUntil(lambda: not panel.session.is_running, timeout=120_000)
        return [text for text in told if "Comparing methods" in text]

    tried = run()
    assert any("lucyd-planes" in text for text in tried) and any("semi-blind" in text for text in tried)
    recipe = panel.session.results[0].metadata[METADATA_KEY]
    assert recipe["automatic"]["candidates"]
    # The numbers beside it are those of the score.
    assert "it explains" in panel.status.text() and OWN_SAMPLE in panel.status.toolTip()
    panel.session.started.emit()
    assert OWN_SAMPLE not in panel.status.toolTip()
    panel.session.ended.emit()
    ready()
    assert (
        "Automatic takes" in panel.footer.estimate.text() and "chosen before." in panel.footer.estimate.text()
    )
    assert run() == []  # the choice is remembered
    assert panel.session.results[0].metadata[METADATA_KEY]["automatic"] == recipe["automatic"]
    layer.data[::8, ::8] += 300
    assert run()
    # After a run that failed the methods are compared again: the chosen one may be the reason.
    for failed in (
        lambda: panel.session._take(Failed(panel.session._tasks[0], "out of luck")),
        lambda: panel.session._on_error(RuntimeError("out of luck")),
    ):
        panel.estimator.refresh()
        ready()
        assert "chosen before." in panel.footer.estimate.text()
        failed()
        panel.estimator.refresh()
        ready()
        assert "first compares methods" in panel.footer.estimate.text()
        assert run()


@pytest.fixture
def choose_before(panel, ready):
    """Let an earlier run with Automatic have chosen a method; gives a function that does."""
    from napari_lucyd._napari.deconvolve import contest

    def choose(layer, method):
        panel.method.combo.value = "auto"
        ready()
        (entry,) = panel.estimate.entries
        choice = MethodChoice(method, reason="chosen")
        contest._remember(layer.data, contest._key(entry.task, entry.model), choice)
        panel.estimator.refresh()
        ready()
        return panel.footer.estimate.text()

    return choose


@pytest.mark.parametrize("in_files", [False, True])
def test_time_and_description_are_those_of_the_method_that_automatic_chose_before(
    panel, ready, choose_before, in_files, tmp_path, qtbot
):
    from napari_lucyd._napari.deconvolve.panel import DeconvolveWidget

    layer = panel.viewer.add_image(beads(64), name="beads", axis_labels=("y", "x"))
    if in_files:
        panel.destination.take(tmp_path)
    text = choose_before(layer, nl.SemiBlind())
    assert "Automatic takes Semi-blind Richardson-Lucy, chosen before." in text
    assert "first estimate" not in text and "first estimate" not in panel.image.understood.text()
    panel.method.combo.value = "semi-blind"
    ready()
    own = panel.footer.estimate.text().splitlines()[0]
    assert text.splitlines()[0] == own
    panel.method.combo.value = "auto"
    ready()
    # The methods were compared for the image, not for the panel.
    again = DeconvolveWidget(panel.viewer)
    panel.viewer.window.add_dock_widget(again, name="Again")
    again.footer.score.setChecked(False)
    said = "Automatic takes Semi-blind Richardson-Lucy, chosen before."
    qtbot.waitUntil(lambda: said in again.footer.estimate.text(), timeout=60_000)
    assert again.footer.estimate.text().splitlines()[0] == own
    qtbot.waitUntil(lambda: again.examination.work.settled, timeout=60_000)


def test_an_image_that_automatic_left_alone_before_is_not_said_to_be_deconvolved(panel, choose_before):
    layer = panel.viewer.add_image(beads(64), name="beads", axis_labels=("y", "x"))
    text = choose_before(layer, Unchanged())
    assert "Automatic will leave this image alone: no method explained the photons better." in text
    assert "left as it is" in panel.image.understood.text()


def test_several_images_name_each_method_that_was_chosen_before():
    from types import SimpleNamespace

    from napari_lucyd._napari.deconvolve.planning import choice_text

    task = SimpleNamespace(parameters=SimpleNamespace(automatic=True))
    entries = [
        SimpleNamespace(job=job, task=task, choice=MethodChoice(method))
        for job, method in ((1, nl.SemiBlind()), (1, Unchanged()), (1, nl.SemiBlind()), (None, Unchanged()))
    ]
    assert choice_text(entries, None) == (
        "Automatic takes Semi-blind Richardson-Lucy, chosen before. "
        "Automatic will leave 1 image alone: no method explained the photons better."
    )


def test_automatic_says_before_a_run_that_nothing_is_compared_without_photon_noise(panel, ready, qtbot):
    image = beads(64) // 100 + np.random.default_rng(1).normal(50, 3, (64, 64))
    panel.viewer.add_image(image, name="not photons", axis_labels=("y", "x"))
    panel.method.combo.value = "auto"
    ready()
    qtbot.waitUntil(lambda: panel.examination.work.settled, timeout=60_000)
    assert not panel.examination.found.poisson
    said = "Automatic takes lucyd-planes without a comparison, because no photon noise was found."
    assert said in panel.footer.estimate.text() and "compares" not in panel.footer.estimate.text()
    told = []
    panel.session.told.connect(told.append)
    panel.footer.run.native.click()
    assert said in panel.footer.estimate.text() and "compares" not in panel.footer.estimate.text()
    qtbot.waitUntil(lambda: not panel.session.is_running, timeout=120_000)
    assert any("without a comparison" in text for text in told)
    assert not any("Comparing" in text for text in told)
    # Nothing is known about an image while it is being examined.
    panel.viewer.add_image(beads(64), name="photons", axis_labels=("y", "x"))
    ready()
    qtbot.waitUntil(lambda: panel.examination.work.settled, timeout=60_000)
    assert "first compares methods" in panel.footer.estimate.text()


def test_the_preview_says_that_automatic_may_take_another_method(panel, ready):
    panel.viewer.add_image(beads(64), name="beads", axis_labels=("y", "x"))
    panel.method.combo.value = "auto"
    ready()
    panel.preview.status.emit("Exact · 256 × 256 pixels")
    note = panel.footer.preview_note
    assert "LUCYD. Run takes the method that Automatic chooses." in note.text() and note.shown == note.text()
    panel.method.combo.value = "lucyd"
    panel.preview.status.emit("Exact · 256 × 256 pixels")
    assert note.text() == "Exact · 256 × 256 pixels"


def test_automatic_stops_in_the_middle_of_a_search(panel, ready, qtbot):
    panel.viewer.add_image(beads(256), name="beads", axis_labels=("y", "x"))
    panel.method.combo.value = "auto"
    ready()
    told = []
    panel.session.told.connect(told.append)
    panel.footer.run.native.click()
    qtbot.waitUntil(lambda: any("semi-blind" in text for text in told), timeout=120_000)
    panel.footer.cancel.native.click()
    qtbot.waitUntil(lambda: not panel.session.is_running, timeout=10_000)
    assert "Cancelled" in panel.status.text() and not panel.session.results
