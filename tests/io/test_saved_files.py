"""Saved files reopen as they were: voxels, scale, unit, channels with colours and limits, and the recipe."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from napari_lucyd.io import Channel, ImageFileError, read_image, write_image

RECIPE = {"recipe": {"model": "general", "lo": [1.5], "unit": "µm"}}
CHANNELS = (
    Channel("DAPI <a & 'b'>", "#0000ff", (10.0, 900.5)),
    Channel("GFP", "#00ff00", (0.0, 300.0)),
    Channel("µ – far red", "#ff8000", (-5.0, 4.0)),
)


def stack(axes: str = "CZYX", dtype: str = "float32") -> np.ndarray:
    sizes = {"T": 2, "C": 3, "Z": 4, "Y": 5, "X": 6}
    return np.random.default_rng(0).uniform(0, 900, [sizes[letter] for letter in axes]).astype(dtype)


@pytest.mark.parametrize("axes", ["CZYX", "TCZYX", "CYX"])
@pytest.mark.parametrize("suffix", [".tif", ".ome.tif", ".ome.zarr"])
def test_channels_come_back_with_names_colours_and_limits(tmp_path, suffix, axes):
    array = stack(axes)
    steps = (0.3, 0.2, 0.1)[-sum(letter in "ZYX" for letter in axes) :]
    path = write_image(
        tmp_path / f"a{suffix}",
        array,
        axes=axes,
        voxel_size=steps,
        unit="µm",
        metadata=RECIPE,
        channels=CHANNELS,
    )
    image = read_image(path)
    np.testing.assert_array_equal(image.data, array)
    assert (image.channels, image.metadata, image.warnings) == (CHANNELS, RECIPE, ())
    assert (image.voxel_size, image.unit) == (pytest.approx(steps), "micrometer")


@pytest.mark.parametrize("suffix", [".tif", ".ome.tif", ".ome.zarr"])
@pytest.mark.parametrize("channel", [Channel("DAPI"), Channel(None, "#123456"), CHANNELS[0]])
def test_an_image_without_c_is_one_channel(tmp_path, suffix, channel):
    path = write_image(
        tmp_path / f"a{suffix}", stack("ZYX"), axes="ZYX", voxel_size=None, unit=None, channels=[channel]
    )
    assert read_image(path).channels == (channel,)


def test_channels_have_to_fit_the_image(tmp_path):
    with pytest.raises(ImageFileError, match="2 channels are described for axes CZYX"):
        write_image(
            tmp_path / "a.tif", stack(), axes="CZYX", voxel_size=None, unit=None, channels=CHANNELS[:2]
        )


def test_other_programs_see_the_channels_too(tmp_path):
    about = {"axes": "CZYX", "voxel_size": None, "unit": None, "channels": CHANNELS}
    with tifffile.TiffFile(write_image(tmp_path / "a.ome.tif", stack(), **about)) as tif:
        assert 'Name="GFP" Color="16711935"' in tif.ome_metadata
    with tifffile.TiffFile(write_image(tmp_path / "a.tif", stack(), **about)) as tif:
        assert tif.imagej_metadata["Ranges"] == (10.0, 900.5, 0.0, 300.0, -5.0, 4.0)
        assert tif.imagej_metadata["LUTs"][1][:, 255].tolist() == [0, 255, 0]
        assert tif.imagej_metadata["LUTs"][2][:, 128].tolist() == [128, 64, 0]


# ---------------------------------------------------------------------------------------------- uint16


@pytest.mark.parametrize("suffix", [".tif", ".ome.tif", ".ome.zarr"])
def test_counts_that_fit_are_stored_as_they_are(tmp_path, suffix):
    counts = np.rint(stack("ZYX"))
    path = write_image(
        tmp_path / f"a{suffix}", counts, axes="ZYX", voxel_size=None, unit=None, dtype="uint16"
    )
    image = read_image(path)
    assert image.data.dtype == np.uint16 and image.metadata == {}
    np.testing.assert_array_equal(image.data, counts)


def test_values_within_the_counts_are_rounded_to_them_and_that_is_stated(tmp_path):
    values = stack("ZYX")
    values[0, 0, 0], values[0, 0, 1], values[0, 0, 2] = -0.4, 65535.4, np.nan
    path = write_image(
        tmp_path / "a.tif",
        values,
        axes="ZYX",
        voxel_size=None,
        unit=None,
        dtype="uint16",
        channels=[Channel("a", None, (2.5, 700.0))],
    )
    image = read_image(path)
    stated = image.metadata["stored_values"]
    assert (stated["offset"], stated["scale"], stated["invalid_voxels"]) == (0.0, 1.0, 1)
    np.testing.assert_array_equal(image.data, np.nan_to_num(np.rint(values)).clip(0, 65535))
    assert image.channels[0].limits == (2.5, 700.0)


@pytest.mark.parametrize(
    ("low", "high"), [(0.0, 1.0), (0.0, 255.5), (-0.6, 900.0), (10.0, 65536.0), (1e6, 1e6 + 300.0)]
)
def test_values_that_do_not_fit_are_scaled_and_so_are_the_limits(tmp_path, low, high):
    values = np.linspace(low, high, 120).reshape(4, 5, 6)
    path = write_image(
        tmp_path / "a.ome.tif",
        values,
        axes="ZYX",
        voxel_size=None,
        unit=None,
        dtype="uint16",
        channels=[Channel("a", None, (low, (low + high) / 2))],
    )
    image = read_image(path)
    stated = image.metadata["stored_values"]
    assert (image.data.min(), image.data.max()) == (0, 65535)
    restored = stated["offset"] + stated["scale"] * image.data.astype(float)
    np.testing.assert_allclose(restored, values, atol=0.5001 * (high - low) / 65535, rtol=0)
    assert image.channels[0].limits == pytest.approx((0.0, 32767.5))
