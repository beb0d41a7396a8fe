"""A PSF measured on a layer with beads."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lucyd._napari.layers.source_layer import SourceLayer
from napari_lucyd._napari.psf.origins import Psf, PsfProblem, Stop
from napari_lucyd._napari.widgets.fields import choice, in_labels

if TYPE_CHECKING:
    from napari_lucyd.psf.beads import BeadPsf

# Estimate, run and layer need the same PSF.
_REMEMBERED = 4
_measured: OrderedDict[Any, BeadPsf] = OrderedDict()


@dataclass(frozen=True)
class BeadsPsf:
    """A PSF from an image of beads; the numbers have default, label and tooltip."""

    layer: SourceLayer
    bead_diameter_um: float = choice(
        0.0,
        "Bead diameter",
        "Diameter of the beads in µm, as the maker states it. The image of a ball of this size is taken out "
        "of the PSF. Empty: it is left in.",
    )

    def load(self, source: SourceLayer | None, axes: str, should_stop: Stop = None) -> Psf:
        """See `PsfSource.load`; beads that were measured before are not measured again."""
        layer = self.layer.informed()
        letters = "ZYX"[-len(layer.shape) :]
        steps = layer.voxel_size_um(letters) if len(layer.shape) in (2, 3) else None
        if len(layer.shape) not in (2, 3):
            raise PsfProblem(
                f"The bead layer “{layer.name}” has {len(layer.shape)} axes; choose one with Z, Y, X or Y, X."
            )
        if steps is None:
            raise PsfProblem(
                f"The bead layer “{layer.name}” has no voxel size. Choose it under Image, enter its voxel "
                "size, and press “Set on layer”."
            )
        try:
            found = _measure(np.asarray(layer.data), steps, self.bead_diameter_um)
        except ValueError as error:
            message = in_labels(str(error), ["bead_diameter_um"], BeadsPsf)
            raise PsfProblem(f"“{layer.name}”: {message}") from error
        origin = {
            "beads": layer.name,
            "used": found.used,
            "found": len(found.beads),
            "bead_diameter_um": self.bead_diameter_um,
            "fwhm_um": list(found.fwhm_um),
        }
        return Psf(found.psf, f"from {layer.name}", steps, "µm", origin, report=found.report)

    def told(self, source: SourceLayer | None, axes: str, should_stop: Stop = None) -> dict[str, Any]:
        """See `PsfSource.told`."""
        return self.load(source, axes, should_stop).told(source, axes)


def _measure(image: np.ndarray, steps: tuple[float, ...], diameter: float) -> BeadPsf:
    from napari_lucyd.psf.beads import psf_from_beads

    digest = hashlib.blake2b(np.ascontiguousarray(image).tobytes()).hexdigest()
    key = (digest, image.shape, str(image.dtype), steps, diameter)
    if key not in _measured:
        _measured[key] = psf_from_beads(image, steps, bead_diameter_um=diameter)
        while len(_measured) > _REMEMBERED:
            _measured.popitem(last=False)
    return _measured[key]
