"""Microscope section: what is known about the blur, for the methods that use it."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from napari_lucyd._napari.layers.source_layer import SourceLayer
from napari_lucyd._napari.psf.choice import PsfChoice
from napari_lucyd._napari.psf.form import BLUR, KINDS, OPTICS, UNKNOWN, PsfForm
from napari_lucyd._napari.psf.origins import PsfSource, UnknownPsf
from napari_lucyd._napari.widgets.remembered import remember, remembered
from napari_lucyd.deconvolution import SemiBlind

if TYPE_CHECKING:
    from napari.layers import Image
    from napari.viewer import Viewer

    from napari_lucyd.io import Optics

ORIGIN = "Entries from {}: check them for this image."
_NO_OPTICS = (
    f"Enter the NA. Or choose From ▸ {KINDS[BLUR]}, or the method {SemiBlind.title}, which finds the blur."
)
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
        self._shown: weakref.ref[Image] | None = None
        # The image that the entries were made for, its name and its file; None for an earlier session.
        self._entered_for: tuple[weakref.ref[Image], str, str | None] | None = None
        self._by_itself = False
        self.form.fill(texts)
        self.changed.connect(self._on_entered)
        # Other rows come and go with these.
        for control in (self.form.kind, self.form.microscope):
            control.changed.connect(self._say_origin)

    def show_image(self, layer: Image | None) -> None:
        """Note the image that is shown; a line says if the entries were made for another one."""
        self._shown = None if layer is None else weakref.ref(layer)
        self._say_origin()

    def take_layer(self, layer: Image) -> None:
        """See `PsfChoice.take_layer`."""
        with self._nothing_entered():
            super().take_layer(layer)

    def give_back(self) -> None:
        """See `PsfChoice.give_back`."""
        with self._nothing_entered():
            super().give_back()

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
        if not self.blank or self.form.kind.value == UNKNOWN:
            return self.source()
        self._numbers()  # names a line that cannot be read
        if needed:
            raise ValueError(_NO_OPTICS)
        return UnknownPsf()

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
        with self._nothing_entered():
            self.form.fill(texts)
        if {"numerical_aperture", "emission_um"} <= texts.keys():
            self._on_entered()

    def remember(self) -> None:
        """Keep what is entered for the next image and the next session."""
        remember(_GROUP, self.form.texts())

    @contextlib.contextmanager
    def _nothing_entered(self) -> Iterator[None]:
        """Change the entries for another reason than that they hold for the shown image."""
        self._by_itself = True
        try:
            yield
        finally:
            self._by_itself = False
        self._say_origin()

    def _on_entered(self) -> None:
        shown = None if self._shown is None else self._shown()
        if not self._by_itself and shown is not None:
            self._entered_for = weakref.ref(shown), shown.name, shown.source.path
        self._say_origin(keeps_room=True)

    def _say_origin(self, *_: Any, keeps_room: bool = False) -> None:
        image, name, path = self._entered_for or (None, "", None)
        shown = None if self._shown is None else self._shown()
        before = None if image is None else image()
        other = shown is not None and before is not shown
        if shown is not None and path is not None and shown.source.path == path:
            # The image was removed and opened again; layers of one file beside each other are channels.
            other = other and before in self.viewer.layers
        said = other and not self.blank and self.form.kind.value in (OPTICS, BLUR)
        text = ORIGIN.format(f"“{name}”" if name else "an earlier session") if said else ""
        self.form.show_origin(text, keeps_room=keeps_room)
