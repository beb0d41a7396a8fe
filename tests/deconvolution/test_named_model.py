"""Models by name: the default is that of volumes or of planes, as the image is."""

from __future__ import annotations

import numpy as np
import pytest

import napari_lucyd as nl
from napari_lucyd.deconvolution import plan
from napari_lucyd.deconvolution.named_model import model_for


@pytest.mark.parametrize(
    ("shape", "axes", "name"),
    [
        ((8, 16, 16), None, "lucyd"),
        ((16, 16), None, "lucyd-planes"),
        ((5, 16, 16), "TYX", "lucyd-planes"),
        ((2, 8, 16, 16), "CZYX", "lucyd"),
        ((1, 16, 16), "ZYX", "lucyd-planes"),
        ((3, 1, 16, 16), "TZYX", "lucyd-planes"),
    ],
)
def test_lucyd_is_the_model_of_the_image(shape, axes, name):
    assert model_for("lucyd", np.zeros(shape, np.float32), axes).name == name


def test_any_shipped_name_or_file_is_taken(tmp_path):
    image = np.random.default_rng(0).random((8, 16, 16), dtype=np.float32)
    by_name = nl.deconvolve(image, "general", device="cpu").output
    assert np.array_equal(by_name, nl.deconvolve(image, nl.load_model("general"), device="cpu").output)
    model = nl.load_model("general")
    path = nl.save_model(
        tmp_path / "mine.safetensors",
        model.network,
        card=model.card,
        normalization=model.card["normalization"],
    )
    assert model_for(str(path), image).name == "mine"


def test_what_is_no_model_is_refused():
    image = np.zeros((8, 16, 16), np.float32)
    with pytest.raises(FileNotFoundError, match="There is no model 'lucid'"):
        plan(image, "lucid")
    with pytest.raises(ValueError, match=r"model is 'wiener', which is a method.*give napari_lucyd\.Wiener"):
        plan(image, "wiener")
    with pytest.raises(TypeError, match="model is 3; give 'lucyd'"):
        plan(image, 3)
