"""Whole files or none: written under a temporary name, and renamed when complete."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import psutil

from .image import ImageFileError

# Bytes of the destination's name that the temporary one repeats, so that a person can tell what it is.
_REPEATED = 40


@contextmanager
def replacing(path: Path, overwrite: bool) -> Iterator[Path]:
    """Give a temporary name beside `path`; rename it to `path` on success, remove it on anything else.

    What an earlier write to `path` left, because its process was killed, is removed first.

    Parameters
    ----------
    path
        The destination.
    overwrite
        Replace what is there.

    Raises
    ------
    ImageFileError
        See `check_destination`; or the disk is full, or cannot be written to.
    """
    check_destination(path, overwrite)
    _clear_leftovers(path)
    # An earlier file may have been put back.
    check_destination(path, overwrite)
    temporary = _temporary(path, "partial")
    try:
        yield temporary
        check_destination(path, overwrite)
        if temporary.is_file():
            _flush(temporary)
        if path.is_dir():
            old = _temporary(path, "old")
            os.replace(path, old)
            try:
                os.replace(temporary, path)
            except BaseException:
                os.replace(old, path)
                raise
            shutil.rmtree(old)
        else:
            os.replace(temporary, path)
    except OSError as error:
        raise ImageFileError(f"{path}: {_in_words(error, path.parent)}") from error
    finally:
        _remove(temporary)


def check_name(path: Path) -> None:
    """Raise where no file can have the name of `path`.

    Raises
    ------
    ImageFileError
        The name is too long, or holds what no name can hold.
    """
    try:
        # A store grows under the longer name until it is complete.
        os.lstat(path.with_name(f"{path.name}.partial") if path.suffix.lower() == ".zarr" else path)
    except (FileNotFoundError, NotADirectoryError):
        pass
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ImageFileError(f"{path}: no file can have this name ({reason}); choose another") from error


def check_destination(path: Path, overwrite: bool) -> None:
    """Raise where nothing can be written, or something would be replaced that must not be.

    Parameters
    ----------
    path
        The destination.
    overwrite
        A file, or the Zarr of one image, may be replaced.

    Raises
    ------
    ImageFileError
        The name cannot be one of a file, the folder does not exist, or the destination is taken.
    """
    check_name(path)
    if not path.parent.is_dir():
        raise ImageFileError(f"{path}: the folder {path.parent} does not exist; make it first")
    if not path.exists():
        return
    if not overwrite:
        raise ImageFileError(f"{path}: exists already; choose another name or allow overwriting")
    if path.is_dir():
        from .zarr_reader import holds_one_image

        if not holds_one_image(path):
            raise ImageFileError(
                f"{path}: is a folder that is not Zarr, or Zarr of several images, and will not be replaced"
            )


def check_space(path: Path, size: int) -> None:
    """Raise where the disk has less room than a file needs.

    Parameters
    ----------
    path
        The destination.
    size
        In bytes.

    Raises
    ------
    ImageFileError
        It has.
    """
    disk = _disk(path.parent)
    if disk is not None and size > disk[1]:
        raise ImageFileError(
            f"{path}: the disk is too full: the file needs {_gigabytes(size)}, and {_gigabytes(disk[1])} "
            "are free; make room or choose another disk"
        )


def _in_words(error: OSError, folder: Path) -> str:
    # NumPy gives no number when a write is cut short.
    cut_short = error.errno is None and "written" in str(error)
    if cut_short or error.errno in (errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)):
        disk = _disk(folder)
        free = "" if disk is None else f" ({_gigabytes(disk[1])} free)"
        return (
            f"cannot be written: the disk is full{free}, or a limit for files was reached; nothing of the "
            "unfinished file is left"
        )
    return f"cannot be written ({error.strerror or error})"


def _disk(folder: Path) -> tuple[int, int] | None:
    """Return the size of a disk and what is free of it; None where neither is known."""
    try:
        usage = shutil.disk_usage(folder)
    except OSError:
        return None
    return (usage.total, usage.free) if usage.total else None


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.3g} GB"


def _flush(path: Path) -> None:
    """Wait until a file lies on the disk: a loss of power must not leave an empty one in place of the old."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _temporary(path: Path, ending: str) -> Path:
    """Return a name beside `path` that tells who writes it: long names still have room for it."""
    return path.with_name(f"{_prefix(path)}{_process(os.getpid())}-{secrets.token_hex(4)}.{ending}")


def _prefix(path: Path) -> str:
    start = os.fsencode(path.name)[:_REPEATED].decode("utf-8", "ignore")
    key = hashlib.sha256(os.fsencode(path.name) + _machine().encode()).hexdigest()[:16]
    return f".{start}.{key}."


@cache
def _machine() -> str:
    """Tell apart the machines and containers whose processes are numbered on their own."""
    try:
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:
        namespace = ""
    return f"{socket.gethostname()} {namespace}"


def _process(number: int) -> str:
    """Return the name of a running process, which no later one has; "" for a number that none has."""
    try:
        return f"{number:x}-{round(psutil.Process(number).create_time()):x}"
    except psutil.Error:
        return ""


def _clear_leftovers(path: Path) -> None:
    """Remove what killed processes left of their writes to `path`; put back what they had moved away."""
    prefix = _prefix(path)
    with os.scandir(path.parent) as entries:
        names = [entry.name for entry in entries if entry.name.startswith(prefix)]
    for name in names:
        leftover = path.with_name(name)
        number, _, rest = name.removeprefix(prefix).partition("-")
        try:
            alive = _process(int(number, 16)) == f"{number}-{rest.partition('-')[0]}"
        except ValueError:
            continue
        if alive or leftover.suffix not in (".partial", ".old"):
            continue
        if leftover.suffix == ".old" and not path.exists():
            os.replace(leftover, path)
        else:
            _remove(leftover)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
