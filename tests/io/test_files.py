"""Image files: written files are read again, in every format; unreadable files are refused with a reason."""

from __future__ import annotations

import gc
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import dask.array
import numpy as np
import pytest
import tifffile
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_lucyd import io
from napari_lucyd.io import ImageFileError, read_image, write_image
from napari_lucyd.io.image import resolve_axes
from napari_lucyd.io.units import canonical_unit, common_unit
from ome_files import write_ome_set

SIZES = {"T": 2, "C": 3, "Z": 4, "Y": 5, "X": 6}
STEPS = {"Z": 0.3, "Y": 0.1625, "X": 0.11}
RECIPE = {"recipe": {"model": "general", "lo": [1.5, -2.0], "unit": "µm", "text": "<a & 'b'> \"c\""}}


def sample(axes: str, dtype: str = "float32") -> np.ndarray:
    shape = [SIZES[letter] for letter in axes]
    values = np.random.default_rng(0).uniform(0, 200, shape)
    return values > 100 if dtype == "bool" else values.astype(dtype)


def steps(axes: str) -> tuple[float, ...]:
    return tuple(STEPS[letter] for letter in axes if letter in STEPS)


# ------------------------------------------------------------------------------------------- round trips


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("axes", ["YX", "ZYX", "TYX", "CZYX", "TCYX", "TCZYX"])
@pytest.mark.parametrize("suffix", io.WRITTEN_SUFFIXES)
def test_what_is_written_is_read_again(tmp_path, suffix, axes, lazy):
    array = sample(axes)
    path = write_image(
        tmp_path / f"cells{suffix}", array, axes=axes, voxel_size=steps(axes), unit="µm", metadata=RECIPE
    )
    image = read_image(path, lazy=lazy)
    assert isinstance(image.data, dask.array.Array if lazy else np.ndarray)
    assert image.data.dtype == array.dtype
    np.testing.assert_array_equal(np.asarray(image.data), array)
    # ImageJ's format keeps sizes as ratios of 32-bit numbers: 1e-6 at worst for steps like these.
    assert image.voxel_size == pytest.approx(steps(axes), rel=1e-6 if suffix.startswith(".tif") else 0)
    assert (image.axes, image.unit, image.name) == (axes, "micrometer", "cells")
    assert image.metadata == RECIPE
    assert image.warnings == ()


@pytest.mark.parametrize(
    "dtype", ["uint8", "uint16", "int16", "uint32", "int32", "float32", "float64", "bool"]
)
@pytest.mark.parametrize("suffix", [".tif", ".ome.tif", ".ome.zarr"])
def test_dtypes_survive(tmp_path, suffix, dtype):
    array = sample("ZYX", dtype)
    path = write_image(tmp_path / f"a{suffix}", array, axes="ZYX", voxel_size=steps("ZYX"), unit="nm")
    image = read_image(path)
    # TIFF has no booleans that every reader shows: they are stored as 0 and 1.
    assert image.data.dtype == ("uint8" if dtype == "bool" and "zarr" not in suffix else dtype)
    np.testing.assert_array_equal(image.data, array)
    assert image.voxel_size == pytest.approx(steps("ZYX"), rel=1e-6)
    assert image.unit == "nanometer"


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_any_order_of_axes_and_any_size_is_brought_to_tczyx(tmp_path_factory, data):
    leading = data.draw(st.permutations("TCZ"))[: data.draw(st.integers(0, 3))]
    axes = "".join(leading) + "YX"
    # At least two entries: TIFF readers drop axes of one entry, as the next test shows.
    shape = data.draw(st.tuples(*[st.integers(2, 5) for _ in leading], st.integers(1, 7), st.integers(1, 7)))
    suffix = data.draw(st.sampled_from([".tif", ".ome.tif", ".zarr"]))
    array = np.arange(np.prod(shape), dtype="uint16").reshape(shape)
    chunks = data.draw(st.integers(1, 3))
    given_as = dask.array.from_array(array, chunks=chunks) if data.draw(st.booleans()) else array
    path = tmp_path_factory.mktemp("order") / f"a{suffix}"
    write_image(path, given_as, axes=axes, voxel_size=None, unit=None)
    image = read_image(path)
    order = [axes.index(letter) for letter in "TCZYX" if letter in axes]
    assert image.axes == "".join(axes[index] for index in order)
    np.testing.assert_array_equal(image.data, array.transpose(order))


@pytest.mark.parametrize("suffix", [".tif", ".ome.tif"])
def test_tiff_drops_axes_of_one_entry_and_keeps_the_sizes_of_the_rest(tmp_path, suffix):
    array = sample("ZYX")[None, None, :1]
    path = write_image(tmp_path / f"a{suffix}", array, axes="TCZYX", voxel_size=steps("ZYX"), unit="µm")
    image = read_image(path)
    assert (image.axes, image.data.shape) == ("YX", (5, 6))
    assert image.voxel_size == pytest.approx(steps("YX"), rel=1e-6)


@pytest.mark.parametrize("suffix", [".tif", ".ome.tif", ".zarr"])
@pytest.mark.parametrize("shape", [(2, 3, 4, 1), (2, 3, 1, 1), (2, 3, 1, 4)])
def test_images_one_pixel_wide_keep_their_axes(tmp_path, suffix, shape):
    array = np.arange(np.prod(shape), dtype="uint16").reshape(shape)
    image = read_image(write_image(tmp_path / f"a{suffix}", array, axes="TZYX", voxel_size=None, unit=None))
    assert image.axes == "TZYX"
    np.testing.assert_array_equal(image.data, array)


def test_zarr_and_tiff_take_zarr_arrays_and_lists(tmp_path):
    array = sample("TZYX")
    stored = zarr.create_array(store={}, data=array, chunks=(1, 2, 5, 6))
    for suffix in (".tif", ".ome.zarr"):
        path = write_image(tmp_path / f"z{suffix}", stored, axes="TZYX", voxel_size=None, unit=None)
        np.testing.assert_array_equal(read_image(path).data, array)
    path = write_image(
        tmp_path / "l.tif", [[1, 2], [3, 4]], axes="YX", voxel_size=None, unit=None, dtype="uint16"
    )
    np.testing.assert_array_equal(read_image(path).data, [[1, 2], [3, 4]])


@pytest.mark.parametrize("suffix", [".tif", ".ome.tif", ".ome.zarr"])
def test_without_a_voxel_size_none_is_read(tmp_path, suffix):
    path = write_image(tmp_path / f"a{suffix}", sample("ZYX"), axes="ZYX", voxel_size=None, unit=None)
    image = read_image(path)
    assert (image.voxel_size, image.unit, image.metadata, image.warnings) == (None, None, {}, ())


@pytest.mark.parametrize("suffix", [".tif", ".ome.tif", ".ome.zarr"])
@pytest.mark.parametrize("unit", [None, "pixel"])
def test_steps_without_a_unit_of_length_survive(tmp_path, suffix, unit):
    path = write_image(tmp_path / f"a{suffix}", sample("ZYX"), axes="ZYX", voxel_size=(3, 1, 1), unit=unit)
    image = read_image(path)
    assert (image.voxel_size, image.unit) == ((3.0, 1.0, 1.0), None)


# ---------------------------------------------------------------------------------------- uint16, scaled


@pytest.mark.parametrize("suffix", [".tif", ".ome.tif", ".ome.zarr"])
def test_uint16_states_its_scaling(tmp_path, suffix):
    array = sample("CZYX") * 7 - 300
    array[0, 0, 0, 0] = np.nan
    path = write_image(
        tmp_path / f"a{suffix}",
        array,
        axes="CZYX",
        voxel_size=None,
        unit=None,
        metadata=RECIPE,
        dtype="uint16",
    )
    image = read_image(path)
    assert image.data.dtype == np.uint16
    stated = image.metadata["stored_values"]
    assert image.metadata["recipe"] == RECIPE["recipe"]
    assert stated["invalid_voxels"] == 1
    assert (image.data.min(), image.data.max()) == (0, 65535)
    restored = stated["offset"] + stated["scale"] * image.data.astype(float)
    # Rounding to the nearest of 65536 values is off by half a step at most.
    np.testing.assert_allclose(restored.ravel()[1:], array.ravel()[1:], atol=0.5001 * stated["scale"])


def test_uint16_keeps_values_that_fit_as_they_are(tmp_path):
    array = sample("ZYX", "uint8")
    path = write_image(tmp_path / "a.tif", array, axes="ZYX", voxel_size=None, unit=None, dtype="uint16")
    image = read_image(path)
    assert image.data.dtype == np.uint16
    np.testing.assert_array_equal(image.data, array)
    assert image.metadata == {}


def test_a_constant_can_be_stored_as_uint16(tmp_path):
    array = np.full((2, 3, 4), 7.5, "float32")
    path = write_image(tmp_path / "a.tif", array, axes="ZYX", voxel_size=None, unit=None, dtype="uint16")
    stated = read_image(path).metadata["stored_values"]
    assert stated["offset"] + stated["scale"] * read_image(path).data.astype(float) == pytest.approx(array)


def test_lossy_conversions_are_refused(tmp_path):
    with pytest.raises(ImageFileError, match="float32 does not fit into uint8"):
        write_image(tmp_path / "a.tif", sample("YX"), axes="YX", voxel_size=None, unit=None, dtype="uint8")
    nothing = np.full((3, 3), np.nan)
    with pytest.raises(ImageFileError, match="no voxel has a finite value"):
        write_image(tmp_path / "a.tif", nothing, axes="YX", voxel_size=None, unit=None, dtype="uint16")
    assert list(tmp_path.iterdir()) == []


# ----------------------------------------------------------------------------------- files from elsewhere


@pytest.mark.parametrize(
    ("unit", "expected"),
    [
        ("micron", "micrometer"),
        ("\\u00B5m", "micrometer"),
        ("um", "micrometer"),
        ("nm", "nanometer"),
        ("inch", "inch"),
    ],
)
def test_imagej_hyperstacks(tmp_path, unit, expected):
    array = sample("TCZYX", "uint16").transpose(0, 2, 1, 3, 4)  # ImageJ's own order is TZCYX
    tifffile.imwrite(
        tmp_path / "a.tif",
        array,
        imagej=True,
        resolution=(1 / 0.11, 1 / 0.1625),
        metadata={"axes": "TZCYX", "spacing": 0.3, "unit": unit},
    )
    image = read_image(tmp_path / "a.tif")
    assert (image.axes, image.unit, image.warnings) == ("TCZYX", expected, ())
    assert image.voxel_size == pytest.approx((0.3, 0.1625, 0.11), rel=1e-6)
    np.testing.assert_array_equal(image.data, array.transpose(0, 2, 1, 3, 4))


def test_imagej_stacks_without_a_spacing_are_read_as_imagej_does(tmp_path):
    tifffile.imwrite(
        tmp_path / "a.tif",
        sample("ZYX"),
        imagej=True,
        resolution=(10, 10),
        metadata={"axes": "ZYX", "unit": "um"},
    )
    image = read_image(tmp_path / "a.tif")
    assert image.voxel_size == pytest.approx((1, 0.1, 0.1))
    assert any("no Z step" in warning for warning in image.warnings)


def test_other_information_in_imagej_files_is_left_alone(tmp_path):
    tifffile.imwrite(
        tmp_path / "a.tif", sample("YX"), imagej=True, metadata={"Info": "napari-lucyd was here"}
    )
    assert read_image(tmp_path / "a.tif").metadata == {}


def test_ome_tiff_with_several_units_gets_one(tmp_path):
    size = {"PhysicalSizeX": 100, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 100, "PhysicalSizeYUnit": "nm"}
    tifffile.imwrite(
        tmp_path / "a.ome.tif",
        sample("ZYX"),
        metadata={"axes": "ZYX", **size, "PhysicalSizeZ": 0.3, "PhysicalSizeZUnit": "µm"},
    )
    image = read_image(tmp_path / "a.ome.tif")
    assert image.voxel_size == pytest.approx((300, 100, 100))
    assert image.unit == "nanometer"


def test_ome_tiff_without_a_z_step_says_so(tmp_path):
    metadata = {"axes": "ZYX", "PhysicalSizeX": 0.1, "PhysicalSizeY": 0.1}
    tifffile.imwrite(tmp_path / "a.ome.tif", sample("ZYX"), metadata=metadata)
    image = read_image(tmp_path / "a.ome.tif")
    assert image.voxel_size is None
    assert image.warnings == (
        "the file's voxel size, 0.1 × 0.1 micrometer, has none along Z and is not used",
    )


def test_plain_pages_are_planes_of_a_stack(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as tif:
        for plane in sample("ZYX", "uint16"):
            tif.write(plane, contiguous=False, metadata=None)
    image = read_image(tmp_path / "a.tif")
    assert (image.axes, image.data.shape, image.voxel_size) == ("ZYX", (4, 5, 6), None)


def test_the_first_of_several_images_is_read_with_a_warning(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.ome.tif") as tif:
        tif.write(sample("ZYX"), metadata={"axes": "ZYX"})
        tif.write(sample("YX"), metadata={"axes": "YX"})
    image = read_image(tmp_path / "a.ome.tif")
    assert image.axes == "ZYX"
    assert any("2 images" in warning for warning in image.warnings)


def test_real_stacks(shared):
    image = read_image(shared / "data" / "dapi_001.tif")
    assert (image.axes, image.data.shape, image.data.dtype) == ("ZYX", (40, 201, 101), np.uint16)
    lazy = read_image(shared / "data" / "dapi_001.tif", lazy=True)
    np.testing.assert_array_equal(np.asarray(lazy.data[3:7, 10:20, 5]), image.data[3:7, 10:20, 5])
    bead = read_image(shared / "data" / "bead.tif")
    assert (bead.axes, bead.data.shape, bead.data.dtype) == ("ZYX", (64, 64, 64), np.float32)


def ome_zarr_04(path: Path, array: np.ndarray, axes: list, transformations: list, **attributes) -> Path:
    """Write a file as another program does: zarr 2, two resolutions."""
    group = zarr.create_group(path, zarr_format=2)
    for name, level in (("full", array), ("half", array[..., ::2, ::2])):
        group.create_array(name, data=np.ascontiguousarray(level), chunks=(2,) * array.ndim)
    factor = {"type": "scale", "scale": [1.0] * (array.ndim - 2) + [2.0, 2.0]}
    group.attrs["multiscales"] = [
        {
            "version": "0.4",
            "axes": axes,
            "datasets": [
                {"path": "full", "coordinateTransformations": transformations},
                {"path": "half", "coordinateTransformations": [factor]},
            ],
            **attributes,
        }
    ]
    return path


def test_ome_zarr_0_4_gives_the_highest_resolution(tmp_path):
    array = sample("CZYX", "uint16")
    axes = [{"name": "c", "type": "channel"}]
    axes += [{"name": name, "type": "space", "unit": "nanometer"} for name in "zyx"]
    scale = [
        {"type": "scale", "scale": [1.0, 300.0, 100.0, 100.0]},
        {"type": "translation", "translation": [0, 1, 2, 3]},
    ]
    image = read_image(ome_zarr_04(tmp_path / "a.zarr", array, axes, scale))
    assert (image.axes, image.voxel_size, image.unit) == ("CZYX", (300.0, 100.0, 100.0), "nanometer")
    np.testing.assert_array_equal(image.data, array)


def test_ome_zarr_multiplies_the_scales_of_level_and_image(tmp_path):
    axes = [{"name": name, "type": "space", "unit": "micrometer"} for name in "zyx"]
    outer = {"coordinateTransformations": [{"type": "scale", "scale": [2.0, 0.5, 0.5]}]}
    path = ome_zarr_04(
        tmp_path / "a.zarr", sample("ZYX"), axes, [{"type": "scale", "scale": [1.0, 2.0, 3.0]}], **outer
    )
    assert read_image(path).voxel_size == (2.0, 1.0, 1.5)


def test_ome_zarr_of_old_names_axes_by_letters_or_not_at_all(tmp_path):
    assert (
        read_image(ome_zarr_04(tmp_path / "a.zarr", sample("CZYX"), ["c", "z", "y", "x"], [])).axes == "CZYX"
    )
    assert read_image(ome_zarr_04(tmp_path / "b.zarr", sample("TCZYX"), [], [])).axes == "TCZYX"


def test_ome_zarr_axes_in_another_order_or_with_other_names(tmp_path):
    array = sample("CTZYX").transpose(1, 0, 2, 3, 4)[:, :, :, :, :]
    axes = [{"name": "wavelength", "type": "channel"}, {"name": "frame", "type": "time"}]
    axes += [{"name": name, "type": "space"} for name in "zyx"]
    image = read_image(ome_zarr_04(tmp_path / "a.zarr", array, axes, []))
    assert image.axes == "TCZYX"
    np.testing.assert_array_equal(image.data, array.transpose(1, 0, 2, 3, 4))


def test_bioformats2raw_folders_give_their_first_image(tmp_path):
    group = zarr.create_group(tmp_path / "a.zarr", zarr_format=2, attributes={"bioformats2raw.layout": 3})
    del group
    ome_zarr_04(tmp_path / "a.zarr" / "0", sample("ZYX"), ["z", "y", "x"], [])
    image = read_image(tmp_path / "a.zarr")
    assert image.axes == "ZYX"
    assert any("several images" in warning for warning in image.warnings)


def test_an_image_inside_of_a_plate_is_read_by_its_path(tmp_path, monkeypatch):
    plate = zarr.create_group(tmp_path / "plate.ome.zarr", attributes={"ome": {"plate": {"wells": []}}})
    plate.create_group("A/1", attributes={"ome": {"well": {"images": [{"path": "0"}]}}})
    inner = write_image(tmp_path / "x.zarr", sample("ZYX"), axes="ZYX", voxel_size=None, unit=None)
    inner.rename(tmp_path / "plate.ome.zarr" / "A" / "1" / "0")
    image = read_image(tmp_path / "plate.ome.zarr" / "A" / "1" / "0")
    np.testing.assert_array_equal(image.data, sample("ZYX"))
    assert image.name == "plate_A_1_0"
    assert io.default_suffix(tmp_path / "plate.ome.zarr" / "A" / "1" / "0") == ".ome.zarr"
    monkeypatch.chdir(tmp_path / "plate.ome.zarr" / "A" / "1" / "0")
    assert read_image(".").name == "plate_A_1_0"
    with pytest.raises(ImageFileError, match="plate of many images; name one"):
        read_image(tmp_path / "plate.ome.zarr" / "A" / "1")
    with pytest.raises(ImageFileError, match="unknown kind of file"):
        write_image(tmp_path / "plate.ome.zarr/A/1/0", sample("YX"), axes="YX", voxel_size=None, unit=None)


def test_a_bare_zarr_array_is_read(tmp_path):
    zarr.create_array(tmp_path / "a.zarr", data=sample("CZYX"))
    assert read_image(tmp_path / "a.zarr").axes == "CZYX"
    zarr.create_array(tmp_path / "b.zarr", data=sample("TZYX"), dimension_names=["t", "z", "y", "x"])
    assert read_image(tmp_path / "b.zarr").axes == "TZYX"


@pytest.mark.parametrize("lazy", [False, True])
def test_the_most_significant_byte_first_becomes_the_machine_s_order(tmp_path, lazy):
    values = sample("ZYX", "uint16")
    zarr.create_array(tmp_path / "b.zarr", data=values.astype(">u2"), zarr_format=2)
    tifffile.imwrite(tmp_path / "b.tif", values, byteorder=">", imagej=True)
    for name in ("b.zarr", "b.tif"):
        image = read_image(tmp_path / name, lazy=lazy)
        assert image.data.dtype == np.uint16 and image.data.dtype.isnative
        np.testing.assert_array_equal(np.asarray(image.data), values)


def test_written_ome_zarr_is_version_0_5(tmp_path):
    path = write_image(
        tmp_path / "a.ome.zarr", sample("CZYX"), axes="CZYX", voxel_size=steps("ZYX"), unit="um"
    )
    described = json.loads((path / "zarr.json").read_text("utf-8"))
    assert (described["zarr_format"], described["node_type"]) == (3, "group")
    ome = described["attributes"]["ome"]
    assert ome["version"] == "0.5"
    assert ome["multiscales"][0]["axes"] == [
        {"name": "c", "type": "channel"},
        *({"name": name, "type": "space", "unit": "micrometer"} for name in "zyx"),
    ]
    transformation = ome["multiscales"][0]["datasets"][0]["coordinateTransformations"]
    assert transformation == [{"type": "scale", "scale": [1.0, 0.3, 0.1625, 0.11]}]
    array = json.loads((path / "0" / "zarr.json").read_text("utf-8"))
    assert array["dimension_names"] == ["c", "z", "y", "x"]


def test_tiffs_too_large_for_imagej_hold_ome_xml_and_are_bigtiff(tmp_path, monkeypatch):
    from napari_lucyd.io.tiff import writer as tiff

    monkeypatch.setattr(tiff, "_IMAGEJ_BYTES", 100)
    array = sample("TZYX")
    path = write_image(
        tmp_path / "a.tif", array, axes="TZYX", voxel_size=steps("ZYX"), unit="um", metadata=RECIPE
    )
    with tifffile.TiffFile(path) as tif:
        assert tif.is_ome
        assert tif.is_bigtiff
        assert not tif.is_imagej
    image = read_image(path)
    np.testing.assert_array_equal(image.data, array)
    assert (image.voxel_size, image.metadata) == (steps("ZYX"), RECIPE)


def test_written_ome_tiff_holds_valid_sizes_and_one_channel_entry_each(tmp_path):
    path = write_image(
        tmp_path / "a.ome.tif", sample("CZYX"), axes="CZYX", voxel_size=steps("ZYX"), unit="um"
    )
    with tifffile.TiffFile(path) as tif:
        assert tif.is_ome
        text = tif.ome_metadata
    assert 'PhysicalSizeZ="0.3"' in text
    assert 'PhysicalSizeZUnit="µm"' in text
    assert text.count("<Channel ") == 3


# ------------------------------------------------------------------------------------ refused, in words


@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_colour_pictures_are_refused(tmp_path, planar):
    picture = np.zeros((20, 30, 3) if planar == "contig" else (3, 20, 30), "uint8")
    tifffile.imwrite(tmp_path / "a.tif", picture, photometric="rgb", planarconfig=planar)
    with pytest.raises(ImageFileError, match=r"a\.tif: a colour picture .*Split Channels"):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("suffix", [".tif", ".ome.tif"])
@pytest.mark.parametrize("share", [0.001, 0.1, 0.5])
def test_files_that_were_cut_off_are_refused(tmp_path, suffix, share, lazy):
    array = np.arange(8 * 64 * 64, dtype="uint16").reshape(8, 64, 64)
    path = write_image(tmp_path / f"a{suffix}", array, axes="ZYX", voxel_size=None, unit=None)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ImageFileError, match=r"damaged|cut off"):
        read_image(path, lazy=lazy)


@pytest.mark.parametrize("lazy", [False, True])
def test_an_image_in_several_files_is_read_whole_or_refused(tmp_path, lazy):
    series = sample("TZYX", "uint16")
    ((first, second),) = write_ome_set(tmp_path, [series])
    for path in (first, second):
        image = read_image(path, lazy=lazy)
        np.testing.assert_array_equal(np.asarray(image.data), series)
        assert image.warnings == ("the image lies in 2 files; all of them were read",)
        assert io.files_of_image(path) == {first, second}
    first.unlink()
    with pytest.raises(
        ImageFileError, match=r"4 of the image's 8 planes are missing.*'s0_T0.ome.tif'.*folder"
    ):
        read_image(second, lazy=lazy)


def test_each_position_of_a_recording_is_its_own_image_also_alone(tmp_path):
    positions = [sample("TZYX", "uint16")[:1], sample("TZYX", "uint16")[1:]]
    paths = [files[0] for files in write_ome_set(tmp_path, positions)]
    for path, values in zip(paths, positions, strict=True):
        image = read_image(path)
        np.testing.assert_array_equal(image.data, values[0])
        assert image.warnings == ()
        assert io.files_of_image(path) == {path}
    paths[0].unlink()
    image = read_image(paths[1])
    np.testing.assert_array_equal(image.data, positions[1][0])
    assert image.warnings == ()


def test_files_are_closed_when_their_arrays_go(tmp_path):
    path = write_image(tmp_path / "a.tif", sample("ZYX"), axes="ZYX", voxel_size=None, unit=None)
    image = read_image(path, lazy=True)
    image.data[0].compute()
    del image
    gc.collect()  # a file left open warns when it is collected


def test_damage_that_shows_when_voxels_are_read_is_told_then(tmp_path):
    array = np.arange(4 * 64 * 64, dtype="uint16").reshape(4, 64, 64)
    tifffile.imwrite(tmp_path / "a.tif", array, compression="zlib", photometric="minisblack")
    with tifffile.TiffFile(tmp_path / "a.tif") as tif:
        offset = tif.pages[2].dataoffsets[0]
    content = bytearray((tmp_path / "a.tif").read_bytes())
    content[offset : offset + 40] = bytes(40)
    (tmp_path / "a.tif").write_bytes(content)
    with pytest.raises(ImageFileError, match="damaged"):
        read_image(tmp_path / "a.tif", lazy=False)
    image = read_image(tmp_path / "a.tif", lazy=True)
    with pytest.raises(ImageFileError, match=r"a\.tif: .*damaged"):
        image.data.compute()


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("kind", [{"imagej": True}, {"ome": True}, {}])
def test_an_uncompressed_tiff_is_mapped_and_travels_as_its_path(tmp_path, monkeypatch, byteorder, kind):
    array = np.arange(5 * 40 * 50, dtype="u2").reshape(5, 40, 50)
    tifffile.imwrite(tmp_path / "a.tif", array, byteorder=byteorder, **kind)
    monkeypatch.setattr(tifffile.TiffPageSeries, "aszarr", None)  # pages need not be read
    image = read_image(tmp_path / "a.tif", lazy=True)
    assert image.data.dtype == np.dtype("u2")
    assert image.data.chunksize == (1, 40, 50)
    sent = pickle.dumps(image.data)
    assert len(sent) < array.nbytes
    for data in (image.data, pickle.loads(sent)):
        np.testing.assert_array_equal(data.compute(), array)
        np.testing.assert_array_equal(data[1:, 3:9, 4].compute(), array[1:, 3:9, 4])


@pytest.mark.parametrize("lazy", [False, True])
def test_compressed_files_are_read_where_the_codecs_are(tmp_path, lazy):
    pytest.importorskip("imagecodecs")
    array = np.arange(3 * 40 * 50, dtype="uint16").reshape(3, 40, 50)
    tifffile.imwrite(tmp_path / "a.tif", array, compression="lzw", photometric="minisblack")
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif", lazy=lazy).data, array)


def test_compressed_files_name_the_package_where_it_is_missing(tmp_path):
    pytest.importorskip("imagecodecs")
    array = np.arange(3 * 40 * 50, dtype="uint16").reshape(3, 40, 50)
    tifffile.imwrite(tmp_path / "a.tif", array, compression="lzw", photometric="minisblack")
    code = (
        "import sys; sys.modules['imagecodecs'] = None\n"
        "from napari_lucyd.io import ImageFileError, read_image\n"
        "try: read_image(sys.argv[1], lazy=False)\n"
        "except ImageFileError as error: print(error)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "a.tif")]
    assert "pip install imagecodecs" in subprocess.run(command, capture_output=True, text=True).stdout


@pytest.mark.parametrize("content", [b"", b"hello", b"II*\0" + bytes(100)])
def test_what_is_no_tiff_is_refused(tmp_path, content):
    (tmp_path / "a.tif").write_bytes(content)
    with pytest.raises(ImageFileError, match=r"a\.tif: "):
        read_image(tmp_path / "a.tif")


def test_zarr_that_holds_no_image_is_refused(tmp_path):
    (tmp_path / "empty.zarr").mkdir()
    with pytest.raises(ImageFileError, match="not Zarr"):
        read_image(tmp_path / "empty.zarr")
    zarr.create_group(tmp_path / "group.zarr")
    with pytest.raises(ImageFileError, match="without an OME-Zarr image"):
        read_image(tmp_path / "group.zarr")
    zarr.create_group(tmp_path / "plate.zarr", attributes={"ome": {"version": "0.5", "plate": {}}})
    with pytest.raises(ImageFileError, match="plate"):
        read_image(tmp_path / "plate.zarr")
    (tmp_path / "text.zarr").mkdir()
    (tmp_path / "text.zarr" / "zarr.json").write_text("no JSON")
    with pytest.raises(ImageFileError, match="damaged"):
        read_image(tmp_path / "text.zarr")


def test_unknown_suffixes_name_the_known_ones(tmp_path):
    (tmp_path / "a.png").write_bytes(b"x")
    with pytest.raises(ImageFileError, match=r"'\.png'; expected one of .*\.ome\.tiff"):
        read_image(tmp_path / "a.png")
    with pytest.raises(ImageFileError, match=r"'\.npy'; expected"):
        write_image(tmp_path / "a.npy", sample("YX"), axes="YX", voxel_size=None, unit=None)
    with pytest.raises(ImageFileError, match="no such file"):
        read_image(tmp_path / "missing.tif")


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"axes": "ZY"}, "ending in 'YX'"),
        ({"axes": "TZYX"}, "name 4 axes, but the image has 3"),
        ({"axes": "QYX"}, "expected some of 'TCZYX'"),
        ({"voxel_size": (1.0, 1.0)}, "expected 3 positive numbers"),
        ({"voxel_size": (0.0, 1.0, 1.0)}, "expected 3 positive numbers"),
        ({"metadata": {"a": object()}}, "plain JSON"),
        ({"metadata": {"a": float("nan")}}, "plain JSON"),
    ],
)
def test_arguments_that_do_not_fit_are_refused_before_anything_is_written(tmp_path, keywords, message):
    arguments = {"axes": "ZYX", "voxel_size": None, "unit": None, **keywords}
    with pytest.raises(ImageFileError, match=message):
        write_image(tmp_path / "a.tif", sample("ZYX"), **arguments)
    assert list(tmp_path.iterdir()) == []


def test_values_that_a_format_cannot_hold_are_refused(tmp_path):
    with pytest.raises(ImageFileError, match="complex128 cannot be written"):
        write_image(tmp_path / "a.tif", np.zeros((3, 3), complex), axes="YX", voxel_size=None, unit=None)
    with pytest.raises(ImageFileError, match="OME-TIFF cannot hold int64"):
        write_image(tmp_path / "a.ome.tif", np.zeros((3, 3), int), axes="YX", voxel_size=None, unit=None)
    with pytest.raises(ImageFileError, match="no voxels"):
        write_image(tmp_path / "a.tif", np.zeros((0, 3)), axes="YX", voxel_size=None, unit=None)
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------------------------------- whole or not at all


@pytest.mark.parametrize("suffix", [".tif", ".ome.tif", ".ome.zarr"])
def test_what_exists_is_replaced_only_when_allowed(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    first, second = sample("ZYX"), sample("CZYX")
    write_image(path, first, axes="ZYX", voxel_size=None, unit=None)
    with pytest.raises(ImageFileError, match="exists already"):
        write_image(path, second, axes="CZYX", voxel_size=None, unit=None)
    np.testing.assert_array_equal(read_image(path).data, first)
    write_image(path, second, axes="CZYX", voxel_size=None, unit=None, overwrite=True)
    np.testing.assert_array_equal(read_image(path).data, second)
    assert os.listdir(tmp_path) == [path.name]


class Failing:
    """An array whose second volume cannot be read."""

    shape, dtype, ndim = (2, 3, 4, 5), np.dtype("float32"), 4

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __getitem__(self, index):
        first = index[0] if isinstance(index, tuple) else index
        if first in (1, slice(1, 2)):
            raise self.error
        return np.zeros(self.shape, self.dtype)[index]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("no"), MemoryError()])
@pytest.mark.parametrize("suffix", [".tif", ".ome.tif", ".ome.zarr"])
def test_a_write_that_breaks_off_leaves_things_as_they_were(tmp_path, suffix, error):
    path = tmp_path / f"a{suffix}"
    with pytest.raises(type(error)):
        write_image(path, Failing(error), axes="TZYX", voxel_size=None, unit=None)
    assert list(tmp_path.iterdir()) == []
    before = sample("ZYX")
    write_image(path, before, axes="ZYX", voxel_size=None, unit=None)
    with pytest.raises(type(error)):
        write_image(path, Failing(error), axes="TZYX", voxel_size=None, unit=None, overwrite=True)
    np.testing.assert_array_equal(read_image(path).data, before)
    assert os.listdir(tmp_path) == [path.name]


def test_a_folder_that_is_not_zarr_is_never_replaced(tmp_path):
    path = tmp_path / "a.zarr"
    path.mkdir()
    (path / "thesis.txt").write_text("years of work")
    with pytest.raises(ImageFileError, match="will not be replaced"):
        write_image(path, sample("YX"), axes="YX", voxel_size=None, unit=None, overwrite=True)
    assert (path / "thesis.txt").read_text() == "years of work"


def test_zarr_of_several_images_is_never_replaced(tmp_path):
    group = tmp_path / "several.zarr"
    zarr.create_group(group)
    inner = write_image(group / "one.ome.zarr", sample("YX"), axes="YX", voxel_size=None, unit=None)
    with pytest.raises(ImageFileError, match="several images"):
        write_image(group, sample("YX"), axes="YX", voxel_size=None, unit=None, overwrite=True)
    np.testing.assert_array_equal(read_image(inner).data, sample("YX"))


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
@pytest.mark.parametrize("suffix", [".ome.tif", ".ome.zarr"])
def test_a_link_stays_and_what_it_points_to_is_replaced(tmp_path, suffix):
    (tmp_path / "disk").mkdir()
    real, link = tmp_path / "disk" / f"a{suffix}", tmp_path / f"link{suffix}"
    about = {"axes": "YX", "voxel_size": None, "unit": None}
    write_image(real, sample("YX"), **about)
    link.symlink_to(real)
    write_image(link, sample("YX") + 1, overwrite=True, **about)
    assert link.is_symlink() and sorted(os.listdir(tmp_path)) == ["disk", link.name]
    np.testing.assert_array_equal(read_image(real).data, sample("YX") + 1)
    assert os.listdir(tmp_path / "disk") == [real.name]


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(ImageFileError, match="nowhere does not exist"):
        write_image(tmp_path / "nowhere" / "a.tif", sample("YX"), axes="YX", voxel_size=None, unit=None)


def test_a_file_may_replace_the_one_that_it_is_read_from(tmp_path):
    array = sample("TZYX")
    for suffix in (".ome.tif", ".ome.zarr"):
        path = write_image(tmp_path / f"a{suffix}", array, axes="TZYX", voxel_size=None, unit=None)
        image = read_image(path, lazy=True)
        write_image(path, image.data + 1, axes="TZYX", voxel_size=None, unit=None, overwrite=True)
        np.testing.assert_array_equal(read_image(path).data, array + 1)


# -------------------------------------------------------------------------------------------- small parts


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("µm", "micrometer"),
        ("μm", "micrometer"),
        ("Micrometer", "micrometer"),
        ("micrometre", "micrometer"),
        ("microns", "micrometer"),
        ("millimeters", "millimeter"),
        ("Å", "angstrom"),
        ("pixel", None),
        ("reference frame", None),
        ("", None),
        (None, None),
    ],
)
def test_units_in_any_spelling(text, unit):
    assert canonical_unit(text) == unit


def test_steps_are_brought_to_one_unit_or_left_out():
    assert common_unit([0.3, 100, 100], ["µm", "nm", "nm"]) == (pytest.approx((300, 100, 100)), "nanometer")
    assert common_unit([0.3, 0.1, 0.1], ["µm", "pixel", "µm"]) == (None, None)
    assert common_unit([None, 0.1, 0.1], ["µm", "µm", "µm"]) == (None, None)
    assert common_unit([0.0, 0.1, 0.1], ["µm", "µm", "µm"]) == (None, None)


@pytest.mark.parametrize(
    ("axes", "shape", "expected"),
    [
        ("YX", (5, 6), "YX"),
        ("QYX", (9, 5, 6), "ZYX"),
        ("QQYX", (3, 9, 5, 6), "CZYX"),
        ("QQYX", (30, 9, 5, 6), "TZYX"),
        ("QQQYX", (30, 3, 9, 5, 6), "TCZYX"),
        ("IZYX", (30, 9, 5, 6), "TZYX"),
        ("CIYX", (3, 9, 5, 6), "CZYX"),
        ("PZYX", (9, 9, 5, 6), "TZYX"),
    ],
)
def test_unnamed_axes_are_guessed(axes, shape, expected):
    assert resolve_axes(axes, shape)[0] == expected


def test_guesses_between_several_axes_are_told():
    assert resolve_axes("QYX", (9, 5, 6))[1] == ()
    assert "taken for 'CZYX'" in resolve_axes("QQYX", (3, 9, 5, 6))[1][0]
    with pytest.raises(ImageFileError, match="split the file"):
        resolve_axes("QTCZYX", (2, 2, 2, 2, 5, 6))


def test_names_and_suffixes():
    assert [io.stem(name) for name in ("a/b.ome.tif", "b.TIFF", "b.c.ome.zarr", "b.txt")] == [
        "b",
        "b",
        "b.c",
        "b",
    ]
    assert not io.is_image_path(".tif")
    assert io.default_suffix("a.zarr") == ".ome.zarr"
    assert io.default_suffix("a.tiff") == ".ome.tif"


def test_a_compressed_file_read_on_demand_goes_to_another_process_as_its_path(tmp_path):
    values = sample("TZYX", "uint16")
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, values, compression="zlib", photometric="minisblack", metadata={"axes": "TZYX"})
    sent = pickle.dumps(read_image(path, lazy=True).data)
    assert path.name.encode() in sent
    np.testing.assert_array_equal(np.asarray(pickle.loads(sent)), values)


@pytest.mark.parametrize("url", ["s3://bucket/a.ome.zarr", "https://example.org/a.tif"])
def test_urls_are_refused_in_words(url):
    with pytest.raises(ImageFileError, match="is a URL"):
        read_image(url)
    with pytest.raises(ImageFileError, match="is a URL"):
        write_image(url, sample("ZYX"), axes="ZYX", voxel_size=None, unit=None)
