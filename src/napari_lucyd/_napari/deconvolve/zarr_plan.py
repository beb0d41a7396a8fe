"""Files of the results: names, conflicts with existing files, and disk space."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_lucyd._napari.layers.saving import file_name
from napari_lucyd.text import bytes_text

if TYPE_CHECKING:
    from napari_lucyd._napari.deconvolve.task import Estimate, ImageTask
    from napari_lucyd.out_of_core import StoreJob

SUFFIX = ".ome.zarr"


class AlreadyThere(ValueError):
    """The finished results exist. Nothing is wrong, and nothing is left to do."""


def stems(folder: Path, names: Sequence[str]) -> list[Path]:
    """Return the beginning of the file names of each layer; equal names get a number.

    Examples
    --------
    >>> [path.name for path in stems(Path("results"), ["a/b", "a:b", "c"])]
    ['a_b', 'a_b_2', 'c']
    """
    found: list[str] = []
    for name in names:
        stem, number = file_name(name), 1
        candidate = stem
        # Some file systems ignore upper and lower case.
        while candidate.lower() in [other.lower() for other in found]:
            number += 1
            candidate = f"{stem}_{number}"
        found.append(candidate)
    return [folder / name for name in found]


def plan_store(task: ImageTask, method: Any, options: dict[str, Any], *, decided: bool = True) -> StoreJob:
    """Plan the run of one image into files in one folder.

    Parameters
    ----------
    task
        The image, with a stem.
    method
        Model or classical method.
    options
        Keyword arguments of `napari_lucyd.deconvolution.plan`.
    decided
        False while it is open which method the run will take; an unfinished run is not compared then.

    Raises
    ------
    TypeError, ValueError
        See `napari_lucyd.out_of_core.plan_to_zarr`; or if an unfinished run has other settings, or the disk
        is full.
    AlreadyThere
        If a finished result exists.
    """
    from napari_lucyd.out_of_core import plan_to_zarr

    stem = task.stem
    if stem is None:
        raise ValueError("Choose a folder for the results.")
    if not stem.parent.is_dir():
        raise ValueError(f"The folder {stem.parent} no longer exists. Choose another folder for the results.")
    out = {part: stem.with_name(f"{stem.name}_{part}{SUFFIX}") for part in options["outputs"]}
    job = plan_to_zarr(task.source.data, method, out, unit=task.source.unit, **options)
    there = [path.name for path in job.destinations.values() if path.exists()]
    if there:
        raise AlreadyThere(
            f"The results are in this folder: {files_text(there)}. They will not be overwritten. To run "
            "again, choose another folder or rename the layer."
        )
    job.check()
    changed = job.unfinished()
    if changed and decided:
        raise ValueError(
            f"This folder holds an unfinished run with other settings: {'; '.join(changed)}. Choose another "
            "folder, or delete the .partial folders."
        )
    return job


def check_room(estimates: Sequence[Estimate]) -> list[Estimate]:
    """Refuse images whose results do not fit on the disk together with those of the others."""
    stores = [entry.store for entry in estimates if entry.store is not None]
    if len(stores) < 2:  # each by itself was checked when it was planned
        return list(estimates)
    free = _free(stores)
    checked, taken = [], 0
    for entry in estimates:
        taken += entry.store.bytes if entry.store is not None else 0
        if entry.store is not None and taken > free:
            text = (
                f"All results together may need {bytes_text(taken)}, and only {bytes_text(free)} of disk "
                "space are free. Free some space, or choose fewer images or outputs."
            )
            entry = replace(entry, job=None, store=None, error=text)
        checked.append(entry)
    return checked


def files_text(names: Sequence[str]) -> str:
    """Shorten a list of file names.

    Examples
    --------
    >>> files_text(["a.ome.zarr", "b.ome.zarr", "c.ome.zarr"])
    'a.ome.zarr (and 2 more)'
    """
    return names[0] + (f" (and {len(names) - 1} more)" if len(names) > 1 else "")


def disk_line(stores: Sequence[StoreJob]) -> str:
    """Describe the disk space of the results."""
    size = sum(store.bytes for store in stores)
    text = f"Up to {bytes_text(size)} on disk."
    if any(resumes(store) for store in stores):
        text += " An unfinished run was found here. Resume continues it."
    return text


def resumes(store: StoreJob) -> bool:
    """Return True if there is an unfinished result; `plan_store` has found that its settings are the same."""
    return any(path.exists() for path in store.partial.values())


def _free(stores: Sequence[StoreJob]) -> int:
    """Return the free disk space plus the space that unfinished results already occupy."""
    partial = [path for store in stores for path in store.partial.values()]
    files = (file for path in partial if path.exists() for file in path.rglob("*"))
    there = sum(file.stat().st_size for file in files if file.is_file())
    return shutil.disk_usage(partial[0].parent).free + there
