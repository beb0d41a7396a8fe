"""Entries of the Deconvolve panel: kept for the next panel, and taken from a result's recipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from qtpy.QtCore import QObject, Signal  # type: ignore[attr-defined]

from napari_lucyd._napari.deconvolve.choices.advanced import SEPARATE
from napari_lucyd._napari.deconvolve.parameters import AUTOMATIC, NUMBERS, STEPS
from napari_lucyd._napari.layers.viewer import METADATA_KEY, is_result
from napari_lucyd._napari.psf.form import BLUR, OPTICS, OPTICS_LINES, UNKNOWN
from napari_lucyd._napari.psf.optics import SIZE
from napari_lucyd._napari.widgets.fields import number_text
from napari_lucyd._napari.widgets.remembered import remember, remembered
from napari_lucyd.deconvolution import SemiBlind
from napari_lucyd.deconvolution.tiling.resampling import choose_resampling
from napari_lucyd.models.catalogue import list_models, network_type
from napari_lucyd.simulation.psf import PINHOLE_AIRY

if TYPE_CHECKING:
    from napari.viewer import Viewer

    from napari_lucyd._napari.deconvolve.choices.microscope import MicroscopeSection

# Configuration in the manifest.
_GROUP = "deconvolve"


class Section(Protocol):
    """A part of the panel whose entries hold for other images too."""

    def entries(self) -> dict[str, Any]:
        """Return what is entered, by name."""

    def enter(self, entries: Mapping[str, Any]) -> None:
        """Enter values by name; what is not among them stays."""


class Entered(QObject):
    """The entries of all sections. It begins with those of the last panel.

    Parameters
    ----------
    viewer
        Its active layer may be a result whose settings are entered.
    sections
        The parts of the panel, but for the microscope.
    microscope
        Keeps its own entries.
    parent
        The panel.
    """

    told = Signal(str)
    failed = Signal(str)

    def __init__(
        self, viewer: Viewer, sections: Sequence[Section], microscope: MicroscopeSection, parent: QObject
    ) -> None:
        super().__init__(parent)
        self._viewer, self._sections, self._microscope = viewer, sections, microscope
        self._enter(remembered(_GROUP))

    def keep(self) -> None:
        """Keep the present entries; call it when all of them are valid."""
        for part in self._sections:
            self.keep_of(part)

    def keep_of(self, section: Section) -> None:
        """Keep the entries of one part, which are always valid or known to be."""
        remember(_GROUP, section.entries())

    def use_result(self, *_: Any) -> None:
        """Enter the settings that the active layer was made with."""
        layer = self._viewer.layers.selection.active
        if layer is None or not is_result(layer):
            self.failed.emit("Select a result in the layer list first.")
            return
        recipe = layer.metadata[METADATA_KEY]
        try:
            entries, blur = entries_of(recipe), blur_of(recipe)
        # In a file from elsewhere, the numbers of a method may be anything.
        except (AttributeError, KeyError, TypeError, ValueError):
            self.failed.emit(f"The settings of “{layer.name}” cannot be read: its recipe is damaged.")
            return
        self._enter(entries)
        self._microscope.form.fill(blur)
        automatic = recipe.get("automatic") or {}
        chosen = automatic.get("chosen")
        by = f" Automatic had chosen {chosen}." if chosen else ""
        text = f"These are the settings of “{layer.name}”.{by}"
        if blur or not ("psf" in recipe or "first_stage" in recipe or "told" in automatic):
            self.told.emit(text)
        else:
            self.failed.emit(f"{text} Its PSF is not in the recipe: choose it under Microscope.")

    def _enter(self, entries: Mapping[str, Any]) -> None:
        for section in self._sections:
            section.enter(entries)


def entries_of(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entries of the method, the outputs and the advanced section.

    Device, tile and destination belong to the machine, and the region to the image; they are left out.
    A recipe says what the run did, not what was chosen. Where the default gives the same for its image, the
    default is entered, because the entries also hold for the next image.

    Parameters
    ----------
    recipe
        Metadata of a result layer: a recipe of `napari_lucyd.deconvolve`.

    Examples
    --------
    >>> method = {"name": "richardson-lucy", "num_iter": 12, "background": 30.0, "tolerance": None}
    >>> entries_of({"method": method})["num_iter"]
    '12'
    """
    steps = {name: (recipe.get(name) or {}).get("wish") for name in STEPS}
    entries: dict[str, Any] = {
        name: wish if isinstance(wish, str) else number_text(wish) for name, wish in steps.items()
    }
    automatic = {"method": AUTOMATIC} if recipe.get("automatic") else {}
    if "method" in recipe and automatic:
        # The numbers of the method were found, not entered.
        return {**entries, **automatic, "separate": _separate(recipe, recipe.get("separate"))}
    if "method" in recipe:
        method = recipe["method"]
        numbers = {name: method[name] for name in NUMBERS if name in method}
        entries |= {
            name: value if isinstance(value, bool) else _number(value) for name, value in numbers.items()
        }
        return {**entries, "method": method["name"], "separate": _separate(recipe, recipe.get("separate"))}
    entries |= {
        "model": recipe.get("model", ""),
        "isotropic": _isotropic(recipe),
        "flips": bool(recipe.get("flips")),
        "outputs": ", ".join(recipe.get("outputs", ())),
        "halo": number_text(recipe.get("halo") if recipe.get("halo_given", True) else None),
    }
    scaling = recipe.get("normalization") or {}
    card = next((card for card in list_models() if card["name"] == recipe.get("model")), None)
    if card is not None:
        entries["method"] = network_type(card)
        same = card["normalization"]["method"] == scaling.get("method")
        entries["normalization"] = "model" if same else scaling.get("method")
    return {**entries, **automatic, "separate": _separate(recipe, scaling.get("separate"))}


def blur_of(recipe: Mapping[str, Any]) -> dict[str, str]:
    """Return the entries of the microscope section; empty if a PSF was used that a recipe does not hold."""
    automatic = recipe.get("automatic") or {}
    stage = automatic.get("told") or recipe.get("first_stage") or {}
    method, psf = recipe.get("method") or {}, recipe.get("psf")
    first = psf[0] if isinstance(psf, list) and psf else psf
    origin = first.get("origin") or {} if isinstance(first, Mapping) else {}
    microscope = stage.get("microscope") or method.get("microscope") or origin.get("optics")
    if microscope:
        several = microscope if isinstance(microscope, list) else [microscope]
        # A line that the recipe has no number for was empty.
        texts = dict.fromkeys(OPTICS_LINES, "")
        texts |= {name: _joined([each.get(name) for each in several]) for name in several[0] if name != SIZE}
        if several[0].get("pinhole_airy") == PINHOLE_AIRY:  # the same as an empty line
            texts["pinhole_airy"] = ""
        size = several[0].get(SIZE) or origin.get(SIZE)
        if isinstance(first, Mapping) and ("layer" in origin or "file" in origin):
            size = first.get("shape")
        # A recipe has the modality of a `Microscope`; the origin of a PSF has the record of a file.
        kind = several[0].get("modality") or several[0].get("microscope")
        return {**texts, "shape": _sizes(size), "kind": OPTICS, "microscope": str(kind).replace("-", "_")}
    if automatic.get("blur_sigma"):  # found in the image, because none was given
        return {"kind": UNKNOWN}
    widths = stage.get("blur_sigma") or origin.get("blur_sigma_voxels")
    if widths:
        return {"kind": BLUR, "sigma": _joined(widths)}
    searched = "first_stage" in recipe or method.get("name") == SemiBlind.name
    if searched and "psf" not in stage:
        return {"kind": UNKNOWN}
    return {}


def _isotropic(recipe: Mapping[str, Any]) -> str:
    """Return the entry for the resampling along Z."""
    taken, axes, steps = recipe.get("resampling"), recipe.get("axes", ""), recipe.get("voxel_size")
    usual = None
    # Automatic does not resample for a model that works on first estimates.
    if "first_stage" not in recipe and "Z" in axes:
        planes = recipe["input"]["shape"][axes.index("Z")]
        usual = choose_resampling(steps, None, planes, has_z=True)
    if (taken is None) == (usual is None):
        return "auto"
    return "off" if taken is None else "on"


def _separate(recipe: Mapping[str, Any], taken: str | None) -> str:
    """Return the first choice that gives the leading axes which the run measured separately."""
    leading = [name for name in recipe.get("axes", "") if name not in "ZYX"]
    usual, *others = (value for _, value in SEPARATE)
    if taken is None:
        return usual
    same = (each for each in (usual, *others) if "".join(name for name in leading if name in each) == taken)
    return next(same, taken)


def _number(value: Any) -> str:
    return ", ".join(f"{each:g}" for each in value) if isinstance(value, list) else number_text(value)


def _sizes(values: Any) -> str:
    return ", ".join(map(number_text, values or ()))


def _joined(values: Any) -> str:
    """Write a number, or the numbers of several channels, once if they are all the same."""
    flat = [one for each in values for one in (each if isinstance(each, list | tuple) else [each])]
    texts = [one if isinstance(one, str) else number_text(one) for one in flat]
    return texts[0] if len(set(texts)) == 1 else ", ".join(texts)
