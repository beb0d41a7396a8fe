"""The page of argument names: each exists in Python, on the command line, in recipes and in panels."""

from __future__ import annotations

import inspect
import json
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import typer

import napari_lucyd as nl
from napari_lucyd.cli import app
from napari_lucyd.simulation.psf import optics_record

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "arguments.md"
# Not settings of a run: the image itself, and how a script follows it.
NOT_SETTINGS = {"volume", "image", "truth", "progress", "statistics", "allocate"}


def rows(section: str) -> list[dict[str, list[str]]]:
    """The rows of a section's table: by column, the names in it."""
    text = PAGE.read_text("utf-8").split(f"\n## {section}\n")[1].split("\n## ")[0]
    head, _, *body = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")]
    return [
        {
            column: [name.strip("`") for name in cell.split(", ")]
            for column, cell in zip(head, row, strict=True)
        }
        for row in body
    ]


def arguments(*functions) -> set[str]:
    return {name for function in functions for name in inspect.signature(function).parameters}


def flags(command: str) -> set[str]:
    group = typer.main.get_command(app)
    return {flag for option in group.get_command(None, command).params for flag in option.opts}


def names_in(value) -> set[str]:
    """All keys of a recipe, and below a key, joined by a dot."""
    if not isinstance(value, dict):
        return set()
    inner = {(key, below) for key, entry in value.items() for below in names_in(entry)}
    return set(value) | {f"{key}.{below}" for key, below in inner} | {below for _, below in inner}


SECTIONS = {
    "Every run": ([nl.deconvolve], "deconvolve"),
    "Networks": ([nl.deconvolve], "deconvolve"),
    "Networks that are told the blur": ([nl.deconvolve], "deconvolve"),
    "Richardson-Lucy and Wiener": ([nl.RichardsonLucy, nl.Wiener], "deconvolve"),
    "PSFs": ([nl.make_psf], "psf"),
    "Simulated images": ([nl.degrade], "simulate"),
}


@pytest.mark.parametrize("section", SECTIONS)
def test_each_name_exists_in_python_and_on_the_command_line(section):
    functions, command = SECTIONS[section]
    for row in rows(section):
        (name,) = row["Python"]
        assert name in arguments(*functions)
        if row["command line"] != ["–"]:
            assert set(row["command line"]) <= flags(command)


@pytest.mark.parametrize("section", SECTIONS)
def test_an_option_is_spelled_as_the_argument_is_with_hyphens(section):
    # Options named as in other programs: a seed makes a generator, and a PSF's kind is the microscope's.
    exceptions = {"rng": "--seed", "kind": "--microscope"}
    for row in rows(section):
        (name,) = row["Python"]
        if row["command line"] != ["–"]:
            assert row["command line"][0] == exceptions.get(name, f"--{name.replace('_', '-')}")


def test_every_setting_of_a_run_is_on_the_page():
    listed = {row["Python"][0] for section in list(SECTIONS)[:3] for row in rows(section)}
    assert arguments(nl.deconvolve) - NOT_SETTINGS == listed
    for section in ("Richardson-Lucy and Wiener", "PSFs", "Simulated images"):
        functions, _ = SECTIONS[section]
        assert arguments(*functions) - NOT_SETTINGS == {row["Python"][0] for row in rows(section)}


def test_each_name_is_in_the_recipe():
    image = np.random.default_rng(0).random((24, 24), dtype=np.float32)
    network = nl.deconvolve(image, nl.load_model("planes"), device="cpu").recipe
    psf = np.ones((3, 3), np.float32)
    classical = [
        nl.deconvolve(image, method, device="cpu").recipe
        for method in (nl.RichardsonLucy(psf, num_iter=2), nl.Wiener(psf))
    ]
    phantom = nl.make_phantom((20, 20, 20), spheres=1, rng=0)
    simulated = nl.degrade(
        phantom, blur_sigma=1.0, photons=50, photometric=True, noise_reference="image", hot_pixels=1, rng=0
    ).parameters
    optics = optics_record(
        "confocal", numerical_aperture=1.2, refractive_index=1.33, emission_um=0.5, excitation_um=0.4
    )
    sheet = optics_record("light_sheet", sheet_fwhm_um=2.0)
    aberrated = optics_record("widefield", sample_index=1.4, depth_um=5.0, spherical_aberration=0.1)
    recipes = {
        "Every run": [network],
        "Networks": [network],
        "Richardson-Lucy and Wiener": classical,
        "PSFs": [optics, sheet, aberrated],
        "Simulated images": [simulated],
    }
    for section, made in recipes.items():
        known = set().union(*(names_in(json.loads(json.dumps(recipe))) for recipe in made))
        for row in rows(section):
            assert row["recipe"] == ["–"] or set(row["recipe"]) <= known, row["recipe"]


def test_each_label_is_in_the_panel():
    # These know neither napari nor Qt.
    from napari_lucyd._napari.deconvolve.parameters import Parameters
    from napari_lucyd._napari.phantom.parameters import PhantomParameters

    def labels(kind) -> set[str]:
        return {entry.metadata["label"] for entry in fields(kind) if "label" in entry.metadata}

    for section in list(SECTIONS)[:4]:
        for row in rows(section):
            assert set(row["panel"]) <= labels(Parameters) | {"–", "Voxel size"}
    # The voxel size of the image has fields of its own.
    folder = Path(nl.__file__).parent / "_napari" / "deconvolve" / "choices"
    assert 'TITLE = "Voxel size"' in (folder / "voxel_size.py").read_text("utf-8")
    for row in rows("Simulated images"):
        assert set(row["panel"]) <= labels(PhantomParameters) | {"–"}


def test_each_label_of_the_optics_is_in_the_panel():
    pytest.importorskip("napari")
    from napari_lucyd._napari.psf.optics import OpticsPsf

    known = {entry.metadata.get("label") for entry in fields(OpticsPsf)}
    for row in rows("PSFs"):
        assert set(row["panel"]) <= known | {"–"}
