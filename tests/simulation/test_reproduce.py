"""The parameters of a simulated sample give the same sample again, and its PSF."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import ndimage

import napari_lucyd as nl
from napari_lucyd.simulation import acquire, blur_psf, repeat_simulation, simulated_psf
from napari_lucyd.simulation.phantoms import count_objects

OPTICS = {
    "kind": "widefield",
    "shape": [9, 11, 13],
    "numerical_aperture": 0.8,
    "refractive_index": 1.33,
    "emission_um": 0.525,
    "voxel_size": [0.3, 0.1625, 0.1625],
}


def phantom(shape=(20, 32, 24), **keywords):
    return nl.make_phantom(shape, **{"rng": 3, **keywords})


def acquired(psf_parameters=OPTICS):
    return acquire(
        phantom(),
        nl.make_psf(**OPTICS),
        background=30,
        photons_per_unit=2.0,
        read_noise=0.5,
        rng=7,
        psf_parameters=psf_parameters,
    )


SAMPLES = {
    "as the paper": lambda: nl.degrade(phantom(), rng=4),
    "photometric, photons": lambda: nl.degrade(phantom(), photometric=True, photons=50, rng=4),
    "a blur an axis, counts": lambda: nl.degrade(phantom(), blur_sigma=(2, 1, 1), rng=1).in_counts(850),
    "every third plane": lambda: nl.degrade(phantom(), rng=1).with_z_step(3).in_counts(2.5),
    "a plane": lambda: nl.degrade(phantom((32, 40), spheres=90, ellipsoids=10, boxes=80), rng=1),
    "surrogate": lambda: nl.make_surrogate(phantom(), "membranes", voxel_size=0.6, rng=2),
    "light sheet": lambda: nl.make_surrogate(
        phantom(), "light_sheet", voxel_size=0.6, sheet_fwhm_um=2, rng=2
    ),
    "optics": acquired,
}


@pytest.mark.parametrize("name", SAMPLES)
def test_the_parameters_make_the_sample_again(name):
    sample = SAMPLES[name]()
    # The parameters as a file returns them.
    again = repeat_simulation(json.loads(json.dumps(sample.parameters)))
    np.testing.assert_array_equal(again.image, sample.image)
    np.testing.assert_array_equal(again.truth, sample.truth)
    assert again.parameters == sample.parameters


def test_optics_recorded_by_version_0_1_make_the_same_psf():
    optics = {"voxel_size_um" if name == "voxel_size" else name: value for name, value in OPTICS.items()}
    again = simulated_psf({**acquired().parameters, "psf": optics})
    np.testing.assert_array_equal(again, nl.make_psf(**OPTICS))


def test_counts_and_z_step_are_what_they_say():
    sample = nl.degrade(phantom(), rng=1)
    scaled = sample.in_counts(100)
    np.testing.assert_allclose(scaled.image, 100 * sample.image, rtol=1e-6)
    np.testing.assert_allclose(scaled.truth, 100 * sample.truth, rtol=1e-6)
    thinned = sample.with_z_step(3)
    np.testing.assert_array_equal(thinned.image, sample.image[1::3])
    np.testing.assert_array_equal(thinned.truth, sample.truth[1::3])


def test_what_could_not_be_made_again_is_refused():
    sample = nl.degrade(phantom(), rng=1)
    with pytest.raises(ValueError, match=r"already has counts = 10\.0"):
        sample.in_counts(10).in_counts(10)
    with pytest.raises(ValueError, match="already has z_step = 2"):
        sample.with_z_step(2).with_z_step(2)
    for step in (0, -2, 1000):
        with pytest.raises(ValueError, match="z_step is"):
            sample.with_z_step(step)
    with pytest.raises(ValueError, match="give a volume"):
        nl.degrade(nl.make_phantom((24, 24))).with_z_step(2)
    for counts in (0, -1, float("nan")):
        with pytest.raises(ValueError, match="counts is"):
            sample.in_counts(counts)
    for entry in ("noise_sigma", "blur_sigma", "photons"):
        with pytest.raises(ValueError, match=entry):
            nl.degrade(phantom(), **{entry: float("nan")})
    with pytest.raises(TypeError):
        nl.make_phantom((24, 24), spheres=100.9)


def test_numbers_of_numpy_are_written_as_plain_ones():
    sample = nl.degrade(
        phantom(), blur_sigma=np.array([2, 1, 1]), photons=np.int64(50), noise_sigma=np.float32(0.5)
    )
    again = repeat_simulation(json.loads(json.dumps(sample.parameters)))
    np.testing.assert_array_equal(again.image, sample.image)


def test_a_psf_that_is_not_recorded_has_to_be_given():
    sample = acquired({"layer": "bead"})
    with pytest.raises(ValueError, match=r"“bead”.*give it as psf"):
        repeat_simulation(sample.parameters)
    with pytest.raises(ValueError, match="“bead”"):
        simulated_psf(sample.parameters)
    again = repeat_simulation(sample.parameters, psf=nl.make_psf(**OPTICS))
    np.testing.assert_array_equal(again.image, sample.image)
    assert again.parameters["psf"] == {"layer": "bead"}


def test_what_cannot_be_repeated_is_refused_in_words():
    with pytest.raises(ValueError, match="sharp phantom"):
        repeat_simulation(phantom().parameters)
    unknown = nl.degrade(phantom().image)
    with pytest.raises(ValueError, match="no phantom"):
        repeat_simulation(unknown.parameters)
    with pytest.raises(ValueError, match="one plane in 3"):
        simulated_psf(nl.degrade(phantom()).with_z_step(3).parameters)


@pytest.mark.parametrize("photometric", [False, True])
@pytest.mark.parametrize("sigmas", [(1.2,) * 3, (2.5, 1.2, 1.2), (0.0, 1.0, 1.0)])
def test_the_psf_of_a_blur_is_what_blurs(sigmas, photometric):
    sample = nl.degrade(phantom(), blur_sigma=sigmas, noise_sigma=0, photometric=photometric)
    psf = simulated_psf(sample.parameters)
    np.testing.assert_array_equal(psf, blur_psf(sigmas, photometric=photometric))
    assert psf.dtype == np.float32 and all(size % 2 for size in psf.shape)
    assert psf.sum() == pytest.approx(1, abs=1e-6)
    blurred = ndimage.convolve(sample.truth, psf, mode="reflect" if photometric else "constant")
    if not photometric:
        blurred = (blurred - blurred.min()) / (blurred.max() - blurred.min())
    # Two float32 sums of up to 21 * 11 * 11 terms, each below 1.
    np.testing.assert_allclose(sample.image, blurred, atol=2e-5)


def test_the_psf_of_a_surrogate_is_that_of_its_optics():
    sample = nl.make_surrogate(phantom(), "nuclei", voxel_size=0.6)
    seen = []
    psf = simulated_psf(sample.parameters, progress=lambda *step: seen.append(step))
    np.testing.assert_array_equal(psf, nl.make_psf(**sample.parameters["psf"]))
    planes = psf.shape[0] // 2 + 1
    assert seen == [(n + 1, planes) for n in range(planes)]


class Enough(Exception):
    """Stops the function that reports to it."""


def test_drawing_reports_each_object_and_can_be_stopped():
    seen = []
    shape = (40, 64, 64)
    phantom(shape, progress=lambda *step: seen.append(step))
    total = sum(count_objects(shape).values())
    assert seen == [(n + 1, total) for n in range(total)]

    def stop(done, total):
        if done == 5:
            raise Enough

    with pytest.raises(Enough):
        phantom(shape, progress=stop)
    with pytest.raises(Enough):
        nl.make_surrogate(phantom(), voxel_size=0.6, progress=stop)


def test_negative_numbers_of_objects_are_refused():
    with pytest.raises(ValueError, match="boxes is -1"):
        phantom(boxes=-1)
