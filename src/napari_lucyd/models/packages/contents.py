"""The files of a bioimage.io package: a zip file, a folder, or the description in a folder."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path, PurePosixPath
from typing import Any

from napari_lucyd.text import bytes_text

DESCRIPTIONS = ("rdf.yaml", "bioimageio.yaml", "model.yaml")
"""Names of the description of a package."""
_LARGEST_DESCRIPTION, _LARGEST_FILE = 4_000_000, 2_000_000_000


def is_package(path: Path) -> bool:
    """Return True if a path looks like a bioimage.io package: a zip file, or a description or its folder."""
    if path.is_dir():
        return any((path / name).is_file() for name in DESCRIPTIONS)
    return path.is_file() and (path.suffix.lower() == ".zip" or path.name in DESCRIPTIONS)


class Contents:
    """The files of one package.

    Parameters
    ----------
    path
        A ``.zip`` file, a folder, or the description in a folder.

    Raises
    ------
    ValueError
        If it has no description, or the description cannot be read.

    Attributes
    ----------
    name
        Name of the package, from its path.
    description
        The description as plain data.
    sha256
        SHA-256 of the description.
    """

    def __init__(self, path: Path) -> None:
        self._zip = None if path.is_dir() or path.name in DESCRIPTIONS else path
        self._folder = path if path.is_dir() else path.parent
        self.name = path.stem if self._zip else self._folder.resolve().name
        names = set(self._names())
        known = [path.name] if path.name in DESCRIPTIONS else [name for name in DESCRIPTIONS if name in names]
        if not known:
            raise ValueError(
                f"{path.name} is not a bioimage.io package: it has no {' or '.join(DESCRIPTIONS[:2])}."
            )
        data = self._read(known[0], _LARGEST_DESCRIPTION)
        self.sha256 = hashlib.sha256(data).hexdigest()
        self.description = _parse(data, known[0])

    def read(self, reference: dict[str, Any]) -> bytes:
        """Return the bytes of a file that the description names, with ``source`` and ``sha256``."""
        source = str(reference.get("source", ""))
        if "://" in source:
            raise ValueError(
                f"{self.name}: {source:.120} is not part of the package. Download the whole package from "
                "bioimage.io; nothing is loaded from the internet here."
            )
        data = self._read(source, _LARGEST_FILE)
        expected = reference.get("sha256")
        if expected and hashlib.sha256(data).hexdigest() != str(expected):
            raise ValueError(
                f"{self.name}: {source} is damaged: its SHA-256 is not the one that is described."
            )
        return data

    def _names(self) -> list[str]:
        if self._zip is None:
            return [file.name for file in self._folder.iterdir()]
        try:
            with zipfile.ZipFile(self._zip) as package:
                return package.namelist()
        except (zipfile.BadZipFile, OSError) as error:
            raise ValueError(f"{self._zip.name} is not a zip file, or is damaged ({error}).") from error

    def _read(self, name: str, most: int) -> bytes:
        place = PurePosixPath(name.replace("\\", "/"))
        if not place.parts or place.is_absolute() or ".." in place.parts or ":" in name:
            raise ValueError(f"{self.name}: {name!r:.120} is not a file inside the package.")
        try:
            if self._zip is None:
                file = self._folder.joinpath(*place.parts)
                size = file.stat().st_size
                data = file.read_bytes() if size <= most else b""
            else:
                with zipfile.ZipFile(self._zip) as package:
                    size = package.getinfo(str(place)).file_size
                    data = package.read(str(place)) if size <= most else b""
        except (KeyError, OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
            raise ValueError(f"{self.name}: {name!r:.120} cannot be read ({error}).") from error
        if size > most:
            raise ValueError(
                f"{self.name}: {name} has {bytes_text(size)}; at most {bytes_text(most)} are read."
            )
        return data


def _parse(data: bytes, name: str) -> dict[str, Any]:
    import yaml

    try:
        found = yaml.safe_load(data)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ValueError(f"{name} is not YAML ({str(error)[:200]}).") from error
    if not isinstance(found, dict) or found.get("type") != "model":
        raise ValueError(f"{name} does not describe a model of bioimage.io.")
    return found
