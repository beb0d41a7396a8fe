"""OME-TIFF in several files: every file gives its own voxels and voxel size, or is refused with a reason."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_lucyd.io import ImageFileError, files_of_image, read_image
from ome_files import write_ome_set

NAMESPACE = "http://www.openmicroscopy.org/Schemas/OME/2016-06"
FIRST = np.arange(4 * 5 * 6, dtype="uint16").reshape(4, 5, 6)
SECOND = FIRST[::-1] + 1000


def pixels(index: int, size: float, places: str, depth: int = 4, name: str = "") -> str:
    return (
        f'<Image ID="Image:{index}" Name="{name}"><Pixels ID="Pixels:{index}" DimensionOrder="XYZCT" '
        f'Type="uint16" SizeX="6" SizeY="5" SizeZ="{depth}" SizeC="1" SizeT="1" PhysicalSizeX="{size}" '
        f'PhysicalSizeY="{size}" PhysicalSizeZ="{3 * size}"><Channel ID="Channel:{index}:0" '
        f'SamplesPerPixel="1"/>{places}</Pixels></Image>'
    )


def ome(body: str, uuid: str | None = None) -> str:
    identifier = "" if uuid is None else f' UUID="urn:uuid:{uuid}"'
    return f'<?xml version="1.0" encoding="UTF-8"?><OME xmlns="{NAMESPACE}"{identifier}>{body}</OME>'


def place(file: str, uuid: str | None, first_z: int = 0, count: int = 4, ifd: int = 0) -> str:
    text = "" if uuid is None else f"urn:uuid:{uuid}"
    return (
        f'<TiffData FirstZ="{first_z}" IFD="{ifd}" PlaneCount="{count}"><UUID FileName="{file}">{text}</UUID>'
        "</TiffData>"
    )


def write(path: Path, planes: np.ndarray, description: str, **options: object) -> Path:
    tifffile.imwrite(
        path,
        planes,
        description=description.encode(),
        metadata=None,
        photometric="minisblack",
        **options,
    )
    return path


def two_positions(folder: Path, **options: object) -> list[Path]:
    """Two positions of one recording, each in its own file; both files describe both."""
    body = pixels(0, 0.1, place("p0.ome.tif", "a"), name="same") + pixels(
        1, 0.2, place("p1.ome.tif", "b"), name="same"
    )
    # An extra tag moves the voxels of the second file to another offset than those of the first.
    return [
        write(folder / "p0.ome.tif", FIRST, ome(body, "a"), **options),
        write(folder / "p1.ome.tif", SECOND, ome(body + " " * 501, "b"), **options),
    ]


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}])
@pytest.mark.parametrize("lazy", [False, True])
def test_each_position_has_its_own_voxels_and_its_own_voxel_size(tmp_path, lazy, options):
    for path, values, size in zip(
        two_positions(tmp_path, **options), (FIRST, SECOND), (0.1, 0.2), strict=True
    ):
        image = read_image(path, lazy=lazy)
        np.testing.assert_array_equal(np.asarray(image.data), values)
        assert image.voxel_size == pytest.approx((3 * size, size, size))
        assert (image.unit, image.warnings) == ("micrometer", ())


@pytest.mark.parametrize("lazy", [False, True])
def test_a_position_of_two_files_beside_another_is_read_whole(tmp_path, lazy):
    series = np.random.default_rng(0).integers(0, 999, (2, 3, 5, 6)).astype("uint16")
    other = series + 1000
    for files, values in zip(write_ome_set(tmp_path, [series, other]), (series, other), strict=True):
        for file in files:
            np.testing.assert_array_equal(np.asarray(read_image(file, lazy=lazy).data), values)


def test_the_second_image_of_one_file_is_not_taken_for_the_first(tmp_path):
    body = pixels(0, 0.1, place("gone.ome.tif", "x")) + pixels(1, 0.2, place("a.ome.tif", "a"))
    path = write(tmp_path / "a.ome.tif", SECOND, ome(body, "a"))
    image = read_image(path, lazy=True)
    np.testing.assert_array_equal(image.data.compute(), SECOND)
    assert image.voxel_size == pytest.approx((0.6, 0.2, 0.2))


@pytest.mark.parametrize("lazy", [False, True])
def test_files_that_carry_one_identifier_or_none_are_told_apart_by_name(tmp_path, lazy):
    for uuids in (("same", "same"), (None, None)):
        body = pixels(
            0, 0.1, place("h0.ome.tif", uuids[0], 0, 4) + place("h1.ome.tif", uuids[1], 4, 4), depth=8
        )
        for name, planes in (("h0.ome.tif", FIRST), ("h1.ome.tif", SECOND)):
            write(tmp_path / name, planes, ome(body, uuids[0]))
        for name in ("h0.ome.tif", "h1.ome.tif"):
            image = read_image(tmp_path / name, lazy=lazy)
            np.testing.assert_array_equal(np.asarray(image.data), np.concatenate([FIRST, SECOND]))


@pytest.mark.parametrize("uuid", ["a", None])
def test_a_file_may_be_renamed(tmp_path, uuid):
    path = write(tmp_path / "new.ome.tif", FIRST, ome(pixels(0, 0.1, place("old.ome.tif", uuid)), uuid))
    image = read_image(path)
    np.testing.assert_array_equal(image.data, FIRST)
    assert (image.voxel_size, image.warnings) == (pytest.approx((0.3, 0.1, 0.1)), ())
    assert files_of_image(path) == {path}


@pytest.mark.parametrize(
    "folder", ["/data/microscope/", "C:\\Users\\Ann\\", "../", "sub/../../", "\\\\server\\share\\"]
)
def test_names_with_a_folder_are_looked_up_beside_the_file(tmp_path, folder):
    (tmp_path / "set").mkdir()
    body = pixels(
        0, 0.1, place(f"{folder}a.ome.tif", "a", 0, 4) + place(f"{folder}b.ome.tif", "b", 4, 4), depth=8
    )
    first = write(tmp_path / "set" / "a.ome.tif", FIRST, ome(body, "a"))
    second = write(tmp_path / "set" / "b.ome.tif", SECOND, ome(body, "b"))
    # A file of this name outside of the folder is another file.
    write(tmp_path / "b.ome.tif", FIRST, ome(body, "b"))
    np.testing.assert_array_equal(read_image(first).data, np.concatenate([FIRST, SECOND]))
    assert files_of_image(first) == {first, second}
    second.unlink()
    with pytest.raises(ImageFileError, match=r"4 of the image's 8 planes are missing, and so is 'b.ome.tif'"):
        read_image(first)


def test_an_empty_name_means_the_file_itself(tmp_path):
    path = write(tmp_path / "a.ome.tif", FIRST, ome(pixels(0, 0.1, place("", "x")), "a"))
    np.testing.assert_array_equal(read_image(path).data, FIRST)
    assert files_of_image(path) == {path}


def test_a_place_without_a_name_means_the_file_itself(tmp_path):
    there = '<TiffData IFD="0" PlaneCount="4"><UUID>urn:uuid:x</UUID></TiffData>'
    path = write(tmp_path / "a.ome.tif", FIRST, ome(pixels(0, 0.1, there), "a"))
    np.testing.assert_array_equal(read_image(path).data, FIRST)


@pytest.mark.parametrize("name", ["..", ".", "/data/..", "sub\\.."])
def test_a_folder_named_as_a_file_is_refused_in_words(tmp_path, name):
    path = write(tmp_path / "a.ome.tif", FIRST, ome(pixels(0, 0.1, place(name, "x")), "a"))
    with pytest.raises(ImageFileError, match=r"a\.ome\.tif: its OME-XML names '\.+', a folder, as a file"):
        read_image(path)
    assert files_of_image(path) == {path}


# ------------------------------------------------------------------------------------ BinaryOnly, companion


def binary_only(companion: str) -> str:
    return ome(f'<BinaryOnly MetadataFile="{companion}" UUID="urn:uuid:companion"/>', "own")


def companion_set(folder: Path, companion: str) -> list[Path]:
    body = pixels(0, 0.1, place("c0.ome.tif", "a", 0, 4) + place("c1.ome.tif", "b", 4, 4), depth=8)
    if companion.endswith(".companion.ome"):
        (folder / companion).write_text(ome(body, "companion"), "utf-8")
    else:
        write(folder / companion, FIRST[:1], ome(body, "companion"))
    return [
        write(folder / "c0.ome.tif", FIRST, binary_only(companion)),
        write(folder / "c1.ome.tif", SECOND, binary_only(companion)),
    ]


@pytest.mark.parametrize("companion", ["set.companion.ome", "master.ome.tif"])
@pytest.mark.parametrize("lazy", [False, True])
def test_a_file_without_a_description_is_read_by_its_companion(tmp_path, companion, lazy):
    for path in companion_set(tmp_path, companion):
        image = read_image(path, lazy=lazy)
        np.testing.assert_array_equal(np.asarray(image.data), np.concatenate([FIRST, SECOND]))
        assert image.voxel_size == pytest.approx((0.3, 0.1, 0.1))
        assert files_of_image(path) == {tmp_path / "c0.ome.tif", tmp_path / "c1.ome.tif"}


@pytest.mark.parametrize("name", ["gone.companion.ome", "../set.companion.ome", "", "..", "/etc/passwd"])
def test_a_companion_that_is_not_beside_the_file_is_missed_in_words(tmp_path, name):
    (tmp_path / "set").mkdir()
    (tmp_path / "set.companion.ome").write_text(ome(pixels(0, 0.9, ""), "companion"), "utf-8")
    path = write(tmp_path / "set" / "a.ome.tif", FIRST, binary_only(name))
    image = read_image(path)
    np.testing.assert_array_equal(image.data, FIRST)
    assert image.voxel_size is None
    (warning,) = image.warnings
    assert re.search(r"description of the image should lie .* may hold no more than a part", warning)


def test_an_unreadable_description_leaves_the_pages_with_a_warning(tmp_path):
    text = ome(pixels(0, 0.1, "")).replace("</Pixels>", "</Pixel>")
    image = read_image(write(tmp_path / "a.ome.tif", FIRST, text))
    np.testing.assert_array_equal(image.data, FIRST)
    assert image.voxel_size is None
    assert image.warnings
