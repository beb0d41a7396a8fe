"""The search for blur and number of iterations, without any knowledge of them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import ndimage

from napari_lucyd.photons import NoiseModel, estimate_noise, search_held_out, thin
from photographs import photograph, texture
from small_richardson_lucy import (
    RichardsonLucy,
    diffraction_trajectory,
    diffraction_transfer,
    gaussian_trajectory,
    gaussian_transfer,
)

PHOTONS = NoiseModel(1.0, 0.0, 0.0, 50.0, True, "")


def psnr(output, truth) -> float:
    """Return the PSNR in dB, after the best affine map of the output."""
    slope, height = np.polyfit(output.ravel(), truth.ravel(), 1)
    return 10 * math.log10(np.ptp(truth) ** 2 / np.mean((slope * output + height - truth) ** 2))


def smoothing(asked=None):
    """A trajectory without a method: Gaussian smoothing, best at 1.5 voxels and 8 iterations."""

    def trajectory(parameters, split, steps):
        for num_iter in steps:
            if asked is not None:
                asked.append((parameters, num_iter))
            far = math.log(parameters[0] / 1.5) ** 2 + math.log(num_iter / 8) ** 2
            yield ndimage.gaussian_filter(split.fitted, 2) * (1 + 0.1 * far)

    return trajectory


@pytest.fixture
def split():
    return thin(photograph(np.full((48, 48), 30.0)), PHOTONS, share=0.8)


def test_the_likeliest_blur_and_number_of_iterations_are_found(split):
    choice = search_held_out(smoothing(), [split], [(0.6, 4.0)])
    assert choice.likeliest.parameters[0] == pytest.approx(1.5, rel=0.2)
    assert choice.likeliest.num_iter == 8
    assert choice.best.parameters >= choice.likeliest.parameters
    assert not choice.at_limit
    assert choice.likeliest.score.mean == max(candidate.score.mean for candidate in choice.blurs)
    assert [candidate.num_iter for candidate in choice.curve][:3] == [1, 2, 3]
    assert list(choice.blurs) == sorted(choice.blurs, key=lambda candidate: candidate.parameters)


def test_each_blur_is_followed_once_and_only_until_its_score_has_fallen(split):
    asked = []
    search_held_out(smoothing(asked), [split], [(0.6, 4.0)])
    assert len(asked) == len(set(asked))
    assert max(num_iter for _, num_iter in asked) == 15  # two worse ones after 8: 11 and 15
    assert len({parameters for parameters, _ in asked}) < 20


def test_a_best_value_at_the_end_of_its_range_is_said(split):
    assert search_held_out(smoothing(), [split], [(2.5, 4.0)]).at_limit
    assert search_held_out(smoothing(), [split], [(0.6, 4.0)], steps=(1, 2, 4)).at_limit


def test_a_parameter_whose_range_is_a_single_value_is_kept(split):
    choice = search_held_out(smoothing(), [split], [(0.6, 4.0), (2.0, 2.0)])
    assert {candidate.parameters[1] for candidate in choice.blurs} == {2.0}
    assert not choice.at_limit


def test_several_samples_are_scored_together_and_progress_is_told(split):
    other = thin(photograph(np.full((20, 40), 30.0)), PHOTONS, share=0.8)
    told = []
    choice = search_held_out(smoothing(), [split, other], [(0.6, 4.0)], on_candidate=told.append)
    assert choice.best.score.voxels.sum() == 48 * 48 + 20 * 40
    assert all(any(candidate is one for one in told) for candidate in choice.curve)


def test_an_exception_from_the_progress_ends_the_search(split):
    def stop(candidate):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search_held_out(smoothing(), [split], [(0.6, 4.0)], on_candidate=stop)


def test_searches_that_cannot_be_done_are_refused_in_words(split):
    with pytest.raises(ValueError, match="no split"):
        search_held_out(smoothing(), [], [(0.6, 4.0)])
    for ranges in ([], [(0, 4)], [(4, 0.6)]):
        with pytest.raises(ValueError, match="ranges is"):
            search_held_out(smoothing(), [split], ranges)
    for steps in ((), (0, 1), (2, 2), (3, 1)):
        with pytest.raises(ValueError, match="steps is"):
            search_held_out(smoothing(), [split], [(0.6, 4.0)], steps=steps)
    with pytest.raises(ValueError, match="gave no prediction"):
        search_held_out(lambda parameters, part, steps: iter(()), [split], [(0.6, 4.0)])


@pytest.mark.parametrize("blur", [1.2, 2.0])
def test_the_blur_of_a_simulated_image_is_found(blur):
    truth = 400 * texture((160, 160), 0.5, seed=2) + 5
    image = photograph(ndimage.gaussian_filter(truth, blur), 2.0, 100, 3.0)
    split = thin(image, estimate_noise(image), share=0.8)
    choice = search_held_out(gaussian_trajectory, [split], [(0.6, 4.0)])
    assert choice.best.parameters[0] == pytest.approx(blur, rel=0.25)
    gain = choice.best.score.minus(choice.smoothed)
    assert gain.mean > 3 * gain.standard_error
    again = search_held_out(gaussian_trajectory, [split], [(0.6, 4.0)])
    assert again.best.parameters == choice.best.parameters
    assert again.best.num_iter == choice.best.num_iter


def test_an_axial_blur_is_found_beside_the_lateral_one():
    truth = 300 * texture((16, 48, 48), 0.5, seed=2) + 5
    image = photograph(ndimage.gaussian_filter(truth, (2.4, 1.2, 1.2)), 2.0, 100, 3.0)
    split = thin(image, estimate_noise(image), share=0.8)

    def trajectory(parameters, part, steps):
        return gaussian_trajectory((parameters[0], parameters[1], parameters[1]), part, steps)

    choice = search_held_out(trajectory, [split], [(0.8, 6.0), (0.6, 3.0)])
    axial, lateral = choice.best.parameters
    assert lateral == pytest.approx(1.2, rel=0.25)
    assert axial == pytest.approx(2.4, rel=0.3)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["factin_nl", "microtubules"])
@pytest.mark.parametrize(
    ("trajectory", "limits", "transfer"),
    [
        (gaussian_trajectory, (0.6, 4.0), lambda value, shape: gaussian_transfer(shape, (value, value))),
        (diffraction_trajectory, (1.5, 9.0), lambda value, shape: diffraction_transfer(shape, value)),
    ],
    ids=["gaussian", "diffraction"],
)
def test_real_widefield_images_come_nearer_to_structured_illumination_with_nothing_told(
    shared, name, trajectory, limits, transfer
):
    import tifffile

    folder = shared / "data" / "real"
    image = tifffile.imread(folder / f"biosr_{name}_wf.tif")
    truth = tifffile.imread(folder / f"biosr_{name}_sim.tif").astype(float)
    noise = estimate_noise(image)
    assert noise.poisson, noise.reason
    split = thin(image[123:379, 123:379], noise, share=0.8)
    choice = search_held_out(trajectory, [split], [limits])
    value = choice.best.parameters[0]
    run = RichardsonLucy(
        noise.to_photons(image), lambda shape: transfer(value, shape), math.ceil(4 * value), split.background
    )
    for _ in range(choice.best.num_iter):
        run.advance()
    assert psnr(run.restored(), truth) > psnr(image.astype(float), truth) + 1.2
