"""The classical methods as values: a PSF and numbers, to be given to `deconvolve` in the place of a model.

Knows no torch, so that the command line can make and refuse them at once.
"""

from __future__ import annotations

import hashlib
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

# The divergence of unit gradients in 3D stays below 3 + sqrt(3), so that the divisor 1 - 0.2 div is positive.
_LARGEST_TOTAL_VARIATION = 0.2
# Steps that differ by less are the same but for rounding in a file's header.
_SAME_STEP = 0.05


@dataclass(frozen=True, eq=False)
class ClassicalMethod:
    """What the classical methods have in common: they are told the PSF.

    Attributes
    ----------
    psf
        (Y, X) or (Z, Y, X), on the image's voxels, float32 as given, read-only. Its centre is the voxel
        ``size // 2`` along each axis.
    """

    psf: Any = field(repr=False)

    name: ClassVar[str] = ""
    title: ClassVar[str] = ""

    def __post_init__(self) -> None:
        psf = as_real("psf", self.psf)
        if psf.ndim not in (2, 3):
            raise ValueError(f"The psf has shape {psf.shape}; (Y, X) or (Z, Y, X) is needed.")
        total = psf.sum(dtype=np.float64)
        if not total > 0:
            raise ValueError(f"The psf sums to {total:.3g}; a sum > 0 is needed.")
        psf.flags.writeable = False
        object.__setattr__(self, "psf", psf)

    @property
    def dimension(self) -> int:
        """2 for planes, 3 for volumes: the PSF's."""
        return int(self.psf.ndim)

    @property
    def kernel(self) -> npt.NDArray[np.float32]:
        """The PSF scaled to a sum of 1."""
        scaled: npt.NDArray[np.float32] = (self.psf / self.psf.sum(dtype=np.float64)).astype(np.float32)
        return scaled

    @property
    def sha256(self) -> str:
        """Of the PSF's voxels as given, little-endian float32 in C order."""
        return hashlib.sha256(self.psf.astype("<f4").tobytes()).hexdigest()

    @property
    def iterations(self) -> int:
        """Steps for each volume, at most."""
        return 1

    @property
    def numbers(self) -> dict[str, float | int | None]:
        """All but the PSF, by name."""
        return {entry.name: getattr(self, entry.name) for entry in fields(self) if entry.name != "psf"}

    def with_psf(self, psf: Any) -> ClassicalMethod:
        """The same with another PSF."""
        return replace(self, psf=psf)

    def check_shape(self, shape: Sequence[int]) -> None:
        """Refuse an image (of one volume, so (Y, X) or (Z, Y, X)) that the PSF does not fit.

        Raises
        ------
        ValueError
            If the axes differ in number, or the PSF is larger.
        """
        shape, psf = tuple(shape), self.psf.shape
        if len(shape) not in (2, 3):
            raise ValueError(f"The image has shape {shape}; (Y, X) or (Z, Y, X) is needed.")
        if len(psf) != len(shape):
            raise ValueError(f"The psf has {len(psf)} axes, the image {len(shape)}; they have to agree.")
        if any(k > n for k, n in zip(psf, shape, strict=True)):
            plane = " (for a single plane, its plane in focus)" if len(psf) == 3 and shape[0] == 1 else ""
            raise ValueError(
                f"The psf of shape {psf} is larger than the image of shape {shape}; crop the psf around its "
                f"centre{plane}."
            )


@dataclass(frozen=True, eq=False)
class RichardsonLucy(ClassicalMethod):
    """Richardson-Lucy with a known PSF, to be given to `deconvolve` or `plan`.

    The equations, assumptions and references are those of `richardson_lucy`. Negative voxels, which that
    function refuses, are set to 0 here, counted in a warning and recorded in the recipe.

    Parameters
    ----------
    psf
        (Y, X) for planes or (Z, Y, X) for volumes, no negative voxels; scaled to a sum of 1. It has to be
        sampled on the image's own voxels: neither it nor the image is resampled.
    num_iter
        Iterations; more sharpen, and amplify noise.
    background
        Constant, in units of the image, which is not part of the object, nor of the result.
    total_variation
        Weight of the total variation, 0 to 0.2; 0.002 is usual.
    tolerance
        Stop early when an iteration changes the object by less than this share.

    Raises
    ------
    TypeError, ValueError
        If an argument cannot be used; the message says what to do.

    Examples
    --------
    >>> import numpy as np, napari_lucyd as nl
    >>> image = np.random.default_rng(0).poisson(9, (3, 16, 16))
    >>> method = nl.RichardsonLucy(np.ones((3, 3)), num_iter=5)
    >>> nl.deconvolve(image, method, axes="TYX", device="cpu").output.shape
    (3, 16, 16)
    """

    num_iter: int = 10
    background: float = 0.0
    total_variation: float = 0.0
    tolerance: float | None = None

    name: ClassVar[str] = "richardson-lucy"
    title: ClassVar[str] = "Richardson-Lucy"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.psf.min() < 0:
            raise ValueError(
                "The psf has negative voxels; Richardson-Lucy needs numbers >= 0. Set them to 0, or leave in "
                "the offset that was subtracted."
            )
        object.__setattr__(self, "num_iter", operator.index(self.num_iter))
        if self.num_iter < 1:
            raise ValueError(f"num_iter is {self.num_iter}; at least one iteration is needed.")
        if not 0 <= self.total_variation <= _LARGEST_TOTAL_VARIATION:
            raise ValueError(
                f"total_variation is {self.total_variation}; it can be 0 to {_LARGEST_TOTAL_VARIATION}, "
                "usually 0.002."
            )
        if not 0 <= self.background < float("inf"):
            raise ValueError(f"background is {self.background}; it has to be a number >= 0.")
        if self.tolerance is not None and not self.tolerance > 0:
            raise ValueError(f"tolerance is {self.tolerance}; it has to be a positive number, or None.")
        for name in ("background", "total_variation", "tolerance"):  # numpy's numbers are no JSON
            value = getattr(self, name)
            object.__setattr__(self, name, None if value is None else float(value))

    @property
    def iterations(self) -> int:
        """Steps for each volume, at most."""
        return self.num_iter


@dataclass(frozen=True, eq=False)
class Wiener(ClassicalMethod):
    """Wiener deconvolution with a known PSF, to be given to `deconvolve` or `plan`.

    The equations, assumptions and references are those of `wiener`.

    Parameters
    ----------
    psf
        (Y, X) for planes or (Z, Y, X) for volumes; scaled to a sum of 1. It has to be sampled on the image's
        own voxels: neither it nor the image is resampled.
    balance
        Positive; more gives smoother results.

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
        if not 0 < self.balance < float("inf"):
            raise ValueError(f"balance is {self.balance}; it has to be a positive number.")
        object.__setattr__(self, "balance", float(self.balance))


CLASSICAL_METHODS: dict[str, type[RichardsonLucy | Wiener]] = {
    kind.name: kind for kind in (RichardsonLucy, Wiener)
}
"""All there are, by name."""


def make_method(name: str, psf: Any, numbers: Mapping[str, Any]) -> RichardsonLucy | Wiener:
    """Make a classical method by its name.

    Parameters
    ----------
    name
        One of `CLASSICAL_METHODS`.
    psf
        As the method takes it.
    numbers
        What there is to say to any of the methods, by argument; this one takes its own.

    Raises
    ------
    TypeError, ValueError
        As the method itself does.

    Examples
    --------
    >>> import numpy as np
    >>> make_method("wiener", np.ones((3, 3)), {"num_iter": 20, "balance": 0.5})
    Wiener(balance=0.5)
    """
    kind = CLASSICAL_METHODS[name]
    return kind(psf, **{entry.name: numbers[entry.name] for entry in fields(kind) if entry.name in numbers})


def check_psf_steps(
    psf_name: str,
    psf_steps: Sequence[float] | None,
    image_steps: Sequence[float] | None,
    unit: str,
    remedy: str,
) -> None:
    """Refuse an image whose voxels are not those of the PSF, where both are known.

    Parameters
    ----------
    psf_name
        What the PSF is called in the error.
    psf_steps, image_steps
        (Z, Y, X) or (Y, X), in one unit; None where not known.
    unit
        That of both, as it is written.
    remedy
        What can be done about it, where the reader is.

    Raises
    ------
    ValueError
        If the steps differ, along the axes that both have.
    """
    if psf_steps is None or image_steps is None:
        return
    pairs = list(zip(psf_steps[::-1], image_steps[::-1], strict=False))
    if any(abs(mine - its) > _SAME_STEP * its for mine, its in pairs):
        psf_text, image_text = (
            " × ".join(f"{step:.4g}" for step in steps) for steps in (psf_steps, image_steps)
        )
        raise ValueError(
            f"its voxels are {image_text} {unit}, those of the PSF {psf_name} {psf_text} {unit}. The PSF has "
            f"to be sampled on the image's voxels, as nothing is resampled: {remedy}"
        )


def method_from_recipe(recipe: Mapping[str, Any], psf: Any) -> RichardsonLucy | Wiener:
    """The classical method that a recipe tells of.

    Parameters
    ----------
    recipe
        ``Result.recipe`` of a run with a classical method, also after a round trip through JSON.
    psf
        The one that was used; a recipe holds only its SHA-256.

    Raises
    ------
    ValueError
        If the recipe is not of a classical method, or the PSF is another one.

    Examples
    --------
    >>> import numpy as np, napari_lucyd as nl
    >>> psf = np.ones((3, 3))
    >>> run = nl.deconvolve(np.eye(8), nl.Wiener(psf, balance=0.5), device="cpu")
    >>> method_from_recipe(run.recipe, psf)
    Wiener(balance=0.5)
    """
    entry = recipe.get("method")
    if not isinstance(entry, Mapping) or entry.get("name") not in CLASSICAL_METHODS:
        raise ValueError(
            f"This is not a recipe of {' or '.join(CLASSICAL_METHODS)}: its method is {entry!r}."
        )
    method = make_method(entry["name"], psf, entry)
    if method.sha256 != recipe["psf"]["sha256"]:
        raise ValueError(
            f"The psf of shape {method.psf.shape} is not the one that was used: the recipe's had the shape "
            f"{tuple(recipe['psf']['shape'])} and the SHA-256 {recipe['psf']['sha256'][:12]}…, this one has "
            f"{method.sha256[:12]}…"
        )
    return method


def as_real(name: str, array: Any) -> npt.NDArray[np.float32]:
    """A float32 copy of an array of real, finite numbers.

    Parameters
    ----------
    name
        Of the argument, for the error.
    array
        Anything that numpy can make an array of.

    Raises
    ------
    TypeError, ValueError
        If it is not that.
    """
    given = np.asarray(array)
    if given.dtype.kind not in "buif":
        raise TypeError(f"The {name} has dtype {given.dtype}; real numbers are needed.")
    with np.errstate(over="ignore"):
        result = np.array(given, dtype=np.float32, order="C")
    if not np.isfinite(result).all():
        raise ValueError(f"The {name} holds NaN, infinity or numbers too large for float32; replace them.")
    return result
