"""The installed package: the wheel's contents, the dependencies, names and versions that agree."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (path,) = folder.glob("*.whl")
    with zipfile.ZipFile(path) as file:
        yield file


def test_the_wheel_has_every_file_of_the_package(wheel):
    package = ROOT / "src" / "napari_lucyd"
    expected = {
        path.relative_to(package.parent).as_posix()
        for path in package.rglob("*")
        if path.is_file()
        and path.suffix in {".py", ".cu", ".yaml", ".json", ".safetensors", ".typed", ".svg"}
    }
    assert {"napari_lucyd/napari.yaml", "napari_lucyd/py.typed"} <= expected
    assert any(name.endswith(".safetensors") for name in expected)
    assert expected <= set(wheel.namelist())


def test_every_shipped_model_has_its_card_and_is_small():
    models = ROOT / "src" / "napari_lucyd" / "models"
    weights = {path.stem for path in models.glob("*.safetensors")}
    assert {"general", "mixture", "planes"} <= weights
    assert weights == {path.stem for path in models.glob("*.json")}
    for name in weights:
        assert json.loads((models / f"{name}.json").read_text("utf-8"))["name"] == name
        # CARE has forty times as many parameters as LUCYD, and is kept in half precision.
        most = 2_500_000 if name.endswith("-care") else 200_000
        assert (models / f"{name}.safetensors").stat().st_size < most


def test_the_wheel_declares_the_plugin_and_the_command(wheel):
    (name,) = [name for name in wheel.namelist() if name.endswith("entry_points.txt")]
    text = wheel.read(name).decode()
    assert "[napari.manifest]\nnapari-lucyd = napari_lucyd:napari.yaml" in text
    assert "[console_scripts]\nlucyd = napari_lucyd.cli:app" in text


def test_links_of_a_release_lead_into_the_repository(tmp_path):
    variables = {"GITHUB_REPOSITORY": "owner/name", "GITHUB_REF_TYPE": "tag"}
    command = [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, env=os.environ | variables)
    (path,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(path) as file:
        (member,) = [name for name in file.getnames() if re.fullmatch(r"[^/]+/PKG-INFO", name)]
        text = file.extractfile(member).read().decode()
    version = f"v{PROJECT['version']}"
    home = "https://github.com/owner/name"
    assert f"Project-URL: Bug Tracker, {home}/issues\n" in text
    targets = re.findall(r"\]\(([^)\s]+)\)", text)
    assert {target for target in targets if not re.match("https?://", target)} == {"#from-a-checkout"}
    assert f"{home}/blob/{version}/docs/guide/index.md" in targets
    assert f"{home}/tree/{version}/examples" in targets
    assert f"https://raw.githubusercontent.com/owner/name/{version}/docs/images/panel.png" in targets
    assert f"{home}/issues/new?template=bug.yml" in targets


def test_dependencies_pin_nothing_from_above_and_bring_no_qt_binding():
    for requirement in map(Requirement, PROJECT["dependencies"]):
        assert {specifier.operator for specifier in requirement.specifier} <= {">="}, requirement
        assert requirement.name.lower() not in {"pyqt5", "pyqt6", "pyside2", "pyside6"}
        assert requirement.name != "napari" or not requirement.extras


def test_every_pin_is_exact_and_meets_the_declared_bounds():
    pins = {}
    for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines():
        if not line.startswith("#"):
            name, version = re.fullmatch(r"([\w.-]+)==([\w.]+)", line).groups()
            pins[re.sub(r"[-_.]+", "-", name).lower()] = version
    extras = PROJECT["optional-dependencies"]
    wanted = [*PROJECT["dependencies"], *extras["test"], *extras["docs"]]
    for requirement in map(Requirement, wanted):
        assert requirement.specifier.contains(pins[requirement.name.lower()]), requirement


def test_manifest_is_one_file_with_a_link_at_the_root_and_the_name_of_the_distribution():
    assert (ROOT / "napari.yaml").resolve() == ROOT / "src" / "napari_lucyd" / "napari.yaml"
    assert f"name: {PROJECT['name']}\n" in (ROOT / "napari.yaml").read_text("utf-8")


def test_version_is_the_same_everywhere():
    import napari_lucyd

    assert napari_lucyd.__version__ == PROJECT["version"]
    assert f"\nversion: {PROJECT['version']}\n" in (ROOT / "CITATION.cff").read_text("utf-8")
    assert f"\n## {PROJECT['version']}" in (ROOT / "CHANGELOG.md").read_text("utf-8")
