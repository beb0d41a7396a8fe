"""Choices of the Phantom panel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

from napari_lucyd._napari.widgets.fields import choice, label
from napari_lucyd.simulation.phantoms import MARGIN, count_objects
from napari_lucyd.simulation.surrogates import READ_NOISE, SHEET_FWHM_UM, VOXEL_UM, SpecimenKind
from napari_lucyd.spans import spatial_axes

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
# More fill the range of a float32 image, and no camera counts as many.
_MOST_PHOTONS = 1e9
SPECIMENS = {
    PHANTOM: "Phantom",
    "mixture": "Mixture of structures",
    "puncta": "Puncta",
    "filaments": "Filaments",
    "sheets": "Membranes",
    "bodies": "Cells",
    "tubules": "Tubules",
}
SMALLEST = 2 * MARGIN + 2
"""The smallest size; objects keep a margin to the border."""


@dataclass(frozen=True)
class PhantomParameters:
    """The choices, each with default, label and tooltip."""

    shape: tuple[int, ...] = choice(
        (64, 128, 128),
        "Shape",
        f"Size along Z, Y and X in voxels, at least {SMALLEST}. Z = 1 makes one plane, the middle of a "
        "volume.",
    )
    voxel_size: tuple[float, ...] = choice(
        (VOXEL_UM,) * 3,
        "Voxel size",
        "Z step and pixel size in µm. They are the scale of the layers, and the optics are sampled on them.",
    )
    specimen: str = choice(
        PHANTOM,
        "Specimen",
        "Spheres, shells and boxes as in the LUCYD paper, or structures like those of cells. The seed "
        "decides how dense the structures are.",
    )
    spheres: int = choice(
        150,
        "Spheres",
        "Number of solid spheres in 128 × 128 × 128 voxels, with radii of 4 to 7 voxels. Other sizes get a "
        "proportional number, which is shown above Make.",
    )
    ellipsoids: int = choice(
        150,
        "Ellipsoids",
        "Number of hollow ellipsoids in 128 × 128 × 128 voxels, with radii of 4 to 7 voxels.",
    )
    boxes: int = choice(
        400,
        "Boxes",
        "Number of dots, bars and blocks in 128 × 128 × 128 voxels, 2 to 10 voxels long, in groups of eight.",
    )
    rng: int = choice(0, "Seed", "Random seed of objects and noise. The same seed makes the same sample.")
    degradation: str = choice(
        BLUR,
        "Kind",
        "The microscope: Gaussian blur and noise, as in the LUCYD paper; a PSF and a camera of your choice; "
        "or a surrogate of the paper's images, with its own optics and noise.",
    )
    blur_sigma: tuple[float, ...] = choice(
        (1.2,), "Blur σ", "Standard deviation of the blur in voxels: one number, or one for each of Z, Y, X."
    )
    noise_sigma: float = choice(
        0.06,
        "Noise σ",
        "Standard deviation of normal noise in % of the range of intensities: 6 % is usual, 40 % is much.",
    )
    photons: float | None = choice(
        None,
        "Photons",
        "Adds photon (Poisson) noise: the number of photons at the brightest voxel. Empty: none.",
    )
    photometric: bool = choice(
        True,
        "Scale",
        "Same: the blur keeps the total intensity, and image and truth have the same units. Separate: each "
        "is scaled to its own range, and the blur is cut off at 7 voxels, as in the paper.",
    )
    photons_per_unit: float | None = choice(
        5.0,
        "Photons",
        "Adds photon (Poisson) noise: the number of photons for an intensity of 1. Objects have intensities "
        "of 50 to 850. Empty: none.",
    )
    read_noise: float = choice(
        READ_NOISE,
        "Read noise",
        "Standard deviation of the camera's noise in photons; without photon noise, in units of intensity.",
    )
    sheet_fwhm_um: float = choice(
        SHEET_FWHM_UM, "Sheet", "Thickness of the light sheet in µm, full width at half maximum."
    )
    outputs: tuple[str, ...] = choice(
        ("truth",),
        "Layers",
        "Layers besides the image: the sharp ground truth, and the PSF for Richardson-Lucy and Wiener.",
    )

    @property
    def sizes(self) -> tuple[int, ...]:
        """Shape of the image: (Z, Y, X), or (Y, X) for a plane."""
        return self.shape[1:] if self.shape[0] == 1 else self.shape

    @property
    def steps(self) -> tuple[float, ...]:
        """Voxel size along the image's axes, in µm."""
        return self.voxel_size[-len(self.sizes) :]

    @property
    def axes(self) -> str:
        """Axes of the image."""
        return spatial_axes(len(self.sizes))

    @property
    def objects(self) -> dict[str, int]:
        """Numbers of objects, as arguments of `make_phantom`."""
        return {"spheres": self.spheres, "ellipsoids": self.ellipsoids, "boxes": self.boxes}

    @property
    def layer_name(self) -> str:
        """Name of the layer with the degraded image."""
        if self.degradation in SURROGATES:
            return f"{self.degradation.replace('_', ' ')} surrogate"
        return self.specimen if len(self.sizes) == 3 else f"{self.specimen} 2D"

    def check(self) -> None:
        """Refuse impossible choices, with the labels of the panel.

        Raises
        ------
        ValueError
            If a number is out of its range, or a surrogate is to be a plane.
        """
        for name, size in zip(self.axes, self.sizes, strict=True):
            if size < SMALLEST:
                plane = ", or 1 for a plane" if name == "Z" else ""
                raise ValueError(f"Shape: {name} is {size}. It must be {SMALLEST} or more{plane}.")
        if self.degradation in SURROGATES and len(self.sizes) == 2:
            raise ValueError(
                "A surrogate must be a volume, because its haze comes from other planes. Set Z to "
                f"{SMALLEST} or more, or choose another degradation."
            )
        self._above_zero("voxel_size", self.steps, 1000)
        if self.degradation == BLUR:
            if self.specimen == PHANTOM and not any(count_objects(self.sizes, **self.objects).values()):
                raise ValueError(
                    "There are no objects. Enter a number of spheres, ellipsoids or boxes, or choose "
                    f"“{DEGRADATIONS[OPTICS]}” for an empty field."
                )
            if len(self.blur_sigma) not in (1, len(self.sizes)):
                raise ValueError(
                    f"Blur σ: {len(self.blur_sigma)} numbers. Enter one for all axes, or one for each of "
                    f"{', '.join(self.axes)}, with decimal points."
                )
            self._not_negative("blur_sigma", self.blur_sigma, 100)
            self._not_negative("noise_sigma", [100 * self.noise_sigma], 1000, " %")
            self._above_zero("photons", [self.photons], _MOST_PHOTONS)
        elif self.degradation == OPTICS:
            self._above_zero("photons_per_unit", [self.photons_per_unit], _MOST_PHOTONS)
            self._not_negative("read_noise", [self.read_noise], _MOST_PHOTONS)
        elif self.degradation == "light_sheet":
            self._above_zero("sheet_fwhm_um", [self.sheet_fwhm_um], 10_000)

    def _above_zero(self, name: str, values: Sequence[float | None], most: float) -> None:
        given = [value for value in values if value is not None]
        for value in given:
            if not value > 0:
                raise ValueError(
                    f"{label(type(self), name)}: {value:g} is not above 0. Enter a larger number."
                )
        self._not_negative(name, given, most)

    def _not_negative(self, name: str, values: Sequence[float], most: float, unit: str = "") -> None:
        for value in values:
            if not value >= 0:
                raise ValueError(f"{label(type(self), name)}: {value:g}{unit} is negative. Enter 0 or more.")
            if value > most:
                raise ValueError(
                    f"{label(type(self), name)}: {value:g}{unit} is too large. Enter {most:g}{unit} at most."
                )
