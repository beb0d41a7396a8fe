"""The trust suite: each probe gives the right answer for methods whose answer is known."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage
from typer.testing import CliRunner

import napari_lucyd as nl
from napari_lucyd.cli import app
from napari_lucyd.deconvolution import DeconvolutionError
from napari_lucyd.evaluation import TrustTable, full_width, load_competitor, measure_trust
from napari_lucyd.evaluation.compared_methods import Trained
from napari_lucyd.evaluation.trust.images import BACKGROUND, BLUR, NOISE, SIGNAL, exposed, field_of_balls
from napari_lucyd.evaluation.trust.limits import PROBES
from napari_lucyd.evaluation.trust.probes import (
    BEAD_WIDTH,
    DISTANCES,
    measure_bead,
    measure_beside,
    measure_empty,
    measure_flat,
    measure_flux,
    measure_linearity,
    measure_pairs,
    object_fluxes,
)

ROOT = Path(__file__).parents[3]
SIGMA = NOISE * SIGNAL


def perfect(sample):
    return sample.truth


def idle(sample):
    return sample.image


def gaussian(sample):
    return ndimage.gaussian_filter(sample.image, BLUR)


def richardson_lucy(sample):
    # With the background, unlike the suite's competitor, and like that without acceleration.
    method = nl.RichardsonLucy(sample.psf, num_iter=20, acceleration=False, background=BACKGROUND)
    return nl.deconvolve(sample.image, method, outputs=("output",), device="cpu").output + BACKGROUND


@pytest.mark.parametrize("dimension", [2, 3])
def test_a_perfect_method_is_inside_every_limit_and_has_the_right_numbers(dimension):
    numbers = {probe.name: probe.measure(perfect, dimension) for probe in PROBES if probe.measure}
    assert numbers["empty"] == numbers["beside"] == {"noise": 0, "peak": 0, "largest": 0, "shift": 0}
    assert numbers["bead"]["flux"] == pytest.approx(1, abs=1e-4)
    assert numbers["bead"]["fwhm"] == pytest.approx(BEAD_WIDTH)
    assert numbers["bead"]["ring"] == pytest.approx(0, abs=1e-6)
    assert numbers["pairs"]["resolved"] == min(DISTANCES)
    assert numbers["linearity"]["one"] == pytest.approx(2, abs=1e-4)
    assert numbers["linearity"]["twice"] == pytest.approx(0, abs=1e-3)
    assert numbers["flux"]["spread"] == pytest.approx(0, abs=1e-4)
    for name in ("whole", "total", "bright", "faint"):
        assert numbers["flux"][name] == pytest.approx(1, abs=1e-4)
    for probe in PROBES:
        assert set(numbers.get(probe.name, {"share"})) == {entry.name for entry in probe.quantities}


def test_the_image_as_it_is_keeps_light_and_noise_and_is_as_wide_as_the_blur_makes_it():
    empty, bead, flux = measure_empty(idle, 3), measure_bead(idle, 3), measure_flux(idle, 3)
    assert empty["noise"] == pytest.approx(1)
    # The largest of 131,072 normal numbers is 4.4 on average; three neighbours above 3 are rare.
    assert 3.8 < empty["peak"] < 5.5 and empty["largest"] <= 4
    # The mean of 131,072 voxels has an error of 0.003 of their deviation.
    assert empty["shift"] == pytest.approx(0, abs=0.014)
    # The variances of ball and blur add; a ball's deviation is its radius over the root of 5.
    assert bead["fwhm"] == pytest.approx(2.355 * np.hypot(BLUR, 1.5 / 5**0.5), abs=0.3)
    assert bead["flux"] == pytest.approx(1, abs=0.06)
    assert flux["total"] == pytest.approx(1, abs=0.03)


def test_two_points_are_resolved_where_theory_has_it():
    # Two Gaussians of sigma 1.5 at distance d: the height in the middle over that at each of them.
    def dip(d):
        return 1 - 2 * np.exp(-(d**2) / 8 / BLUR**2) / (1 + np.exp(-(d**2) / 2 / BLUR**2))

    numbers = measure_pairs(lambda sample: sample.image, 3)
    for distance in DISTANCES:
        # Noise of 3 % of the brightest pair, which is up to 6 % of the others.
        assert numbers[f"dip_{distance}"] == pytest.approx(100 * max(0, dip(distance)), abs=8)
    assert numbers["resolved"] == min(d for d in DISTANCES if dip(d) >= 0.265) == 5
    # After another blur the image has a sigma of 2.5, which merges all of them.
    assert measure_pairs(lambda s: ndimage.gaussian_filter(s.image, 2), 3)["resolved"] is None
    assert measure_pairs(richardson_lucy, 2)["resolved"] < 5


def test_one_point_lost_is_a_pair_merged():
    def without_the_right(sample):
        truth = sample.truth.copy()
        lit = np.argwhere(truth > BACKGROUND + 1)
        for point in lit:
            if any((point[:-1] == other[:-1]).all() and 0 < point[-1] - other[-1] <= 6 for other in lit):
                truth[tuple(point)] = BACKGROUND
        return truth

    numbers = measure_pairs(without_the_right, 2)
    assert numbers["resolved"] is None
    assert not any(numbers[f"dip_{distance}"] for distance in DISTANCES)


def test_richardson_lucy_sharpens_and_keeps_the_light_of_a_bead():
    numbers = measure_bead(richardson_lucy, 2)
    assert numbers["flux"] == pytest.approx(1, abs=0.06)
    assert numbers["fwhm"] == pytest.approx(BEAD_WIDTH, rel=0.2) and numbers["fwhm"] < 3.2


def test_false_objects_and_lost_noise_are_counted():
    def inventive(sample):
        output = np.full_like(sample.image, BACKGROUND)
        output[..., 5:8, 50:53] += 10 * SIGMA  # below the dotted line of `beside`, too
        output[..., 40, 50] += 4 * SIGMA
        return output

    for measure in (measure_empty, measure_beside):
        numbers = measure(inventive, 2)
        assert numbers["largest"] == 9
        assert numbers["peak"] == pytest.approx(10, rel=1e-5)
    assert measure_empty(lambda sample: sample.image + 2 * SIGMA, 2)["shift"] == pytest.approx(2, abs=0.1)
    assert measure_empty(lambda s: 3 * (s.image - BACKGROUND) + BACKGROUND, 2)["noise"] == pytest.approx(3)


def test_wrong_levels_and_grain_are_seen():
    compressed = measure_flat(lambda s: BACKGROUND + 0.8 * (s.truth - BACKGROUND), 2)
    assert compressed["level"] == pytest.approx(-20, abs=0.1)
    assert compressed["constant"] == 0 and compressed["grain"] == 0
    assert measure_flat(lambda sample: 1.01 * sample.image, 2)["constant"] == pytest.approx(1, abs=1e-3)
    assert measure_flat(idle, 3)["grain"] == pytest.approx(1, abs=0.06)


def test_a_method_that_clips_is_caught():
    def clip(sample):
        return np.minimum(sample.image, BACKGROUND + 0.3 * SIGNAL)

    assert measure_flat(clip, 2)["level"] == pytest.approx(-70, abs=1)
    assert measure_linearity(clip, 2)["twice"] > 10
    flux = measure_flux(clip, 2)
    assert flux["bright"] < 0.8 < flux["faint"] and flux["whole"] < 0.9


def test_rings_and_hollow_centres_are_seen():
    def ringed(sample):
        # Unsharp, as a Mexican hat.
        light = sample.truth - BACKGROUND
        return (
            BACKGROUND + ndimage.gaussian_filter(2 * light, 1.5) - ndimage.gaussian_filter(1.5 * light, 2.5)
        )

    def hollow(sample):
        blurred = ndimage.gaussian_filter(sample.truth, 2)
        return np.where(sample.truth > 0.9 * sample.truth.max(), BACKGROUND, blurred)

    assert measure_bead(ringed, 2)["ring"] > 5
    assert measure_bead(hollow, 2)["ring"] > 50
    # Nothing at all has no width, and no ring.
    nothing = measure_bead(lambda sample: np.full_like(sample.truth, BACKGROUND), 2)
    assert nothing == {"flux": 0.0, "fwhm": None, "ring": None}


def test_linear_methods_are_linear_and_others_are_not():
    linear = measure_linearity(gaussian, 3)
    # Rounding in float32 of numbers up to 2,000 above outputs of a range of some 600.
    assert linear["twice"] < 1e-3 and linear["lifted"] < 0.1
    assert linear["one"] == pytest.approx(2, abs=0.1)

    def squared(sample):
        return BACKGROUND + (sample.truth - BACKGROUND) ** 2 / SIGNAL

    square = measure_linearity(squared, 2)
    assert square["one"] == pytest.approx(4, abs=1e-3)
    assert square["twice"] > 50 and square["lifted"] > 50
    assert measure_linearity(lambda s: s.image / s.image.max(), 2)["others"] == pytest.approx(0, abs=5)


def test_light_is_measured_object_by_object_whatever_the_background():
    balls, radii = field_of_balls(3)
    given = np.array([light.sum(dtype=np.float64) for light in balls])
    truth = exposed(np.sum(balls, axis=0), seed=0).truth
    # A tenth of a voxel's light lies in the corners of the cells at most.
    np.testing.assert_allclose(object_fluxes(truth + 50, radii), given, rtol=1e-3)
    fading = measure_flux(lambda sample: BACKGROUND + 0.7 * (sample.truth - BACKGROUND), 3)
    assert [fading[name] for name in ("whole", "total", "bright", "faint")] == pytest.approx([0.7] * 4)
    assert measure_flux(lambda sample: sample.truth + 10, 3)["whole"] > 1.2


def test_full_width_of_lines_that_have_one_and_of_those_that_have_none():
    x = np.arange(41)
    assert full_width(np.exp(-0.5 * ((x - 20) / 4) ** 2), 0) == pytest.approx(2.355 * 4, abs=0.1)
    assert full_width(np.arange(9), 0) != full_width(np.arange(9), 0)  # NaN: it never falls again
    assert np.isnan(full_width(np.ones(5)))


def test_table_has_truth_input_and_each_method_as_deconvolve_runs_it(random_model_2d, tmp_path):
    probes = [probe for probe in PROBES if probe.name in ("bead", "flat", "division")]
    kept = []
    table = measure_trust(
        [Trained(random_model_2d), load_competitor("wiener")],
        probes=probes,
        keep=lambda *given: kept.append(given),
    )
    assert table.methods == ["truth", "input", "random-2d", "wiener"]
    assert table.settings.keys() == {"wiener"} and not table.failures
    *_, sample, output = next(entry for entry in kept if entry[:2] == ("random-2d", "bead"))
    np.testing.assert_array_equal(output, nl.deconvolve(sample.image, random_model_2d, device="cpu").output)
    assert {entry.sha256 for entry in table.row("bead", "random-2d")} == {random_model_2d.sha256}
    assert table.row("division", "random-2d")[0].value > 0
    assert not table.row("division", "wiener")
    # Random weights restore nothing; the truth is never listed, nor the input that is too wide.
    assert "random-2d" in table.outside("bead") and not {"truth", "input"} & table.outside("bead").keys()

    paths = table.save(tmp_path)
    assert [path.name for path in paths] == ["trust.md", "trust.csv", "trust.json"]
    assert TrustTable.load(paths[2]) == table
    rows = list(csv.DictReader(paths[1].read_text("utf-8").splitlines()))
    assert len(rows) == len(table.readings)
    assert {row["within"] for row in rows} == {"True", "False"}
    text = paths[0].read_text("utf-8")
    assert "### A single bead" in text and "| *limits* |" in text and "Linearity" not in text


def test_a_run_that_fails_is_reported_and_the_others_go_on(random_model_2d, monkeypatch):
    def fail(self, sample, bare):
        raise DeconvolutionError("The output is not finite.")

    monkeypatch.setattr(Trained, "restore", fail)
    flat = [probe for probe in PROBES if probe.name == "flat"]
    table = measure_trust([Trained(random_model_2d)], probes=flat)
    assert table.failures == ["random-2d, constant images and flat fields: The output is not finite."]
    assert [entry.value for entry in table.row("flat", "random-2d")] == [None] * 3
    assert table.outside("flat").keys() == {"random-2d"}
    # Levels of float32, up to 1,200.
    assert [entry.value for entry in table.row("flat", "truth")] == pytest.approx([0] * 3, abs=1e-4)


def test_planes_beside_volumes_say_so_and_names_are_told_apart(random_model, random_model_2d):
    table = measure_trust([Trained(random_model), Trained(random_model_2d)], probes=PROBES[2:3])
    assert table.methods == ["truth", "input", "random-3d", "truth, 2D", "input, 2D", "random-2d, 2D"]
    with pytest.raises(ValueError, match="Two methods are called 'random-3d'"):
        measure_trust([Trained(random_model)] * 2)


def test_command_prints_and_writes_the_suite(random_model_2d, tmp_path):
    path = nl.save_model(tmp_path / "mine.safetensors", random_model_2d.network)

    def lucyd(*arguments):
        return CliRunner().invoke(app, ["evaluate", "trust", *map(str, arguments)])

    done = lucyd("--methods", path, "-o", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert "### Two points at falling distance" in done.output and "| mine |" in done.output
    recorded = json.loads((tmp_path / "out" / "trust.json").read_text("utf-8"))
    assert {entry["probe"] for entry in recorded["readings"]} == {probe.name for probe in PROBES}
    refused = lucyd("--seeds", "1")
    assert refused.exit_code == 1 and "leave out --seeds" in refused.output


def test_page_is_what_its_numbers_give(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "scripts")
    monkeypatch.delitem(sys.modules, "trust", raising=False)
    import trust

    table = TrustTable.load(trust.FILES / "trust.json")
    assert trust.PAGE.read_text("utf-8") == trust.page(table)
    assert {name.removesuffix(", 2D") for name in table.methods} == {"truth", "input", *trust.METHODS}
    assert trust.SECTIONS.keys() == {probe.name for probe in PROBES}
