"""Scores of an image against its truth, values along a line, projections: compared with values by hand."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
import zarr

from napari_lucyd.evaluation import psnr, ssim_global, ssim_windowed
from napari_lucyd.evaluation.comparison import score
from napari_lucyd.evaluation.line_profile import find_peaks, points_along, sample_line
from napari_lucyd.evaluation.projections import project_maximum


@pytest.fixture
def pair():
    generator = np.random.default_rng(0)
    truth = generator.random((8, 9, 10))
    return truth + generator.normal(0, 0.1, truth.shape), truth


def test_scores_are_the_metrics_under_their_names(pair):
    image, truth = pair
    span = truth.max()
    scores = score(image, truth)
    assert scores.psnr == psnr(image, truth)
    assert scores.ssim_global == pytest.approx(ssim_global(image / span, truth / span))
    assert scores.ssim_windowed == ssim_windowed(image, truth)
    assert scores.remarks == ()


def test_scores_do_not_depend_on_the_unit_of_intensity(pair):
    image, truth = pair
    one, other = score(image, truth), score(1000 * image, 1000 * truth)
    for name in ("psnr", "ssim_global", "ssim_windowed"):
        assert getattr(other, name) == pytest.approx(getattr(one, name))


def test_scores_of_integers_are_those_of_their_values(pair):
    image, truth = (np.round(200 * np.clip(values, 0, 1)).astype(np.uint8) for values in pair)
    assert score(image, truth).psnr == score(image.astype(float), truth.astype(float)).psnr


@pytest.mark.parametrize(
    ("image", "truth", "words"),
    [
        (np.zeros((8, 8)), np.zeros((8, 9)), "8 × 8, but the truth has 8 × 9"),
        (np.full((8, 8), np.nan), np.eye(8), "image has NaN"),
        (np.eye(8), np.full((8, 8), np.inf), "truth has NaN"),
        (np.eye(8), np.ones((8, 8)), "one value everywhere"),
    ],
)
def test_where_there_is_no_score_words_say_why(image, truth, words):
    scores = score(image, truth)
    assert scores.psnr is scores.ssim_global is scores.ssim_windowed is None
    assert words in scores.remarks[0]


def test_thin_volumes_have_no_windowed_ssim(pair):
    image, truth = (values[:6] for values in pair)
    scores = score(image, truth)
    assert scores.psnr is not None and scores.ssim_windowed is None
    assert "6 × 9 × 10" in scores.remarks[0]


def test_measuring_stops_when_asked(pair):
    assert score(*pair, should_stop=lambda: True).psnr is None


def test_a_line_has_the_values_between_voxels():
    z, y, x = np.indices((3, 6, 7), float)
    plane = 100 * z + 10 * y + x  # linear interpolation is exact
    values = sample_line(plane, (1, 0.5, 1), (1, 4.5, 5), 9)
    np.testing.assert_allclose(values, 100 + 10 * np.linspace(0.5, 4.5, 9) + np.linspace(1, 5, 9))


def test_a_line_reaches_half_a_voxel_beyond_the_last_and_no_further():
    values = sample_line(np.arange(4.0), [-1], [4], 11)
    np.testing.assert_array_equal(np.isnan(values), [True, *[False] * 9, True])
    assert (values[1], values[9]) == (0, 3)
    assert np.isnan(sample_line(np.zeros((2, 4)), (5, 0), (5, 3), 4)).all()


def test_a_line_reads_no_more_than_it_passes():
    read = []

    class Watched:
        shape = (50, 400, 400)

        def __getitem__(self, index):
            read.append(index)
            return np.zeros(tuple(part.stop - part.start for part in index))

    sample_line(Watched(), (7, 10, 20), (7, 12, 60), 41)
    assert read == [(slice(7, 8), slice(10, 13), slice(20, 61))]


def test_a_line_has_a_point_a_voxel():
    assert points_along([0.0]) == 2
    assert points_along([30.0, 7.0]) == 31
    assert points_along([1e6]) == 2000


@pytest.mark.parametrize("kind", ["numpy", "dask", "zarr"])
def test_projections_are_the_maxima(kind, monkeypatch):
    # Parts of some planes, so that several meet in one picture.
    monkeypatch.setattr("napari_lucyd.deconvolution.image.source._PART_VOXELS", 200)
    values = np.random.default_rng(0).integers(0, 1000, (2, 7, 11, 13)).astype(np.uint16)
    image = {
        "numpy": lambda: values,
        "dask": lambda: da.from_array(values, chunks=(1, 3, 5, 13)),
        "zarr": lambda: zarr.array(values, chunks=(1, 4, 11, 6)),
    }[kind]()
    lateral, axial = project_maximum(image, "CZYX", (1,))
    np.testing.assert_array_equal(lateral, values[1].max(axis=0))
    np.testing.assert_array_equal(axial, values[1].max(axis=1))


def test_projections_pass_over_nan_and_leave_what_is_empty():
    volume = np.full((2, 3, 4), np.nan)
    volume[1, 2, 3] = -5
    lateral, axial = project_maximum(volume, "ZYX")
    assert lateral[2, 3] == axial[1, 3] == -5
    assert np.isnan(lateral).sum() == 11 and np.isnan(axial).sum() == 7


def test_a_plane_has_no_axial_projection():
    plane = np.arange(12.0).reshape(3, 4)
    lateral, axial = project_maximum(plane, "YX")
    np.testing.assert_array_equal(lateral, plane)
    assert axial is None


def test_projecting_stops_when_asked():
    assert project_maximum(np.zeros((2, 3, 4)), "ZYX", should_stop=lambda: True) is None


def test_each_peak_of_a_profile_has_its_width():
    x = np.arange(200) * 0.1
    line = 3 * np.exp(-(((x - 6) / 0.5) ** 2) / 2) + 2 * np.exp(-(((x - 14) / 1.0) ** 2) / 2)
    line[:5] = np.nan
    first, second = find_peaks(line, step=0.1)
    assert (first.position, second.position) == pytest.approx((6, 14), abs=0.05)
    assert (first.fwhm, second.fwhm) == pytest.approx((2.355 * 0.5, 2.355), rel=0.02)
    assert find_peaks(np.zeros(20)) == []
