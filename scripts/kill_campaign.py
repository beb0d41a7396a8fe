"""Kill runs at random moments, and count the results of the next runs.

    python scripts/kill_campaign.py --kills 50 --seed 0
    python scripts/kill_campaign.py --kills 5 --only training

Each trial starts work in a process of its own, kills it (SIGKILL), often a second time, and then lets it end.
A trial passes if the result equals that of an unbroken run, or if the run is refused with a reason and
nothing is lost; if other files in the folder are untouched; and if nothing is left behind. A run that ends
before its kill is not counted; it tells how long a run takes now, because the load of a machine changes.
Needs a system with `fork`.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import statistics
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

import napari_lucyd as nl
from napari_lucyd.io import ImageFileError, read_image, write_image
from napari_lucyd.io import zarr as zarr_io
from napari_lucyd.models.normalization import Normalization
from napari_lucyd.networks import LucydConfig
from napari_lucyd.out_of_core import StoreError, deconvolve_to_zarr
from napari_lucyd.training import TrainingConfig, train
from napari_lucyd.training.config import DataConfig, ScheduleConfig

BYSTANDER = "notes.txt"
WORDS = "not to be touched"
REFUSED, FAILED = 3, 4
# Kills that come before the run is left alone.
MOST_KILLS = 3
# Share of the kills that fall into the last part of a run, in which results get their names.
LATE, LAST_PART = 0.4, 0.25
# Whole runs whose median tells how long the next one will take, and seconds between two looks at a run.
LATEST, LOOK = 3, 0.002
EARLY = ", ended before the kill"


class Store:
    """A run into OME-Zarr."""

    name = "store"
    parts: tuple[str, ...] = ("output",)

    def __init__(self) -> None:
        self.image = np.random.default_rng(0).random((8, 4, 24, 20), dtype=np.float32)
        self.model = nl.load_model("general")

    def work(self, folder: Path, overwrite: bool) -> None:
        """Compute the result, or resume it."""
        deconvolve_to_zarr(
            self.image,
            self.model,
            folder / "result.ome.zarr",
            outputs=self.parts,
            device="cpu",
            overwrite=overwrite,
        )

    def prepare(self, folder: Path) -> None:
        """Write a result of the user's that the run may replace."""
        for path in self.files(folder).values():
            write_image(path, self.image, axes="TZYX", voxel_size=None, unit=None)

    def files(self, folder: Path) -> dict[str, Path]:
        """Return the paths of the results."""
        return {
            part: folder / ("result.ome.zarr" if part == "output" else f"result_{part}.ome.zarr")
            for part in self.parts
        }

    def result(self, folder: Path) -> dict[str, Any]:
        """Read the results; None for one that is missing."""
        found = {}
        for part, path in self.files(folder).items():
            found[part] = read_image(path, lazy=False).data if path.exists() else None
        return found


class TwoPartStore(Store):
    """A run that gives two parts."""

    name = "two-part store"
    parts = ("output", "update_term")


class Training:
    """A training run."""

    name = "training"

    def __init__(self) -> None:
        self.config = TrainingConfig(
            name="small",
            network=LucydConfig(dimension=2, epsilon=1e-2),
            normalization=Normalization("percentile"),
            data=DataConfig(
                track="open",
                blur_sigma=(0.5, 1.5),
                noise_sigma=(0.0, 30.0),
                patch_shape=(24, 24),
                phantom_shape=(16, 32, 32),
                alive=2,
                patches_per_phantom=8,
            ),
            schedule=ScheduleConfig(patches=64, batch_size=4, validate_every=2, validation_patches=2),
        )

    def work(self, folder: Path, overwrite: bool) -> None:
        """Train, or resume."""
        run = folder / "run"
        train(self.config, run, device="cpu", resume=(run / "checkpoint.pt").exists())

    def prepare(self, folder: Path) -> None:
        """Have nothing to replace: a run is never overwritten."""

    def files(self, folder: Path) -> dict[str, Path]:
        """Return the path of the run."""
        return {"run": folder / "run"}

    def result(self, folder: Path) -> dict[str, Any]:
        """Read the weights."""
        path = folder / "run/small.safetensors"
        if not path.exists():
            return {"weights": None}
        tensors = nl.load_model(path).network.state_dict()
        return {name: tensor.numpy() for name, tensor in tensors.items()}


class Tiff:
    """The writing of a file."""

    name = "tiff"
    suffix = ".ome.tif"

    def __init__(self) -> None:
        self.image = np.random.default_rng(0).random((16, 400, 400), dtype=np.float32)

    def work(self, folder: Path, overwrite: bool) -> None:
        """Write the file."""
        write_image(
            self.files(folder)["file"],
            self.image,
            axes="ZYX",
            voxel_size=(0.3, 0.1, 0.1),
            unit="µm",
            overwrite=overwrite,
        )

    def prepare(self, folder: Path) -> None:
        """Write an earlier file."""
        path = self.files(folder)["file"]
        write_image(path, self.image[:4] + 1, axes="ZYX", voxel_size=None, unit=None)

    def files(self, folder: Path) -> dict[str, Path]:
        """Return the path of the file."""
        return {"file": folder / f"written{self.suffix}"}

    def result(self, folder: Path) -> dict[str, Any]:
        """Read the file."""
        path = self.files(folder)["file"]
        return {"file": read_image(path, lazy=False).data if path.exists() else None}


KINDS = {kind.name: kind for kind in (Store, TwoPartStore, Training, Tiff)}


def in_child(work: Callable[[], object], log: Path, kill_after: float | None = None) -> int | None:
    """Do work in a forked process.

    Parameters
    ----------
    work
        The work.
    log
        Takes the text of an error.
    kill_after
        Seconds until the process is killed; None: never.

    Returns
    -------
    int or None
        0, `REFUSED` or `FAILED`, or the negative number of the signal that ended it; None if it was killed.
    """
    child = os.fork()
    if child == 0:
        status = FAILED
        try:
            work()
            status = 0
        except (StoreError, ImageFileError, FileExistsError, ValueError) as error:
            log.write_text(str(error))
            status = REFUSED
        except BaseException:
            log.write_text(traceback.format_exc())
        finally:
            os._exit(status)
    if kill_after is not None:
        deadline = time.monotonic() + kill_after
        while time.monotonic() < deadline:
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                return os.waitstatus_to_exitcode(status)
            time.sleep(LOOK)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    return None if code == -signal.SIGKILL else code


def equal(found: dict[str, Any], expected: dict[str, Any]) -> bool:
    """Return True if all arrays are there and equal."""
    return all(
        found.get(name) is not None and np.array_equal(found[name], array) for name, array in expected.items()
    )


def trial(
    kind: Any, expected: dict[str, Any], durations: list[float], pick: random.Random, where: Path
) -> str:
    """Kill one run, let it end, and return the verdict.

    A run that ends before it is killed adds its seconds to ``durations``, by which the moments are chosen.
    """
    folder, log = where / "folder", where / "error.txt"
    folder.mkdir()
    (folder / BYSTANDER).write_text(WORDS)
    overwrite = pick.random() < 0.5
    if overwrite:
        kind.prepare(folder)
    before = kind.result(folder)
    killed = 0
    seconds = statistics.median(durations[-LATEST:])
    for _ in range(pick.randint(1, MOST_KILLS)):
        late = pick.random() < LATE
        moment = seconds * (pick.uniform(1 - LAST_PART, 1) if late else pick.uniform(0, 1))
        began = time.monotonic()
        status = in_child(lambda: kind.work(folder, overwrite), log, moment)
        if status is not None:
            if status not in (0, REFUSED):
                return f"WRONG: ended by itself with {status}: {log.read_text() if log.exists() else ''}"
            if not killed and status == 0:
                durations.append(time.monotonic() - began)
            break
        killed += 1
        if (folder / BYSTANDER).read_text() != WORDS:
            return "WRONG: a file that is not ours was changed"
    finished = status == 0
    if not finished:
        status = in_child(lambda: kind.work(folder, overwrite), log)
    found = kind.result(folder)
    if status == REFUSED:
        if equal(found, expected):  # the kill came after the last step
            verdict = "identical"
        elif equal(found, before):
            verdict = f"refused: {log.read_text().replace(str(where), '…')[:160]}"
        else:
            return f"WRONG: refused, and a result is lost: {log.read_text()}"
    elif status != 0:
        return f"WRONG: ended with {status}: {log.read_text() if log.exists() else ''}"
    else:
        verdict = "identical" if equal(found, expected) else "WRONG: another result"
    if (folder / BYSTANDER).read_text() != WORDS:
        return "WRONG: a file that is not ours was changed"
    left = {entry.name for entry in folder.iterdir()} - {BYSTANDER}
    left -= {path.name for path in kind.files(folder).values()}
    if left:
        return f"WRONG: left behind: {sorted(left)}"
    return verdict if killed else f"{verdict}{EARLY}"


def campaign(kind: Any, kills: int, seed: int) -> Counter[str]:
    """Run trials until this number of runs was killed, and count the verdicts."""
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as top:
        whole = Path(top, "whole")
        whole.mkdir()
        kind.work(whole, False)
        expected = kind.result(whole)
        shutil.rmtree(whole)
        whole.mkdir()
        began = time.monotonic()
        if in_child(lambda: kind.work(whole, False), Path(top, "error.txt")) != 0:
            raise SystemExit(f"{kind.name}: {Path(top, 'error.txt').read_text()}")
        durations = [time.monotonic() - began]
        if not equal(kind.result(whole), expected):
            raise SystemExit(f"{kind.name}: two unbroken runs differ")
        number = 0
        while sum(count for verdict, count in counts.items() if not verdict.endswith(EARLY)) < kills:
            where = Path(top, str(number))
            where.mkdir()
            verdict = trial(kind, expected, durations, random.Random(f"{seed} {number}"), where)
            counts[verdict] += 1
            if verdict.startswith("WRONG"):
                print(f"  trial {number}: {verdict}", flush=True)
            shutil.rmtree(where, ignore_errors=True)
            number += 1
    return counts


def main() -> int:
    """Run the campaign; return 1 if a trial failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50, help="runs that are killed, of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=list(KINDS), action="append", help="only this kind of work")
    arguments = parser.parse_args()
    # A forked process has none of the threads of its parent.
    torch.set_num_threads(1)
    # One time point a chunk: many steps, each of which is recorded.
    zarr_io._CHUNK = {"T": 1, "C": 1, "Z": 8, "Y": 16, "X": 16}
    wrong = False
    for name in arguments.only or KINDS:
        began = time.monotonic()
        counts = campaign(KINDS[name](), arguments.kills, arguments.seed)
        print(f"{name}: {arguments.kills} kills in {time.monotonic() - began:.0f} s")
        for verdict, count in counts.most_common():
            print(f"  {count:5d}  {verdict}", flush=True)
            wrong = wrong or verdict.startswith("WRONG")
    return int(wrong)


if __name__ == "__main__":
    sys.exit(main())
