"""Small modules are shared: one that has a single user belongs in that user."""

from __future__ import annotations

from pathlib import Path

import grimp

SOURCE = Path(__file__).parents[2] / "src"
FEWEST_LINES = 60
# Small modules with one user that stay on their own.
ALONE = {
    # Readers look for the decision what the preview computes next.
    "napari_lucyd._napari.preview.next_rectangle",
}


def test_a_small_module_has_several_users_or_is_public():
    graph = grimp.build_graph("napari_lucyd")
    found = set()
    for module in graph.modules:
        file = SOURCE.joinpath(*module.split(".")).with_suffix(".py")
        if not file.exists() or len(file.read_text("utf-8").splitlines()) >= FEWEST_LINES:
            continue
        users = graph.find_modules_that_directly_import(module)
        # A package makes the modules that it imports public. Modules without users are started by napari.
        if len(users) == 1 and not graph.find_children(next(iter(users))):
            found.add(module)
    assert found == ALONE
