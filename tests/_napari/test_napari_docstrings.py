"""Run the examples in the docstrings of the window's modules; tests/repository runs the others."""

import doctest
import importlib
import pkgutil

import pytest

import napari_lucyd._napari

MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(napari_lucyd._napari.__path__, "napari_lucyd._napari.")
    # The demo would start something.
    if not module.name.endswith((".demo", ".__main__"))
)


@pytest.mark.parametrize("name", ["napari_lucyd._napari", *MODULES])
def test_examples_in_docstrings_run(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    failed, _ = doctest.testmod(
        importlib.import_module(name), optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    )
    assert failed == 0
