"""The numbers of classical methods in the tables: their best case."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import napari_lucyd as nl
from napari_lucyd.evaluation import (
    BEYOND,
    compared_methods,
    evaluate,
    load_competitor,
    open_protocol,
    surrogate_protocol,
    with_options,
)


@pytest.fixture
def tried(monkeypatch):
    """Every number that was tried, with its mean PSNR."""
    scores = {}
    measured = compared_methods._mean_psnr

    def remember(trial, samples, metric):
        scores[trial.chosen] = measured(trial, samples, metric)
        return scores[trial.chosen]

    monkeypatch.setattr(compared_methods, "_mean_psnr", remember)
    return scores


@pytest.mark.parametrize("column", [0, 4, 5, 11])
@pytest.mark.parametrize("name", ["richardson-lucy", "accelerated:richardson-lucy", "wiener"])
def test_the_best_number_is_never_the_largest_that_was_tried(name, column, tried):
    samples = open_protocol(2).samples(column, 500_000)
    chosen = load_competitor(name).tuned(samples).chosen
    assert chosen < max(tried)
    assert chosen > min(tried) or chosen == 1
    # Beyond the ends there may be a slightly better number, which makes no difference between methods.
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
    accelerated = load_competitor("accelerated:richardson-lucy")
    assert accelerated.name == "accelerated:richardson-lucy"
    assert dict(accelerated.fixed) == {"acceleration": True}


def test_surrogates_come_with_the_whole_psf():
    (sample,) = surrogate_protocol().samples(0, 100)
    assert sample.psf.shape == (127, 127, 127)
    assert sample.image.shape == (48, 96, 96)


def test_semi_blind_is_compared_without_the_psf_or_a_number():
    entry = load_competitor("semi-blind")
    protocol = open_protocol(2)
    (sample,) = protocol.samples(0, 100)
    small = replace(sample, image=sample.image[:32, :32], truth=sample.truth[:32, :32])
    expected = nl.deconvolve(small.image, nl.SemiBlind(), device="cpu").output
    np.testing.assert_array_equal(entry.restore(small, bare=False), expected)
    assert (entry.name, entry.sha256) == ("semi-blind", "")
    assert [variant.name for variant in with_options(entry)] == ["semi-blind", "semi-blind + prefilter"]
    cut = replace(protocol, columns=protocol.columns[:1], samples=lambda column, seed: [small])
    table = evaluate(cut, [entry], seeds=[100])
    assert "semi-blind" in table.markdown()


def test_the_surrogates_of_table_3_have_specimen_beyond_the_volume():
    assert surrogate_protocol(BEYOND).name == "table3-beyond"
    assert f"{BEYOND} voxels of specimen beyond" in surrogate_protocol(BEYOND).title
