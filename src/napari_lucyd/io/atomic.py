"""Atomic writing: a file gets its name when it is complete."""

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

from napari_lucyd.text import bytes_text

from .image import ImageFileError
from .suffixes import URL_REFUSED, is_url

# Bytes of the destination's name that the temporary one repeats, so that a person can tell what it is.
_REPEATED = 40


@contextmanager
def replacing(path: Path, overwrite: bool) -> Iterator[Path]:
    """Yield a temporary name beside `path`; rename the file to `path` on success, else remove it.

    Unfinished files that a killed process left of an earlier write to `path` are removed first.

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
    """Check that a file can have the name of `path`.

    Raises
    ------
    ImageFileError
        The name is too long, has characters that no name can have, is a URL, or a link without an end.
    """
    if is_url(path):
        raise ImageFileError(f"{path}: {URL_REFUSED}")
    try:
        # A store grows under the longer name until it is complete.
        os.lstat(path.with_name(f"{path.name}.partial") if path.suffix.lower() == ".zarr" else path)
    except (FileNotFoundError, NotADirectoryError):
        pass
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ImageFileError(f"{path}: no file can have this name ({reason}); choose another") from error
    try:
        os.stat(path)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise ImageFileError(f"{path}: is a link that leads in a circle; remove it first") from error


def check_destination(path: Path, overwrite: bool) -> None:
    """Check that `path` can be written and that nothing is replaced against the user's will.

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
    if not (path.is_file() or path.is_dir()):
        raise ImageFileError(f"{path}: is a pipe or a device, not a file, and will not be replaced")
    if path.is_dir():
        from .zarr_reader import holds_one_image

        if not holds_one_image(path):
            raise ImageFileError(
                f"{path}: is a folder that is not Zarr, or Zarr of several images, and will not be replaced"
            )


def check_space(path: Path, size: int) -> None:
    """Check that a file of a given size fits on the disk.

    Parameters
    ----------
    path
        The destination.
    size
        Size of the file in bytes.

    Raises
    ------
    ImageFileError
        It does not.
    """
    disk = _disk(path.parent)
    if disk is not None and size > disk[1]:
        raise ImageFileError(
            f"{path}: the disk is too full: the file needs {bytes_text(size)}, and {bytes_text(disk[1])} "
            "are free; make room or choose another disk"
        )


def _in_words(error: OSError, folder: Path) -> str:
    # NumPy gives no number when a write is cut short.
    cut_short = error.errno is None and "written" in str(error)
    if cut_short or error.errno in (errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)):
        disk = _disk(folder)
        free = "" if disk is None else f" ({bytes_text(disk[1])} free)"
        return (
            f"cannot be written: the disk is full{free}, or a limit for files was reached; nothing of the "
            "unfinished file is left"
        )
    return f"cannot be written ({error.strerror or error})"


def _disk(folder: Path) -> tuple[int, int] | None:
    """Return a disk's size and free space in bytes; None if unknown."""
    try:
        usage = shutil.disk_usage(folder)
    except OSError:
        return None
    return (usage.total, usage.free) if usage.total else None


def _flush(path: Path) -> None:
    """Write a file through to the disk, so that a power loss cannot replace the old file by an empty one."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _temporary(path: Path, ending: str) -> Path:
    """Return a short name beside `path` that identifies the destination and the process that writes."""
    return path.with_name(f"{_prefix(path)}{_process(os.getpid())}-{secrets.token_hex(4)}.{ending}")


def _prefix(path: Path) -> str:
    start = os.fsencode(path.name)[:_REPEATED].decode("utf-8", "ignore")
    key = hashlib.sha256(os.fsencode(path.name) + _machine().encode()).hexdigest()[:16]
    return f".{start}.{key}."


@cache
def _machine() -> str:
    """Return a name for the machine or container, inside which process numbers are unique."""
    try:
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:
        namespace = ""
    return f"{socket.gethostname()} {namespace}"


def _process(number: int) -> str:
    """Return a name for a running process that no later process has; "" if no process has this number."""
    try:
        return f"{number:x}-{round(psutil.Process(number).create_time()):x}"
    except psutil.Error:
        return ""


def _clear_leftovers(path: Path) -> None:
    """Remove unfinished files of killed processes; restore a file that one had moved away."""
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
