"""The site's TIFF reader and writer against tifffile."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_lucyd.io import read_image

SCRIPTS = Path(__file__).parent
SITE = Path(__file__).parents[2] / "docs" / "browser"
SHAPE = (3, 37, 53)


def stack(dtype, shape=SHAPE):
    values = np.random.default_rng(0).normal(size=shape).cumsum(-1) * 9
    kind = np.dtype(dtype)
    if kind.kind == "u":
        values -= values.min()
    return (values * (1 if kind.itemsize == 1 else 9)).astype(dtype)


# Each with a channel and a time of its own, if there are any, of which the last are read.
PLAIN = ("uint8", "int8", "uint16", "int16", "uint32", "float32", "float64")
KINDS = {
    **{dtype: ({}, stack(dtype)) for dtype in PLAIN},
    "deflate": ({"compression": "zlib"}, stack("uint16")),
    "deflate-rows": ({"compression": "zlib", "rowsperstrip": 5, "predictor": True}, stack("uint16")),
    "lzw": ({"compression": "lzw"}, stack("uint16")),
    "lzw-long": ({"compression": "lzw"}, stack("uint8", (1, 300, 301))),
    "lzw-predictor": ({"compression": "lzw", "predictor": True, "rowsperstrip": 10}, stack("uint8")),
    "float-predictor": ({"compression": "zlib", "predictor": 3}, stack("float32")),
    "tiles": ({"tile": (16, 32)}, stack("uint16")),
    "tiles-deflate": ({"tile": (32, 16), "compression": "zlib", "predictor": True}, stack("int16")),
    "big-endian": ({"byteorder": ">", "rowsperstrip": 8}, stack("uint16")),
    "big-endian-predictor": ({"byteorder": ">", "compression": "zlib", "predictor": 3}, stack("float32")),
    "bigtiff": ({"bigtiff": True}, stack("float32")),
    "one-plane": ({}, stack("uint16")[0]),
    "imagej": ({"imagej": True, "metadata": {"axes": "ZYX"}}, stack("uint16")),
    "imagej-hyperstack": ({"imagej": True, "metadata": {"axes": "TZCYX"}}, stack("uint16", (2, 3, 4, 9, 8))),
    "imagej-first-page-only": (
        {"imagej": True, "metadata": {"axes": "ZCYX"}, "contiguous": True, "truncate": True},
        stack("uint16", (3, 2, 20, 24)),
    ),
    "ome": ({"ome": True, "metadata": {"axes": "CZYX"}}, stack("uint16", (2, 3, 20, 24))),
    "ome-other-order": ({"ome": True, "metadata": {"axes": "ZCYX"}}, stack("float32", (3, 2, 20, 24))),
    "ome-times": ({"ome": True, "metadata": {"axes": "TCZYX"}}, stack("uint8", (2, 2, 3, 20, 24))),
}


def last_stack(name, values):
    """The (Z, Y, X) of the last channel and time."""
    axes = KINDS[name][0].get("metadata", {}).get("axes", "ZYX"[-values.ndim :])
    found = values[tuple(slice(None) if axis in "ZYX" else -1 for axis in axes)]
    return found if found.ndim == 3 else found[None]


@pytest.fixture(scope="module")
def read(tmp_path_factory, run_node):
    """Facts that the reader finds in each kind of file, all read in one process."""
    folder = tmp_path_factory.mktemp("kinds")
    for name, (options, values) in KINDS.items():
        tifffile.imwrite(folder / f"{name}.tif", values, photometric="minisblack", **options)
    facts = run_node(SCRIPTS / "read_tiffs.mjs", SITE / "tiff_reader.mjs", *sorted(folder.glob("*.tif")))
    return {Path(path).stem: (found, Path(f"{path}.raw")) for path, found in facts.items()}


@pytest.mark.parametrize("name", KINDS)
def test_voxels_are_those_of_the_file(read, name):
    facts, raw = read[name]
    assert "error" not in facts, facts
    expected = last_stack(name, KINDS[name][1]).astype(np.float32)
    assert tuple(facts["shape"]) == expected.shape
    assert facts["type"] == str(KINDS[name][1].dtype)
    np.testing.assert_array_equal(np.fromfile(raw, np.float32).reshape(expected.shape), expected)


def test_voxel_sizes_are_micrometres_whatever_the_file_says(tmp_path, run_node):
    from napari_lucyd.io import write_image

    image = stack("uint16")
    write_image(tmp_path / "a.ome.tif", image, axes="ZYX", voxel_size=(0.3, 0.11, 0.11), unit="micrometer")
    write_image(tmp_path / "b.tif", image, axes="ZYX", voxel_size=(0.3, 0.11, 0.11), unit="micrometer")
    nanometres = {"axes": "ZYX", "PhysicalSizeX": 110, "PhysicalSizeXUnit": "nm"}
    tifffile.imwrite(tmp_path / "c.ome.tif", image, ome=True, metadata=nanometres, photometric="minisblack")
    tifffile.imwrite(tmp_path / "d.tif", image, photometric="minisblack")
    files = sorted(tmp_path.glob("*.tif"))
    facts = run_node(SCRIPTS / "read_tiffs.mjs", SITE / "tiff_reader.mjs", *files)
    ome, imagej, nano, plain = (facts[str(file)]["voxelSize"] for file in files)
    assert [ome[axis] for axis in "zyx"] == pytest.approx([0.3, 0.11, 0.11])
    assert [imagej[axis] for axis in "zyx"] == pytest.approx([0.3, 0.11, 0.11], rel=1e-4)
    assert nano["x"] == pytest.approx(0.11) and nano["z"] is None
    assert plain == {"z": None, "y": None, "x": None}


def test_what_cannot_be_read_is_refused_in_words(tmp_path, run_node):
    image = stack("uint8")
    tifffile.imwrite(tmp_path / "rgb.tif", np.moveaxis(image, 0, -1).copy(), photometric="rgb")
    tifffile.imwrite(tmp_path / "zstd.tif", image, compression="zstd", photometric="minisblack")
    tifffile.imwrite(tmp_path / "half.tif", image.astype(np.float16), photometric="minisblack")
    tifffile.imwrite(tmp_path / "sizes.tif", image[0])
    tifffile.imwrite(tmp_path / "sizes.tif", image[0, :20], append=True)
    tifffile.imwrite(tmp_path / "damaged.tif", image, compression="zlib", photometric="minisblack")
    with tifffile.TiffFile(tmp_path / "damaged.tif") as file:
        place = file.pages[0].dataoffsets[0]
    whole = bytearray((tmp_path / "damaged.tif").read_bytes())
    whole[place + 10 : place + 60] = bytes(50)
    (tmp_path / "damaged.tif").write_bytes(whole)
    tifffile.imwrite(tmp_path / "short.tif", stack("uint16"), photometric="minisblack")
    (tmp_path / "short.tif").write_bytes((tmp_path / "short.tif").read_bytes()[:-200])
    (tmp_path / "text.tif").write_text("no image")
    (tmp_path / "empty.tif").write_bytes(b"")
    words = {
        "rgb": "colour",
        "zstd": "compressed in a way",
        "half": "float16",
        "sizes": "differ in size",
        "damaged": "damaged",
        "short": "ends too early",
        "text": "not a TIFF",
        "empty": "not a TIFF",
    }
    facts = run_node(SCRIPTS / "read_tiffs.mjs", SITE / "tiff_reader.mjs", *sorted(tmp_path.glob("*.tif")))
    for path, found in facts.items():
        assert found.get("kind") == "TiffError", (path, found)
        assert words.pop(Path(path).stem) in found["error"], (path, found)
    assert not words


def test_saved_files_open_with_their_voxel_size_and_16_bits_say_how_to_get_back(tmp_path, run_node):
    values = stack("float32")
    values.tofile(tmp_path / "values.raw")
    out, out16 = tmp_path / "float.tif", tmp_path / "sixteen.tif"
    line = run_node(
        SCRIPTS / "write_tiffs.mjs", SITE / "tiff_writer.mjs", tmp_path / "values.raw", *SHAPE, out, out16
    )
    saved = read_image(out)
    assert saved.axes == "ZYX"
    assert saved.voxel_size == pytest.approx((0.3, 0.1, 0.1), rel=1e-5)
    np.testing.assert_array_equal(saved.data, values)
    codes = tifffile.imread(out16)
    assert codes.dtype == np.uint16 and codes.min() == 0 and codes.max() == 65535
    # Half a step is the largest rounding; the calibration in the file is the one that was returned.
    assert np.abs(line["offset"] + line["step"] * codes - values).max() <= 0.501 * line["step"]
    with tifffile.TiffFile(out16) as file:
        assert file.imagej_metadata["c1"] == pytest.approx(line["step"])
