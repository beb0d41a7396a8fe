"""Print constraints.txt: a pin for each package that ``napari-lucyd[all,test,docs]`` and the rivals need.

Run it in the environment of ``make bench``, where the wanted versions are installed:
``.venv/bench/bin/python scripts/constraints.py > constraints.txt``.
"""

from __future__ import annotations

from importlib.metadata import distribution

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

# Build tools: an isolated build environment would install unpinned ones.
BUILD = ("hatchling", "editables")
# Packages that the benchmarks compare with; the Makefile installs them.
RIVALS = ("onnx", "onnxruntime", "openvino", "RedLionfish")


def reachable(name: str, extras: frozenset[str], seen: set[tuple[str, frozenset[str]]]) -> None:
    """Add the distribution `name` with `extras`, and all that it requires here, to `seen`."""
    if (canonicalize_name(name), extras) in seen:
        return
    seen.add((canonicalize_name(name), extras))
    for line in distribution(name).requires or []:
        requirement = Requirement(line)
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in extras | {""}):
            reachable(requirement.name, frozenset(requirement.extras), seen)


def main() -> None:
    """Print the pins, sorted, without local version labels such as ``+cpu``."""
    seen: set[tuple[str, frozenset[str]]] = set()
    reachable("napari-lucyd", frozenset({"all", "test", "docs"}), seen)
    for name in (*BUILD, *RIVALS):
        reachable(name, frozenset(), seen)
    print(
        "# All that make test, docs, demo, results and bench install, pinned; made by scripts/constraints.py."
    )
    for name in sorted({name for name, _ in seen} - {"napari-lucyd", "pip"}):
        found = distribution(name)
        print(f"{found.metadata['Name']}=={Version(found.version).public}")


if __name__ == "__main__":
    main()
