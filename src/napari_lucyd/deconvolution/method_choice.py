"""A method that was chosen for an image, with its options and the reason for the choice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from napari_lucyd.deconvolution.classical.methods import ClassicalMethod, Unchanged

AUTOMATIC: Final = "auto"
"""The name by which `deconvolve` chooses a method itself."""

# Options that a classical method refuses, since they have no effect on it.
_OF_NETWORKS = ("tile_shape", "halo", "normalization", "isotropic", "precision")
_TOLD = ("microscope", "psf", "psf_voxel_size", "blur_sigma")


@dataclass(frozen=True, eq=False)
class MethodChoice:
    """A method that was chosen for an image; `deconvolve` and `plan` take it in place of a model.

    Attributes
    ----------
    method
        The model or classical method.
    told
        Options that tell the method the blur; empty for methods that know no blur, or have their own.
    record
        Entry ``automatic`` of the recipe, plain JSON data: the candidates with their scores, and the reason.
    reason
        Sentence for the user that says what was chosen, and why.
    warning
        Sentence for the user on what to know about the result; empty for none.
    """

    method: Any
    told: Mapping[str, Any] = field(default_factory=dict)
    record: Mapping[str, Any] = field(default_factory=dict)
    reason: str = ""
    warning: str = ""

    @property
    def left_alone(self) -> bool:
        """True if the image is returned as it is."""
        return isinstance(self.method, Unchanged)

    def options(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the options of a run for this method: the given ones, without those that it does not use.

        Parameters
        ----------
        given
            Options as for `deconvolve`.
        """
        options = {name: value for name, value in given.items() if name not in _TOLD} | dict(self.told)
        wanted = options.get("outputs")
        classical = isinstance(self.method, ClassicalMethod)
        if classical:
            options = {name: value for name, value in options.items() if name not in _OF_NETWORKS}
        if wanted is not None:
            parts = ("output",) if classical else self.method.parts
            names = (wanted,) if isinstance(wanted, str) else tuple(wanted)
            options["outputs"] = tuple(name for name in names if name in parts) or ("output",)
        if self.left_alone:  # the image itself, without any step
            for name in ("prefilter", "subtract_background", "flips"):
                options.pop(name, None)
        return options
