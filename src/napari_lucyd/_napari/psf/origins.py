"""Sources of the PSF of a classical method: a layer, a file or the optics.

Nothing here touches the window: a PSF is read or computed in a worker thread.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from napari_lucyd._napari.layers.source_layer import SourceLayer
from napari_lucyd._napari.layers.viewer import METADATA_KEY
from napari_lucyd._napari.widgets.fields import choice, in_labels
from napari_lucyd.spans import spatial_axes
from napari_lucyd.text import shape_text, steps_text

Stop = Callable[[], bool] | None

# By their names in `make_psf`.
MICROSCOPES = {
    "widefield": "Widefield",
    "confocal": "Confocal",
    "light_sheet": "Light sheet",
    "gaussian": "Gaussian (no haze)",
}
# Default size along each axis, unless the image is smaller; equal to that of `lucyd psf`.
SIZE = 63
# Estimate, run and layer need the same PSF. Only a few are kept, as one may take tens of megabytes.
_REMEMBERED = 4
_made: OrderedDict[Any, np.ndarray] = OrderedDict()


@dataclass(frozen=True, eq=False)
class Psf:
    """A PSF in memory.

    Attributes
    ----------
    values
        (Z, Y, X) or (Y, X); a layer may hold other shapes, which the method refuses.
    name
        Its name in messages and layers.
    steps, unit
        Its voxel size, None if unknown, and the unit.
    origin
        Its source for the recipe, as JSON data.
    """

    values: Any
    name: str
    steps: tuple[float, ...] | None
    unit: str
    origin: dict[str, Any]

    def keywords(self, name: str) -> dict[str, Any]:
        """Return the keywords of a layer that shows it."""
        ndim = self.values.ndim
        keywords: dict[str, Any] = {
            "name": name,
            "axis_labels": tuple("zyx"[-ndim:]),
            # Visible over the image without hiding it.
            "blending": "additive",
            "contrast_limits": (0.0, float(self.values.max()) or 1.0),
            "metadata": {METADATA_KEY: {"shows": "psf", **self.origin}},
        }
        if self.steps is not None:
            keywords |= {"scale": self.steps, "units": (self.unit,) * ndim}
        return keywords

    def describe(self) -> str:
        """Describe its shape, its voxel size, and the light that still reaches its edge."""
        from napari_lucyd.simulation.psf import light_at_the_edge

        text = f"{shape_text(self.values.shape)} voxels"
        if self.steps is not None:
            text += f" of {steps_text(self.steps)} {self.unit}"
        edge = light_at_the_edge(self.values)
        text += "."
        if edge is not None:
            text += (
                f" {edge:.0%} of the in-focus light still reaches the edge planes; a larger Z size would "
                "include more haze."
            )
        return text


@dataclass(frozen=True)
class LayerPsf:
    """A PSF from a layer.

    Attributes
    ----------
    layer
        The layer at the time of Run.
    """

    layer: SourceLayer

    def load(self, source: SourceLayer | None, axes: str, should_stop: Stop = None) -> Psf:
        """Read the layer; see `OpticsPsf.load`."""
        steps, unit = _stated(self.layer, spatial_axes(len(self.layer.shape)))
        entry = self.layer.metadata.get(METADATA_KEY)
        made = {key: entry[key] for key in ("optics", "voxel_size") if key in entry} if entry else {}
        origin = {"layer": self.layer.name, **made}
        return Psf(np.asarray(self.layer.data), self.layer.name, steps, unit, origin)


@dataclass(frozen=True)
class FilePsf:
    """A PSF from a file.

    Attributes
    ----------
    path
        A TIFF, OME-TIFF or OME-Zarr file.
    """

    path: str

    def load(self, source: SourceLayer | None, axes: str, should_stop: Stop = None) -> Psf:
        """Read the file; see `OpticsPsf.load`.

        Raises
        ------
        ImageFileError
            If it cannot be read, or holds more than one PSF.
        """
        from napari_lucyd.io import micrometers, read_psf

        image = read_psf(self.path)
        steps, unit = image.voxel_size, "pixel"
        if steps is not None and (length := micrometers(image.unit)):
            steps, unit = tuple(step * length for step in steps), "µm"
        origin = {"file": Path(self.path).name}
        if "optics" in image.metadata:
            origin["optics"] = image.metadata["optics"]
        return Psf(image.data, image.name, steps, unit, origin)


@dataclass(frozen=True)
class OpticsPsf:
    """A PSF from the optics; each number has default, label and tooltip."""

    kind: str = choice(
        "widefield",
        "Microscope",
        "The microscope that took the image. “Gaussian” has the widths of a widefield PSF without its haze.",
    )
    numerical_aperture: float = choice(0.0, "NA", "Numerical aperture, as printed on the objective.")
    refractive_index: float = choice(
        1.33,
        "Index",
        "Refractive index of the immersion medium and the specimen: 1.0 air, 1.33 water, 1.515 oil.",
    )
    emission_um: float = choice(
        0.0, "Emission", "Wavelength of the detected light in µm, for example 0.525 for GFP."
    )
    excitation_um: float | None = choice(None, "Excitation", "Confocal: wavelength of the laser in µm.")
    pinhole_airy: float | None = choice(
        None, "Pinhole", "Confocal: diameter of the pinhole in Airy units. Empty: 1."
    )
    sheet_fwhm_um: float | None = choice(
        None, "Sheet", "Light sheet: thickness in µm, full width at half maximum."
    )
    voxel_size: tuple[float, ...] | None = choice(
        None,
        "Voxel size",
        "Voxel size of the image, Z, Y, X in µm; the PSF is sampled on these voxels. Empty: the scale of the "
        "layer, if it has a unit of length.",
    )
    shape: tuple[int, ...] | None = choice(
        None,
        "PSF size",
        "Size of the PSF, Z, Y, X in voxels; odd numbers. Empty: 63, or less for a smaller image. Widefield "
        "light extends without limit along Z; the haze beyond the PSF is not removed.",
    )

    @property
    def title(self) -> str:
        """Name for messages and layers."""
        return f"{MICROSCOPES[self.kind]} NA {self.numerical_aperture:g}"

    def load(self, source: SourceLayer | None, axes: str, should_stop: Stop = None) -> Psf:
        """Compute the PSF, or take it from those computed before.

        Parameters
        ----------
        source
            The image that the PSF is for, or None.
        axes
            Axes of the image.
        should_stop
            Called after each plane; True stops the computation.

        Raises
        ------
        ValueError
            If a number is missing or impossible.
        Cancelled
            If ``should_stop`` returns True.
        """
        letters = [name for name in "ZYX" if name in axes]
        sizes = None if source is None else [source.shape[axes.index(name)] for name in letters]
        steps = self.voxel_size
        if steps is None and source is not None:
            steps = source.voxel_size_um(axes)
        if steps is None:
            which = "There is no image to take it from" if source is None else f"“{source.name}” has none"
            raise ValueError(f"The voxel size is unknown: {which}. Enter the voxel size below (µm).")
        steps = _for_axes(steps, len(letters))
        shape = _for_axes(self.shape or automatic_shape(sizes, len(letters)), len(letters))
        values = _make(replace(self, voxel_size=steps, shape=shape), should_stop)
        return Psf(values, self.title, steps, "µm", {"optics": self.record(), "voxel_size": list(steps)})

    def optics(self) -> dict[str, float | None]:
        """Return the keywords of `make_psf`, without shape and voxel size."""
        return {
            "numerical_aperture": self.numerical_aperture,
            "refractive_index": self.refractive_index,
            "emission_um": self.emission_um,
            "excitation_um": self.excitation_um,
            "pinhole_airy": self.pinhole_airy,
            "sheet_fwhm_um": self.sheet_fwhm_um,
        }

    def arguments(self, psf: Psf) -> dict[str, Any]:
        """Return the arguments of `make_psf` for a PSF that was made from these optics, as JSON data."""
        return {
            "kind": self.kind,
            "shape": list(psf.values.shape),
            **{name: value for name, value in self.optics().items() if value is not None},
            "voxel_size": list(psf.steps or ()),
        }

    def record(self) -> dict[str, Any]:
        """Return the optics in the form of files and recipes."""
        from napari_lucyd.simulation.psf import optics_record

        return optics_record(self.kind, **self.optics())  # type: ignore[arg-type]


PsfSource = LayerPsf | FilePsf | OpticsPsf


def automatic_shape(sizes: Sequence[int] | None, ndim: int) -> tuple[int, ...]:
    """Choose the shape of a PSF for an image: odd, and not larger than the image.

    Examples
    --------
    >>> automatic_shape((12, 200, 201), 3), automatic_shape(None, 2)
    ((11, 63, 63), (63, 63))
    """
    if sizes is None:
        return (SIZE,) * ndim
    return tuple(min(SIZE, size - 1 + size % 2) for size in sizes)


def check_steps(psf: Psf, source: SourceLayer, axes: str) -> None:
    """Refuse an image with another voxel size than the PSF, if both are known.

    Raises
    ------
    ValueError
        If the steps differ.
    """
    from napari_lucyd.deconvolution import check_psf_steps

    steps, unit = _stated(source, axes)
    if unit == psf.unit:
        remedy = "make it from the optics, or correct the layer's scale."
        check_psf_steps(f"“{psf.name}”", psf.steps, steps, unit, remedy)


def _stated(source: SourceLayer, axes: str) -> tuple[tuple[float, ...] | None, str]:
    """Return the voxel size of a layer and its unit; None for napari's default of 1 pixel."""
    if len(axes) != len(source.shape):
        return None, source.unit
    steps = source.voxel_size_um(axes)
    if steps is not None:
        return steps, "µm"
    steps = source.voxel_size(axes)
    return (None if steps is not None and set(steps) == {1.0} else steps), source.unit


def _for_axes(numbers: Sequence[Any], ndim: int) -> tuple[Any, ...]:
    """Return one number for each axis, from one for all or from those of more axes."""
    return tuple(numbers) * ndim if len(numbers) == 1 else tuple(numbers[-ndim:])


def _make(optics: OpticsPsf, should_stop: Stop) -> np.ndarray:
    from napari_lucyd.deconvolution import Cancelled
    from napari_lucyd.simulation import make_psf

    def ask(*_: int) -> None:
        if should_stop is not None and should_stop():
            raise Cancelled("Stopped during the computation of the PSF.")

    known = _made.get(optics)
    if known is not None:
        return known
    ask()
    arguments = optics.optics()
    try:
        values = make_psf(
            optics.kind,  # type: ignore[arg-type]
            optics.shape or (),
            voxel_size=optics.voxel_size or (),
            progress=ask,
            **arguments,  # type: ignore[arg-type]
        )
    except ValueError as error:
        raise ValueError(in_labels(str(error), arguments, OpticsPsf)) from error
    values.flags.writeable = False
    _made[optics] = values
    while len(_made) > _REMEMBERED:
        _made.popitem(last=False)
    return values
