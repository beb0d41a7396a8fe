"""Classical methods as values: a PSF and parameters, passed to `deconvolve` instead of a model.

This module does not import torch, so the command line makes and checks methods without delay.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar, Final, Literal, TypeVar

import numpy as np
import numpy.typing as npt

from napari_lucyd import checks
from napari_lucyd.psf.cleaning import check_psf, check_psf_voxel_size, prepare_psf, psf_sha256, scaled_to_one
from napari_lucyd.text import count_text

# The divergence of unit gradients in 3D is less than 3 + sqrt(3), so the divisor 1 - 0.2 div stays positive.
_LARGEST_TOTAL_VARIATION = 0.2
AUTO: Final = "auto"
"""The value of a parameter that is found in the image."""

MOST_ITERATIONS = 60
"""Largest number of Richardson-Lucy iterations that ``num_iter="auto"`` chooses."""

USUAL_ITERATIONS = 10
"""Number of Richardson-Lucy iterations if ``num_iter="auto"`` cannot choose one."""

_Method = TypeVar("_Method", bound="ClassicalMethod")


@dataclass(frozen=True, eq=False)
class ClassicalMethod:
    """The base of the classical methods: it holds the PSF.

    The PSF may have any size and may be larger than the image. Its origin is its centre of mass above a tenth
    of its peak. A run moves the origin to the middle voxel, subtracts a camera offset, and resamples the PSF
    if its voxel size differs from the image's. `prepared` does all this, and reports what it changed.

    Attributes
    ----------
    psf
        (Y, X) or (Z, Y, X), float32 as given, read-only; a tuple of such arrays if each channel has its own.
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
        psfs = tuple(_checked_psf(psf) for psf in _listed(self.psf))
        if len({psf.ndim for psf in psfs}) != 1:
            shapes = ", ".join(str(psf.shape) for psf in psfs)
            raise ValueError(f"The psf lists arrays of shapes {shapes}; give as many axes to each.")
        psf = psfs[0]
        object.__setattr__(self, "psf", psf if len(psfs) == 1 else psfs)
        object.__setattr__(self, "center_psf", checks.flag("center_psf", self.center_psf))
        if self.psf_voxel_size is not None:
            steps = check_psf_voxel_size(self.psf_voxel_size, psf.ndim)
            object.__setattr__(self, "psf_voxel_size", steps)

    @property
    def psfs(self) -> tuple[npt.NDArray[np.float32], ...]:
        """The PSF of each channel; one PSF if all channels share it."""
        return self.psf if isinstance(self.psf, tuple) else (self.psf,)

    @property
    def dimension(self) -> int:
        """Number of axes of the PSF: 2 for planes, 3 for volumes."""
        return int(self.psfs[0].ndim)

    @property
    def psf_shape(self) -> tuple[int, ...]:
        """Largest size of the PSFs along each axis."""
        return tuple(max(sizes) for sizes in zip(*(psf.shape for psf in self.psfs), strict=True))

    @property
    def kernel(self) -> npt.NDArray[np.float32]:
        """The PSF scaled to a sum of 1, its origin at ``size // 2`` along each axis; see `for_channel`."""
        (psf,) = self.psfs
        return scaled_to_one(psf)

    @property
    def sha256(self) -> str:
        """SHA-256 of the given PSF: little-endian float32 in C order; see `for_channel`."""
        (psf,) = self.psfs
        return psf_sha256(psf)

    def for_channel(self: _Method, number: int) -> _Method:
        """Return the same method with the PSF of one channel alone.

        Parameters
        ----------
        number
            Index of the channel, from 0; without effect if all channels share one PSF.
        """
        return self if len(self.psfs) == 1 else replace(self, psf=self.psfs[number])

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
    def psf_record(self) -> dict[str, Any] | list[dict[str, Any]] | None:
        """Shape and SHA-256 of the PSF as given, as plain JSON data; None if it is found in the image.

        A list, with one entry for each channel, if each has its own PSF.
        """
        records = [{"shape": list(psf.shape), "sha256": psf_sha256(psf)} for psf in self.psfs]
        return records[0] if len(records) == 1 else records

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
        ready = [
            prepare_psf(psf, center=self.center_psf, steps=self.psf_voxel_size, image_steps=image_steps)
            for psf in self.psfs
        ]
        one = len(ready) == 1
        notes = tuple(
            note if one else f"Channel {number}: {note}"
            for number, psf in enumerate(ready)
            for note in psf.notes
        )
        kernels = [psf.kernel for psf in ready]
        return replace(self, psf=kernels, center_psf=False, psf_voxel_size=None), notes

    def check_shape(self, shape: Sequence[int]) -> None:
        """Refuse an image, (Y, X) or (Z, Y, X), that has not the same number of axes as the PSF.

        Raises
        ------
        ValueError
            If the axes differ in number.
        """
        shape = tuple(shape)
        if len(shape) not in (2, 3):
            raise ValueError(f"The image has shape {shape}; give an image of shape (Y, X) or (Z, Y, X).")
        if self.dimension != len(shape):
            raise ValueError(
                f"The psf has {self.dimension} axes and the image {len(shape)}; give a psf with as many axes "
                "as the image has."
            )

    def check_channels(self, channels: int) -> None:
        """Refuse an image with another number of channels than the list of PSFs has.

        Parameters
        ----------
        channels
            Size of the image along its axis C; 1 without such an axis.

        Raises
        ------
        ValueError
            If the numbers differ, unless all channels share one PSF.
        """
        if len(self.psfs) not in (1, channels):
            raise ValueError(
                f"The psf lists {len(self.psfs)} PSFs, one for each channel, but the image has "
                f"{count_text(channels, 'channel')}. Give one for each channel, or a single one for all. "
                "If the axis of the channels is not found, name the axes, for example CZYX."
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
        A list of such arrays has one for each channel.
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
        True to reach the likelihood of plain iterations with fewer of them; see `richardson_lucy`.
    local_stopping
        True to stop the iterations voxel by voxel, where they would fit noise; see `richardson_lucy`.
        ``num_iter="auto"`` then means 60, because further ones hardly change the result. Images without
        photon noise, and volumes in tiles, are computed without it, with a warning.
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
    local_stopping: bool = False

    name: ClassVar[str] = "richardson-lucy"
    title: ClassVar[str] = "Richardson-Lucy"

    def __post_init__(self) -> None:
        super().__post_init__()
        if any(psf.min() < 0 for psf in self.psfs):
            raise ValueError(
                "The psf has negative voxels, but Richardson-Lucy needs numbers >= 0. Set them to 0, or do "
                "not subtract the camera offset."
            )
        numbers: dict[str, Any] = {
            name: checks.flag(name, getattr(self, name)) for name in ("acceleration", "local_stopping")
        }
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
        (Y, X) for planes or (Z, Y, X) for volumes, any size; see `ClassicalMethod`. A
        list of such arrays has one for each channel.
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
class Unchanged(ClassicalMethod):
    """The method of an image that is left alone: its result is the image, as float32.

    Examples
    --------
    >>> import numpy as np, napari_lucyd as nl
    >>> nl.deconvolve(np.eye(4), Unchanged(), device="cpu").output[0]
    array([1., 0., 0., 0.], dtype=float32)
    """

    psf: Any = field(default=None, init=False, repr=False)
    center_psf: bool = field(default=False, init=False, repr=False)
    psf_voxel_size: Sequence[float] | None = field(default=None, init=False, repr=False)

    name: ClassVar[str] = "nothing"
    title: ClassVar[str] = "Image left as it is"

    def __post_init__(self) -> None:
        object.__setattr__(self, "psf", np.ones((1, 1, 1), np.float32))

    @property
    def numbers(self) -> dict[str, Any]:
        """No parameters."""
        return {}

    @property
    def psf_record(self) -> None:
        """None: there is no PSF."""

    def with_psf(self, psf: Any) -> Unchanged:
        """Return the same method, which uses no PSF."""
        return self

    def prepared(
        self, image_steps: Sequence[float] | None = None, image_shape: Sequence[int] | None = None
    ) -> tuple[Unchanged, tuple[str, ...]]:
        """Return the same method; see `ClassicalMethod.prepared`."""
        return self, ()


def _listed(psf: Any) -> Sequence[Any]:
    """Return the PSFs of a list of arrays, one for each channel; a single one otherwise."""
    several = isinstance(psf, (list, tuple)) and len(psf) > 0
    return psf if several and all(getattr(entry, "ndim", 0) >= 2 for entry in psf) else (psf,)


def _checked_psf(psf: Any) -> npt.NDArray[np.float32]:
    checked = checks.float_array("The psf", psf)
    check_psf(checked)
    checked.flags.writeable = False
    return checked


def _is_auto(value: Any) -> bool:
    return isinstance(value, str) and value == AUTO
