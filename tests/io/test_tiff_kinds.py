"""TIFF as programs and microscopes write it: palettes, single pages, planes saved as channels, LSM, STK."""

from __future__ import annotations

import struct
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_lucyd.io import ImageFileError, is_image_path, is_writable_path, read_image, write_image

STACK = np.arange(5 * 6 * 7, dtype="uint8").reshape(5, 6, 7)


# ------------------------------------------------------------------------------------------------- palette


@pytest.mark.parametrize("lazy", [False, True])
def test_the_values_of_an_8_bit_image_with_a_palette_are_its_intensities(tmp_path, lazy):
    green = np.zeros((3, 256), "uint16")
    green[1] = np.arange(256) * 257
    tifffile.imwrite(tmp_path / "a.tif", STACK, photometric="palette", colormap=green)
    image = read_image(tmp_path / "a.tif", lazy=lazy)
    np.testing.assert_array_equal(np.asarray(image.data), STACK)
    assert (image.axes, image.warnings) == ("ZYX", ())


def test_a_palette_that_does_not_grow_with_the_value_is_warned_of(tmp_path):
    wheel = np.random.default_rng(0).integers(0, 65535, (3, 256)).astype("uint16")
    tifffile.imwrite(tmp_path / "a.tif", STACK[0], photometric="palette", colormap=wheel)
    image = read_image(tmp_path / "a.tif")
    np.testing.assert_array_equal(image.data, STACK[0])
    (warning,) = image.warnings
    assert "palette of colours; the values were read as intensities" in warning


# ---------------------------------------------------------------------------------- pages written one by one


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}])
def test_equal_pages_that_were_written_one_by_one_are_a_stack(tmp_path, lazy, options):
    with tifffile.TiffWriter(tmp_path / "a.tif") as tif:
        for plane in STACK:
            tif.write(plane, photometric="minisblack", **options)
    image = read_image(tmp_path / "a.tif", lazy=lazy)
    np.testing.assert_array_equal(np.asarray(image.data), STACK)
    assert (image.axes, image.warnings) == ("ZYX", ())


def test_pages_that_were_appended_to_a_file_are_a_stack(tmp_path):
    for plane in STACK.astype("float32"):
        tifffile.imwrite(tmp_path / "a.tif", plane, append=True)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif").data, STACK)


@pytest.mark.parametrize("second", [STACK[0, :, :-1], STACK[0].astype("uint16")])
def test_pages_of_two_kinds_are_two_images(tmp_path, second):
    with tifffile.TiffWriter(tmp_path / "a.tif") as tif:
        tif.write(STACK[0], photometric="minisblack")
        tif.write(second, photometric="minisblack")
    image = read_image(tmp_path / "a.tif")
    np.testing.assert_array_equal(image.data, STACK[0])
    assert image.warnings == ("the file holds 2 images; the first was read",)


# ------------------------------------------------------------------------------------- declared axes


def test_48_channels_of_an_imagej_file_without_z_are_doubted_once(tmp_path):
    stack = np.zeros((48, 6, 7), "uint16")
    tifffile.imwrite(tmp_path / "a.tif", stack, imagej=True)
    image = read_image(tmp_path / "a.tif")
    assert image.axes == "CYX"
    (warning,) = image.warnings
    assert "48 channels and no Z" in warning and warning.endswith("--axes ZYX")
    declared = read_image(tmp_path / "a.tif", axes="zyx")
    assert (declared.axes, declared.warnings) == ("ZYX", ())


def test_a_few_channels_are_not_doubted(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((4, 6, 7), "uint16"), imagej=True, metadata={"axes": "CYX"})
    assert read_image(tmp_path / "a.tif").warnings == ()


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("count", [3, 4])
def test_planar_images_of_3_or_4_planes_are_planes_where_the_axes_say_so(tmp_path, count, lazy):
    stack = STACK[:count]
    extra = {"extrasamples": ["unassalpha"]} if count == 4 else {}
    tifffile.imwrite(tmp_path / "a.tif", stack, photometric="rgb", planarconfig="separate", **extra)
    with pytest.raises(ImageFileError, match=r"a colour picture .*--axes ZYX or CYX"):
        read_image(tmp_path / "a.tif", lazy=lazy)
    for axes in ("ZYX", "CYX", "TYX"):
        image = read_image(tmp_path / "a.tif", lazy=lazy, axes=axes)
        assert image.axes == axes
        np.testing.assert_array_equal(np.asarray(image.data), stack)


def test_interleaved_colours_stay_colours_whatever_the_axes_say(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((6, 7, 3), "uint8"), photometric="rgb")
    with pytest.raises(ImageFileError, match="a colour picture"):
        read_image(tmp_path / "a.tif", axes="CYX")


def test_declared_axes_have_to_fit_the_image(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", STACK, photometric="minisblack")
    with pytest.raises(ImageFileError, match=r"a\.tif: axes 'TZYX' name 4 axes, but the image has 3"):
        read_image(tmp_path / "a.tif", axes="TZYX")


@pytest.mark.parametrize("suffix", [".tif", ".ome.tif", ".ome.zarr"])
def test_a_movie_that_is_a_stack_after_all_has_no_step_along_z_unless_it_is_given(tmp_path, suffix):
    path = write_image(tmp_path / f"a{suffix}", STACK, axes="TYX", voxel_size=(0.2, 0.1), unit="µm")
    image = read_image(path, axes="ZYX")
    assert (image.axes, image.voxel_size) == ("ZYX", None)
    assert len(image.warnings) == 1
    image = read_image(path, axes="ZYX", voxel_size=(0.3, 0.2, 0.1))
    assert (image.voxel_size, image.unit, image.warnings) == ((0.3, 0.2, 0.1), "micrometer", ())


def test_a_voxel_size_that_is_given_replaces_the_one_in_the_file(tmp_path):
    path = write_image(tmp_path / "a.tif", STACK, axes="ZYX", voxel_size=(3, 2, 1), unit="nm")
    image = read_image(path, voxel_size=(0.3, 0.2, 0.1))
    assert (image.voxel_size, image.unit) == ((0.3, 0.2, 0.1), "micrometer")
    with pytest.raises(ImageFileError, match=r"a\.tif: voxel_size .*expected 3 positive numbers"):
        read_image(path, voxel_size=(0.2, 0.1))


# ------------------------------------------------------------------------------------- voxel size


@pytest.mark.parametrize(
    ("unit", "expected"),
    [
        ("nm", "nanometer"),
        ("mm", "millimeter"),
        ("cm", "centimeter"),
        ("in", "inch"),
        ("Å", "angstrom"),
        ("pm", "picometer"),
        ("km", "kilometer"),
        ("reference frame", None),
        ("pixel", None),
    ],
)
def test_every_length_of_the_ome_schema_is_kept(tmp_path, unit, expected):
    sizes = {f"PhysicalSize{axis}": size for axis, size in zip("ZYX", (3.0, 2.0, 1.5), strict=True)}
    units = {f"PhysicalSize{axis}Unit": unit for axis in "ZYX"}
    tifffile.imwrite(
        tmp_path / "a.ome.tif", STACK, photometric="minisblack", metadata={"axes": "ZYX", **sizes, **units}
    )
    image = read_image(tmp_path / "a.ome.tif")
    assert (image.voxel_size, image.unit, image.warnings) == ((3.0, 2.0, 1.5), expected, ())


def test_a_rare_length_of_the_ome_schema_becomes_micrometres(tmp_path):
    stated = {f"PhysicalSize{axis}": 1.0 for axis in "ZYX"} | {
        f"PhysicalSize{axis}Unit": "thou" for axis in "ZYX"
    }
    tifffile.imwrite(
        tmp_path / "a.ome.tif", STACK, photometric="minisblack", metadata={"axes": "ZYX", **stated}
    )
    image = read_image(tmp_path / "a.ome.tif")
    assert (image.voxel_size, image.unit) == (pytest.approx((25.4, 25.4, 25.4)), "micrometer")


def test_a_negative_step_keeps_its_length(tmp_path):
    tifffile.imwrite(
        tmp_path / "a.tif",
        STACK,
        imagej=True,
        resolution=(10, 10),
        metadata={"axes": "ZYX", "spacing": -0.3, "unit": "um"},
    )
    image = read_image(tmp_path / "a.tif")
    assert (image.voxel_size, image.warnings) == (pytest.approx((0.3, 0.1, 0.1)), ())
    sizes = {"PhysicalSizeZ": -0.3, "PhysicalSizeY": 0.1, "PhysicalSizeX": 0.1}
    tifffile.imwrite(
        tmp_path / "a.ome.tif", STACK, photometric="minisblack", metadata={"axes": "ZYX", **sizes}
    )
    assert read_image(tmp_path / "a.ome.tif").voxel_size == (0.3, 0.1, 0.1)


# ------------------------------------------------------------------------------------- other suffixes


@pytest.mark.parametrize("suffix", [".ome.btf", ".ome.tf2", ".ome.tf8", ".btf", ".tf8"])
def test_bigtiff_is_read_by_its_further_suffixes(tmp_path, suffix):
    path = tmp_path / f"cells{suffix}"
    size = {"PhysicalSizeZ": 0.3, "PhysicalSizeY": 0.1, "PhysicalSizeX": 0.1} if "ome" in suffix else {}
    tifffile.imwrite(
        path,
        STACK,
        bigtiff=True,
        ome="ome" in suffix,
        photometric="minisblack",
        metadata={"axes": "ZYX", **size},
    )
    image = read_image(path)
    np.testing.assert_array_equal(image.data, STACK)
    assert (image.axes, image.name) == ("ZYX", "cells")
    assert image.voxel_size == ((0.3, 0.1, 0.1) if "ome" in suffix else None)
    assert is_image_path(path) and not is_writable_path(path)
    with pytest.raises(ImageFileError, match=r"expected one of \.ome\.tiff, \.ome\.tif, "):
        write_image(path, STACK, axes="ZYX", voxel_size=None, unit=None, overwrite=True)


def write_lsm(path: Path, stack: np.ndarray) -> None:
    """Write (Z, C, Y, X) as Zeiss does: for each plane, a page of all channels and a thumbnail."""
    information = np.zeros((), np.dtype(tifffile.TIFF.CZ_LSMINFO))
    depth, channels, height, width = stack.shape
    for name, value in {
        "MagicNumber": 67127628,
        "StructureSize": information.dtype.itemsize,
        "DimensionX": width,
        "DimensionY": height,
        "DimensionZ": depth,
        "DimensionChannels": channels,
        "DimensionTime": 1,
        "DataType": 1,
        "VoxelSizeX": 1e-7,
        "VoxelSizeY": 1.1e-7,
        "VoxelSizeZ": 3e-7,
        "ScanType": 0,
    }.items():
        information[name] = value
    tag = (34412, "B", information.nbytes, information.tobytes(), True)
    options = {"photometric": "minisblack", "metadata": None, "contiguous": False}
    if channels > 1:
        options |= {"photometric": "rgb" if channels == 3 else "minisblack", "planarconfig": "separate"}
    with tifffile.TiffWriter(path, byteorder="<") as tif:
        for index, planes in enumerate(stack if channels > 1 else stack[:, 0]):
            tif.write(planes, extratags=[] if index else [tag], **options)
            tif.write(np.ascontiguousarray(planes[..., ::2, ::2]), subfiletype=1, **options)


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_an_lsm_is_read_with_its_channels_and_voxel_size(tmp_path, channels, lazy):
    stack = np.random.default_rng(0).integers(0, 255, (4, channels, 6, 8)).astype("uint8")
    write_lsm(tmp_path / "cells.lsm", stack)
    image = read_image(tmp_path / "cells.lsm", lazy=lazy)
    expected, axes = (stack.transpose(1, 0, 2, 3), "CZYX") if channels > 1 else (stack[:, 0], "ZYX")
    np.testing.assert_array_equal(np.asarray(image.data), expected)
    assert (image.axes, image.name, image.warnings) == (axes, "cells", ())
    assert (image.voxel_size, image.unit) == ((0.3, 0.11, 0.1), "micrometer")


def write_stk(path: Path, stack: np.ndarray, calibrated: bool = True) -> None:
    """Write (Z, Y, X) as MetaMorph does: one page, whose planes follow each other in the file."""
    planes, height, width = stack.shape
    voxels = stack.astype("<u2").tobytes()
    content, start = b"", 8 + len(voxels)

    def put(data: bytes) -> int:
        nonlocal content
        content += data
        return start + len(content) - len(data)

    unit = struct.pack("<I", 3) + b"um\0" + b"\0"
    values = {3: int(calibrated), 4: put(struct.pack("<2I", 1, 10)), 5: put(struct.pack("<2I", 11, 100))}
    values[6] = put(unit)
    first = put(b"".join(struct.pack("<2I", *pair) for pair in values.items()))
    # Z distance, days and milliseconds of creation, the same of the last change.
    second = put(
        b"".join(struct.pack("<6I", 3, 10, 2460000, index, 2460000, index) for index in range(planes))
    )
    tags = [
        *((256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 16), (259, 3, 1, 1), (262, 3, 1, 1)),
        *((273, 4, 1, 8), (277, 3, 1, 1), (278, 4, 1, height), (279, 4, 1, 2 * height * width)),
        *((33628, 4, len(values), first), (33629, 5, planes, second)),
    ]
    directory = put(b"".join([struct.pack("<H", len(tags)), *(struct.pack("<HHII", *tag) for tag in tags)]))
    path.write_bytes(b"II*\0" + struct.pack("<I", directory) + voxels + content + bytes(4))


@pytest.mark.parametrize("lazy", [False, True])
def test_an_stk_is_read_with_its_planes_and_voxel_size(tmp_path, lazy):
    stack = np.random.default_rng(0).integers(0, 4095, (4, 6, 8)).astype("uint16")
    write_stk(tmp_path / "cells.stk", stack)
    image = read_image(tmp_path / "cells.stk", lazy=lazy)
    np.testing.assert_array_equal(np.asarray(image.data), stack)
    assert (image.axes, image.name, image.warnings) == ("ZYX", "cells", ())
    assert (image.voxel_size, image.unit) == (pytest.approx((0.3, 0.11, 0.1)), "micrometer")


def test_an_stk_without_a_calibration_has_no_voxel_size(tmp_path):
    write_stk(tmp_path / "cells.stk", np.zeros((4, 6, 8), "uint16"), calibrated=False)
    image = read_image(tmp_path / "cells.stk")
    assert (image.voxel_size, image.unit, image.warnings) == (None, None, ())


def test_a_file_that_is_damaged_in_many_places_is_given_up_soon(tmp_path):
    # Each tag points beyond the end of the file, and each directory at the next.
    tags = b"".join(struct.pack("<HHII", 32768 + index, 4, 1000, 10**8) for index in range(4000))
    directory = struct.pack("<H", 4000) + tags
    length = len(directory) + 4
    pages = [directory + struct.pack("<I", 8 + length * (index + 1)) for index in range(100)]
    (tmp_path / "a.tif").write_bytes(b"II*\0" + struct.pack("<I", 8) + b"".join(pages) + bytes(4))
    start = time.perf_counter()
    with pytest.raises(ImageFileError, match=r"a\.tif: the file is damaged in many places, the first: "):
        read_image(tmp_path / "a.tif")
    assert time.perf_counter() - start < 5


def ome_xml(sizes: str, more: str = "") -> bytes:
    return (
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0"><Pixels '
        f'ID="Pixels:0" DimensionOrder="XYZCT" Type="uint8" SizeX="7" SizeY="6" SizeC="1" {sizes}><TiffData/>'
        f"</Pixels></Image>{more}</OME>"
    ).encode()


def test_a_description_of_more_planes_than_any_recording_has_is_refused_at_once(tmp_path):
    # tifffile would make a list of this many entries.
    description = ome_xml('SizeZ="5" SizeT="2000000000"')
    tifffile.imwrite(
        tmp_path / "a.ome.tif", STACK, description=description, metadata=None, photometric="minisblack"
    )
    with pytest.raises(ImageFileError, match=r"a\.ome\.tif: its OME-XML states 1e\+10 planes"):
        read_image(tmp_path / "a.ome.tif")


@pytest.mark.parametrize("namespace", ["napari-lucyd", "napari-lucyd/channels"])
@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000 + "]" * 100_000,
        '{"a": ' + "1" * 6000 + "}",
        '"x"',
        "[5]",
        '{"a": 1}',
        '[{"limits": [1]}]',
        '[{"limits": [NaN, 1], "color": "zz", "name": ["x"]}]',
        "not JSON",
    ],
)
def test_a_damaged_note_of_ours_costs_no_image(tmp_path, namespace, text):
    note = f'<CommentAnnotation ID="A:0" Namespace="{namespace}"><Value>{text}</Value></CommentAnnotation>'
    description = ome_xml('SizeZ="5" SizeT="1"', f"<StructuredAnnotations>{note}</StructuredAnnotations>")
    tifffile.imwrite(
        tmp_path / "a.ome.tif", STACK, description=description, metadata=None, photometric="minisblack"
    )
    image = read_image(tmp_path / "a.ome.tif")
    np.testing.assert_array_equal(image.data, STACK)
    assert all((each.name, each.color, each.limits) == (None, None, None) for each in image.channels)


@pytest.mark.parametrize("imagej", [False, True])
def test_a_file_that_shows_low_values_bright_is_warned_of(tmp_path, imagej):
    tifffile.imwrite(tmp_path / "a.tif", STACK, photometric="miniswhite", imagej=imagej)
    image = read_image(tmp_path / "a.tif", axes="ZYX")
    np.testing.assert_array_equal(image.data, STACK)
    assert image.warnings == ("the file shows low values bright; the values were read as they are stored",)


@pytest.mark.parametrize(("unit", "known"), [("furlong", False), ("pixel", True), ("", True)])
def test_a_unit_that_is_not_known_is_told(tmp_path, unit, known):
    metadata = {"axes": "ZYX", "unit": unit, "spacing": 0.3}
    tifffile.imwrite(tmp_path / "a.tif", STACK, imagej=True, metadata=metadata, resolution=(10, 10))
    image = read_image(tmp_path / "a.tif")
    assert (image.voxel_size, image.unit) == ((0.3, 0.1, 0.1), None)
    assert len(image.warnings) == (0 if known else 1)
    assert known or image.warnings[0].startswith("the unit 'furlong' of the file's voxel size is not known")
