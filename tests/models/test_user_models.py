"""The user's models: listed and loaded by name, beside the shipped ones."""

from __future__ import annotations

import pytest

import napari_lucyd as nl
from napari_lucyd.models.catalogue import shipped_models
from napari_lucyd.models.user_models import FOLDER_VARIABLE, check_model_name, user_models_folder

SHIPPED = {card["name"] for card in shipped_models()}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path))
    return tmp_path


def test_a_model_in_the_folder_is_listed_last_and_loaded_by_name(folder, random_model_2d):
    card = {"title": "Mine", "normalization": {"method": "minmax"}}
    nl.save_model(folder / "my confocal.safetensors", random_model_2d.network, card=card)
    cards = nl.list_models()
    assert [one["name"] for one in cards] == [*(one["name"] for one in shipped_models()), "my confocal"]
    assert cards[-1]["title"] == "Mine"
    model = nl.load_model("my confocal")
    assert (model.name, model.dimension, model.card["title"]) == ("my confocal", 2, "Mine")
    image = [[float(x * y % 5) for x in range(16)] for y in range(16)]
    assert nl.deconvolve(image, "my confocal", device="cpu").recipe["model"] == "my confocal"


def test_a_damaged_card_hides_its_model_and_a_shipped_name_stays_the_shipped_model(folder, random_model_2d):
    for name in ("broken", "lucyd"):
        nl.save_model(folder / f"{name}.safetensors", random_model_2d.network)
    (folder / "broken.json").write_text("[")
    assert [card["name"] for card in nl.list_models()] == [card["name"] for card in shipped_models()]
    assert nl.load_model("lucyd").dimension == 3
    with pytest.raises(FileNotFoundError, match=r"no model 'mine'.*nor one of yours \(broken, lucyd\)"):
        nl.load_model("mine")


def test_without_the_variable_the_folder_is_in_the_users_data(monkeypatch):
    monkeypatch.delenv(FOLDER_VARIABLE)
    assert user_models_folder().parts[-2:] == ("napari-lucyd", "models")


@pytest.mark.parametrize("name", ["a", "my-confocal", "63x oil", "NA1.4_v2", "x" * 60])
def test_plain_names_are_accepted(name):
    assert check_model_name(name, SHIPPED) == name


@pytest.mark.parametrize(
    "name", ["", " a", "a ", "a.", ".a", "../a", "a/b", "a\\b", "x" * 61, "nul", "COM1.x", "µm", "a\n", "a:b"]
)
def test_names_that_are_no_good_file_names_are_refused(name):
    with pytest.raises(ValueError, match="give up to 60 letters"):
        check_model_name(name, SHIPPED)


@pytest.mark.parametrize("name", ["lucyd", "Lucyd-Planes", "wiener", "auto"])
def test_names_of_shipped_models_and_methods_are_refused(name):
    with pytest.raises(ValueError, match="shipped model or method"):
        check_model_name(name, SHIPPED)
    with pytest.raises(TypeError, match="give a text"):
        check_model_name(3, SHIPPED)
