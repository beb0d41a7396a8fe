"""The examples in the docstrings run, and every public name has a docstring."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import napari_lucyd

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
