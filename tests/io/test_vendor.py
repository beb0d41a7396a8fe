"""Files of microscope vendors: the same voxels, axes, voxel size and channels as were recorded."""

from __future__ import annotations

import pickle
import struct
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import napari_lucyd as nl
from napari_lucyd.cli import app
from napari_lucyd.io import ImageFileError, read_image

STEPS = (0.3, 0.1, 0.1)
PACKAGES = [(".czi", "pylibCZIrw"), (".lif", "liffile"), (".nd2", "nd2")]


def values(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 4000, shape).astype("uint16")


def write_czi(path: Path, array: np.ndarray) -> Path:
    """Write (T, C, Z, Y, X)."""
    czi = pytest.importorskip("pylibCZIrw.czi")
    with czi.create_czi(str(path)) as writer:
        for t, c, z in np.ndindex(*array.shape[:3]):
            writer.write(data=array[t, c, z][..., None], plane={"T": t, "C": c, "Z": z})
        z, y, x = (1e-6 * step for step in STEPS)
        writer.write_metadata("a", channel_names={0: "DAPI", 1: "GFP"}, scale_x=x, scale_y=y, scale_z=z)
    return path


def write_lif(path: Path, array: np.ndarray) -> Path:
    """Write (C, Z, Y, X) as Leica's format: a header of XML, and a block of voxels."""
    pytest.importorskip("liffile")
    count, *sizes = array.shape
    channels = "".join(
        '<ChannelDescription DataType="0" ChannelTag="0" Resolution="16" NameOfMeasuredQuantity="" Min="0" '
        f'Max="1" Unit="" LUTName="Gray" IsLUTInverted="0" BytesInc="{number * array[0].nbytes}" BitInc="0"/>'
        for number in range(count)
    )
    dimensions, stride = "", array.itemsize
    for number, n, step in zip((1, 2, 3), sizes[::-1], STEPS[::-1], strict=True):
        dimensions += (
            f'<DimensionDescription DimID="{number}" NumberOfElements="{n}" Origin="0" '
            f'Length="{1e-6 * step * (n - 1)}" Unit="m" BytesInc="{stride}" BitInc="0"/>'
        )
        stride *= n
    text = (
        '<LMSDataContainerHeader Version="2"><Element Name="file"><Children><Element Name="cells"><Data>'
        "<Image>"
        f"<ImageDescription><Channels>{channels}</Channels><Dimensions>{dimensions}</Dimensions>"
        f'</ImageDescription></Image></Data><Memory Size="{array.nbytes}" MemoryBlockID="MemBlock_1"/>'
        "</Element></Children></Element></LMSDataContainerHeader>"
    )
    header, block = text.encode("utf-16-le"), "MemBlock_1".encode("utf-16-le")
    content = struct.pack("<IIBI", 0x70, len(header) + 5, 0x2A, len(text)) + header
    content += struct.pack("<IIBQBI", 0x70, len(block) + 14, 0x2A, array.nbytes, 0x2A, 10) + block
    path.write_bytes(content + array.tobytes())
    return path


class StandIn:
    """The used part of `nd2.ND2File`, for which there is no writer; two positions, time before Z."""

    array = values(2, 2, 3, 2, 5, 6)  # P T Z C Y X
    is_rgb, dtype = False, np.dtype("uint16")
    loop_indices = tuple(dict(zip("PTZ", at, strict=True)) for at in np.ndindex(2, 2, 3))
    metadata = types.SimpleNamespace(
        channels=[types.SimpleNamespace(channel=types.SimpleNamespace(name=name)) for name in ("DAPI", "GFP")]
    )

    def __init__(self, path):
        assert Path(path).is_file()
        self.sizes = dict(zip("PTZCYX", self.array.shape, strict=True))

    def voxel_size(self):
        return types.SimpleNamespace(x=STEPS[2], y=STEPS[1], z=STEPS[0])

    def read_frame(self, number):
        return self.array.reshape(-1, *self.array.shape[3:])[number]

    def close(self):
        pass


@pytest.mark.parametrize("lazy", [False, True])
def test_czi(tmp_path, lazy):
    array = values(2, 2, 4, 10, 12)
    image = read_image(write_czi(tmp_path / "a.czi", array), lazy=lazy)
    np.testing.assert_array_equal(np.asarray(image.data), array)
    assert (image.axes, image.unit, image.warnings) == ("TCZYX", "micrometer", ())
    assert image.voxel_size == pytest.approx(STEPS)
    assert [channel.name for channel in image.channels] == ["DAPI", "GFP"]
    if lazy:
        sent = pickle.loads(pickle.dumps(image.data))
        np.testing.assert_array_equal(np.asarray(sent[1, 0, 1:3, 2:5]), array[1, 0, 1:3, 2:5])


@pytest.mark.parametrize("lazy", [False, True])
def test_lif(tmp_path, lazy):
    array = values(2, 4, 10, 12)
    image = read_image(write_lif(tmp_path / "a.lif", array), lazy=lazy)
    np.testing.assert_array_equal(np.asarray(image.data), array)
    assert (image.axes, image.unit) == ("CZYX", "micrometer")
    assert image.voxel_size == pytest.approx(STEPS)


def test_nd2(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "nd2", types.SimpleNamespace(ND2File=StandIn))
    (tmp_path / "a.nd2").touch()
    image = read_image(tmp_path / "a.nd2")
    np.testing.assert_array_equal(image.data, StandIn.array[0].swapaxes(1, 2))
    assert (image.axes, image.voxel_size, image.unit) == ("TCZYX", STEPS, "micrometer")
    assert [channel.name for channel in image.channels] == ["DAPI", "GFP"]
    assert image.warnings == ("the file holds 2 images; the first, 'position 0', was read",)


@pytest.mark.parametrize(("suffix", "module"), PACKAGES)
def test_a_missing_package_is_named(tmp_path, monkeypatch, suffix, module):
    monkeypatch.setitem(sys.modules, module, None)
    path = tmp_path / f"a{suffix}"
    path.touch()
    with pytest.raises(ImageFileError, match=r"pip install 'napari-lucyd\[microscopes\]'"):
        read_image(path)


@pytest.mark.parametrize(("suffix", "module"), PACKAGES)
def test_damaged_files_are_refused_in_words(tmp_path, suffix, module):
    pytest.importorskip(module)
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"no image at all")
    with pytest.raises(ImageFileError, match="cannot be read: damaged"):
        read_image(path)


def test_a_batch_and_a_run_in_parts_take_them(tmp_path, random_model):
    weights = nl.save_model(
        tmp_path / "w.safetensors", random_model.network, normalization={"method": "minmax"}
    )
    folder = tmp_path / "in"
    folder.mkdir()
    write_czi(folder / "a.czi", values(1, 1, 4, 10, 12))
    write_lif(folder / "b.lif", values(1, 4, 10, 12))
    for suffix in ("ome.tif", "ome.zarr"):
        out = tmp_path / suffix[4:]
        command = ["deconvolve", folder, "-m", weights, "-o", out, "--format", suffix, "--device", "cpu"]
        done = CliRunner().invoke(app, list(map(str, command)))
        assert done.exit_code == 0, done.output
        results = [read_image(out / f"{name}_output.{suffix}") for name in ("a", "b")]
        assert all(result.voxel_size == pytest.approx(STEPS) for result in results)
        np.testing.assert_array_equal(*(np.asarray(result.data) for result in results))
