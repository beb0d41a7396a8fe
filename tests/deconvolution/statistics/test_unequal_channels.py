"""Channels with different dark levels that share one scaling are named."""

from __future__ import annotations

import numpy as np
import pytest

from napari_lucyd import deconvolve
from napari_lucyd._napari.workers.window_words import in_window_words
from told_models import blobs

TEXT = "All channels share one scaling, but their dark levels differ"


def warnings_of(image, model, **options):
    found = deconvolve(image, model, device="cpu", **options).recipe["warnings"]
    return [text for text in found if text.startswith(TEXT)]


@pytest.mark.parametrize("model", ["lucyd", "nuclei"])
def test_channels_with_other_dark_levels_are_named(model):
    image = np.stack([blobs(8, 40, 40), blobs(8, 40, 40, seed=1, level=30)])
    (text,) = warnings_of(image, model, axes="CZYX", separate="")
    assert "in C 1," in text and "in C 0." in text and text.endswith("(separate='C', --separate C).")
    assert "that is not there; choose Statistics ▸ Per channel." in in_window_words(text)
    assert not warnings_of(image, model, axes="CZYX")
    # Time points may fade.
    assert not warnings_of(image, model, axes="TZYX", separate="")


def test_channels_with_equal_dark_levels_are_not(random_model_2d):
    image = np.stack([blobs(60, 60), 0.5 * blobs(60, 60, seed=1) + 50])
    for model in ("lucyd", random_model_2d):
        assert not warnings_of(image, model, axes="CYX", separate="")


def test_an_empty_channel_and_missing_voxels_are_passed_over(random_model_2d):
    image = np.stack([blobs(60, 60), np.full((60, 60), np.nan, np.float32)])
    assert not warnings_of(image, random_model_2d, axes="CYX", separate="")
