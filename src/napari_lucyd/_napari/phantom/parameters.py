"""What the Phantom panel lets a person choose."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

from napari_lucyd._napari.widgets.fields import choice, label
from napari_lucyd.simulation.phantoms import MARGIN, count_objects
from napari_lucyd.simulation.surrogates import READ_NOISE, SHEET_FWHM_UM, VOXEL_UM, SpecimenKind

BLUR, OPTICS = "blur", "optics"
SURROGATES: tuple[str, ...] = get_args(SpecimenKind)
DEGRADATIONS = {
    BLUR: "Gaussian blur and noise",
    OPTICS: "Optics and camera",
    "nuclei": "Nuclei surrogate",
    "membranes": "Membranes surrogate",
    "light_sheet": "Light-sheet surrogate",
}
PHANTOM = "phantom"
SPECIMENS = {
    PHANTOM: "Phantom",
    "mixture": "Mixture of structures",
    "puncta": "Puncta",
    "filaments": "Filaments",
    "sheets": "Membranes",
    "bodies": "Cells",
    "tubules": "Tubules",
}
# The authors' noise is said in steps of an 8-bit image.
NOISE_STEPS = 255
SMALLEST = 2 * MARGIN + 2
"""Objects keep away from the border, so that there is a size below which they have no place."""


@dataclass(frozen=True)
class PhantomParameters:
    """The panel's choices: defaults, labels and tool-tips."""

    shape: tuple[int, ...] = choice(
        (64, 128, 128),
        "Shape",
        f"Voxels along Z, Y and X, at least {SMALLEST}. A Z of 1 makes a plane, the middle one of a volume.",
    )
    voxel_size: tuple[float, ...] = choice(
        (VOXEL_UM,) * 3,
        "Voxel size",
        "Z step and pixel size in µm: the layers' scale, and what optics are sampled on.",
    )
    specimen: str = choice(
        PHANTOM,
        "Specimen",
        "What is drawn: spheres, shells and boxes as in the LUCYD paper, or structures like those of cells, "
        "from sparse to crowded as the seed has it.",
    )
    spheres: int = choice(
        150,
        "Spheres",
        "Solid spheres of radius 4 to 7 voxels: as many in 128 × 128 × 128 voxels, in other sizes in "
        "proportion. The line above Make has their number.",
    )
    ellipsoids: int = choice(
        150, "Ellipsoids", "Hollow ellipsoids with radii of 4 to 7 voxels; in number as the spheres."
    )
    boxes: int = choice(
        400, "Boxes", "Dots, bars and blocks 2 to 10 voxels long; in number as the spheres, by eights."
    )
    rng: int = choice(0, "Seed", "Of the objects and of the noise: the same seed makes the same sample.")
    degradation: str = choice(
        BLUR,
        "Kind",
        "What a microscope does to the phantom: a Gaussian blur with noise, as in the LUCYD paper; a PSF "
        "and a camera of your choice; or a surrogate of the paper's images, with its own optics and noise.",
    )
    blur_sigma: tuple[float, ...] = choice(
        (1.2,), "Blur σ", "Standard deviation in voxels: one number, or one for each axis, Z, Y, X."
    )
    noise_sigma: float = choice(
        15 / NOISE_STEPS,
        "Noise σ",
        f"Normal noise, in {NOISE_STEPS}ths of the range of intensities: 15 is usual, 100 is much.",
    )
    photons: float | None = choice(
        None, "Photons", "At the brightest voxel: adds photon (Poisson) noise. Empty: none."
    )
    photometric: bool = choice(
        True,
        "Scale",
        "One for both: the blur keeps the intensity, and image and truth can be compared in their units. "
        "As the paper: each is stretched to its own range, and the blur is cut off at 7 voxels.",
    )
    photons_per_unit: float | None = choice(
        5.0,
        "Photons",
        "Expected photons for an intensity of 1, where objects have 50 to 850: adds photon (Poisson) noise. "
        "Empty: none.",
    )
    read_noise: float = choice(
        READ_NOISE,
        "Read noise",
        "Standard deviation of the camera's normal noise in photons; without photons in units of intensity.",
    )
    sheet_fwhm_um: float = choice(
        SHEET_FWHM_UM, "Sheet", "Thickness of the light sheet in µm, full width at half maximum."
    )
    outputs: tuple[str, ...] = choice(
        ("truth",),
        "Layers",
        "Beside the degraded image: the sharp truth, and the PSF, which Richardson-Lucy and Wiener can use.",
    )

    @property
    def sizes(self) -> tuple[int, ...]:
        """Of the image: (Z, Y, X), or (Y, X) for a plane."""
        return self.shape[1:] if self.shape[0] == 1 else self.shape

    @property
    def steps(self) -> tuple[float, ...]:
        """The voxel size along the image's axes, in µm."""
        return self.voxel_size[-len(self.sizes) :]

    @property
    def axes(self) -> str:
        """Of the image."""
        return "ZYX"[-len(self.sizes) :]

    @property
    def objects(self) -> dict[str, int]:
        """Numbers of objects, as `make_phantom` takes them."""
        return {"spheres": self.spheres, "ellipsoids": self.ellipsoids, "boxes": self.boxes}

    @property
    def layer_name(self) -> str:
        """Of the degraded image."""
        if self.degradation in SURROGATES:
            return f"{self.degradation.replace('_', ' ')} surrogate"
        return self.specimen if len(self.sizes) == 3 else f"{self.specimen} 2D"

    def check(self) -> None:
        """Refuse what cannot be made, in the panel's words.

        Raises
        ------
        ValueError
            If a number is out of its range, or a surrogate is to be a plane.
        """
        for name, size in zip(self.axes, self.sizes, strict=True):
            if size < SMALLEST:
                plane = ", or 1 for a plane" if name == "Z" else ""
                raise ValueError(f"Shape: {name} is {size}; it has to be {SMALLEST} or more{plane}.")
        if self.degradation in SURROGATES and len(self.sizes) == 2:
            raise ValueError(
                f"A surrogate is a volume, as its haze comes from other planes: make Z {SMALLEST} or more, "
                "or choose another degradation."
            )
        self._above_zero("voxel_size", self.steps)
        if self.degradation == BLUR:
            if self.specimen == PHANTOM and not any(count_objects(self.sizes, **self.objects).values()):
                raise ValueError(
                    "There are no objects, whose range the noise is a part of: write how many spheres, "
                    f"ellipsoids or boxes. “{DEGRADATIONS[OPTICS]}” makes an empty field."
                )
            if len(self.blur_sigma) not in (1, len(self.sizes)):
                raise ValueError(
                    f"Blur σ: {len(self.blur_sigma)} numbers; write one for all axes, or one for each of "
                    f"{', '.join(self.axes)}. Decimals have a point."
                )
            self._not_negative("blur_sigma", self.blur_sigma)
            self._not_negative("noise_sigma", [self.noise_sigma])
            self._above_zero("photons", [self.photons])
        elif self.degradation == OPTICS:
            self._above_zero("photons_per_unit", [self.photons_per_unit])
            self._not_negative("read_noise", [self.read_noise])
        elif self.degradation == "light_sheet":
            self._above_zero("sheet_fwhm_um", [self.sheet_fwhm_um])

    def _above_zero(self, name: str, values: Sequence[float | None]) -> None:
        for value in values:
            if value is not None and not 0 < value < math.inf:
                raise ValueError(f"{label(type(self), name)}: {value:g}; it has to be above 0.")

    def _not_negative(self, name: str, values: Sequence[float]) -> None:
        for value in values:
            if not 0 <= value < math.inf:
                raise ValueError(f"{label(type(self), name)}: {value:g}; it has to be 0 or more.")
