"""``lucyd train`` and ``lucyd evaluate``, through the command."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

import napari_lucyd as nl
from napari_lucyd.cli import app

CONFIG = """
name = "tiny"
[network]
dimension = 2
epsilon = 0.01
[data]
track = "open"
blur_sigma = [0.5, 1.5]
noise_sigma = [0.0, 30.0]
patch_shape = [32, 32]
phantom_shape = [24, 40, 40]
alive = 2
[schedule]
patches = 16
batch_size = 4
validate_every = 2
validation_patches = 2
"""


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "tiny.toml"
    path.write_text(CONFIG)
    return path


def lucyd(*arguments: object):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_training_leaves_a_model_that_loads(config, tmp_path):
    done = lucyd("train", config, "-o", tmp_path / "run", "--device", "cpu")
    assert done.exit_code == 0, done.output
    assert "validation" in done.output and "of the channels dead" in done.output
    assert nl.load_model(tmp_path / "run" / "tiny.safetensors").dimension == 2
    again = lucyd("train", config, "-o", tmp_path / "run", "--device", "cpu")
    assert again.exit_code == 1
    assert "resume" in again.output


def test_configuration_that_is_wrong_is_one_line(tmp_path):
    (tmp_path / "a.toml").write_text("name = 'a'\nwings = 2")
    done = lucyd("train", tmp_path / "a.toml")
    assert done.exit_code == 1
    assert "there is no entry 'wings'" in done.output


def test_evaluation_prints_and_writes_the_table_and_fills_the_card(random_model_2d, tmp_path):
    path = nl.save_model(tmp_path / "mine.safetensors", random_model_2d.network)
    options = ["--methods", f"{path},wiener", "--seeds", "100", "-o", tmp_path / "out", "--record"]
    done = lucyd("evaluate", "open2d", *options)
    assert done.exit_code == 0, done.output
    assert "| mine |" in done.output
    assert "Settings of wiener, by column: balance=" in done.output
    assert (tmp_path / "out" / "open2d.csv").is_file()
    recorded = json.loads(path.with_suffix(".json").read_text())["metrics"]["open2d"]
    assert recorded["command"] == "lucyd evaluate open2d --methods mine --seeds 100"
    assert len(recorded["cells"]) == 12
    # The card still fits its weights.
    assert nl.load_model(path).card["metrics"]["open2d"] == recorded


def test_evaluation_of_what_is_no_model_says_so():
    done = lucyd("evaluate", "table2", "--methods", "nowhere.pth")
    assert done.exit_code == 1
    assert "no model 'nowhere.pth'" in done.output


def test_evaluation_refuses_seeds_and_options_that_cannot_be():
    done = lucyd("evaluate", "table2", "--seeds", "one")
    assert done.exit_code == 1
    assert "whole numbers" in done.output
    done = lucyd("evaluate", "options", "--record")
    assert done.exit_code == 1
    assert "leave out --record" in done.output
    done = lucyd("evaluate", "table1", "--methods", "mixture")
    assert done.exit_code == 1
    assert "leave out --methods" in done.output


@pytest.mark.parametrize("table", ["open2d", "table1", "trust"])
def test_a_table_that_is_there_is_found_before_the_work_and_left_alone(tmp_path, table):
    (tmp_path / f"{table}.csv").write_text("mine")
    done = lucyd("evaluate", table, "-o", tmp_path)
    assert done.exit_code == 1
    assert f"{table}.csv exists already; choose another folder" in done.output
    assert (tmp_path / f"{table}.csv").read_text() == "mine"
    done = lucyd("evaluate", table, "-o", tmp_path / f"{table}.csv")
    assert done.exit_code == 1 and "is a file; give a folder" in done.output


def test_a_link_at_the_name_of_a_table_is_left_alone(tmp_path):
    (tmp_path / "open2d.md").symlink_to(tmp_path / "elsewhere.md")
    done = lucyd("evaluate", "open2d", "-o", tmp_path)
    assert done.exit_code == 1 and "open2d.md exists already" in done.output


def test_a_missing_card_is_found_before_the_work(random_model_2d, tmp_path):
    path = nl.save_model(tmp_path / "mine.safetensors", random_model_2d.network)
    path.with_suffix(".json").unlink()
    done = lucyd("evaluate", "open2d", "--methods", path, "--record")
    assert done.exit_code == 1 and "has no card mine.json to write into" in done.output
