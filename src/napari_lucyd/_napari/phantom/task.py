"""A sample to make, and the memory that it needs."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from napari_lucyd._napari.layers.source_layer import SourceLayer
from napari_lucyd._napari.phantom.parameters import BLUR, OPTICS, PHANTOM, SPECIMENS, PhantomParameters
from napari_lucyd._napari.psf.optics import OpticsPsf
from napari_lucyd._napari.psf.origins import FilePsf, LayerPsf, PsfSource, for_axes
from napari_lucyd.compute.host_memory import free_host_memory
from napari_lucyd.simulation.acquisition import padded_shape
from napari_lucyd.simulation.degradation import REACH
from napari_lucyd.simulation.phantoms import count_objects, volume_shape
from napari_lucyd.simulation.structures import THICKNESS_PIXELS
from napari_lucyd.simulation.surrogates import psf_shape
from napari_lucyd.text import bytes_text, count_text, shape_text

# Bytes per voxel that numpy holds at most, as measured by tests. While objects are drawn: the volume and a
# smoothed copy. Blur: the scaled truth, the image and float64 noise, beside the phantom.
_DRAWING = 8
# Structures: at most the points and their voxels, and the windows of spots that are drawn together.
_DRAWING_STRUCTURES = 50
_SPOTS = 2**26
_BLURRING = 24
_BLURRING_PHOTONS = 32
# Optics: two images, their spectra and the product, a voxel of the padded FFT; or, where nothing is padded,
# counts and noise in 64 bits. A PSF is computed in float64, plane by plane and then mirrored.
_IMAGING = 15
_CAMERA = 24
_COMPUTING_PSF = 20
# Size of a PSF in a file, which is not read for an estimate, along each axis.
_USUAL_SIZE = 63
_FLOAT32 = 4


@dataclass(frozen=True)
class PhantomTask:
    """One sample to make.

    Parameters
    ----------
    parameters
        The panel's choices.
    psf
        Source of the PSF, if the degradation uses optics.
    """

    parameters: PhantomParameters
    psf: PsfSource | None = None

    @property
    def image(self) -> SourceLayer:
        """Stand-in for the image that the PSF is for; its voxels take no memory."""
        return expected_image(self.parameters)

    @property
    def psf_shape(self) -> tuple[int, ...]:
        """Shape of the PSF; a usual one for a file, which is not read for this."""
        made = self.parameters
        if made.degradation == BLUR:
            sigmas = made.blur_sigma * (len(made.sizes) if len(made.blur_sigma) == 1 else 1)
            return tuple(2 * round(REACH * sigma) + 1 for sigma in sigmas)
        if made.degradation != OPTICS:
            return psf_shape(made.steps)
        if isinstance(self.psf, LayerPsf):
            return self.psf.layer.shape
        if not isinstance(self.psf, OpticsPsf):
            return (_USUAL_SIZE,) * len(made.sizes)
        if self.psf.shape is None:
            return self.psf.automatic_shape(made.steps[-len(made.sizes) :])
        return for_axes(self.psf.shape, len(made.sizes))

    @property
    def memory_bytes(self) -> int:
        """Approximate peak of the memory, layers included."""
        made = self.parameters
        voxels, psf_voxels = math.prod(made.sizes), math.prod(self.psf_shape)
        drawing = _DRAWING * math.prod(volume_shape(made.sizes))
        if made.specimen != PHANTOM:
            drawing = _DRAWING_STRUCTURES * math.prod(drawn_shape(made)) + _SPOTS
        if made.degradation == BLUR:
            imaging = (_BLURRING if made.photons is None else _BLURRING_PHOTONS) * voxels
            # The PSF: a point, blurred along an axis, and scaled in float64.
            psf = 4 * _FLOAT32 * psf_voxels if "psf" in made.outputs else 0
            return max(drawing, imaging, psf + 5 * _FLOAT32 * voxels)
        computing = _COMPUTING_PSF * psf_voxels + _FLOAT32 * voxels
        # A PSF with other axes is refused later.
        fits = len(self.psf_shape) == len(made.sizes)
        padded = math.prod(padded_shape(made.sizes, self.psf_shape)) if fits else voxels
        imaging = max(_IMAGING * padded, _CAMERA * voxels) + _FLOAT32 * (voxels + psf_voxels)
        return max(drawing, computing, imaging)

    def describe(self) -> str:
        """Describe the sample and its memory in a line or two."""
        made = self.parameters
        if made.specimen == PHANTOM:
            counts = count_objects(made.sizes, **made.objects)
            objects = ", ".join(
                (
                    count_text(counts["spheres"], "sphere"),
                    count_text(counts["ellipsoids"], "ellipsoid"),
                    count_text(counts["boxes"], "box", "boxes"),
                )
            )
            if len(made.sizes) == 2:
                objects = f"from a volume of {objects}"
        else:
            objects = SPECIMENS[made.specimen].lower()
        layers = 1 + ("truth" in made.outputs)
        size = bytes_text(_FLOAT32 * math.prod(made.sizes))
        psf = ""
        if "psf" in made.outputs:
            psf = " and a PSF"
            # A file is not read for an estimate.
            if not isinstance(self.psf, FilePsf):
                psf += f" of {bytes_text(_FLOAT32 * math.prod(self.psf_shape))}"
        return (
            f"{shape_text(made.sizes)} voxels, {objects}; {count_text(layers, 'layer')} of "
            f"{size}{psf}; {bytes_text(self.memory_bytes)} of memory while it is made."
        )

    def check(self) -> None:
        """Refuse a sample that cannot be made.

        Raises
        ------
        ValueError
            If a number is out of its range, or more memory is needed than is free.
        """
        self.parameters.check()
        needed, free = self.memory_bytes, free_host_memory()
        if needed > free:
            raise ValueError(
                f"{shape_text(self.parameters.sizes)} voxels need about {bytes_text(needed)} of memory, and "
                f"only {bytes_text(free)} are free. Choose a smaller shape or PSF."
            )


def drawn_shape(parameters: PhantomParameters) -> tuple[int, ...]:
    """Return the shape that structures are drawn in; for a plane, some planes around it."""
    sizes = parameters.sizes
    return sizes if len(sizes) == 3 else (THICKNESS_PIXELS, *sizes)


def expected_image(parameters: PhantomParameters) -> SourceLayer:
    """Make a stand-in for the degraded image with its shape and voxel size."""
    return SourceLayer(
        name=parameters.layer_name,
        # One zero, repeated without memory.
        data=np.broadcast_to(np.float32(0), parameters.sizes),
        spatial={},
        display={},
        axes=parameters.axes,
        steps=parameters.steps,
        unit="µm",
        unit_um=1.0,
    )
