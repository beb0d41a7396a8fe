"""Docstrings have examples that run, and summary lines that say at once what a thing does or is."""

from __future__ import annotations

import ast
import doctest
import importlib
import pkgutil
import re
import tokenize
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

import napari_lucyd

ROOT = Path(__file__).parents[2]
SOURCES = sorted(
    path for folder in ("src", "scripts", "benchmarks", "examples") for path in (ROOT / folder).rglob("*.py")
)
TESTS = sorted((ROOT / "tests").rglob("*.py"))
# A summary line begins with a verb or a noun phrase. These words begin a clause or an adverbial instead.
OPENINGS = re.compile(
    r"(What|Whether|Who|Whom|Whose|Which|Where|When|Why|How|That|Those|These|Of|For|From|To|In|On|At|By|As|With"
    r"|Bringing|Going|Nothing)\b"
)
# The same openings in comments, as far as they cannot begin a whole sentence there.
COMMENT_OPENINGS = re.compile(r"(What|Whether|Whose|Which|Where|Why|How|Those|That|Of)\b")
DESCRIBING = {"Parameters", "Other Parameters", "Attributes", "Returns", "Yields"}
# A function's begins with a verb, so not with one of these.
DETERMINERS = re.compile(r"(An?|The|This|Its?|One|Two|Three|All|Both|Each|Every|No|Only)\b")
PROPERTIES = {"property", "cached_property", "setter"}
DOCUMENTED = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(napari_lucyd.__path__, "napari_lucyd.")
    # The window's modules have a test of their own, in tests/_napari; a __main__ would start something.
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


def summaries(paths: list[Path]) -> list[tuple[str, bool, str]]:
    """Return place, kind (True for a function) and summary line of all that has a docstring."""
    found = []
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, DOCUMENTED):
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
    found = summaries(SOURCES + TESTS)
    assert len(found) > 1000
    wrong = [place for place, _, line in found if OPENINGS.match(line)]
    assert not wrong, "\n".join(wrong)


def test_summary_lines_of_functions_begin_with_a_verb():
    wrong = [place for place, function, line in summaries(SOURCES) if function and DETERMINERS.match(line)]
    assert not wrong, "\n".join(wrong)


def descriptions(text: str) -> Iterator[tuple[str, str]]:
    """Yield name and first line of each description in a numpydoc docstring."""
    lines = text.splitlines()
    section = ""
    for line, following in pairwise(lines):
        if re.fullmatch(r"-{3,}", following.strip()):
            section = line.strip()
        elif section in DESCRIBING and line[:1].strip() and following.startswith("    "):
            yield line.strip(), following.strip()


def documented(path: Path) -> Iterator[str]:
    """Yield the docstrings of a file."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, DOCUMENTED) and (text := ast.get_docstring(node)):
            yield text


def attribute_texts(path: Path) -> Iterator[str]:
    """Yield the texts that stand under assignments and describe them."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        body = getattr(node, "body", None)
        for statement, following in pairwise(body if isinstance(body, list) else []):
            if not isinstance(statement, ast.Assign | ast.AnnAssign) or not isinstance(following, ast.Expr):
                continue
            if isinstance(following.value, ast.Constant) and isinstance(following.value.value, str):
                yield following.value.value


def comments(path: Path) -> Iterator[tuple[int, str]]:
    """Yield number and text of the lines in which a comment begins."""
    last = -1
    with path.open("rb") as file:
        for token in tokenize.tokenize(file.readline):
            if token.type != tokenize.COMMENT:
                continue
            alone = not token.line[: token.start[1]].strip()
            if not (alone and token.start[0] == last + 1):
                yield token.start[0], token.string.lstrip("# ")
            last = token.start[0] if alone else -1


def test_descriptions_say_what_a_parameter_is():
    found = [
        (path, name, line)
        for path in SOURCES
        for text in documented(path)
        for name, line in descriptions(text)
    ]
    assert len(found) > 1000
    wrong = [
        f"{path.relative_to(ROOT)}: {name}: {line}" for path, name, line in found if OPENINGS.match(line)
    ]
    assert not wrong, "\n".join(wrong)


def test_texts_of_attributes_say_what_they_are():
    found = [(path, text) for path in SOURCES for text in attribute_texts(path)]
    assert len(found) > 30
    wrong = [f"{path.relative_to(ROOT)}: {text}" for path, text in found if OPENINGS.match(text)]
    assert not wrong, "\n".join(wrong)


def test_comments_begin_as_sentences_or_nouns():
    found = [(path, *entry) for path in (*SOURCES, *TESTS) for entry in comments(path)]
    assert len(found) > 1000
    wrong = [
        f"{path.relative_to(ROOT)}:{number}: {text}"
        for path, number, text in found
        if COMMENT_OPENINGS.match(text)
    ]
    assert not wrong, "\n".join(wrong)
