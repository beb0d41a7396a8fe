"""Fills in, while the package is built, what depends on the address of its repository.

PyPI and the napari hub show the README outside of the repository, where its relative links lead nowhere.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

_ISSUE_FORM = ".github/ISSUE_TEMPLATE/bug.yml"


class RepositoryHook(MetadataHookInterface):
    """Sets ``readme`` and ``urls`` of the project."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Add the README, with absolute links, and the links of the project."""
        root = Path(self.root)
        text = (root / "README.md").read_text("utf-8")
        repository = find_repository(root)
        if repository:
            # A release is published from its tag, so its pages stay as they were.
            tagged = os.environ.get("GITHUB_REF_TYPE") == "tag"
            version = f"v{metadata['version']}" if tagged else "HEAD"
            text = absolute_links(text, root, repository, version)
            home = f"https://github.com/{repository}"
            metadata["urls"] = {
                "Homepage": home,
                "Documentation": f"{home}/blob/{version}/docs/index.md",
                "Bug Tracker": f"{home}/issues",
                "Changelog": f"{home}/blob/{version}/CHANGELOG.md",
            }
        metadata["readme"] = {"content-type": "text/markdown", "text": text}


def find_repository(root: Path) -> str:
    """Return the repository on GitHub as OWNER/NAME, or an empty text if there is none.

    GitHub's workflows state it; elsewhere it is where this checkout came from.
    """
    stated = os.environ.get("GITHUB_REPOSITORY", "")
    if stated or not (root / ".git").exists():
        return stated
    try:
        command = ["git", "-C", str(root), "remote", "get-url", "origin"]
        address = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    except OSError:
        return ""
    found = re.search(r"github\.com[:/]([\w.-]+/[\w.-]+?)(?:\.git)?/?$", address.strip())
    return found[1] if found else ""


def absolute_links(text: str, root: Path, repository: str, version: str) -> str:
    """Return Markdown whose relative links lead into a repository on GitHub."""

    def absolute(link: re.Match[str]) -> str:
        label, target = link.groups()
        if re.match(r"https?://|#|mailto:", target):
            return link[0]
        if target == _ISSUE_FORM:
            return f"{label}(https://github.com/{repository}/issues/new?template=bug.yml)"
        if label.startswith("!"):
            return f"{label}(https://raw.githubusercontent.com/{repository}/{version}/{target})"
        kind = "tree" if (root / target.partition("#")[0]).is_dir() else "blob"
        return f"{label}(https://github.com/{repository}/{kind}/{version}/{target})"

    return re.sub(r"(!?\[[^\]]*\])\(([^)\s]+)\)", absolute, text)
