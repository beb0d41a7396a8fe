"""OME-Zarr as other programs leave it: series, unordered levels, zip files, stray files, absurd sizes."""

from __future__ import annotations

import json
import shutil
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import zarr

from napari_lucyd.io import (
    ImageFileError,
    default_suffix,
    is_image_path,
    is_zarr_folder,
    read_image,
    stem,
    write_image,
)

STACK = np.arange(4 * 8 * 6, dtype="uint16").reshape(4, 8, 6)
AXES = [{"name": name, "type": "space", "unit": "micrometer"} for name in "zyx"]


def level(path: str, *scale: float) -> dict:
    return {"path": path, "coordinateTransformations": [{"type": "scale", "scale": list(scale)}]}


def write_group(path: Path, levels: dict[str, np.ndarray], datasets: list, version: int = 3, **more) -> Path:
    multiscales = [{"version": "0.4", "axes": AXES, "datasets": datasets}]
    told = {"multiscales": multiscales, **more}
    attributes = {"ome": {"version": "0.5", **told}} if version == 3 else told
    group = zarr.create_group(path, zarr_format=version, attributes=attributes)
    for name, array in levels.items():
        group.create_array(name, data=np.ascontiguousarray(array), chunks=(2, 4, 4))
    return path


def plain(path: Path, values: np.ndarray = STACK, version: int = 3, **more) -> Path:
    return write_group(path, {"0": values}, [level("0", 0.3, 0.2, 0.1)], version, **more)


# -------------------------------------------------------------------------------- levels


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_the_highest_resolution_is_read_in_whatever_order_the_levels_stand(tmp_path, order, lazy):
    levels = {"full": STACK, "half": STACK[:, ::2, ::2], "quarter": STACK[:, ::4, ::4]}
    told = [level("full", 0.3, 0.2, 0.1), level("half", 0.3, 0.4, 0.2), level("quarter", 0.3, 0.8, 0.4)]
    path = write_group(tmp_path / "a.zarr", levels, [told[index] for index in order])
    image = read_image(path, lazy=lazy)
    np.testing.assert_array_equal(np.asarray(image.data), STACK)
    assert (image.voxel_size, image.unit) == ((0.3, 0.2, 0.1), "micrometer")
    assert [part.shape for part in image.lower] == [(4, 4, 3), (4, 2, 2)]
    np.testing.assert_array_equal(image.lower[0].compute(), STACK[:, ::2, ::2])


def test_a_missing_resolution_is_told(tmp_path):
    path = write_group(
        tmp_path / "a.zarr", {"1": STACK}, [level("0", 0.15, 0.1, 0.05), level("1", 0.3, 0.2, 0.1)]
    )
    image = read_image(path)
    np.testing.assert_array_equal(image.data, STACK)
    assert image.voxel_size == (0.3, 0.2, 0.1)
    assert image.warnings == ("resolutions named '0' cannot be found; the highest that can was read",)


def test_a_negative_scale_keeps_its_length(tmp_path):
    path = write_group(tmp_path / "a.zarr", {"0": STACK}, [level("0", -0.3, 0.2, -0.1)])
    assert read_image(path).voxel_size == (0.3, 0.2, 0.1)


# -------------------------------------------------------------------------------- series


@pytest.mark.parametrize("version", [2, 3])
def test_series_are_read_by_the_names_that_ome_lists(tmp_path, version):
    root = zarr.create_group(
        tmp_path / "a.zarr", zarr_format=version, attributes={"bioformats2raw.layout": 3}
    )
    told = {"series": ["cells", "beads"]}
    root.create_group("OME", attributes={"ome": told} if version == 3 else told)
    plain(tmp_path / "a.zarr" / "cells", version=version)
    plain(tmp_path / "a.zarr" / "beads", STACK + 1, version=version)
    image = read_image(tmp_path / "a.zarr")
    np.testing.assert_array_equal(image.data, STACK)
    assert image.warnings == ("the folder holds 2 images; the first, 'cells', was read",)
    image = read_image(tmp_path / "a.zarr" / "beads")
    np.testing.assert_array_equal(image.data, STACK + 1)
    assert (image.name, image.warnings) == ("a_beads", ())


def test_one_series_is_no_reason_to_warn_and_its_ome_xml_tells_the_optics(tmp_path):
    root = zarr.create_group(tmp_path / "a.zarr", zarr_format=2, attributes={"bioformats2raw.layout": 3})
    root.create_group("OME", attributes={"series": ["0"]})
    plain(tmp_path / "a.zarr" / "0", version=2)
    (tmp_path / "a.zarr" / "OME" / "METADATA.ome.xml").write_text(
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Instrument ID="Instrument:0">'
        '<Objective ID="Objective:0" LensNA="1.4" Immersion="Oil"/></Instrument><Image ID="Image:0">'
        '<ObjectiveSettings ID="Objective:0" RefractiveIndex="1.515"/><Pixels ID="Pixels:0">'
        '<Channel ID="Channel:0:0" EmissionWavelength="525"/></Pixels></Image></OME>'
    )
    image = read_image(tmp_path / "a.zarr")
    assert image.warnings == ()
    assert (image.optics.numerical_aperture, image.optics.refractive_index) == (1.4, 1.515)
    assert image.optics.emission_um == (0.525,)


# -------------------------------------------------------------------------------- zipped


def pack(folder: Path, path: Path, inside: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, f"{inside}{file.relative_to(folder).as_posix()}")
    shutil.rmtree(folder)
    return path


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("inside", ["", "cells.ome.zarr/"])
@pytest.mark.parametrize("name", ["cells.ome.zarr.zip", "cells.zarr.zip", "cells.ozx", "cells.ome.zarr"])
def test_a_zipped_store_is_read(tmp_path, name, inside, version):
    path = pack(plain(tmp_path / "folder.zarr", version=version), tmp_path / name, inside)
    assert is_image_path(path) and stem(path) == "cells" and default_suffix(path) == ".ome.zarr"
    for lazy in (False, True):
        image = read_image(path, lazy=lazy)
        np.testing.assert_array_equal(np.asarray(image.data), STACK)
        assert (image.voxel_size, image.unit, image.name) == ((0.3, 0.2, 0.1), "micrometer", "cells")


def test_a_zip_file_without_zarr_is_refused_in_words(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zarr.zip", "w") as archive:
        archive.writestr("notes.txt", "nothing")
    with pytest.raises(ImageFileError, match=r"a\.zarr\.zip: a zip file without Zarr"):
        read_image(tmp_path / "a.zarr.zip")
    (tmp_path / "b.zarr.zip").write_bytes(b"no zip")
    with pytest.raises(ImageFileError, match="neither a folder of Zarr nor a zip file"):
        read_image(tmp_path / "b.zarr.zip")


# -------------------------------------------------------------------------------- stray files


@pytest.mark.parametrize(
    "stray",
    [
        "",
        "no JSON",
        "{}",
        "[]",
        json.dumps({"zarr_format": 3, "node_type": "group", "attributes": {}}),
    ],
)
def test_a_stray_zarr_json_hides_no_image_of_the_older_format(tmp_path, stray):
    path = plain(tmp_path / "a.zarr", version=2)
    (path / "zarr.json").write_text(stray)
    image = read_image(path)
    np.testing.assert_array_equal(image.data, STACK)
    assert image.voxel_size == (0.3, 0.2, 0.1)


@pytest.mark.parametrize(
    "stray", ["", "no JSON", "[]", json.dumps({"zarr_format": 3, "node_type": "group", "attributes": {}})]
)
def test_a_stray_zarr_json_makes_a_folder_of_other_files_no_image(tmp_path, stray):
    (tmp_path / "zarr.json").write_text(stray)
    assert not is_zarr_folder(tmp_path)
    with pytest.raises(ImageFileError, match="is a folder that is no Zarr image; give an image file"):
        read_image(tmp_path)
    with pytest.raises(ImageFileError, match="no such file or folder"):
        read_image(tmp_path / "typing error")


@pytest.mark.parametrize("version", [2, 3])
def test_a_folder_of_an_image_is_one_whatever_its_name(tmp_path, version):
    assert is_zarr_folder(plain(tmp_path / "cells", version=version))
    np.testing.assert_array_equal(read_image(tmp_path / "cells").data, STACK)


# -------------------------------------------------------------------------------- sizes


@pytest.mark.parametrize("lazy", [None, False, True])
def test_a_zarr_of_10_to_the_18_voxels_is_refused_at_once(tmp_path, lazy):
    told = {"multiscales": [{"axes": AXES, "datasets": [level("0", 1, 1, 1)]}]}
    group = zarr.create_group(tmp_path / "a.zarr", attributes={"ome": {"version": "0.5", **told}})
    group.create_array("0", shape=(10**6,) * 3, chunks=(64, 64, 64), dtype="uint8")
    start = time.perf_counter()
    with pytest.raises(ImageFileError, match="1000000 × 1000000 × 1000000 voxels, more than any image has"):
        read_image(tmp_path / "a.zarr", lazy=lazy)
    assert time.perf_counter() - start < 5


# -------------------------------------------------------------------------------- channels


def test_channels_come_with_their_names_colours_and_limits(tmp_path):
    omero = {
        "channels": [
            {"label": "DAPI", "color": "0000FF", "window": {"start": 10, "end": 900, "min": 0, "max": 65535}},
            {"label": "GFP", "color": "no colour", "window": {}},
        ]
    }
    axes = [{"name": "c", "type": "channel"}, *AXES]
    told = {"multiscales": [{"axes": axes, "datasets": [level("0", 1, 0.3, 0.2, 0.1)]}], "omero": omero}
    group = zarr.create_group(tmp_path / "a.zarr", attributes={"ome": {"version": "0.5", **told}})
    group.create_array("0", data=np.stack([STACK, STACK]))
    first, second = read_image(tmp_path / "a.zarr").channels
    assert (first.name, first.color, first.limits) == ("DAPI", "#0000ff", (10.0, 900.0))
    assert (second.name, second.color, second.limits) == ("GFP", None, None)


def test_an_image_that_was_written_here_is_read_as_a_pyramid(tmp_path):
    values = np.random.default_rng(0).uniform(0, 1, (2, 4, 600, 300)).astype("float32")
    path = write_image(tmp_path / "a.ome.zarr", values, axes="CZYX", voxel_size=(1, 0.5, 0.5), unit="µm")
    image = read_image(path, lazy=True)
    assert [part.shape for part in image.lower] == [(2, 4, 300, 150), (2, 2, 150, 75)]
    assert image.data.shape == values.shape


# -------------------------------------------------------------------------------- damaged or foreign accounts


@pytest.mark.parametrize(
    "transformations",
    [
        [{"type": "affine", "affine": [[0.3, 0, 0, 0], [0, 0.2, 0, 0], [0, 0, 0.1, 0]]}],
        [{"type": "sequence", "transformations": [{"type": "scale", "scale": [0.3, 0.2, 0.1]}]}],
        [{"type": "scale", "path": "scales"}],
        [{"type": "scale", "scale": [0.2, 0.1]}],
        [{"type": "scale", "scale": [None, 0.2, 0.1]}],
        [{"type": "scale", "scale": {"z": 0.3}}],
        [5],
        "none",
    ],
)
def test_a_scale_that_is_not_understood_is_no_micrometre_a_voxel(tmp_path, transformations):
    path = write_group(
        tmp_path / "a.zarr", {"0": STACK}, [{"path": "0", "coordinateTransformations": transformations}]
    )
    image = read_image(path)
    np.testing.assert_array_equal(image.data, STACK)
    assert (image.voxel_size, image.unit) == (None, None)
    assert image.warnings == ("the voxel size in the file is incomplete and was left out",)


@pytest.mark.parametrize("transformations", [[], None, [{"type": "translation", "translation": [1, 2, 3]}]])
def test_without_a_scale_there_is_no_voxel_size(tmp_path, transformations):
    path = write_group(
        tmp_path / "a.zarr", {"0": STACK}, [{"path": "0", "coordinateTransformations": transformations}]
    )
    assert read_image(path).voxel_size is None


def test_a_version_that_is_not_known_is_warned_of(tmp_path):
    systems = [{"name": "physical", "axes": [{"name": "c", "type": "channel"}, *AXES[1:]]}]
    told = [{"version": "0.6", "coordinateSystems": systems, "datasets": [level("0", 1, 0.2, 0.1)]}]
    path = write_group(tmp_path / "a.zarr", {"0": STACK}, [])
    zarr.open_group(path, mode="a").attrs["ome"] = {"multiscales": told}
    (warning,) = read_image(path).warnings
    assert "OME-Zarr is version 0.6; 0.1 to 0.5 are known: check the axes" in warning


@pytest.mark.parametrize("unit", ["furlong", "\x1b[31mred", 5])
def test_a_unit_that_is_not_known_is_told(tmp_path, unit):
    path = plain(tmp_path / "a.zarr")
    group = zarr.open_group(path, mode="a")
    ome = dict(group.attrs["ome"])
    ome["multiscales"][0]["axes"] = [{**axis, "unit": unit} for axis in AXES]
    group.attrs["ome"] = ome
    image = read_image(path)
    assert (image.voxel_size, image.unit) == ((0.3, 0.2, 0.1), None)
    (warning,) = image.warnings
    assert "of the file's voxel size is not known" in warning and "\x1b" not in warning


@pytest.mark.parametrize(
    "channels", [5, "abc", {"0": 1}, [{"color": "-00fff"}], [{"color": 5}], [{"window": {"start": "a"}}]]
)
def test_an_account_of_channels_that_cannot_be_used_costs_no_image(tmp_path, channels):
    image = read_image(plain(tmp_path / "a.zarr", omero={"channels": channels}))
    np.testing.assert_array_equal(image.data, STACK)
    assert image.channels == ()


def test_limits_that_are_not_finite_are_left_out(tmp_path):
    window = {"start": "nan", "end": "inf"}
    (channel,) = read_image(
        plain(tmp_path / "a.zarr", omero={"channels": [{"label": 488, "window": window}]})
    ).channels
    assert (channel.name, channel.limits) == ("488", None)


@pytest.mark.parametrize("name", ["zarr.json", ".zattrs"])
def test_a_folder_with_deeply_nested_attributes_is_no_image(tmp_path, name):
    (tmp_path / ".zgroup").write_text("{}")
    (tmp_path / name).write_text("[" * 100_000 + "]" * 100_000)
    assert not is_zarr_folder(tmp_path)
