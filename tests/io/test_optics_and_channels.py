"""Content of OME-XML beyond the voxels: the optics of the microscope, and the channels to show."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from napari_lucyd.io import Channel, Optics, read_image, write_image

STACK = np.arange(2 * 3 * 5 * 6, dtype="uint16").reshape(2, 3, 5, 6)
NAMESPACE = "http://www.openmicroscopy.org/Schemas/OME/2016-06"


def write(path, instrument: str, settings: str, channels: str):
    text = (
        f'<?xml version="1.0" encoding="UTF-8"?><OME xmlns="{NAMESPACE}">{instrument}<Image ID="Image:0">'
        f'{settings}<Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16" SizeX="6" SizeY="5" SizeZ="3" '
        f'SizeC="2" SizeT="1">{channels}<TiffData/></Pixels></Image></OME>'
    )
    tifffile.imwrite(path, STACK, description=text.encode(), metadata=None, photometric="minisblack")
    return path


OBJECTIVES = (
    '<Instrument ID="Instrument:0"><Objective ID="Objective:dry" LensNA="0.8" Immersion="Air"/>'
    '<Objective ID="Objective:oil" LensNA="1.4" Immersion="Oil"/></Instrument>'
)
CHANNELS = (
    '<Channel ID="Channel:0:0" Name="DAPI" Color="65535" EmissionWavelength="461" '
    'ExcitationWavelength="405"/>'
    '<Channel ID="Channel:0:1" Name="GFP" Color="16711935" EmissionWavelength="5250" '
    'EmissionWavelengthUnit="Å"/>'
)


def test_optics_are_those_of_the_objective_that_was_used(tmp_path):
    settings = '<ObjectiveSettings ID="Objective:oil" RefractiveIndex="1.515"/>'
    image = read_image(write(tmp_path / "a.ome.tif", OBJECTIVES, settings, CHANNELS))
    assert image.optics == Optics(1.4, 1.515, (0.461, 0.525), (0.405, None))
    np.testing.assert_array_equal(image.data, STACK)


@pytest.mark.parametrize(
    ("immersion", "index"),
    [("Air", 1.0), ("Water", 1.333), ("Glycerol", 1.47), ("Oil", 1.518), ("Other", None)],
)
def test_an_index_that_is_not_stated_is_that_of_the_immersion_medium(tmp_path, immersion, index):
    objective = f'<Objective ID="O:0" LensNA="0.8" Immersion="{immersion}"/>'
    objective = f'<Instrument ID="Instrument:0">{objective}</Instrument>'
    optics = read_image(write(tmp_path / "a.ome.tif", objective, "", CHANNELS)).optics
    assert (optics.numerical_aperture, optics.refractive_index) == (0.8, index)


def test_of_several_objectives_none_is_guessed(tmp_path):
    optics = read_image(write(tmp_path / "a.ome.tif", OBJECTIVES, "", CHANNELS)).optics
    assert (optics.numerical_aperture, optics.refractive_index) == (None, None)
    assert optics.emission_um == (0.461, 0.525)


@pytest.mark.parametrize("stated", ["-1", "0", "nan", "inf", "1,4", ""])
def test_numbers_that_are_no_optics_are_left_out(tmp_path, stated):
    objective = f'<Instrument ID="Instrument:0"><Objective ID="O:0" LensNA="{stated}"/></Instrument>'
    channel = f'<Channel ID="C:0" EmissionWavelength="{stated}"/><Channel ID="C:1"/>'
    assert read_image(write(tmp_path / "a.ome.tif", objective, "", channel)).optics is None


def test_each_image_of_a_file_has_its_own_optics(tmp_path):
    text = (
        f'<?xml version="1.0" encoding="UTF-8"?><OME xmlns="{NAMESPACE}" UUID="urn:uuid:b">{OBJECTIVES}'
        + "".join(
            f'<Image ID="Image:{index}"><ObjectiveSettings ID="{objective}"/><Pixels ID="Pixels:{index}" '
            'DimensionOrder="XYZCT" Type="uint16" SizeX="6" SizeY="5" SizeZ="3" SizeC="2" SizeT="1">'
            f'{CHANNELS}<TiffData><UUID FileName="{name}.ome.tif">urn:uuid:{name}</UUID></TiffData>'
            "</Pixels></Image>"
            for index, (name, objective) in enumerate((("a", "Objective:dry"), ("b", "Objective:oil")))
        )
        + "</OME>"
    )
    for name in "ab":
        tifffile.imwrite(
            tmp_path / f"{name}.ome.tif",
            STACK,
            description=text.encode(),
            metadata=None,
            photometric="minisblack",
        )
    assert read_image(tmp_path / "a.ome.tif").optics.numerical_aperture == 0.8
    assert read_image(tmp_path / "b.ome.tif").optics.numerical_aperture == 1.4


def test_channels_come_with_their_names_and_colours(tmp_path):
    image = read_image(write(tmp_path / "a.ome.tif", "", "", CHANNELS))
    assert image.channels == (Channel("DAPI", "#0000ff"), Channel("GFP", "#00ff00"))


def test_a_file_that_says_nothing_of_them_has_neither(tmp_path):
    path = write_image(tmp_path / "a.ome.tif", STACK, axes="CZYX", voxel_size=None, unit=None)
    assert (read_image(path).channels, read_image(path).optics) == ((), None)


def test_imagej_s_colours_and_limits_are_read(tmp_path):
    ramp = np.arange(256, dtype="uint8")
    red, green = np.zeros((2, 3, 256), "uint8")
    red[0], green[1] = ramp, ramp
    tifffile.imwrite(
        tmp_path / "a.tif",
        STACK.transpose(1, 0, 2, 3),
        imagej=True,
        metadata={
            "axes": "ZCYX",
            "LUTs": [red, green],
            "Ranges": (5.0, 60.0, 0.0, 99.0),
            "mode": "composite",
        },
    )
    assert read_image(tmp_path / "a.tif").channels == (
        Channel(None, "#ff0000", (5.0, 60.0)),
        Channel(None, "#00ff00", (0.0, 99.0)),
    )
