"""The classical methods as values: a PSF and parameters, passed to `deconvolve` instead of a model.

This module does not import torch, so the command line makes and checks methods without delay.
"""

from __future__ import annotations

import hashlib
import operator
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar, Final, Literal, TypeVar

import numpy as np
import numpy.typing as npt

from napari_lucyd import checks
from napari_lucyd.psf.cleaning import check_psf, prepare_psf, scaled_to_one
from napari_lucyd.psf.gaussian import gaussian_psf

# The divergence of unit gradients in 3D is less than 3 + sqrt(3), so the divisor 1 - 0.2 div stays positive.
_LARGEST_TOTAL_VARIATION = 0.2
AUTO: Final = "auto"
"""The value of a parameter that is found in the image."""

MOST_ITERATIONS = 60
"""Largest number of Richardson-Lucy iterations that ``num_iter="auto"`` chooses."""

USUAL_ITERATIONS = 10
"""Number of Richardson-Lucy iterations if ``num_iter="auto"`` cannot choose one."""

_Method = TypeVar("_Method", bound="ClassicalMethod")
WIDEST_BLUR, NARROWEST_BLUR, USUAL_BLUR = 6.0, 0.6, 1.3
"""Limits of the standard deviation that `SemiBlind` searches, and its value without a search, in voxels."""


@dataclass(frozen=True, eq=False)
class ClassicalMethod:
    """The base of the classical methods: it holds the PSF.

    The PSF may have any size and may be larger than the image. Its origin is its centre of mass above a tenth
    of its peak. A run moves the origin to the middle voxel, subtracts a camera offset, and resamples the PSF
    if its voxel size differs from the image's. `prepared` does all this, and reports what it changed.

    Attributes
    ----------
    psf
        (Y, X) or (Z, Y, X), float32 as given, read-only.
    center_psf
        True if a camera offset is subtracted and the origin moved to the voxel ``size // 2`` along each axis.
        If False, the PSF is used as it is.
    psf_voxel_size
        Voxel size of the PSF along its axes, in the unit of the image's ``voxel_size``. None if it is that of
        the image.
    """

    psf: Any = field(repr=False)
    center_psf: bool = field(default=True, kw_only=True, repr=False)
    psf_voxel_size: Sequence[float] | None = field(default=None, kw_only=True, repr=False)

    name: ClassVar[str] = ""
    title: ClassVar[str] = ""

    def __post_init__(self) -> None:
        psf = checks.float_array("The psf", self.psf)
        check_psf(psf)
        psf.flags.writeable = False
        object.__setattr__(self, "psf", psf)
        object.__setattr__(self, "center_psf", checks.flag("center_psf", self.center_psf))
        if self.psf_voxel_size is not None:
            expected = f"{psf.ndim} positive numbers, one for each axis of the psf"
            given = checks.items("psf_voxel_size", self.psf_voxel_size, expected)
            steps = tuple(
                checks.number("psf_voxel_size", step, expected, lambda size: size > 0) for step in given
            )
            if len(steps) != psf.ndim:
                raise ValueError(f"psf_voxel_size is {checks.shown(self.psf_voxel_size)}; give {expected}.")
            object.__setattr__(self, "psf_voxel_size", steps)

    @property
    def dimension(self) -> int:
        """Number of axes of the PSF: 2 for planes, 3 for volumes."""
        return int(self.psf.ndim)

    @property
    def kernel(self) -> npt.NDArray[np.float32]:
        """The PSF scaled to a sum of 1, its origin at ``size // 2`` along each axis."""
        return scaled_to_one(self.psf)

    @property
    def sha256(self) -> str:
        """SHA-256 of the given PSF: little-endian float32 in C order."""
        return hashlib.sha256(self.psf.astype("<f4").tobytes()).hexdigest()

    @property
    def iterations(self) -> int:
        """Steps for each volume, at most."""
        return 1

    @property
    def numbers(self) -> dict[str, Any]:
        """The parameters except the PSF, by name, as plain JSON data."""
        values = {entry.name: getattr(self, entry.name) for entry in fields(self) if entry.name != "psf"}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    def with_psf(self: _Method, psf: Any) -> _Method:
        """Return the same method with another PSF on the image's voxels."""
        return replace(self, psf=psf, psf_voxel_size=None)

    @property
    def psf_record(self) -> dict[str, Any] | None:
        """Shape and SHA-256 of the PSF as given, as plain JSON data; None if it is found in the image."""
        return {"shape": list(self.psf.shape), "sha256": self.sha256}

    def prepared(
        self: _Method,
        image_steps: Sequence[float] | None = None,
        image_shape: Sequence[int] | None = None,
    ) -> tuple[_Method, tuple[str, ...]]:
        """Return the same method with its PSF ready for use, and sentences that describe the changes.

        Parameters
        ----------
        image_steps
            Voxel size of the image along the PSF's axes; None if unknown.
        image_shape
            Shape of one volume of the image, along the PSF's axes.
        """
        ready = prepare_psf(
            self.psf, center=self.center_psf, steps=self.psf_voxel_size, image_steps=image_steps
        )
        return replace(self, psf=ready.kernel, center_psf=False, psf_voxel_size=None), ready.notes

    def check_shape(self, shape: Sequence[int]) -> None:
        """Refuse an image, (Y, X) or (Z, Y, X), that has not the same number of axes as the PSF.

        Raises
        ------
        ValueError
            If the axes differ in number.
        """
        shape, psf = tuple(shape), self.psf.shape
        if len(shape) not in (2, 3):
            raise ValueError(f"The image has shape {shape}; give an image of shape (Y, X) or (Z, Y, X).")
        if len(psf) != len(shape):
            raise ValueError(
                f"The psf has {len(psf)} axes and the image {len(shape)}; give a psf with as many axes "
                "as the image has."
            )


@dataclass(frozen=True, eq=False)
class RichardsonLucy(ClassicalMethod):
    """Richardson-Lucy with a known PSF, for `deconvolve` or `plan`.

    The equations, assumptions and references are those of `richardson_lucy`. That function refuses negative
    voxels; here they are set to 0, counted in a warning and recorded in the recipe.

    Parameters
    ----------
    psf
        (Y, X) for planes or (Z, Y, X) for volumes, no negative voxels, any size; see `ClassicalMethod`.
    num_iter
        Number of iterations; more of them sharpen, and amplify noise. ``"auto"`` keeps part of the photons of
        each volume out of the estimate, and takes the number, up to 60, whose result predicts them best [1]_.
        If the noise is not photon noise, it takes 10.
    background
        Constant in units of the image that is part of neither the object nor the result. ``"auto"`` finds the
        dark level of each volume, and adds it to the result again. Then a constant added to the image is also
        added to the result, and voxels may be negative.
    total_variation
        Weight of the total variation, 0 to 0.2; 0.002 is usual.
    tolerance
        Stop early when an iteration changes the object by less than this share.
    acceleration
        True to reach the likelihood of plain iterations with about a third of them; see `richardson_lucy`.
    center_psf, psf_voxel_size
        See `ClassicalMethod`.

    Raises
    ------
    TypeError, ValueError
        If an argument cannot be used; the message says what to do.

    References
    ----------
    .. [1] A. Neufeld et al., Journal of Machine Learning Research 25 (2024) 1-35: data thinning.

    Examples
    --------
    >>> import numpy as np, napari_lucyd as nl
    >>> image = np.random.default_rng(0).poisson(9, (3, 16, 16))
    >>> method = nl.RichardsonLucy(np.ones((3, 3)), num_iter=5)
    >>> nl.deconvolve(image, method, axes="TYX", device="cpu").output.shape
    (3, 16, 16)
    """

    num_iter: int | Literal["auto"] = AUTO
    background: float | Literal["auto"] = AUTO
    total_variation: float = 0.0
    tolerance: float | None = None
    acceleration: bool = True

    name: ClassVar[str] = "richardson-lucy"
    title: ClassVar[str] = "Richardson-Lucy"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.psf.min() < 0:
            raise ValueError(
                "The psf has negative voxels, but Richardson-Lucy needs numbers >= 0. Set them to 0, or do "
                "not subtract the camera offset."
            )
        numbers: dict[str, Any] = {"acceleration": checks.flag("acceleration", self.acceleration)}
        if not _is_auto(self.num_iter):
            numbers["num_iter"] = checks.integer("num_iter", self.num_iter, least=1)
        numbers["total_variation"] = checks.number(
            "total_variation",
            self.total_variation,
            f"a number from 0 to {_LARGEST_TOTAL_VARIATION}, usually 0.002",
            lambda weight: 0 <= weight <= _LARGEST_TOTAL_VARIATION,
        )
        if not _is_auto(self.background):
            numbers["background"] = checks.number(
                "background",
                self.background,
                "a number of at least 0, or 'auto'",
                lambda level: 0 <= level < float("inf"),
            )
        if self.tolerance is not None:
            numbers["tolerance"] = checks.number(
                "tolerance", self.tolerance, "a number above 0, or None", lambda share: share > 0
            )
        for name, value in numbers.items():  # plain numbers, which JSON can hold
            object.__setattr__(self, name, value)

    @property
    def iterations(self) -> int:
        """Steps for each volume, at most."""
        return MOST_ITERATIONS if self.num_iter == AUTO else int(self.num_iter)


@dataclass(frozen=True, eq=False)
class Wiener(ClassicalMethod):
    """Wiener deconvolution with a known PSF, for `deconvolve` or `plan`.

    The equations, assumptions and references are those of `wiener`.

    Parameters
    ----------
    psf
        (Y, X) for planes or (Z, Y, X) for volumes, any size; see `ClassicalMethod`.
    balance
        Weight of the smoothing, above 0; larger values give smoother results.
    center_psf, psf_voxel_size
        See `ClassicalMethod`.

    Raises
    ------
    TypeError, ValueError
        If an argument cannot be used; the message says what to do.

    Examples
    --------
    >>> import numpy as np, napari_lucyd as nl
    >>> image = np.random.default_rng(0).poisson(9, (16, 16))
    >>> nl.deconvolve(image, nl.Wiener(np.ones((3, 3)), balance=0.5), device="cpu").output.dtype
    dtype('float32')
    """

    balance: float = 0.1

    name: ClassVar[str] = "wiener"
    title: ClassVar[str] = "Wiener"

    def __post_init__(self) -> None:
        super().__post_init__()
        balance = checks.number(
            "balance", self.balance, "a number above 0", lambda weight: 0 < weight < float("inf")
        )
        object.__setattr__(self, "balance", balance)


@dataclass(frozen=True, eq=False)
class SemiBlind(ClassicalMethod):
    """Richardson-Lucy without a PSF, for `deconvolve` or `plan`.

    The PSF is assumed to be a Gaussian. Its standard deviations, across Z and along it, and the number of
    iterations are found in each volume. For that, the photons of a sample of the volume are divided at random
    into two parts [1]_, with the gain and offset of the camera found in the image [2]_. The blur and the
    number are chosen whose estimate from one part predicts the other part best. Then `RichardsonLucy`
    restores the whole volume. The same image and seed always give the same result.

    If the image's noise is not photon noise (the image was stretched to 8 bit, resampled or denoised), this
    choice is impossible. Then a narrow Gaussian and few iterations are used, and a warning says so.

    Parameters
    ----------
    background, total_variation, acceleration
        See `RichardsonLucy`.
    seed
        Seed of the random division of the photons, 0 or more.

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

    name: ClassVar[str] = "semi-blind"
    title: ClassVar[str] = "Semi-blind Richardson-Lucy"

    def __post_init__(self) -> None:
        # Memory is planned for the widest Gaussian.
        object.__setattr__(self, "psf", gaussian_psf([WIDEST_BLUR] * 3))
        super().__post_init__()
        object.__setattr__(self, "seed", operator.index(self.seed))
        checked = self.with_psf(self.psf)
        for name in ("background", "total_variation", "acceleration"):
            object.__setattr__(self, name, getattr(checked, name))

    @property
    def iterations(self) -> int:
        """Steps for each volume, at most."""
        return MOST_ITERATIONS

    @property
    def numbers(self) -> dict[str, Any]:
        """The given parameters by name, as plain JSON data."""
        names = ("background", "total_variation", "acceleration", "seed")
        return {name: getattr(self, name) for name in names}

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
        """Return the same method for an image of this shape; see `ClassicalMethod.prepared`."""
        ready = replace(self)
        if image_shape is not None and image_shape[0] == 1:
            object.__setattr__(ready, "psf", gaussian_psf((0, WIDEST_BLUR, WIDEST_BLUR)))
        return ready, ()


def _is_auto(value: Any) -> bool:
    return isinstance(value, str) and value == AUTO
