"""Menu File ▸ Open Sample ▸ napari-lucyd: simulated stacks with known ground truth, and a real one.

The functions run on the window's thread, so the volumes are small: they are made in a fraction of a second,
or in about one second through the optics of a surrogate. The download of the real one shows a dialog.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from napari_lucyd._napari.phantom.layers import COUNTS, LayerData, image_layer, pair
from napari_lucyd._napari.workers.download import download
from napari_lucyd.simulation import acquire, degrade, make_phantom, make_psf, make_structures, make_surrogate
from napari_lucyd.simulation.structures import BACKGROUND_LEVEL, StructureKind
from napari_lucyd.simulation.surrogates import VOXEL_UM as SURROGATE_VOXEL_UM
from napari_lucyd.simulation.surrogates import SpecimenKind

VOXEL_UM = 0.1
SHAPE = (64, 128, 128)
SEED = 2022
STRUCTURES_SHAPE = (48, 128, 128)
STRUCTURES_SEED = 1
# As the documentation of `skimage.data.cells3d` states it.
CELLS3D_VOXEL_UM = (0.29, 0.26, 0.26)
# The file that scikit-image downloads, and keeps under the same name.
CELLS3D_URL = (
    "https://gitlab.com/scikit-image/data/-/raw/2cdc5ce89b334d28f06a58c9f0ca21aa6992a5ba/cells3d.tif"
)
CELLS3D_SHA256 = "afc7c7d80d38bfde09788b4064ac1e64ec14e88454ab785ebdc8dbba5ca3b222"
# An image without channels adds no layer. napari would report an error for a sample without an image.
_NO_LAYERS: list[LayerData] = [(np.empty((0, 1, 1)), {"channel_axis": 0}, "image")]
# A camera with 2 counts a photoelectron, and the read noise of an sCMOS.
PHOTONS_PER_UNIT = 0.5
READ_NOISE = 1.5
_OIL: dict[str, Any] = {"numerical_aperture": 1.4, "refractive_index": 1.515, "emission_um": 0.525}
_WATER: dict[str, Any] = {"numerical_aperture": 1.0, "refractive_index": 1.33, "emission_um": 0.525}


def phantom() -> list[LayerData]:
    """Make a phantom with its truth, blurred (σ 1.2 voxels) and noisy (6 % of the range) as in training."""
    return _pair("phantom", blur_sigma=1.2, noise_sigma=15 / 255)


def unseen() -> list[LayerData]:
    """Make a phantom with its truth, with more blur (σ 2.0) and noise (20 %) than in the paper's training."""
    return _pair("phantom unseen", blur_sigma=2.0, noise_sigma=50 / 255)


def sharp() -> list[LayerData]:
    """Make a sharp phantom alone."""
    made = make_phantom(SHAPE, rng=SEED)
    return [image_layer("phantom sharp", made.image, made.parameters, (VOXEL_UM,) * 3)]


def anisotropic() -> list[LayerData]:
    """Make a phantom with its truth, with voxels of 0.3 × 0.1 × 0.1 µm and an objective's axial blur."""
    made = make_phantom((96, 128, 128), rng=SEED)
    sample = degrade(made, blur_sigma=(2.5, 1.2, 1.2), noise_sigma=10 / 255, photometric=True, rng=SEED)
    steps = (3 * VOXEL_UM, VOXEL_UM, VOXEL_UM)
    return pair("phantom anisotropic", sample.with_z_step(3).in_counts(COUNTS), steps)


def plane() -> list[LayerData]:
    """Make a two-dimensional phantom with its truth."""
    return _pair("phantom 2D", shape=(256, 256), blur_sigma=1.2, noise_sigma=15 / 255)


def nuclei() -> list[LayerData]:
    """Make a surrogate of the paper's nuclei with its truth: widefield haze and photon noise."""
    return _surrogate("nuclei")


def membranes() -> list[LayerData]:
    """Make a surrogate of the paper's membranes (actin) with its truth: widefield haze, few photons."""
    return _surrogate("membranes")


def light_sheet() -> list[LayerData]:
    """Make a surrogate of nuclei in a light sheet with its truth: haze only from within the sheet."""
    return _surrogate("light_sheet")


def filaments() -> list[LayerData]:
    """Make filaments under a widefield microscope with their truth: haze comes in from beyond the volume."""
    optics = {"kind": "widefield", "shape": [31, 63, 63], **_OIL, "voxel_size": [0.2, VOXEL_UM, VOXEL_UM]}
    return _structures("filaments", STRUCTURES_SHAPE, optics, density=0.85)


def puncta() -> list[LayerData]:
    """Make puncta under a confocal microscope with their truth: brightness spans three decades."""
    optics = {"kind": "confocal", "shape": [15, 41, 41], **_OIL, "voxel_size": [0.3, VOXEL_UM, VOXEL_UM]}
    return _structures("puncta", STRUCTURES_SHAPE, {**optics, "excitation_um": 0.488}, density=0.75)


def cells() -> list[LayerData]:
    """Make textured cells in a light sheet with their truth."""
    optics = {"kind": "light_sheet", "shape": [17, 41, 41], **_WATER, "voxel_size": [0.4, 0.16, 0.16]}
    return _structures(
        "bodies", STRUCTURES_SHAPE, {**optics, "sheet_fwhm_um": 2.5}, density=0.8, name="cells"
    )


def tubules() -> list[LayerData]:
    """Make a plane of tubules under a widefield microscope with its truth, with haze from other planes."""
    optics = {"kind": "widefield", "shape": [31, 63, 63], **_OIL, "voxel_size": [0.2, VOXEL_UM, VOXEL_UM]}
    return _structures("tubules", (256, 256), optics, density=0.9, name="tubules 2D")


def cells3d() -> list[LayerData]:
    """Open a real stack: membranes and nuclei of cells under a fluorescence microscope.

    It comes from the Allen Institute for Cell Science by way of scikit-image. The developers of scikit-image
    state its licence as CC0. It is downloaded (less than 20 MB) the first time, into the folder in which
    scikit-image keeps it. If the user cancels that, there are no layers.

    Raises
    ------
    ConnectionError
        If it cannot be downloaded; the message says what to do.
    """
    from napari.utils.notifications import show_info
    from skimage import data

    kept = Path(data.data_dir) / "cells3d.tif"
    try:
        if not kept.exists():
            download(CELLS3D_URL, CELLS3D_SHA256, kept, "Downloading the sample (20 MB)…")
        image = data.cells3d()
    except InterruptedError:
        show_info("The download of the sample was cancelled.")
        return _NO_LAYERS
    except Exception as error:  # pooch and requests raise many kinds
        raise ConnectionError(
            # A notification shows the first words alone until it is opened.
            "The download of the sample failed. Check the internet connection and try again, or open another "
            f"sample. This one is downloaded the first time that it is opened. ({error})"
        ) from error
    shared = {"scale": CELLS3D_VOXEL_UM, "units": ("µm",) * 3, "axis_labels": tuple("zyx")}
    return [
        (
            image[:, channel],
            {"name": f"{name} · cells3d", "colormap": colour, "blending": blending, **shared},
            "image",
        )
        for channel, (name, colour, blending) in enumerate(
            [("membranes", "magenta", "translucent_no_depth"), ("nuclei", "green", "additive")]
        )
    ]


def _structures(
    kind: StructureKind,
    field_shape: tuple[int, ...],
    optics: dict[str, Any],
    *,
    density: float,
    name: str | None = None,
) -> list[LayerData]:
    """Image a specimen that reaches half a PSF beyond the camera's field."""
    psf = make_psf(**optics)
    sizes = tuple(n + k - 1 for n, k in zip((1, *field_shape)[-3:], psf.shape, strict=True))
    z_step, pixel, _ = optics["voxel_size"]
    sample = acquire(
        make_structures(kind, sizes, rng=STRUCTURES_SEED, density=density, anisotropy=z_step / pixel),
        psf,
        background=BACKGROUND_LEVEL,
        photons_per_unit=PHOTONS_PER_UNIT,
        read_noise=READ_NOISE,
        field_shape=field_shape,
        psf_parameters=optics,
        rng=STRUCTURES_SEED,
    )
    return pair(name or kind, sample, tuple(optics["voxel_size"][-len(field_shape) :]))


def _surrogate(specimen: SpecimenKind) -> list[LayerData]:
    sample = make_surrogate(make_phantom(SHAPE, rng=SEED), specimen, rng=SEED)
    return pair(f"{specimen.replace('_', ' ')} surrogate", sample, (SURROGATE_VOXEL_UM,) * 3)


def _pair(
    name: str, *, shape: tuple[int, ...] = SHAPE, blur_sigma: float, noise_sigma: float
) -> list[LayerData]:
    made = make_phantom(shape, rng=SEED)
    sample = degrade(made, blur_sigma=blur_sigma, noise_sigma=noise_sigma, rng=SEED)
    return pair(name, sample.in_counts(COUNTS), (VOXEL_UM,) * len(shape))
