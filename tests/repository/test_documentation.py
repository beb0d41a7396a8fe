"""The README and docs/ are true: links lead somewhere, Python runs, and commands exist with their options."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from napari_lucyd.export.onnx_file import unsupported_reason

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def label(page: Path) -> str:
    """The page's name in a report."""
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path, language: str) -> list[str]:
    """The page's fenced blocks in `language`."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """Return the anchors of the page's headings."""
    text = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def commands(page: Path) -> list[list[str]]:
    """The page's `lucyd` commands, as lists of words."""
    lines = "\n".join(blocks(page, "sh")).replace("\\\n", " ").splitlines()
    return [shlex.split(line, comments=True) for line in lines if line.startswith("lucyd ")]


@pytest.mark.parametrize("page", PAGES, ids=label)
def test_links_lead_to_files_and_headings_that_exist(page):
    text = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"https?://", target):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), target


@pytest.fixture
def workplace(tmp_path, monkeypatch) -> Path:
    """The current folder, with the files that the pages speak of."""
    from napari_lucyd import make_phantom
    from napari_lucyd.io import write_image

    monkeypatch.chdir(tmp_path)
    image = (
        make_phantom((20, 40, 44), spheres=5, ellipsoids=2, boxes=8, rng=2).image.round().astype(np.uint16)
    )
    for name in ("stack.tif", "first.tif", "second.tif"):
        write_image(name, image, axes="ZYX", voxel_size=(0.3, 0.1, 0.1), unit="micrometer")
    return tmp_path


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=label)
def test_python_in_the_pages_runs(page, workplace):
    # The blocks of a page belong together, as for a reader who begins at its top.
    code = "\n".join(blocks(page, "python"))
    if "export_model" in code and (reason := unsupported_reason()):
        pytest.skip(reason)
    exec(compile(code, str(page), "exec"), {"__name__": "__page__"})


def test_readme_and_guide_show_python_and_commands():
    assert blocks(ROOT / "README.md", "python")
    assert commands(ROOT / "README.md")
    assert blocks(ROOT / "docs" / "guide" / "python.md", "python")
    assert commands(ROOT / "docs" / "cli.md")


@pytest.mark.parametrize("page", [page for page in PAGES if commands(page)], ids=label)
def test_commands_in_the_pages_parse(page):
    import typer

    from napari_lucyd.cli import app

    group = typer.main.get_command(app)
    for _, name, *arguments in commands(page):
        if name.startswith("-"):
            continue
        command = group.get_command(None, name)
        assert command is not None, f"lucyd has no command {name}"
        options = {flag for option in command.params for flag in (*option.opts, *option.secondary_opts)} | {
            "--help"
        }
        for argument in arguments:
            assert not re.match(r"-{1,2}[a-zA-Z]", argument) or argument.split("=")[0] in options, (
                f"lucyd {name} has no option {argument}"
            )


def test_the_readmes_deconvolve_command_runs_as_it_stands(workplace):
    from typer.testing import CliRunner

    from napari_lucyd.cli import app

    ran = [words for words in commands(ROOT / "README.md") if words[1] == "deconvolve"]
    assert ran
    for _, *arguments in ran:
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, result.output
    assert list(workplace.rglob("*.ome.tif"))


def assert_guide_names(kind):
    from dataclasses import fields

    # Knows neither napari nor Qt.
    from napari_lucyd._napari.widgets.fields import label as name_in_panel

    pages = [*(ROOT / "docs" / "guide").glob("*.md"), ROOT / "docs" / "large-images.md"]
    guide = "\n".join(page.read_text("utf-8") for page in pages)
    # "Layers" heads the four boxes, each of which the guide names.
    for name in {field.name for field in fields(kind)} - {"outputs"}:
        assert re.search(rf"\*\*{name_in_panel(kind, name)}\b", guide), name_in_panel(kind, name)


def test_guide_speaks_of_every_choice_by_the_name_it_has_in_the_panel():
    from napari_lucyd._napari.deconvolve.parameters import Parameters

    assert_guide_names(Parameters)


def test_guide_speaks_of_the_optics_by_the_names_they_have_in_the_panel():
    pytest.importorskip("napari")
    from napari_lucyd._napari.psf.optics import OpticsPsf

    assert_guide_names(OpticsPsf)


def test_guide_speaks_of_the_phantoms_choices_by_the_names_they_have_in_the_panel():
    # Knows neither napari nor Qt.
    from napari_lucyd._napari.phantom.parameters import PhantomParameters

    assert_guide_names(PhantomParameters)


def test_pages_name_no_machine():
    for page in PAGES:
        assert not re.search(r"(?<!\w)/(work|root|tmp|home)/", page.read_text("utf-8")), page


PACKAGE = ROOT / "src" / "napari_lucyd"


def test_the_page_on_clusters_says_whom_a_scheduler_trusts():
    section = (ROOT / "docs" / "large-images.md").read_text().split("\n## A cluster\n")[1].split("\n## ")[0]
    warning = next(line for line in section.splitlines() if "pickles" in line)
    assert "run code in your name" in warning and "TLS" in warning


def test_architecture_draws_every_module_in_its_folder():
    drawing = blocks(ROOT / "docs" / "architecture.md", "text")[0]
    drawn, folders = set(), []
    for line in drawing.splitlines():
        first, *rest = line.split()
        if first.endswith("/"):
            depth = (len(line) - len(line.lstrip())) // 2
            folders[depth:] = [first]
        else:
            rest = [first, *rest]
        drawn |= {"".join(folders) + name for name in rest}
    files = [path for path in PACKAGE.rglob("*") if path.suffix in {".py", ".cu"}]
    modules = {path.relative_to(PACKAGE).as_posix().removesuffix(".py") for path in files}
    faces = {name for name in modules if name.endswith(("/__init__", "__main__"))}
    assert drawn == modules - faces


@pytest.mark.parametrize("page", PAGES, ids=label)
def test_modules_that_a_page_names_exist(page):
    for path, name in re.findall(r"`((?:\w+/)*\w+\.(?:py|cu))(?::(\w+))?`", page.read_text("utf-8")):
        if "/" not in path and not name and page.stem != "architecture":
            continue  # a file of the reader's, or one whose folder the sentence names
        found = [root / path for root in (PACKAGE, ROOT) if (root / path).is_file()]
        assert found, path
        if name:
            text = found[0].read_text("utf-8")
            assert re.search(rf"^(?:class |def )?{name}\b", text, flags=re.MULTILINE), f"{path}: {name}"


def test_reference_lists_every_public_name():
    import napari_lucyd

    listed = re.search(r"members: \[(.*)\]", (ROOT / "docs" / "reference" / "python.md").read_text("utf-8"))
    assert set(listed[1].split(", ")) == set(napari_lucyd.__all__)


@pytest.mark.parametrize("page", PAGES, ids=label)
def test_a_percentage_has_a_space_before_its_sign(page):
    text = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    assert not re.findall(r".*\d%.*", text)


def test_programs_write_percentages_as_the_pages_do():
    for folder in ("src", "scripts", "benchmarks"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                # The format "%" of Python writes no space; `napari_lucyd.text.percent_text` does.
                assert not (isinstance(node, ast.FormattedValue) and _spec(node).endswith("%")), (
                    f"{path.relative_to(ROOT)}:{node.lineno}"
                )


def _spec(node: ast.FormattedValue) -> str:
    """The format of a value in an f-string."""
    parts = node.format_spec.values if isinstance(node.format_spec, ast.JoinedStr) else []
    return "".join(str(part.value) for part in parts if isinstance(part, ast.Constant))
