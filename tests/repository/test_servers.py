"""The files for servers are true: requirements, image, workflows and the recipe for conda."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest
import yaml
from packaging.requirements import Requirement

from napari_lucyd.io import read_image, write_image

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
WINDOW = {"magicgui", "napari", "qtpy", "superqt"}
CONDA_NAMES = {"torch": "pytorch", "dask": "dask-core"}


@pytest.fixture
def images(tmp_path) -> Path:
    """A folder with two small images, in the current folder of the workflows."""
    folder = tmp_path / "images"
    folder.mkdir()
    for number, name in enumerate(("first", "second one")):
        image = np.random.default_rng(number).poisson(40, (12, 24, 28)).astype(np.uint16)
        write_image(folder / f"{name}.tif", image, axes="ZYX", voxel_size=None, unit=None)
    return folder


def run(command: list[str], folder: Path) -> None:
    """Run a command where `lucyd` is this environment's."""
    script = folder / "bin" / "lucyd"
    script.parent.mkdir(exist_ok=True)
    script.write_text(
        f'#!/bin/sh\nexec "{sys.executable}" -c "from napari_lucyd.cli import app; app()" "$@"\n'
    )
    script.chmod(0o755)
    path = os.pathsep.join([str(script.parent), os.environ["PATH"]])
    done = subprocess.run(
        command, cwd=folder, env=os.environ | {"PATH": path}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def server_requirements() -> list[Requirement]:
    specification = spec_from_file_location("server", ROOT / "scripts" / "server_requirements.py")
    module = module_from_spec(specification)
    specification.loader.exec_module(module)
    return [Requirement(line) for line in module.requirements()]


def test_a_server_gets_all_dependencies_but_the_windows():
    names = {requirement.name for requirement in server_requirements()}
    every = {Requirement(line).name for line in PROJECT["dependencies"]}
    assert names == every - WINDOW | {"imagecodecs", "llvmlite"}


def test_the_image_is_sent_all_that_installs_the_package():
    lines = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    sent = [line[1:] for line in lines if line.startswith("!")]
    assert all((ROOT / path).exists() for path in sent)
    script = (ROOT / "scripts" / "install_server.sh").read_text("utf-8")
    needed = set(re.findall(r"\$source/([\w./]+)", script))
    build = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    assert build["tool"]["hatch"]["metadata"]["hooks"] == {"custom": {}}  # hatch_build.py
    needed |= {"src", "pyproject.toml", "hatch_build.py", "README.md", *PROJECT["license-files"]}
    assert needed <= set(sent)
    assert "scripts/install_server.sh" in (ROOT / "Dockerfile").read_text("utf-8")


@pytest.mark.skipif(os.name == "nt", reason="the workflows are for shells of Unix")
def test_the_process_of_nextflow_restores_an_image(images):
    text = (ROOT / "examples" / "nextflow" / "main.nf").read_text("utf-8")
    script = re.search(r'script:\s*"""(.*?)"""', text, flags=re.DOTALL)[1]
    output = re.search(r'output:\s*path "(.*?)"', text)[1]
    values = {"image.baseName": "second one", "image": "images/second one.tif", "task.cpus": "1"}
    values["params.options"] = "--blur-sigma 1.5"

    def filled(template: str) -> str:
        return re.sub(r"\$\{([\w.]+)\}", lambda found: values[found[1]], template)

    run(["bash", "-ue", "-c", filled(script)], images.parent)
    assert read_image(images.parent / filled(output)).data.shape == (12, 24, 28)


@pytest.mark.skipif(os.name == "nt", reason="the workflows are for shells of Unix")
def test_the_rule_of_snakemake_restores_an_image(images):
    text = (ROOT / "examples" / "snakemake" / "Snakefile").read_text("utf-8")
    command = re.search(r'shell:\s*"(.*)"', text)[1]
    values = {"input": "images/first.tif", "output": "first.ome.tif", "log": "first.log", "threads": "1"}
    values["params.options"] = "--blur-sigma 1.5"

    def value(found: re.Match[str]) -> str:
        return shlex.quote(values[found[1]]) if found[2] else values[found[1]]

    run(["bash", "-ue", "-c", re.sub(r"\{([\w.]+)(:q)?\}", value, command)], images.parent)
    assert read_image(images.parent / "first.ome.tif").data.shape == (12, 24, 28)


@pytest.mark.skipif(os.name == "nt", reason="the workflows are for shells of Unix")
def test_snakemake_restores_a_folder(images):
    pytest.importorskip("snakemake")
    snakefile = ROOT / "examples" / "snakemake" / "Snakefile"
    options = ["--cores", "1", "--config", "options=--blur-sigma 1.5"]
    run([sys.executable, "-m", "snakemake", "-s", str(snakefile), *options], images.parent)
    results = sorted(path.name for path in (images.parent / "restored").iterdir())
    assert results == ["first.ome.tif", "second one.ome.tif"]


def test_the_recipe_for_conda_has_the_bounds_of_the_package():
    recipe = yaml.safe_load((ROOT / "packaging" / "conda" / "recipe.yaml").read_text("utf-8"))
    assert recipe["context"]["version"] == PROJECT["version"]
    base, plugin = recipe["outputs"]

    def bounds(output: dict) -> set[str]:
        lines = output["requirements"]["run"]
        return {line.replace(" ", "") for line in lines if not re.match(r"python |\$", line)}

    def named(requirement: Requirement) -> str:
        return f"{CONDA_NAMES.get(requirement.name, requirement.name)}{requirement.specifier}"

    assert bounds(base) == {named(requirement) for requirement in server_requirements()}
    window = [Requirement(line) for line in PROJECT["dependencies"]]
    assert bounds(plugin) == {named(line) for line in window if line.name in WINDOW}


def test_the_recipe_for_conda_is_valid_and_renders():
    """The parser of rattler-build reads it; building the packages would need a channel of conda."""
    rattler_build = pytest.importorskip("rattler_build")
    recipe = rattler_build.Stage0Recipe.from_file(ROOT / "packaging" / "conda" / "recipe.yaml")
    variants = rattler_build.VariantConfig({"python_min": ["3.11"], "python": ["3.11"]})
    rendered = [variant.recipe for variant in recipe.render(variants)]
    assert [output.package.name for output in rendered] == ["napari-lucyd-base", "napari-lucyd"]
    assert {str(output.package.version) for output in rendered} == {PROJECT["version"]}
    # Without compiled code, one package serves all systems.
    assert [output.build.noarch for output in rendered] == ["python", "generic"]
