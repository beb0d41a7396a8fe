"""The automatic choice of the method: the winner, images that are left alone, and the entry in the recipe."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

import napari_lucyd as nl
from napari_lucyd.deconvolution import method_from_recipe, options_from_recipe, plan
from napari_lucyd.deconvolution.classical.by_name import recorded_psf
from napari_lucyd.deconvolution.classical.methods import Unchanged
from napari_lucyd.errors import Cancelled
from napari_lucyd.io import read_image
from napari_lucyd.psf.gaussian import gaussian_psf
from napari_lucyd.referee import contest


@pytest.fixture
def small_contest(monkeypatch):
    """Few voxels, and no search of semi-blind Richardson-Lucy, which takes most of the time."""
    monkeypatch.setattr(contest, "_VOXELS", 2**14)
    entries = contest._entries

    def quick(*arguments):
        return (entry for entry in entries(*arguments) if entry.name in ("lucyd", "general", "nothing"))

    monkeypatch.setattr(contest, "_entries", quick)


def blurred(seed: int = 0) -> np.ndarray:
    """A camera image of blurred points."""
    random = np.random.default_rng(seed)
    light = ndimage.gaussian_filter(2e5 * (random.random((20, 48, 48)) > 0.998), 1.5)
    return random.poisson(light + 20).astype(np.float32)


def test_a_blurred_image_is_deconvolved_and_the_recipe_keeps_the_table(small_contest):
    image = blurred()
    result = nl.deconvolve(image, "auto", device="cpu")
    table = result.recipe["automatic"]
    assert table["chosen"] == result.recipe["model"] == "lucyd"
    assert [row["name"] for row in table["candidates"]] == ["lucyd", "general", "nothing"]
    assert table["candidates"][0]["held_out"] > table["candidates"][-1]["held_out"]
    repeated = nl.deconvolve(
        image,
        nl.load_model(result.recipe["model"]),
        **options_from_recipe(json.loads(json.dumps(result.recipe))),
    )
    np.testing.assert_array_equal(repeated.output, result.output)


def test_a_blur_that_is_found_narrower_than_one_may_tell_does_not_end_the_run(small_contest, monkeypatch):
    real = contest.find_blur
    monkeypatch.setattr(
        contest, "find_blur", lambda *arguments: replace(real(*arguments), sigma=(0.3, 1.5, 1.5))
    )
    table = nl.deconvolve(blurred(), "auto", device="cpu").recipe["automatic"]
    assert table["blur_sigma"] == [0.3, 1.35, 1.35]
    assert table["chosen"] == "lucyd"


def test_a_flash_in_the_middle_does_not_decide_for_a_movie(small_contest):
    movie = np.stack([blurred()] * 5)
    movie[2] = 65535
    assert not nl.choose_method(movie, axes="TZYX", device="cpu").left_alone


def test_noise_alone_comes_back_unchanged_with_a_warning_that_names_the_way_out(small_contest):
    image = np.random.default_rng(0).poisson(50, (16, 48, 48)).astype(np.uint16)
    result = nl.deconvolve(image, "auto", device="cpu", prefilter=1.0, outputs=("output", "update_term"))
    np.testing.assert_array_equal(result.output, image)
    assert result.recipe["automatic"]["chosen"] == "nothing"
    assert any("name a method, such as 'lucyd'" in text for text in result.warnings)
    assert isinstance(method_from_recipe(result.recipe), Unchanged)


def test_a_region_gets_the_method_of_the_whole_image(small_contest):
    image = blurred()
    whole = nl.deconvolve(image, "auto", device="cpu")
    region = nl.deconvolve(image, "auto", device="cpu", region=(slice(4, 12), slice(8, 24), slice(8, 24)))
    assert region.recipe["automatic"] == whole.recipe["automatic"]


def test_one_method_is_chosen_for_all_channels(small_contest):
    image = np.stack([blurred(0), 3 * blurred(1)])
    job = plan(image, "auto", axes="CZYX", device="cpu")
    assert job.choice.method.name == "lucyd"
    assert len(job.choice.told["blur_sigma"]) == 3


def test_an_image_that_is_left_alone_is_copied_out_of_core(small_contest, tmp_path):
    image = np.random.default_rng(0).poisson(50, (16, 48, 48)).astype(np.uint16)
    paths = nl.deconvolve_to_zarr(image, "auto", tmp_path / "same.ome.zarr", device="cpu")
    written = read_image(paths["output"])
    np.testing.assert_array_equal(written.data, image)
    assert written.metadata["recipe"]["automatic"]["chosen"] == "nothing"


def test_noise_that_is_not_of_photons_allows_no_contest():
    image = np.round(blurred() / 500)
    choice = nl.choose_method(image, device="cpu")
    assert choice.method.name == "lucyd"
    assert "without a comparison" in choice.reason
    assert choice.record["candidates"] == []


def test_what_an_examination_leaves_alone_is_left_alone_without_a_contest_too():
    # A result is as sharp as its voxels allow, and its noise is not that of photons.
    points = 2e3 * (np.random.default_rng(0).random((64, 64)) > 0.98)
    sharp = ndimage.gaussian_filter(points + 100, 0.3) + np.random.default_rng(1).normal(0, 1, points.shape)
    for image in (sharp, np.random.default_rng(0).normal(100, 5, (64, 64))):
        assert nl.examine(image).recommendation.leave_alone
        assert nl.choose_method(image, device="cpu").left_alone
    blurry = ndimage.gaussian_filter(points, 1.5) + np.random.default_rng(1).normal(0, 1, points.shape)
    assert not nl.examine(blurry).recommendation.leave_alone
    assert not nl.choose_method(blurry, device="cpu").left_alone


def test_a_sharp_channel_does_not_keep_a_blurred_one_from_being_restored():
    points = 2e3 * (np.random.default_rng(0).random((64, 64)) > 0.98)
    noise = np.random.default_rng(1).normal(0, 1, points.shape)
    blurry, sharp = (ndimage.gaussian_filter(points, sigma) + noise for sigma in (1.5, 0.3))
    for channels in ([blurry, sharp], [sharp, blurry]):
        choice = nl.choose_method(np.stack(channels), axes="CYX", device="cpu")
        assert not choice.left_alone and "without a comparison" in choice.reason
    assert nl.choose_method(np.stack([sharp, sharp]), axes="CYX", device="cpu").left_alone


def test_an_image_that_is_too_small_to_measure_is_not_said_to_show_nothing():
    small = blurred()[:8, 20:28, 20:28]
    found = nl.examine(small)
    assert found.blur_sigma is None and not found.recommendation.leave_alone
    assert any("too small to find its blur" in reason for reason in found.recommendation.reasons)
    assert not nl.choose_method(small, device="cpu").left_alone


def test_lucyd_wins_ties(monkeypatch):
    voxels = np.ones(100)

    def scored(name, values):
        return contest.Candidate(name, contest.BlockScore(values, voxels))

    spread = np.random.default_rng(0).normal(0, 0.1, 100)
    lucyd, image = scored("lucyd", 0.5 + spread), scored("nothing", 0.2 + spread)
    entries = [contest._Entry(name, Unchanged(), {}, None) for name in ("lucyd", "other", "nothing")]
    noisy = np.random.default_rng(1).normal(0.01, 0.1, 100)
    assert (
        contest._decide(entries, [lucyd, scored("other", 0.5 + spread + noisy), image]).record["chosen"]
        == "lucyd"
    )
    hardly = scored("lucyd", 0.2 + spread + noisy)
    alone = contest._decide(entries, [hardly, hardly, image])
    assert alone.left_alone
    assert "name a method" in alone.warning
    better = scored("other", 0.6 + spread)
    assert contest._decide(entries, [lucyd, better, image]).record["chosen"] == "other"
    # 0.31 is less than a tenth more than the 0.3 that "lucyd" gains.
    little = scored("other", 0.51 + spread)
    assert contest._decide(entries, [lucyd, little, image]).record["chosen"] == "lucyd"


def test_a_second_look_at_coarse_structure_decides_where_noise_hides_the_gain():
    voxels, random = np.ones(100), np.random.default_rng(2)

    def scored(name, fine, coarse):
        noise = random.normal(0, 0.5, 100)
        return contest.Candidate(
            name,
            contest.BlockScore(fine + noise - noise.mean(), voxels),
            contest.BlockScore(np.full(100, coarse) + random.normal(0, 0.01, 100), voxels),
        )

    entries = [contest._Entry(name, Unchanged(), {}, None) for name in ("lucyd", "nothing")]
    image = scored("nothing", 0.2, 0.2)
    assert contest._decide(entries, [scored("lucyd", 0.25, 0.25), image]).record["chosen"] != "nothing"
    assert contest._decide(entries, [scored("lucyd", 0.25, 0.2), image]).left_alone
    assert contest._decide(entries, [scored("lucyd", 0.9, 0.1), image]).left_alone


def test_what_the_first_look_cannot_see_is_judged_by_the_second_alone():
    random = np.random.default_rng(3)
    hidden = random.normal(0, 1, 100)
    hidden *= 1 / hidden.sum()  # the noise of blocks without visible structure

    def scored(name, coarse):
        fine = contest.BlockScore(3 * coarse * hidden, hidden)
        noise = random.normal(0, 0.01, 100)
        return contest.Candidate(name, fine, contest.BlockScore(np.full(100, coarse) + noise, np.ones(100)))

    entries = [contest._Entry(name, Unchanged(), {}, None) for name in ("lucyd", "nothing")]
    image = scored("nothing", 0.3)
    choice = contest._decide(entries, [scored("lucyd", 0.6), image])
    assert choice.record["chosen"] == "lucyd"
    assert choice.record["candidates"][0]["held_out"] == pytest.approx(0.6, abs=0.01)
    assert contest._decide(entries, [scored("lucyd", 0.3), image]).left_alone
    # Without structure in either look nothing is chosen, however good the scores are.
    empty = [contest.Candidate(one.name, one.score, one.score) for one in (scored("lucyd", 0.9), image)]
    assert contest._decide(entries, empty).left_alone


def test_a_plane_of_faint_tubules_is_not_left_alone():
    random = np.random.default_rng(1)
    light = nl.make_structures("tubules", (192, 192), rng=1).image
    low, high = np.percentile(light, (1, 99.9))
    light = ndimage.gaussian_filter(np.clip((light - low) / (high - low), 0, None), 2)
    image = random.poisson((light + 0.05) * 100) / 100 + random.normal(0, 0.02, light.shape)
    choice = nl.choose_method(image.astype(np.float32), device="cpu", blur_sigma=2)
    assert not choice.left_alone


@pytest.mark.parametrize("told", [{}, {"blur_sigma": 1.5}])
@pytest.mark.parametrize(
    ("shape", "networks"),
    [
        ((16, 48, 48), ["lucyd", "general", "mixture", "membranes", "nuclei"]),
        ((64, 64), ["lucyd-planes", "planes"]),
    ],
)
def test_who_competes(shape, networks, told, monkeypatch):
    names = []

    def scored(entry, parts):
        names.append(entry.name)
        values = contest.BlockScore(np.linspace(0.4, 0.6, 100), np.ones(100))
        return contest.Candidate(entry.name, values, values)

    monkeypatch.setattr(contest, "_score", scored)
    light = ndimage.gaussian_filter(2e4 * (np.random.default_rng(0).random(shape) > 0.99), 1.5)
    nl.choose_method(np.random.default_rng(1).poisson(light + 20), device="cpu", **told)
    classical = ["richardson-lucy"] if told else ["semi-blind", "richardson-lucy"]
    assert names == [*networks, *classical, "nothing"]


@pytest.mark.parametrize("candidate", ["lucyd", "general", "richardson-lucy"])
def test_it_stops_within_the_run_of_a_candidate(candidate, monkeypatch):
    monkeypatch.setattr(contest, "_VOXELS", 2**14)
    entries, names = contest._entries, []

    def one(*arguments):
        return (entry for entry in entries(*arguments) if entry.name == candidate)

    monkeypatch.setattr(contest, "_entries", one)
    monkeypatch.setattr(contest, "explained", lambda *_: pytest.fail("the candidate ran to its end"))
    with pytest.raises(Cancelled, match="while the method was chosen"):
        nl.choose_method(
            blurred(),
            device="cpu",
            blur_sigma=1.5,
            progress=lambda done, total, name: names.append(name),
            should_stop=lambda: bool(names),
        )
    assert names == [candidate]


def test_the_reason_names_the_blur_that_was_taken(small_contest):
    image = blurred()
    choice = nl.choose_method(image, device="cpu")
    assert "No blur was given: " in choice.reason
    assert f"{choice.record['blur_sigma'][1]:.2g}" in choice.reason and "a tenth narrower" in choice.reason
    assert "No blur" not in nl.choose_method(image, device="cpu", blur_sigma=1.5).reason


def test_richardson_lucy_with_the_blur_that_was_found_is_repeated_from_the_recipe(monkeypatch):
    monkeypatch.setattr(contest, "_VOXELS", 2**14)
    entries = contest._entries

    def two(*arguments):
        return (entry for entry in entries(*arguments) if entry.name in ("richardson-lucy", "nothing"))

    monkeypatch.setattr(contest, "_entries", two)
    image = blurred()
    result = nl.deconvolve(image, "auto", device="cpu")
    recipe = json.loads(json.dumps(result.recipe))
    assert recipe["automatic"]["chosen"] == "richardson-lucy" and len(recipe["automatic"]["blur_sigma"]) == 3
    repeated = nl.deconvolve(image, method_from_recipe(recipe), **options_from_recipe(recipe))
    np.testing.assert_allclose(repeated.output, result.output, rtol=1e-5)
    assert nl.score(image, recipe, device="cpu").held_out is not None


@pytest.mark.parametrize("known", ["blur_sigma", "microscope", "psf"])
def test_richardson_lucy_with_a_blur_that_was_told_is_repeated_from_the_recipe(known, monkeypatch):
    monkeypatch.setattr(contest, "_VOXELS", 2**14)
    monkeypatch.setattr(contest, "_helps", lambda *_: True)
    entries = contest._entries

    def two(*arguments):
        return (entry for entry in entries(*arguments) if entry.name in ("richardson-lucy", "nothing"))

    monkeypatch.setattr(contest, "_entries", two)
    optics = [
        nl.Microscope(
            "widefield",
            numerical_aperture=0.8,
            refractive_index=1.33,
            emission_um=emission,
            psf_size=(7, 11, 11),
        )
        for emission in (0.5, 0.6)
    ]
    # It has to be centred and resampled for the image.
    psf = np.pad(gaussian_psf((0.8, 1.5, 1.5)), ((2, 0), (0, 4), (0, 0)))
    told = {
        "blur_sigma": {"blur_sigma": (1.2, 1.5, 1.5)},
        "microscope": {"microscope": optics},
        "psf": {"psf": psf, "psf_voxel_size": (0.4, 0.2, 0.2)},
    }[known]
    image = np.stack([blurred(0), blurred(1)])
    result = nl.deconvolve(image, "auto", device="cpu", axes="CZYX", voxel_size=(0.3, 0.2, 0.2), **told)
    recipe = json.loads(json.dumps(result.recipe))
    assert recipe["automatic"]["chosen"] == "richardson-lucy" and known in recipe["automatic"]["told"]
    given = told.get("psf")
    repeated = nl.deconvolve(image, method_from_recipe(recipe, given), **options_from_recipe(recipe))
    np.testing.assert_allclose(repeated.output, result.output, rtol=1e-5)
    if known == "psf":
        with pytest.raises(ValueError, match="not that of the recipe"):
            method_from_recipe(recipe, 2 * psf)
        assert recorded_psf(recipe) is None
        return
    # Recipes from elsewhere may say anything.
    for entry, value in (("blur_sigma", "much"), ("microscope", {"modality": "none"})):
        wrong = {**recipe, "automatic": {"told": {entry: value}}}
        assert recorded_psf(wrong) is None


def test_a_small_object_with_all_the_structure_does_not_hide_that_all_blocks_gain():
    random = np.random.default_rng(0)
    structure = random.normal(0, 0.005, 100)
    structure[7] += 1
    gain = 0.001 + random.normal(0, 0.0005, 100)
    gain[7] += 0.05

    def scored(name, sums):
        return contest.Candidate(name, contest.BlockScore(sums, structure))

    entries = [contest._Entry(name, Unchanged(), {}, None) for name in ("lucyd", "nothing")]
    image = scored("nothing", 0.9 * structure)
    better = scored("lucyd", 0.9 * structure + gain)
    assert better.score.minus(image.score).mean < 2 * better.score.minus(image.score).standard_error
    assert contest._decide(entries, [better, image]).record["chosen"] == "lucyd"
    # Without structure, less noise is no reason to deconvolve.
    structure = random.normal(0, 0.005, 100)
    image = scored("nothing", 0.9 * structure)
    assert contest._decide(entries, [scored("lucyd", 0.9 * structure + gain), image]).left_alone
