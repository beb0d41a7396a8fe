"""Blurs that a user can tell, and blurs that are refused."""

from __future__ import annotations

import numpy as np
import pytest

import napari_lucyd as nl
from napari_lucyd.deconvolution.first_stage.blur import check_blur
from napari_lucyd.deconvolution.image.axes import name_axes
from napari_lucyd.psf.gaussian import gaussian_psf

VOLUME = name_axes((12, 40, 40), np.dtype("float32"), 3)
PLANE = name_axes((40, 40), np.dtype("float32"), 2)
CHANNELS = name_axes((2, 12, 40, 40), np.dtype("float32"), 3, "CZYX")
STEPS = (0.3, 0.1, 0.1)


def told(axes=VOLUME, steps=None, **given):
    names = ("microscope", "psf", "psf_voxel_size", "blur_sigma")
    return check_blur(**{name: given.get(name) for name in names}, axes=axes, steps=steps)


def widefield(**changes):
    optics = {"numerical_aperture": 1.2, "refractive_index": 1.33, "emission_um": 0.525}
    return nl.Microscope("widefield", **{**optics, **changes})


def test_nothing_told_leaves_the_blur_to_the_image():
    blur = told()
    assert not blur.told
    assert blur.record == {}
    assert blur.kernel(0, (1.0, 2.0, 2.0)) == pytest.approx(gaussian_psf((1.0, 2.0, 2.0)))


@pytest.mark.parametrize("given", [1.5, (1.5, 1.5, 1.5), np.float32(1.5)])
def test_one_width_or_one_for_each_axis(given):
    blur = told(blur_sigma=given)
    assert blur.kernel(0) == pytest.approx(gaussian_psf((1.5, 1.5, 1.5)))
    assert blur.record == {"blur_sigma": [1.5, 1.5, 1.5]}


def test_planes_take_the_lateral_widths_of_a_volume():
    assert told(PLANE, blur_sigma=(3.0, 1.0, 1.2)).record == {"blur_sigma": [1.0, 1.2]}


def test_a_single_plane_is_not_blurred_along_z():
    flat = name_axes((1, 40, 40), np.dtype("float32"), 3)
    assert told(flat, blur_sigma=1.5).kernel(0).shape[0] == 1


def test_a_microscope_gives_a_psf_on_the_voxels_of_the_image():
    blur = told(steps=STEPS, microscope=widefield())
    kernel = blur.kernel(0)
    assert kernel.sum() == pytest.approx(1, abs=1e-5)
    assert all(size % 2 == 1 for size in kernel.shape)
    assert blur.record["microscope"]["numerical_aperture"] == 1.2
    # The plane in focus for an image of planes.
    assert told(PLANE, steps=STEPS[1:], microscope=widefield()).kernel(0).ndim == 2


def test_each_channel_may_have_its_own():
    blur = told(CHANNELS, steps=STEPS, microscope=[widefield(), widefield(emission_um=0.65)])
    first, second = (np.square(blur.kernel(channel)).sum() for channel in (0, 1))
    assert first > 1.1 * second  # light of a longer wavelength is spread more widely
    psf = [np.ones((3, 3, 3)), np.ones((3, 5, 5))]
    assert [told(CHANNELS, psf=psf).kernel(channel).shape for channel in (0, 1)] == [(3, 3, 3), (3, 5, 5)]
    with pytest.raises(ValueError, match="a list of 3, but the image has 2 channels"):
        told(CHANNELS, psf=[*psf, np.ones((3, 3, 3))])


def test_a_psf_is_centred_and_resampled_with_a_note():
    psf = np.zeros((9, 15, 15))
    psf[2:7, 4:11, 8:15] = gaussian_psf((0.5, 0.75, 0.75))
    blur = told(psf=psf)
    assert any("it was centred" in note for note in blur.notes)
    fine = told(psf=gaussian_psf((1.0, 2.0, 2.0)), psf_voxel_size=(0.3, 0.05, 0.05), steps=STEPS)
    assert any("resampled" in note for note in fine.notes)
    assert np.square(fine.kernel(0)).sum() > 2 * np.square(gaussian_psf((1.0, 2.0, 2.0))).sum()


def test_planes_use_the_plane_in_focus_of_a_psf():
    psf = gaussian_psf((1.0, 1.5, 1.5))
    assert told(PLANE, psf=psf).kernel(0) == pytest.approx(gaussian_psf((1.5, 1.5)), abs=1e-4)


def test_a_psf_takes_precedence_over_a_microscope():
    blur = told(steps=STEPS, psf=gaussian_psf((1, 1, 1)), microscope=widefield())
    assert "psf" in blur.record
    assert "microscope" not in blur.record
    assert any("microscope is not used" in note for note in blur.notes)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"blur_sigma": 0}, r"blur_sigma is 0; give one number of voxels from 0.3 to 20"),
        ({"blur_sigma": float("nan")}, "blur_sigma"),
        ({"blur_sigma": (1, 2)}, r"blur_sigma is \(1, 2\); give one number"),
        ({"blur_sigma": "wide"}, "blur_sigma is 'wide'"),
        ({"blur_sigma": 1, "psf": np.ones((3, 3, 3))}, "blur_sigma and psf are both given"),
        ({"blur_sigma": 1, "microscope": widefield()}, "blur_sigma and microscope are both given"),
        ({"microscope": widefield()}, "microscope needs the voxel size"),
        (
            {"microscope": "widefield", "steps": STEPS},
            "microscope is 'widefield'; give a napari_lucyd.Microscope",
        ),
        ({"psf": np.ones((3, 3))}, r"The psf has shape \(3, 3\)"),
        ({"psf": np.full((3, 3, 3), -1.0)}, "The psf sums to"),
        ({"psf_voxel_size": (1, 1, 1)}, "psf_voxel_size is given without a psf"),
        (
            {"psf": np.ones((3, 3, 3)), "psf_voxel_size": (1, 1)},
            r"psf_voxel_size is \(1, 1\); give 3 positive",
        ),
    ],
)
def test_what_cannot_be_used_is_refused_in_words(given, message):
    with pytest.raises((TypeError, ValueError), match=message):
        told(**given)
