"""The numbers that classical methods are given in tables: their best case."""

from __future__ import annotations

from dataclasses import replace

import pytest

from napari_lucyd.evaluation import compared_methods, load_competitor, open_protocol, surrogate_protocol


@pytest.fixture
def tried(monkeypatch):
    """Every number that was tried, with its mean PSNR."""
    scores = {}
    measured = compared_methods._mean_psnr

    def remember(trial, samples):
        scores[trial.chosen] = measured(trial, samples)
        return scores[trial.chosen]

    monkeypatch.setattr(compared_methods, "_mean_psnr", remember)
    return scores


@pytest.mark.parametrize("column", [0, 4, 5, 11])
@pytest.mark.parametrize("name", ["richardson-lucy", "wiener"])
def test_the_best_number_is_never_the_largest_that_was_tried(name, column, tried):
    samples = open_protocol(2).samples(column, 500_000)
    chosen = load_competitor(name).tuned(samples).chosen
    assert chosen < max(tried)
    assert chosen > min(tried) or chosen == 1
    # At the ends there may be a little more, which no longer tells methods apart.
    assert tried[chosen] > max(tried.values()) - 0.05


def test_a_grid_that_ends_too_early_is_continued(tried):
    samples = open_protocol(2).samples(4, 500_000)
    few = replace(load_competitor("richardson-lucy"), candidates=(1, 2, 4))
    chosen = few.tuned(samples).chosen
    assert 4 < chosen < max(tried)
    tried.clear()
    coarse = replace(load_competitor("wiener"), candidates=(1.0, 3.0, 10.0)).tuned(samples).chosen
    assert min(tried) < coarse < 1


def test_tables_count_plain_iterations():
    assert dict(load_competitor("richardson-lucy").fixed) == {"acceleration": False}


def test_surrogates_come_with_the_whole_psf():
    (sample,) = surrogate_protocol().samples(0, 100)
    assert sample.psf.shape == (127, 127, 127)
    assert sample.image.shape == (48, 96, 96)
