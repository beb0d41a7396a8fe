"""A PSF computed from the optics, for one channel or for each."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lucyd._napari.layers.source_layer import SourceLayer
from napari_lucyd._napari.psf.origins import Psf, Stop, for_axes
from napari_lucyd._napari.widgets.fields import choice, in_labels, label
from napari_lucyd.text import count_text

if TYPE_CHECKING:
    from napari_lucyd.simulation import Microscope

# By their names in `make_psf`.
MICROSCOPES = {
    "widefield": "Widefield",
    "confocal": "Confocal",
    "light_sheet": "Light sheet",
    "gaussian": "Gaussian (no haze)",
}
SIZE = "psf_size"
"""Entry of a recipe with the size of the PSF that the user chose."""
# Largest size of a Gaussian along an axis, in voxels.
_GAUSSIAN_SIZE = 63
# Estimate, run and layer need the same PSF. Only a few are kept, as one may take tens of megabytes.
_REMEMBERED = 4
_made: OrderedDict[Any, np.ndarray] = OrderedDict()


@dataclass(frozen=True)
class OpticsPsf:
    """A PSF computed from the optics; each number has default, label and tooltip."""

    kind: str = choice(
        "widefield",
        "Type",
        "The kind of microscope that took the image.",
    )
    numerical_aperture: float = choice(0.0, "NA", "Numerical aperture, as printed on the objective.")
    refractive_index: float = choice(
        1.33,
        "Refractive index",
        "Refractive index of the immersion medium and the specimen: 1.0 air, 1.33 water, 1.515 oil.",
    )
    emission_um: float | tuple[float, ...] = choice(
        0.0,
        "Emission",
        "Wavelength of the detected light in µm, for example 0.525 for GFP. If the image has several "
        "channels, enter one number for each, for example 0.46, 0.525.",
    )
    excitation_um: float | tuple[float, ...] | None = choice(
        None,
        "Excitation",
        "Confocal: wavelength of the laser in µm; with several channels one for all, or one for each.",
    )
    pinhole_airy: float | None = choice(
        None, "Pinhole", "Confocal: diameter of the pinhole in Airy units. Empty: 1."
    )
    sheet_fwhm_um: float | None = choice(
        None, "Sheet", "Light sheet: thickness in µm, full width at half maximum."
    )
    sample_index: float | None = choice(
        None,
        "Sample index",
        "Refractive index of the specimen, if it differs from that of the immersion: light from a depth in "
        "it is blurred more. Empty: no difference.",
    )
    depth_um: float | None = choice(
        None, "Depth", "Depth of the focus below the cover glass in µm; needed with Sample index."
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
        "Size of the PSF, Z, Y, X in voxels; odd numbers. It may be larger than the image. Empty: large "
        "enough for nearly all of the light.",
    )

    @property
    def title(self) -> str:
        """Name for messages and layers."""
        return f"{MICROSCOPES[self.kind]} NA {self.numerical_aperture:g}"

    def load(self, source: SourceLayer | None, axes: str, should_stop: Stop = None) -> Psf:
        """See `PsfSource.load`; a PSF that was computed before is not computed again."""
        letters = [name for name in "ZYX" if name in axes]
        steps = self.steps_for(source, axes)
        shape = for_axes(self.shape, len(letters)) if self.shape else self.automatic_shape(steps)
        values = _make(replace(self, voxel_size=steps, shape=shape), should_stop)
        origin = {"optics": self.record(), "voxel_size": list(steps)}
        if self.shape:
            origin[SIZE] = list(self.shape)
        several = isinstance(self.emission_um, tuple)
        return Psf(values, self.title, steps, "µm", origin, several, whole=self.shape is None)

    def told(self, source: SourceLayer | None, axes: str, should_stop: Stop = None) -> dict[str, Any]:
        """See `PsfSource.told`."""
        if self.kind == "gaussian":
            return self.load(source, axes, should_stop).told(source, axes)
        microscopes = self.microscopes()
        return {"microscope": microscopes if isinstance(self.emission_um, tuple) else microscopes[0]}

    def microscopes(self) -> list[Microscope]:
        """Return the microscope of each channel; one if all channels share it.

        Raises
        ------
        ValueError
            If a number is missing or impossible.
        """
        from napari_lucyd.simulation import Microscope

        given: dict[str, Any] = {name: value for name, value in self.optics().items() if value is not None}
        emissions = self.emission_um if isinstance(self.emission_um, tuple) else (self.emission_um,)
        excitation = given.pop("excitation_um", None)
        excitations = excitation if isinstance(excitation, tuple) else (excitation,) * len(emissions)
        if len(excitations) != len(emissions):
            raise ValueError(
                f"Emission has {count_text(len(emissions), 'number')} and Excitation {len(excitations)}; "
                "enter as many for both, or one excitation for all."
            )
        try:
            return [
                Microscope(
                    self.kind,  # type: ignore[arg-type]
                    **{**given, "emission_um": emission},
                    excitation_um=laser,
                    psf_size=self.shape and for_axes(self.shape, 3),
                )
                for emission, laser in zip(emissions, excitations, strict=True)
            ]
        except ValueError as error:
            text = in_labels(str(error), self.optics(), OpticsPsf)
            raise ValueError(text.replace(SIZE, label(OpticsPsf, "shape"))) from error

    def steps_for(self, source: SourceLayer | None, axes: str) -> tuple[float, ...]:
        """Return the voxel size in µm, (Z, Y, X) or (Y, X).

        Raises
        ------
        ValueError
            If it is neither entered nor known for the image.
        """
        steps = self.voxel_size
        if steps is None and source is not None:
            steps = source.voxel_size_um(axes)
        if steps is None:
            which, where = "There is no image to take it from", "Voxel size"
            if source is not None:
                which, where = f"“{source.name}” has none", "Image"
            raise ValueError(f"The voxel size is unknown: {which}. Enter it under {where}, in µm.")
        ndim = sum(name in axes for name in "ZYX")
        if len(steps) != 1 and len(steps) < ndim:
            raise ValueError(
                f"Voxel size has {len(steps)} numbers, but the image needs {ndim} of them: Z, Y, X in µm, or "
                "one for all axes."
            )
        return for_axes(steps, ndim)

    def automatic_shape(self, steps: tuple[float, ...]) -> tuple[int, ...]:
        """Return a shape that holds nearly all of the light, on voxels of this size in µm."""
        kind = "widefield" if self.kind == "gaussian" else self.kind
        shapes = [microscope.psf_shape(steps) for microscope in replace(self, kind=kind).microscopes()]
        if self.kind == "gaussian":  # it has no haze
            shapes = [tuple(min(size, _GAUSSIAN_SIZE) for size in shape) for shape in shapes]
        return tuple(max(sizes) for sizes in zip(*shapes, strict=True))

    def optics(self) -> dict[str, float | tuple[float, ...] | None]:
        """Return the keywords of `make_psf`, without shape and voxel size."""
        return {
            "numerical_aperture": self.numerical_aperture,
            "refractive_index": self.refractive_index,
            "emission_um": self.emission_um,
            "excitation_um": self.excitation_um,
            "pinhole_airy": self.pinhole_airy,
            "sheet_fwhm_um": self.sheet_fwhm_um,
            "sample_index": self.sample_index,
            "depth_um": self.depth_um,
        }

    def arguments(self, psf: Psf) -> dict[str, Any]:
        """Return the arguments of `make_psf` for a PSF that was made from these optics, as JSON data."""
        return {
            "kind": self.kind,
            "shape": list(psf.values.shape),
            **{name: _plain(value) for name, value in self.optics().items() if value is not None},
            "voxel_size": list(psf.steps or ()),
        }

    def record(self) -> dict[str, Any]:
        """Return the optics in the form of files and recipes."""
        from napari_lucyd.simulation.psf import optics_record

        plain = {name: _plain(value) for name, value in self.optics().items()}
        return optics_record(self.kind, **plain)  # type: ignore[arg-type]


def _plain(value: Any) -> Any:
    """Return a tuple as a list, as JSON has it."""
    return list(value) if isinstance(value, tuple) else value


def _make(optics: OpticsPsf, should_stop: Stop) -> np.ndarray:
    from napari_lucyd.errors import Cancelled
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
        raise ValueError(in_labels(str(error), [*arguments, "shape", "voxel_size"], OpticsPsf)) from error
    values.flags.writeable = False
    _made[optics] = values
    while len(_made) > _REMEMBERED:
        _made.popitem(last=False)
    return values
