"""The held-out score, against images whose truth is known."""

import dataclasses
import json

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

import napari_lucyd as nl
from napari_lucyd.psf.gaussian import gaussian_psf
from napari_lucyd.referee import compare_held_out, reblur_error
from napari_lucyd.referee.scores.score import UNDECIDED, WORSE
from napari_lucyd.simulation import acquire

SIGMA = 1.5


def specimen():
    truth = nl.make_structures("filaments", (12, 48, 48), rng=3, background=60, contrast=200).image
    image = np.random.default_rng(0).poisson(gaussian_filter(truth, SIGMA)).astype(np.float32)
    return truth, image


def test_the_truth_explains_everything_and_more_than_any_other_estimate():
    truth, image = specimen()
    found = {
        "truth": nl.score(image, lambda part: truth, blur_sigma=SIGMA),
        "image": nl.score(image, None, blur_sigma=SIGMA),
        "smoothed": nl.score(image, lambda part: gaussian_filter(part, 2), blur_sigma=SIGMA),
        "noise": nl.score(image, lambda part: part + 3 * (part - gaussian_filter(part, 1)), blur_sigma=SIGMA),
    }
    best = found.pop("truth")
    assert best.held_out == pytest.approx(1, abs=3 * best.held_out_error + 0.01)
    assert best.residual.variance == pytest.approx(1, abs=0.15)
    assert abs(best.residual.correlation) < 0.05
    for other in found.values():
        assert other.held_out < best.held_out - 3 * best.held_out_error
    assert found["image"].gain == 0
    assert found["smoothed"].gain < -2 * found["smoothed"].gain_error
    assert found["smoothed"].is_worse_than_image
    assert not best.is_worse_than_image and not found["image"].is_worse_than_image


def test_a_difference_within_twice_its_error_is_not_decided_by_the_photons():
    truth, image = specimen()
    clear = nl.score(image, lambda part: truth, blur_sigma=SIGMA)
    assert not clear.is_undecided and clear.verdict == ""
    # The noise of the second image hides its structure: the visible variance is found to be below 0.
    for share, seed in ((1 / 20, 1), (1 / 250, 2)):
        light = share * gaussian_filter(truth, SIGMA)
        few = np.random.default_rng(seed).poisson(light).astype(np.float32)
        found = nl.score(few, lambda part, share=share: share * truth, blur_sigma=SIGMA)
        assert found.held_out_error > 0 and abs(found.gain) < 2 * found.gain_error
        assert found.is_undecided and found.verdict == UNDECIDED
    # A fault that is sure comes first, and the image itself is not compared with itself.
    worse = dataclasses.replace(found, gain=-3 * found.gain_error)
    assert not worse.is_undecided and worse.verdict == WORSE
    assert not nl.score(image, None, blur_sigma=SIGMA).is_undecided


def test_noise_that_the_blur_hides_lowers_the_score():
    truth, image = specimen()
    stripes = 1 - 2 * (np.arange(48) % 2).astype(np.float32)  # the blur removes the finest stripes

    def noisy(part):
        return truth + 200 * stripes * np.sign(part - part.mean(axis=-1, keepdims=True))

    good, bad = (nl.score(image, one, blur_sigma=SIGMA) for one in (lambda part: truth, noisy))
    assert bad.held_out < good.held_out - 0.05


def test_a_run_is_repeated_from_its_result_and_from_its_recipe():
    _, image = specimen()
    psf = gaussian_psf((SIGMA,) * 3)
    result = nl.deconvolve(image, nl.RichardsonLucy(psf, num_iter=10), device="cpu")
    direct = nl.score(image, result, device="cpu")
    recipe = json.loads(json.dumps(result.recipe))
    again = nl.score(image, recipe, psf=psf, device="cpu")
    assert direct.held_out > direct.image_held_out
    assert direct.volume == {} and direct.summary.startswith("Held-out score")
    assert again.held_out == pytest.approx(direct.held_out, abs=1e-4)
    assert direct.flux_ratio == pytest.approx(1, abs=0.05)
    json.dumps(direct.as_dict())
    with pytest.raises(ValueError, match="holds only a checksum of its PSF"):
        nl.score(image, recipe)


def test_a_recipe_judges_each_channel_and_time_point_by_its_own_numbers():
    random = np.random.default_rng(1)
    planes = []
    # Another blur, level and brightness for each.
    for sigma, level, gain in ((1.0, 100, 1.0), (2.0, 60, 0.5), (1.5, 300, 2.0), (0.8, 30, 1.0)):
        light = np.zeros((96, 96))
        light[tuple(random.integers(8, 88, (2, 50)))] = 20_000 * gain
        planes.append(random.poisson(gaussian_filter(light, sigma) + level))
    image = np.reshape(planes, (2, 2, 96, 96)).astype(np.float32)
    result = nl.deconvolve(image, "lucyd", axes="TCYX", separate="TC", device="cpu")
    blurs = [sigma[0] for sigma in result.recipe["first_stage"]["blur_sigma_found"]]
    assert len({round(sigma, 2) for sigma in blurs}) >= 3
    recipe = json.loads(json.dumps(result.recipe))
    for t, c in np.ndindex(2, 2):
        first, again = (
            nl.score(image, judged, axes="TCYX", volume={"T": t, "C": c}, device="cpu")
            for judged in (result, recipe)
        )
        assert again.held_out == pytest.approx(first.held_out, abs=1e-4)
        assert again.residual == first.residual


def test_volumes_channels_and_regions_are_found_in_the_image():
    _, image = specimen()
    stack = np.stack([image[::-1], image])
    result = nl.deconvolve(
        stack,
        nl.Wiener(gaussian_psf((SIGMA,) * 3)),
        axes="CZYX",
        region=(slice(0, 12), slice(4, 44), slice(0, 48)),
        device="cpu",
    )
    found = nl.score(stack, result, volume={"C": 1}, device="cpu")
    assert found.flux_ratio == pytest.approx(1, abs=0.1)
    assert found.volume == {"C": 1} and found.summary.startswith("C 1: Held-out score")
    with pytest.raises(ValueError, match="indices 0 to 1"):
        nl.score(stack, result, volume={"C": 2})
    with pytest.raises(ValueError, match="does not fit"):
        nl.score(stack[:, :, :-8], nl.deconvolve(stack, nl.Wiener(gaussian_psf((SIGMA,) * 3)), axes="CZYX"))


def test_without_photon_noise_there_is_no_held_out_score_but_a_reason():
    _, image = specimen()
    found = nl.score(gaussian_filter(image, 1), lambda part: part, blur_sigma=SIGMA)
    assert found.held_out is None
    assert found.gain is None
    assert found.correlations == ()
    assert found.residual.variance is None
    assert not found.photons
    assert found.reason in found.summary
    tiny = dataclasses.replace(found, residual=dataclasses.replace(found.residual, correlation=-0.001))
    assert "esidual correlation 0.00" in tiny.summary


def widefield(numerical_aperture):
    return nl.make_psf(
        "widefield",
        (81, 63, 63),
        numerical_aperture=numerical_aperture,
        refractive_index=1.515,
        emission_um=0.525,
        voxel_size=0.1625,
    )


@pytest.fixture(scope="module")
def haze():
    """Return a thin stack with light from above, below and the sides, its truth, and two PSFs."""
    whole = nl.make_structures("tubules", (40, 80, 80), rng=0, background=30)
    psf = widefield(1.4)
    sample = acquire(whole, psf, background=30, photons_per_unit=5, read_noise=1.5, field_shape=(24, 64, 64))
    return sample.image, sample.truth, psf, widefield(0.9)


def test_the_residual_of_a_thin_widefield_stack_tells_the_right_psf_from_a_wrong_one(haze):
    image, truth, right, wrong = haze
    good, bad = (nl.score(image, lambda part: truth, psf=psf) for psf in (right, wrong))
    assert good.residual.correlation < 0.3 and not good.leaves_structure
    assert bad.residual.correlation > 0.6 and bad.leaves_structure
    assert good.residual.variance < 1.5 < bad.residual.variance
    marked, unmarked = (nl.trust_map(image, lambda part: truth, psf=psf).share for psf in (wrong, right))
    assert marked > 0.9 and unmarked < 0.2
    agreement, other = (reblur_error(image, truth, psf=psf) for psf in (right, wrong))
    assert agreement.rsp > 0.98 and agreement.rse < other.rse
    assert reblur_error(image, -truth, psf=right).rsp < 0


def test_the_light_of_a_thin_widefield_stack_is_not_compared_with_that_of_its_object(haze):
    image, truth, right, _ = haze
    found = nl.score(image, lambda part: truth, psf=right)
    assert found.flux_out > 1.5 * found.flux_in  # the haze of the object left the stack
    assert found.light_from_around > 0.5 and found.flux_ratio is None
    assert "light" not in found.summary and found.as_dict()["flux_ratio"] is None
    assert nl.score(image, lambda part: truth, blur_sigma=SIGMA).flux_ratio is not None


def test_anything_else_than_a_method_is_refused():
    _, image = specimen()
    with pytest.raises(TypeError, match="give a result of deconvolve"):
        nl.score(image, 3)
    with pytest.raises(ValueError, match="keep the shape"):
        nl.score(image, lambda part: part[1:], blur_sigma=SIGMA)


def test_a_plane_is_compared_whether_or_not_a_method_gives_it_an_axis_z():
    image = np.random.default_rng(0).poisson(gaussian_filter(specimen()[0].max(axis=0), SIGMA))
    image = np.tile(image, (2, 2)).astype(np.float32)
    results = {
        "lucyd": nl.deconvolve(image, "lucyd", device="cpu"),
        "semi-blind": nl.deconvolve(image, nl.SemiBlind(), device="cpu"),
    }
    for order in (list(results), list(results)[::-1]):
        recipes = {name: json.loads(json.dumps(results[name].recipe)) for name in order}
        found = compare_held_out(image, recipes, device="cpu")
        assert all(one.score is not None for one in found.results.values()), found
    light = np.tile(gaussian_filter(specimen()[0], SIGMA), (1, 2, 2))
    stack = np.random.default_rng(1).poisson(light).astype(np.float32)
    recipe = nl.deconvolve(stack, nl.load_model("lucyd-planes"), axes="ZYX", device="cpu").recipe
    other = nl.deconvolve(stack, "lucyd", blur_sigma=1.0, device="cpu").recipe
    found = compare_held_out(stack, {"planes": recipe, "volume": other}, axes="ZYX", device="cpu")
    assert "plane by plane" in found.results["planes"].reason
