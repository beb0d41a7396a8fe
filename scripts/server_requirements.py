"""Print what a server needs: the dependencies without the window's, one a line, as pip reads them.

The window's packages are those that only `_napari` may import, which pyproject.toml lists for ruff. The extra
`cpu` (speed on the processor) and imagecodecs (compressed TIFF) are added.

    python scripts/server_requirements.py > requirements.txt
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

PROJECT = Path(__file__).parents[1] / "pyproject.toml"


def requirements() -> list[str]:
    """Return the requirements of the core."""
    content = tomllib.loads(PROJECT.read_text("utf-8"))
    project = content["project"]
    window = set(content["tool"]["ruff"]["lint"]["flake8-tidy-imports"]["banned-api"])
    extras = project["optional-dependencies"]
    codecs = [line for line in extras["all"] if line.startswith("imagecodecs")]
    lines = [*project["dependencies"], *extras["cpu"], *codecs]
    return [line for line in lines if re.split(r"[^\w.-]", line)[0] not in window]


if __name__ == "__main__":
    print("\n".join(requirements()))
