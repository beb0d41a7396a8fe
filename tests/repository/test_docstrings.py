"""Docstrings have examples that run, and summary lines that say at once what a thing does or is."""

from __future__ import annotations

import ast
import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import napari_lucyd

ROOT = Path(__file__).parents[2]
SOURCES = sorted(
    path for folder in ("src", "scripts", "benchmarks", "examples") for path in (ROOT / folder).rglob("*.py")
)
# A summary line begins with a verb or a noun phrase. These words begin a clause or an adverbial instead.
OPENINGS = re.compile(
    r"(What|Whether|Who|Whom|Whose|Which|Where|When|Why|How|That|Those|These|Of|For|From|To|In|On|At|By|As|With"
    r"|Bringing|Going|Nothing)\b"
)
# A function's begins with a verb, so not with one of these.
DETERMINERS = re.compile(r"(An?|The|This|Its?|One|Two|Three|All|Both|Each|Every|No|Only)\b")
PROPERTIES = {"property", "cached_property", "setter"}
MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(napari_lucyd.__path__, "napari_lucyd.")
    # The window's modules are for test_napari_docstrings.py; a __main__ or the demo would start something.
    if not module.name.startswith("napari_lucyd._napari") and not module.name.endswith("__main__")
)


@pytest.mark.parametrize("name", ["napari_lucyd", *MODULES])
def test_examples_in_docstrings_run(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    failed, _ = doctest.testmod(
        importlib.import_module(name), optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    )
    assert failed == 0


def test_the_public_functions_carry_an_example():
    for name in napari_lucyd.__all__:
        value = getattr(napari_lucyd, name)
        assert value.__doc__, name
        if callable(value) and not isinstance(value, type):
            assert ">>> " in value.__doc__, name


def summaries() -> list[tuple[str, bool, str]]:
    """Return place, kind (True for a function) and summary line of all that has a docstring."""
    found = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            text = ast.get_docstring(node)
            if not text:
                continue
            decorators = getattr(node, "decorator_list", [])
            names = {getattr(entry, "id", getattr(entry, "attr", "")) for entry in decorators}
            function = not isinstance(node, ast.Module | ast.ClassDef) and not names & PROPERTIES
            line = text.partition("\n")[0]
            found.append((f"{path.relative_to(ROOT)}: {getattr(node, 'name', '')}: {line}", function, line))
    return found


def test_summary_lines_begin_with_a_verb_or_a_noun():
    found = summaries()
    assert len(found) > 1000
    wrong = [place for place, _, line in found if OPENINGS.match(line)]
    assert not wrong, "\n".join(wrong)


def test_summary_lines_of_functions_begin_with_a_verb():
    wrong = [place for place, function, line in summaries() if function and DETERMINERS.match(line)]
    assert not wrong, "\n".join(wrong)
