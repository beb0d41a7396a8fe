"""Microscope section: what is known about the blur, for the methods that use it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from napari_lucyd._napari.layers.source_layer import SourceLayer
from napari_lucyd._napari.psf.choice import PsfChoice
from napari_lucyd._napari.psf.form import BLUR, OPTICS, UNKNOWN, PsfForm
from napari_lucyd._napari.psf.origins import PsfSource, UnknownPsf
from napari_lucyd._napari.widgets.remembered import remember, remembered

if TYPE_CHECKING:
    from napari.viewer import Viewer

    from napari_lucyd.io import Optics

_GROUP = "microscope"
_MICROSCOPES = ("widefield", "confocal", "light_sheet")
# A layer or a file of the last image says nothing about the next one.
_REMEMBERED_KINDS = (OPTICS, BLUR, UNKNOWN)


class MicroscopeSection(PsfChoice):
    """The blur of the image: optics, a PSF, beads, the width of a Gaussian, or unknown.

    It begins with what was entered last, also in an earlier session of napari. Numbers that the file of an
    image states take their place.

    Parameters
    ----------
    viewer
        Its layers are offered.
    image
        Returns the image that the blur is of and its axes, or None.
    """

    def __init__(self, viewer: Viewer, image: Callable[[], tuple[SourceLayer, str] | None]) -> None:
        super().__init__(viewer, PsfForm(microscopes=_MICROSCOPES), image)
        texts = remembered(_GROUP)
        if texts.get("kind") not in _REMEMBERED_KINDS:
            texts.pop("kind", None)
        self.form.fill(texts)

    def choice(self, *, needed: bool) -> PsfSource:
        """Return the present choice, to be read in a worker thread.

        Parameters
        ----------
        needed
            True for a method that needs a PSF. For others, empty optics mean that nothing is known.

        Raises
        ------
        ValueError
            If something is missing or cannot be read; the message says what.
        """
        return UnknownPsf() if self.blank and not needed else self.source()

    def told(self) -> dict[str, Any]:
        """Return what the user told, as keywords for a method; reads or measures the PSF at once.

        A run calls the method of that name of `choice` in its thread instead.

        Returns
        -------
        dict
            One or none of ``microscope``, ``psf`` (with ``psf_voxel_size``) and ``blur_sigma``; see
            `PsfSource.told`.

        Raises
        ------
        ValueError, OSError
            If something is missing or cannot be read; the message says what.
        """
        layer, axes = self._image() or (None, "ZYX")
        return self.choice(needed=False).told(layer, axes)

    def fill(self, optics: Optics | None, channel: int | None = None) -> None:
        """Enter the optics that the file of an image states; what it does not state stays as it is.

        Parameters
        ----------
        optics
            Optics that the file states, or None.
        channel
            Index of the only channel that the image shows; None if it has all of them.
        """
        if optics is None:
            return
        found = {
            "numerical_aperture": optics.numerical_aperture,
            "refractive_index": optics.refractive_index,
        }
        texts = {name: f"{value:g}" for name, value in found.items() if value is not None}
        for name in ("emission_um", "excitation_um"):
            waves = getattr(optics, name)
            if channel is not None:
                waves = waves[channel : channel + 1]
            if waves and None not in waves:
                same = len(set(waves)) == 1
                texts[name] = ", ".join(f"{wave:g}" for wave in (waves[:1] if same else waves))
        self.form.fill(texts)

    def remember(self) -> None:
        """Keep what is entered for the next image and the next session."""
        remember(_GROUP, self.form.texts())
