"""OME-XML: files, voxel size, channels and optics of an image. Opens no file."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from .image import Channel, ImageFileError, Optics
from .units import micrometers

_MOST_PLANES = 10**7
# Refractive indices of the schema's immersion media: oil as in ISO 8036, the others at room temperature.
_INDEX_OF = {"Air": 1.0, "Water": 1.333, "WaterDipping": 1.333, "Glycerol": 1.47, "Oil": 1.518}


def parse(text: str | None) -> Element | None:
    """Parse OME-XML; None for text that is none."""
    try:
        return ElementTree.fromstring(text) if text else None
    except ElementTree.ParseError:
        return None


def elements(parent: Element, tag: str) -> Iterator[Element]:
    """Yield the elements called `tag` below `parent`, in whatever version of the OME namespace."""
    return (element for element in parent.iter() if element.tag.rpartition("}")[2] == tag)


def first(parent: Element, tag: str) -> Element | None:
    """Return the first element called `tag`, or None."""
    return next(elements(parent, tag), None)


def companion_name(root: Element) -> str | None:
    """Return the name of the file that describes a BinaryOnly file; None where `root` describes it."""
    only = first(root, "BinaryOnly")
    return None if only is None else _base_name(only.get("MetadataFile", ""))


def tell_files_apart_by_name(root: Element, path: Path) -> None:
    """Replace the file names in an OME-XML by plain names beside `path`, and make each name the identifier.

    File names may contain a folder of another computer or be an old name of this file; identifiers may be
    missing or copied from file to file. Afterwards no file outside the folder of `path` is named, and no two
    files share an identifier.

    Parameters
    ----------
    root
        Changed in place.
    path
        The file that it was read from.

    Raises
    ------
    ImageFileError
        A name is that of a folder, such as ``".."``.
    """
    places = [(place, place.get("FileName")) for place in elements(root, "UUID")]
    named = [(place, _base_name(name)) for place, name in places if name is not None]
    for _, name in named:
        if name in (".", ".."):
            raise ImageFileError(f"its OME-XML names {name!r}, a folder, as a file of the image")
    own = path.name
    known = {name for _, name in named if name}
    identifier = root.get("UUID")
    # The identifier counts only where the name does not: copies of one description carry one identifier.
    everywhere = all(first(data, "UUID") is not None for data in elements(root, "TiffData"))
    renamed = own not in known and len(known) == 1 and everywhere and not (path.parent / min(known)).exists()
    for place, name in named:
        by_identifier = own not in known and identifier is not None and place.text == identifier
        place.set("FileName", own if renamed or by_identifier or not name else name)
        place.text = place.get("FileName")
    for place, stated in places:
        if stated is None:
            place.set("FileName", own)
            place.text = own
    root.set("UUID", own)


def refuse_planes(root: Element) -> None:
    """Refuse a description of more planes than any recording has, for which tifffile would take all memory.

    Raises
    ------
    ImageFileError
        It describes as many.
    """
    for pixels in elements(root, "Pixels"):
        counts = [finite_number(pixels.get(f"Size{letter}")) or 1.0 for letter in "TCZ"]
        if math.prod(counts) > _MOST_PLANES:
            raise ImageFileError(
                f"its OME-XML states {math.prod(counts):.3g} planes, more than any recording has"
            )


def number_images(root: Element) -> None:
    """Name the images of an OME-XML by their index, so that an image that was read can be found again."""
    for index, image in enumerate(elements(root, "Image")):
        image.set("Name", str(index))


def file_names(image: Element) -> set[str]:
    """Return the names of an image's files; empty if it names none."""
    return {name for place in elements(image, "UUID") if (name := place.get("FileName")) is not None}


def image_in(root: Element, own: str) -> Element | None:
    """Return the first image in the file called `own`; else the first of all."""
    images = list(elements(root, "Image"))
    return next((image for image in images if own in file_names(image)), images[0] if images else None)


def voxel_steps(image: Element, letters: str) -> tuple[list[float | None], list[str | None]]:
    """Return the physical sizes along `letters` and their units (default: micrometres)."""
    pixels = first(image, "Pixels")
    stated: Mapping[str, str] = {} if pixels is None else pixels.attrib
    return (
        [finite_number(stated.get(f"PhysicalSize{letter}")) for letter in letters],
        [stated.get(f"PhysicalSize{letter}Unit", "µm") for letter in letters],
    )


def channels(image: Element) -> tuple[Channel, ...]:
    """Return names and colours of an image's channels; empty if there are none."""
    found = tuple(Channel(each.get("Name"), _color(each.get("Color"))) for each in elements(image, "Channel"))
    return found if any(each != Channel() for each in found) else ()


def optics(root: Element, image: Element) -> Optics | None:
    """Return the optics of an image, as far as the OME-XML states them.

    The refractive index is that of the objective settings, or else of the immersion medium.

    Parameters
    ----------
    root
        Holds the instruments.
    image
        One of its images.
    """
    settings = first(image, "ObjectiveSettings")
    objectives = list(elements(root, "Objective"))
    wanted = None if settings is None else settings.get("ID")
    objective = next((each for each in objectives if each.get("ID") == wanted), None)
    if objective is None and settings is None and len(objectives) == 1:
        objective = objectives[0]
    index = _positive(None if settings is None else settings.get("RefractiveIndex"))
    aperture = None
    if objective is not None:
        aperture = _positive(objective.get("LensNA"))
        index = index or _INDEX_OF.get(objective.get("Immersion", ""))
    each_channel = list(elements(image, "Channel"))
    found = Optics(
        aperture,
        index,
        tuple(_wavelength_um(channel, "Emission") for channel in each_channel),
        tuple(_wavelength_um(channel, "Excitation") for channel in each_channel),
    )
    stated = (aperture, index, *found.emission_um, *found.excitation_um)
    return found if any(value is not None for value in stated) else None


def comment(root: Element, namespace: str) -> str | None:
    """Return the text of the comment annotation in a namespace, or None."""
    for element in elements(root, "CommentAnnotation"):
        if element.get("Namespace") == namespace:
            value = first(element, "Value")
            return None if value is None else value.text
    return None


def _base_name(name: str) -> str:
    return re.split(r"[\\/]", name)[-1].strip()


def _wavelength_um(channel: Element, kind: str) -> float | None:
    length = _positive(channel.get(f"{kind}Wavelength"))
    unit = micrometers(channel.get(f"{kind}WavelengthUnit", "nm"))
    if length is None or unit is None:
        return None
    # 0.525, not 0.5250000000000001
    return float(f"{length * unit:.9g}")


def _color(text: str | None) -> str | None:
    """Convert the schema's signed RGBA number to ``"#rrggbb"``."""
    try:
        return None if text is None else f"#{(int(text) >> 8) & 0xFFFFFF:06x}"
    except ValueError:
        return None


def color_number(color: str) -> int:
    """Convert ``"#rrggbb"`` to the schema's signed RGBA number."""
    value = int(color[1:], 16) << 8 | 0xFF
    return value - 2**32 if value >= 2**31 else value


def finite_number(text: Any) -> float | None:
    """Read a number; None if it is none, or not finite."""
    try:
        number = float(text)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _positive(text: Any) -> float | None:
    number = finite_number(text)
    return number if number is not None and number > 0 else None
