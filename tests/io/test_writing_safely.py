"""Writing leaves a whole file or none, for any name, disk, or moment of a kill."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections import namedtuple
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import tifffile

from napari_lucyd.io import Channel, ImageFileError, check_writable, read_image, write_image

STACK = np.arange(4 * 5 * 6, dtype="uint16").reshape(4, 5, 6)
ABOUT = {"axes": "ZYX", "voxel_size": (0.3, 0.1, 0.1), "unit": "µm"}
posix = pytest.mark.skipif(sys.platform == "win32", reason="such names and signals are not known there")


# ---------------------------------------------------------------------------------------------- names


@posix
@pytest.mark.parametrize("suffix", [".tif", ".ome.tif", ".ome.zarr"])
@pytest.mark.parametrize(
    "name", [b"caf\xe9", b"a\x1b[31mred", b"two\nlines", b"del\x7f", "\u202eright to left".encode()]
)
def test_any_name_is_written_and_read_and_shown_safely(tmp_path, name, suffix):
    path = tmp_path / os.fsdecode(name + suffix.encode())
    check_writable(path)
    write_image(path, STACK, **ABOUT, metadata={"source": path.name}, channels=[Channel(path.stem)])
    image = read_image(path)
    np.testing.assert_array_equal(image.data, STACK)
    assert image.metadata == {"source": path.name}
    assert image.name.isprintable() and image.name.encode("utf-8")
    with pytest.raises(ImageFileError) as refused:
        write_image(path, STACK, **ABOUT)
    assert str(refused.value).isprintable()
    assert os.listdir(os.fsencode(tmp_path)) == [name + suffix.encode()]


@pytest.mark.parametrize(("suffix", "length"), [(".tif", 251), (".ome.tif", 247), (".ome.zarr", 238)])
def test_the_longest_names_are_written(tmp_path, suffix, length):
    path = tmp_path / ("n" * length + suffix)
    check_writable(path)
    write_image(path, STACK, **ABOUT)
    np.testing.assert_array_equal(read_image(path).data, STACK)
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("suffix", [".tif", ".ome.tif", ".ome.zarr"])
@pytest.mark.parametrize("name", ["n" * 252, "µ" * 126, "null\0byte"])
def test_names_that_no_file_can_have_are_found_out_before_the_work(tmp_path, suffix, name):
    for call in (check_writable, lambda path: write_image(path, STACK, **ABOUT)):
        with pytest.raises(ImageFileError, match=r"no file can have this name .*choose another"):
            call(tmp_path / (name + suffix))
    assert os.listdir(tmp_path) == []


def test_a_zarr_s_name_has_room_for_the_one_it_grows_under(tmp_path):
    check_writable(tmp_path / ("n" * 238 + ".ome.zarr"))
    with pytest.raises(ImageFileError, match="no file can have this name"):
        check_writable(tmp_path / ("n" * 239 + ".ome.zarr"))


def test_written_ome_xml_is_valid_whatever_the_texts(tmp_path):
    odd = "\x00\x1b\x7f\x85\u2028\ud800 \udcff\ufffe\uffff<&>\"'"
    path = write_image(
        tmp_path / "a.ome.tif", STACK, **ABOUT, metadata={"source": odd}, channels=[Channel(odd)]
    )
    with tifffile.TiffFile(path) as tif:
        ElementTree.fromstring(tif.ome_metadata)
    assert read_image(path).metadata == {"source": odd}
    assert read_image(path).channels == (Channel(odd),)


# ---------------------------------------------------------------------------------------------- full disk

LIMITED = """
import resource, signal, sys
import numpy as np
from napari_lucyd.io import ImageFileError, write_image
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
values = np.random.default_rng(0).integers(0, 60000, (40, 100, 100)).astype("uint16")
try:
    write_image(sys.argv[1], values, axes="ZYX", voxel_size=None, unit=None)
except ImageFileError as error:
    print(error)
"""


@posix
@pytest.mark.parametrize("suffix", [".tif", ".ome.tif", ".ome.zarr"])
def test_a_disk_that_fills_up_is_named_and_nothing_is_left(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(path)], capture_output=True, text=True, check=True
    )
    assert re.search(r"cannot be written: the disk is full \(.* GB free\)", done.stdout), done
    assert os.listdir(tmp_path) == []


def test_a_file_larger_than_the_disk_is_refused_before_the_work(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    large = np.zeros((40, 100, 100), "uint16")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(10**9, 10**9 - 200_000, 200_000))
    with pytest.raises(ImageFileError, match="the file needs 800 kB, and 200 kB are free"):
        write_image(tmp_path / "a.tif", large, **ABOUT)
    assert os.listdir(tmp_path) == []
    # Some network disks do not state it.
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(0, 0, 0))
    write_image(tmp_path / "a.tif", large, **ABOUT)


# ---------------------------------------------------------------------------------------------- killed runs

SLOW = """
import sys, time
import numpy as np
from napari_lucyd.io import write_image

class Slow:
    shape, dtype, ndim = (50, 4, 100, 100), np.dtype("uint16"), 4
    def __getitem__(self, index):
        if index[0] != 0:
            print("writing", flush=True)
            time.sleep(60)
        return np.zeros(self.shape, self.dtype)[index]

write_image(sys.argv[1], Slow(), axes="TZYX", voxel_size=None, unit=None, overwrite=True)
"""


def start_slow_write(path: Path) -> subprocess.Popen:
    process = subprocess.Popen([sys.executable, "-c", SLOW, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "writing\n"
    return process


def end(process: subprocess.Popen) -> None:
    process.kill()
    process.wait()
    process.stdout.close()


@posix
@pytest.mark.parametrize("suffix", [".tif", ".ome.tif"])
def test_the_next_write_clears_what_a_killed_one_left_and_nothing_else(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    mine = [tmp_path / f".a{suffix}.partial", tmp_path / f"b{suffix}.partial", tmp_path / f".a{suffix}.x.old"]
    for other in mine:
        other.write_text("the user's")
    end(start_slow_write(path))
    (left,) = set(tmp_path.iterdir()) - set(mine)
    assert left.name.startswith(f".a{suffix}.") and left.suffix == ".partial"
    write_image(tmp_path / f"b{suffix}", STACK, **ABOUT)
    assert left.exists(), "it belongs to another file"
    write_image(path, STACK, **ABOUT)
    np.testing.assert_array_equal(read_image(path).data, STACK)
    assert not left.exists()
    assert [other.read_text() for other in mine] == ["the user's"] * 3


@posix
def test_a_write_that_is_still_going_on_is_left_alone(tmp_path):
    path = tmp_path / "a.ome.tif"
    process = start_slow_write(path)
    try:
        (going,) = tmp_path.iterdir()
        write_image(path, STACK, **ABOUT)
        assert going.exists()
    finally:
        end(process)


def test_a_zarr_that_a_killed_write_had_moved_away_is_put_back(tmp_path):
    from napari_lucyd.io import atomic

    path = write_image(tmp_path / "a.ome.zarr", STACK, **ABOUT)
    process = subprocess.Popen([sys.executable, "-c", "pass"])
    process.wait()
    moved = atomic._temporary(path, "old")
    moved = moved.with_name(moved.name.replace(f".{os.getpid():x}-", f".{process.pid:x}-"))
    os.replace(path, moved)
    with pytest.raises(ImageFileError, match="exists already"):
        write_image(path, STACK + 1, **ABOUT)
    np.testing.assert_array_equal(read_image(path).data, STACK)
    assert os.listdir(tmp_path) == [path.name]


# ---------------------------------------------------------------------------------------- what is no file


@posix
@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("by_link", [False, True])
@pytest.mark.parametrize("suffix", [".ome.tif", ".tif", ".ome.zarr"])
def test_a_pipe_is_never_replaced(tmp_path, suffix, by_link, overwrite):
    pipe = path = tmp_path / f"a{suffix}"
    os.mkfifo(pipe)
    if by_link:
        path = tmp_path / f"link{suffix}"
        path.symlink_to(pipe)
    for check in (partial(write_image, array=STACK, **ABOUT), check_writable):
        with pytest.raises(ImageFileError, match="is a pipe or a device" if overwrite else "exists already"):
            check(path, overwrite=overwrite)
    assert pipe.is_fifo()


@posix
@pytest.mark.parametrize("suffix", [".ome.tif", ".ome.zarr"])
def test_a_link_that_leads_in_a_circle_is_told_of(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    path.symlink_to(path)
    for check in (partial(write_image, array=STACK, **ABOUT), check_writable):
        with pytest.raises(ImageFileError, match="leads in a circle"):
            check(path, overwrite=True)
    assert path.is_symlink()
