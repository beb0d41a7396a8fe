"""Settings of a recipe as entries of the panel: the panel repeats the run that wrote them."""

import numpy as np
import pytest

pytest.importorskip("napari")

from scipy.ndimage import gaussian_filter

import napari_lucyd as nl
from napari_lucyd._napari.deconvolve.choices.entered import blur_of, entries_of

pytestmark = pytest.mark.napari
IMAGE = np.random.default_rng(0).random((6, 20, 20)).astype(np.float32)


def test_a_network_its_outputs_and_steps():
    recipe = nl.deconvolve(
        IMAGE,
        "general",
        device="cpu",
        halo=8,
        prefilter=0.8,
        outputs=("output", "intermediate"),
        voxel_size=(0.5, 0.2, 0.2),
        isotropic=False,
    ).recipe
    entries = entries_of(recipe)
    assert (entries["method"], entries["model"], entries["normalization"]) == ("lucyd", "general", "model")
    assert (entries["halo"], entries["prefilter"], entries["isotropic"]) == ("8", "0.8", "off")
    assert entries["outputs"] == "output, intermediate" and entries["flips"] is False
    assert blur_of(recipe) == {}


def test_the_microscope_or_the_width_that_a_model_was_told():
    microscope = nl.Microscope("widefield", numerical_aperture=0.8, refractive_index=1.33, emission_um=0.525)
    recipe = nl.deconvolve(
        IMAGE, "lucyd", device="cpu", microscope=microscope, voxel_size=(0.5, 0.2, 0.2)
    ).recipe
    texts = blur_of(recipe)
    assert (texts["kind"], texts["microscope"]) == ("optics", "widefield")
    assert (texts["numerical_aperture"], texts["emission_um"]) == ("0.8", "0.525")
    assert blur_of({"first_stage": {"blur_sigma": [2.0, 1.2, 1.2]}}) == {
        "kind": "blur",
        "sigma": "2, 1.2, 1.2",
    }
    assert blur_of({"first_stage": {"blur_sigma_found": [[1.3]]}}) == {"kind": "unknown"}
    assert blur_of({"first_stage": {"psf": {"sha256": "0"}}}) == {}


@pytest.mark.parametrize("size", [None, (9, 11, 11)])
@pytest.mark.parametrize("method", ["lucyd", "semi-blind", "richardson-lucy"])
def test_the_microscope_comes_back_with_the_size_of_its_psf(method, size):
    from napari.layers import Image

    from napari_lucyd._napari.deconvolve.parameters import Parameters
    from napari_lucyd._napari.deconvolve.task import Finished, ImageTask
    from napari_lucyd._napari.deconvolve.worker import run
    from napari_lucyd._napari.layers.source_layer import SourceLayer
    from napari_lucyd._napari.layers.viewer import METADATA_KEY
    from napari_lucyd._napari.psf.optics import OpticsPsf

    sheet = {"numerical_aperture": 0.4, "emission_um": 0.525, "sheet_fwhm_um": 2.0}
    optics = OpticsPsf("light_sheet", **sheet, shape=size)
    layer = SourceLayer.from_layer(Image(IMAGE, scale=(0.5, 0.2, 0.2), units=("um",) * 3))
    task = ImageTask(layer, Parameters(method=method, microscope=optics, device="cpu", num_iter=2), None)
    finished = [event for event in run([task], lambda: False) if isinstance(event, Finished)]
    texts = blur_of(finished[0].layers[0][1]["metadata"][METADATA_KEY])
    assert (texts["kind"], texts["microscope"], texts["sheet_fwhm_um"]) == ("optics", "light_sheet", "2")
    assert texts["shape"] == (", ".join(map(str, size)) if size else "")
    # The lines that were empty are empty again.
    assert texts["depth_um"] == texts["pinhole_airy"] == ""


def test_the_numbers_of_a_classical_method():
    psf = np.ones((3, 3, 3))
    recipe = nl.deconvolve(
        IMAGE, nl.RichardsonLucy(psf, num_iter=7, total_variation=0.002), device="cpu"
    ).recipe
    entries = entries_of(recipe)
    assert (entries["method"], entries["num_iter"], entries["total_variation"]) == (
        "richardson-lucy",
        "7",
        "0.002",
    )
    assert entries["acceleration"] is True and blur_of(recipe) == {}
    origin = {"optics": {"microscope": "confocal", "numerical_aperture": 1.4, "emission_um": [0.46, 0.525]}}
    texts = blur_of({"psf": {"sha256": "0", "origin": origin}})
    assert (texts["kind"], texts["microscope"]) == ("optics", "confocal")
    assert texts["emission_um"] == "0.46, 0.525"
    file = {"psf": {"sha256": "0", "shape": [5, 7, 7], "origin": {"file": "psf.tif", **origin}}}
    assert (texts["shape"], blur_of(file)["shape"]) == ("", "5, 7, 7")
    width = {"psf": {"sha256": "0", "origin": {"blur_sigma_voxels": [2.0, 1.4, 1.4]}}}
    assert blur_of(width) == {"kind": "blur", "sigma": "2, 1.4, 1.4"}


def test_the_defaults_are_entered_where_they_give_what_the_run_did():
    plain = nl.deconvolve(IMAGE, "general", device="cpu", voxel_size=(0.2, 0.2, 0.2)).recipe
    assert (entries_of(plain)["isotropic"], entries_of(plain)["separate"]) == ("auto", "C")
    flat = nl.deconvolve(IMAGE, "general", device="cpu", voxel_size=(0.4, 0.2, 0.2)).recipe
    assert flat["resampling"] is not None and entries_of(flat)["isotropic"] == "auto"
    off = nl.deconvolve(IMAGE, "general", device="cpu", voxel_size=(0.4, 0.2, 0.2), isotropic=False).recipe
    assert entries_of(off)["isotropic"] == "off"
    first = nl.deconvolve(IMAGE, "lucyd", device="cpu", voxel_size=(0.4, 0.2, 0.2)).recipe
    assert entries_of(first)["isotropic"] == "auto"


def test_what_was_automatic_is_automatic_again():
    assert entries_of(nl.deconvolve(IMAGE, "general", device="cpu").recipe)["halo"] == ""
    assert entries_of(nl.deconvolve(IMAGE, "general", device="cpu", halo=24).recipe)["halo"] == "24"
    psf = np.ones((3, 3, 3))
    found = nl.deconvolve(IMAGE, nl.RichardsonLucy(psf), device="cpu").recipe
    entries = entries_of(found)
    assert found["method"]["iterations"] and entries["num_iter"] == entries["background"] == ""
    usual = {"microscope": "confocal", "numerical_aperture": 1.2, "pinhole_airy": 1.0}
    assert blur_of({"psf": {"sha256": "0", "origin": {"optics": usual}}})["pinhole_airy"] == ""


def test_a_method_and_a_blur_that_automatic_chose_are_automatic_and_unknown_again():
    points = np.random.default_rng(0).random((64, 64)) > 0.98
    light = np.random.default_rng(1).poisson(20 + 10_000 * gaussian_filter(points, 1.5, output=float))
    recipe = nl.deconvolve(light, "auto", device="cpu").recipe
    assert recipe["automatic"]["blur_sigma"]
    assert entries_of(recipe)["method"] == "auto" and blur_of(recipe) == {"kind": "unknown"}
    chosen = {"chosen": "richardson-lucy", "blur_sigma": [1.3, 1.3]}
    found = {
        "method": {"name": "richardson-lucy", "num_iter": 9},
        "psf": {"sha256": "0"},
        "automatic": chosen,
    }
    assert "num_iter" not in entries_of(found) and entries_of(found)["method"] == "auto"
    assert blur_of(found) == {"kind": "unknown"}
    # A blur that was told comes back, whatever method was chosen.
    for method in ({"method": {"name": "richardson-lucy"}, "psf": {"sha256": "0"}}, {"model": "general"}):
        told = {**method, "automatic": {"chosen": "any", "told": {"blur_sigma": [1.2, 1.5, 1.5]}}}
        assert blur_of(told) == {"kind": "blur", "sigma": "1.2, 1.5, 1.5"}


@pytest.mark.parametrize(
    ("axes", "taken", "entry"),
    [("ZYX", "", "C"), ("CZYX", "C", "C"), ("CZYX", "", ""), ("TZYX", "", "C"), ("TZYX", "T", "TC")],
)
def test_the_statistics_of_an_image_without_channels_say_nothing_about_channels(axes, taken, entry):
    shape = [2] * len(axes)
    recipe = {"axes": axes, "input": {"shape": shape}, "normalization": {"separate": taken}}
    assert entries_of(recipe)["separate"] == entry


def test_a_blur_that_was_searched_is_unknown_and_a_told_microscope_comes_back():
    microscope = nl.Microscope("widefield", numerical_aperture=0.8, refractive_index=1.33, emission_um=0.525)
    assert blur_of({"method": {"name": "semi-blind", "microscope": None}}) == {"kind": "unknown"}
    told = nl.deconvolve(
        IMAGE, nl.SemiBlind(microscope=microscope), device="cpu", voxel_size=(0.5, 0.2, 0.2)
    ).recipe
    assert blur_of(told)["kind"] == "optics"
