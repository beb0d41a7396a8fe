"""Richardson-Lucy without a PSF, as a value, and the families of PSFs that it chooses from."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
import numpy.typing as npt

from napari_lucyd import checks
from napari_lucyd.deconvolution.classical.methods import (
    AUTO,
    MOST_ITERATIONS,
    ClassicalMethod,
    RichardsonLucy,
)
from napari_lucyd.psf.gaussian import gaussian_psf
from napari_lucyd.simulation.microscope import Microscope
from napari_lucyd.text import count_text

WIDEST_BLUR, NARROWEST_BLUR, USUAL_BLUR = 6.0, 0.6, 1.3
"""Standard deviations of the Gaussian that `SemiBlind` looks for, and of the one it takes without."""

WIDEST_FACTOR, NARROWEST_FACTOR = 2.0, 0.7
"""Limits of a microscope's PSF in widths of the computed one: aberrations widen it, little narrows it."""

# Size of a volume if it is unknown.
_USUAL_SHAPE = (64, 64, 64)


class Family(Protocol):
    """PSFs with one or two free parameters."""

    @property
    def name(self) -> str:
        """Name of the parameters in a recipe."""

    @property
    def ranges(self) -> tuple[tuple[float, float], ...]:
        """Smallest and largest value of each parameter."""

    @property
    def usual(self) -> tuple[float, ...]:
        """Parameters that are used where the search is impossible."""

    def psf(self, parameters: Sequence[float]) -> npt.NDArray[np.float32]:
        """Return a PSF of the family, (Z, Y, X), sum 1."""

    def describe(self, parameters: Sequence[float]) -> str:
        """Name one PSF of the family for messages."""


@dataclass(frozen=True)
class Gaussians:
    """Gaussians with a standard deviation across and, for volumes, another along Z; see `Family`.

    Attributes
    ----------
    flat
        True for single planes.
    """

    flat: bool = False
    name: ClassVar[str] = "sigma_found"

    @property
    def ranges(self) -> tuple[tuple[float, float], ...]:
        """See `Family`."""
        return ((NARROWEST_BLUR, WIDEST_BLUR),) * (1 if self.flat else 2)

    @property
    def usual(self) -> tuple[float, ...]:
        """See `Family`."""
        return (USUAL_BLUR,) * (1 if self.flat else 2)

    def psf(self, parameters: Sequence[float]) -> npt.NDArray[np.float32]:
        """See `Family`."""
        axial, lateral = (0.0, parameters[0]) if self.flat else parameters
        return gaussian_psf((axial, lateral, lateral))

    def describe(self, parameters: Sequence[float]) -> str:
        """See `Family`."""
        return f"{', '.join(f'{sigma:.2g}' for sigma in parameters)} voxels"


@dataclass(frozen=True)
class WidthFactors:
    """PSFs of one microscope, wider or narrower by a factor along all axes; see `Family`.

    A factor w has the effect of a wavelength, and of the lengths of the microscope in µm, that are w times as
    large.

    Attributes
    ----------
    microscope
        The microscope.
    steps
        Voxel size of the image in µm, (Z, Y, X).
    shape
        Shape of the volume, (Z, Y, X), within which the PSF is chosen; see `Microscope.psf_shape`. A single
        plane gets the plane in focus.
    """

    microscope: Microscope
    steps: tuple[float, ...]
    shape: tuple[int, ...]
    name: ClassVar[str] = "width_found"
    ranges: ClassVar[tuple[tuple[float, float], ...]] = ((NARROWEST_FACTOR, WIDEST_FACTOR),)
    usual: ClassVar[tuple[float, ...]] = (1.0,)

    def psf(self, parameters: Sequence[float]) -> npt.NDArray[np.float32]:
        """See `Family`."""
        flat = self.shape[0] == 1
        steps = [step / parameters[0] for step in self.steps][flat:]
        psf = self.microscope.psf(steps, self.microscope.psf_shape(steps, self.shape[flat:]))
        return psf[None] if flat else psf

    def describe(self, parameters: Sequence[float]) -> str:
        """See `Family`."""
        return f"{parameters[0]:.2g} times the computed width"


@dataclass(frozen=True, eq=False)
class SemiBlind(ClassicalMethod):
    """Richardson-Lucy without a PSF, for `deconvolve` or `plan`.

    The PSF is assumed to be a Gaussian with two standard deviations, across Z and along it. With a
    microscope, it is the PSF of this microscope, with one factor for its width. These parameters and the
    number of iterations are found in each volume. For that, the photons of a sample of the volume are divided
    at random into two parts [1]_, with the gain and offset of the camera found in the image [2]_. The chosen
    blur and number are those whose estimate from one part predicts the other part best. Then `RichardsonLucy`
    restores the whole volume. The same image and seed always give the same result.

    If the image's noise is not photon noise (the image was stretched to 8 bit, resampled or denoised), this
    choice is impossible. Then a narrow Gaussian, or the PSF as computed for the microscope, and few
    iterations are used, and a warning says so.

    Parameters
    ----------
    background, total_variation, acceleration
        See `RichardsonLucy`.
    seed
        Seed of the random division of the photons, 0 or more.
    microscope
        Microscope that took the image, or a list with one for each channel; None for a Gaussian. With a
        microscope, the run needs ``voxel_size`` in µm.

    Raises
    ------
    TypeError, ValueError
        If an argument cannot be used; the message says what to do.

    References
    ----------
    .. [1] A. Neufeld et al., Journal of Machine Learning Research 25 (2024) 1-35: data thinning.
    .. [2] A. Foi et al., IEEE Transactions on Image Processing 17, 1737 (2008), doi:10.1109/TIP.2008.2001399

    Examples
    --------
    >>> import numpy as np, napari_lucyd as nl
    >>> image = np.random.default_rng(0).poisson(9, (3, 16, 16))
    >>> nl.deconvolve(image, nl.SemiBlind(), device="cpu").output.shape
    (3, 16, 16)
    """

    psf: Any = field(default=None, init=False, repr=False)
    center_psf: bool = field(default=False, init=False, repr=False)
    psf_voxel_size: Sequence[float] | None = field(default=None, init=False, repr=False)
    background: float | Literal["auto"] = AUTO
    total_variation: float = 0.0
    acceleration: bool = True
    seed: int = 0
    microscope: Any = None
    families: tuple[Family, ...] = field(default=(Gaussians(),), init=False, repr=False)

    name: ClassVar[str] = "semi-blind"
    title: ClassVar[str] = "Semi-blind Richardson-Lucy"

    def __post_init__(self) -> None:
        several = isinstance(self.microscope, (list, tuple)) and len(self.microscope) > 0
        made = tuple(_made(one) for one in (self.microscope if several else [self.microscope]))
        for one in made:
            if not isinstance(one, Microscope) and (several or one is not None):
                raise TypeError(
                    f"microscope is {checks.shown(self.microscope)}; give a napari_lucyd.Microscope, a list "
                    "with one for each channel, or None."
                )
        object.__setattr__(self, "microscope", made if several else made[0])
        # Memory is planned for the widest PSF.
        object.__setattr__(self, "psf", gaussian_psf([WIDEST_BLUR] * 3))
        super().__post_init__()
        object.__setattr__(self, "seed", operator.index(self.seed))
        checked = self.with_psf(self.psf)
        for name in ("background", "total_variation", "acceleration"):
            object.__setattr__(self, name, getattr(checked, name))

    @property
    def family(self) -> Family:
        """The PSFs to choose from; see `for_channel`."""
        (family,) = self.families
        return family

    def for_channel(self, number: int) -> SemiBlind:
        """Return the same method with the microscope of one channel alone."""
        if len(self.families) == 1:
            return self
        mine = replace(self, microscope=self.microscope[number])
        object.__setattr__(mine, "families", (self.families[number],))
        object.__setattr__(mine, "psf", self.psfs[number])
        return mine

    def check_channels(self, channels: int) -> None:
        """Refuse an image with another number of channels than the list of microscopes has.

        Raises
        ------
        ValueError
            If the numbers differ.
        """
        listed = self.microscope if isinstance(self.microscope, tuple) else (self.microscope,)
        if len(listed) not in (1, channels):
            raise ValueError(
                f"microscope is a list of {len(listed)}, but the image has "
                f"{count_text(channels, 'channel')}; give one for all channels, or one for each."
            )

    @property
    def iterations(self) -> int:
        """Steps for each volume, at most."""
        return MOST_ITERATIONS

    @property
    def numbers(self) -> dict[str, Any]:
        """The given parameters by name, as plain JSON data."""
        names = ("background", "total_variation", "acceleration", "seed")
        listed = isinstance(self.microscope, tuple)
        optics = [one.parameters for one in self.microscope] if listed else None
        microscope = optics or (None if self.microscope is None else self.microscope.parameters)
        return {**{name: getattr(self, name) for name in names}, "microscope": microscope}

    @property
    def psf_record(self) -> None:
        """None: the PSF is found in the image."""

    def with_psf(self, psf: Any) -> RichardsonLucy:  # type: ignore[override]
        """Return Richardson-Lucy with a PSF that was found."""
        return RichardsonLucy(
            psf,
            background=self.background,
            total_variation=self.total_variation,
            acceleration=self.acceleration,
            center_psf=False,
        )

    def prepared(
        self, image_steps: Sequence[float] | None = None, image_shape: Sequence[int] | None = None
    ) -> tuple[SemiBlind, tuple[str, ...]]:
        """Return the same method for an image of these voxels; see `ClassicalMethod.prepared`.

        Raises
        ------
        ValueError
            If a microscope is given and the voxel size is unknown.
        """
        ready = replace(self)
        flat = image_shape is not None and image_shape[0] == 1
        families: tuple[Family, ...] = (Gaussians(flat),)
        if self.microscope is not None:
            if image_steps is None:
                raise ValueError(
                    "Semi-blind Richardson-Lucy with a microscope needs the voxel size of the image: give "
                    "voxel_size in µm."
                )
            # A plane has no step along Z.
            steps, shape = (1.0, *image_steps)[-3:], (1, *(image_shape or _USUAL_SHAPE))[-3:]
            listed = self.microscope if isinstance(self.microscope, tuple) else (self.microscope,)
            families = tuple(WidthFactors(one, steps, shape) for one in listed)
        widest = tuple(family.psf([largest for _, largest in family.ranges]) for family in families)
        object.__setattr__(ready, "families", families)
        object.__setattr__(ready, "psf", widest if len(widest) > 1 else widest[0])
        return ready, ()


def _made(microscope: Any) -> Any:
    """Return the microscope of a recipe's entry; anything else as it is."""
    return Microscope(**microscope) if isinstance(microscope, Mapping) else microscope
