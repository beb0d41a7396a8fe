"""The manifest: every target exists, npe2 accepts it, and napari can use what it offers."""

from importlib import import_module, metadata, resources
from pathlib import Path

import pytest

pytest.importorskip("napari")

import npe2
import yaml

import napari_lucyd

FILE = Path(napari_lucyd.__file__).with_name("napari.yaml")
CONTENTS = yaml.safe_load(FILE.read_text("utf-8"))
CONTRIBUTIONS = CONTENTS["contributions"]


@pytest.mark.parametrize("command", CONTRIBUTIONS["commands"], ids=lambda command: command["id"])
def test_every_python_name_resolves(command):
    module, name = command["python_name"].split(":")
    assert callable(getattr(import_module(module), name))


def test_npe2_validates_it():
    manifest = npe2.PluginManifest.from_file(FILE)
    manifest.validate_imports()
    assert manifest.name == "napari-lucyd"


def test_the_installed_plugin_is_this_manifest():
    manifest = npe2.PluginManifest.from_distribution("napari-lucyd")
    assert manifest.contributions.commands is not None
    assert {command.id for command in manifest.contributions.commands} == {
        command["id"] for command in CONTRIBUTIONS["commands"]
    }
    assert metadata.metadata("napari-lucyd")["Name"] == CONTENTS["name"]


def test_its_icon_is_in_the_package_and_its_categories_are_known():
    manifest = npe2.PluginManifest.from_file(FILE)
    package, resource = manifest.icon.split(":")
    assert (resources.files(package) / resource).read_text("utf-8").startswith("<svg")
    assert [str(category) for category in manifest.categories] == ["Image Processing", "Simulation", "IO"]


def test_nothing_that_older_npe2_refuses():
    # default_dock_area and tabify are known from npe2 0.10 on.
    for widget in CONTRIBUTIONS["widgets"]:
        assert set(widget) == {"command", "display_name"}


def test_commands_are_ours_and_all_of_them_are_used():
    ids = [command["id"] for command in CONTRIBUTIONS["commands"]]
    assert len(set(ids)) == len(ids)
    assert all(command.startswith("napari-lucyd.") for command in ids)
    kinds = ("widgets", "sample_data", "readers", "writers")
    used = [entry["command"] for kind in kinds for entry in CONTRIBUTIONS[kind]]
    used += [entry["command"] for entries in CONTRIBUTIONS["menus"].values() for entry in entries]
    assert sorted(used) == sorted(ids)


def test_sample_keys_are_those_of_the_docs_and_no_commands_suffix():
    keys = [sample["key"] for sample in CONTRIBUTIONS["sample_data"]]
    phantoms = ["phantom", "unseen", "sharp", "anisotropic", "2D", "nuclei", "membranes", "light_sheet"]
    assert keys == [*phantoms, "filaments", "puncta", "cells", "tubules", "cells3d"]
    assert not set(keys) & {command["id"].split(".")[-1] for command in CONTRIBUTIONS["commands"]}


def test_a_panel_without_remembered_entries_offers_its_own_layers():
    from napari_lucyd._napari.deconvolve.parameters import Parameters

    layers = CONTRIBUTIONS["configurations"]["deconvolve"]["properties"]["outputs"]["default"]
    assert layers.split(", ") == [*Parameters.outputs, "first_estimate"]


def test_importing_the_panels_loads_neither_torch_nor_what_takes_a_second():
    import subprocess
    import sys

    panels = "napari_lucyd._napari.deconvolve.panel, napari_lucyd._napari.phantom.panel"
    slow = ("torch", "zarr", "scipy.interpolate", "scipy.optimize")
    code = f"import sys, {panels}; print([name for name in {slow} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.strip() == "[]"
