"""The classical methods as values: a PSF and numbers, to be given to `deconvolve` in the place of a model.

Knows no torch, so that the command line can make and refuse them at once.
"""

from __future__ import annotations

import hashlib
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar, Final, Literal, TypeVar

import numpy as np
import numpy.typing as npt

from napari_lucyd import checks
from napari_lucyd.psf.cleaning import check_psf, prepare_psf, scaled_to_one
from napari_lucyd.psf.gaussian import gaussian_psf
from napari_lucyd.text import steps_text

# The divergence of unit gradients in 3D stays below 3 + sqrt(3), so that the divisor 1 - 0.2 div is positive.
_LARGEST_TOTAL_VARIATION = 0.2
# Steps that differ by less are the same but for rounding in a file's header.
_SAME_STEP = 0.05
AUTO: Final = "auto"
"""Stands for a number that is found in the image."""

MOST_ITERATIONS = 60
"""Of Richardson-Lucy where the number is chosen."""

USUAL_ITERATIONS = 10
"""Of Richardson-Lucy where the number cannot be chosen."""

# Recipes without these fields are of runs that knew only this.
_BEFORE_THEY_WERE_OPTIONS = {"acceleration": False, "center_psf": False}


_Method = TypeVar("_Method", bound="ClassicalMethod")


@dataclass(frozen=True, eq=False)
class ClassicalMethod:
    """The part that the classical methods share: the PSF.

    The PSF may have any size, also one larger than the image. Its origin is its centre of mass above a tenth
    of its peak; a run moves it to the middle voxel, subtracts a camera offset, and resamples it where its
    voxels differ from the image's. `prepared` does all this, and says what it changed.

    Attributes
    ----------
    psf
        (Y, X) or (Z, Y, X), float32 as given, read-only.
    center_psf
        Whether a camera offset is subtracted and the origin moved to the voxel ``size // 2`` along each axis.
        If False, the PSF is used as it is.
    psf_voxel_size
        Voxel size of the PSF along its axes, in the unit of the image's ``voxel_size``; None for the image's.
    """

    psf: Any = field(repr=False)
    center_psf: bool = field(default=True, kw_only=True, repr=False)
    psf_voxel_size: Sequence[float] | None = field(default=None, kw_only=True, repr=False)

    name: ClassVar[str] = ""
    title: ClassVar[str] = ""

    def __post_init__(self) -> None:
        psf = as_real("psf", self.psf)
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
        """2 for planes, 3 for volumes: the PSF's."""
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
        """All but the PSF, by name, as plain JSON data."""
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
        """Return the same method with its PSF ready for use, and sentences that say what was changed.

        Parameters
        ----------
        image_steps
            Voxel size of the image along the PSF's axes; None where unknown.
        image_shape
            Voxels of one volume of the image along the PSF's axes.
        """
        ready = prepare_psf(
            self.psf, center=self.center_psf, steps=self.psf_voxel_size, image_steps=image_steps
        )
        return replace(self, psf=ready.kernel, center_psf=False, psf_voxel_size=None), ready.notes

    def check_shape(self, shape: Sequence[int]) -> None:
        """Refuse an image (of one volume, so (Y, X) or (Z, Y, X)) whose axes are not those of the PSF.

        Raises
        ------
        ValueError
            If the axes differ in number.
        """
        shape, psf = tuple(shape), self.psf.shape
        if len(shape) not in (2, 3):
            raise ValueError(f"The image has shape {shape}; (Y, X) or (Z, Y, X) is needed.")
        if len(psf) != len(shape):
            raise ValueError(f"The psf has {len(psf)} axes, the image {len(shape)}; they have to agree.")


@dataclass(frozen=True, eq=False)
class RichardsonLucy(ClassicalMethod):
    """Richardson-Lucy with a known PSF, to be given to `deconvolve` or `plan`.

    The equations, assumptions and references are those of `richardson_lucy`. Negative voxels, which that
    function refuses, are set to 0 here, counted in a warning and recorded in the recipe.

    Parameters
    ----------
    psf
        (Y, X) for planes or (Z, Y, X) for volumes, no negative voxels, any size; see `ClassicalMethod`.
    num_iter
        Iterations; more sharpen, and amplify noise. ``"auto"``: the number, up to 60, whose result predicts
        best such photons of each volume as it has not seen [1]_; 10 where the noise is not photon noise.
    background
        Constant, in units of the image, which is not part of the object, nor of the result. ``"auto"``: the
        dark level of each volume, found in the image and added to the result again. A constant that is added
        to the image is then added to the result, and voxels may be negative.
    total_variation
        Weight of the total variation, 0 to 0.2; 0.002 is usual.
    tolerance
        Stop early when an iteration changes the object by less than this share.
    acceleration
        Reach the likelihood of plain iterations in about a third of their number; see `richardson_lucy`.
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
                "The psf has negative voxels; Richardson-Lucy needs numbers >= 0. Set them to 0, or leave in "
                "the offset that was subtracted."
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
    """Wiener deconvolution with a known PSF, to be given to `deconvolve` or `plan`.

    The equations, assumptions and references are those of `wiener`.

    Parameters
    ----------
    psf
        (Y, X) for planes or (Z, Y, X) for volumes, any size; see `ClassicalMethod`.
    balance
        Positive; more gives smoother results.
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
    """Richardson-Lucy without a PSF, to be given to `deconvolve` or `plan`.

    The PSF is taken for a Gaussian. Its standard deviations across and along Z are found in each volume, and
    with them the number of iterations: those whose result predicts best such photons as it has not seen. For
    that, part of the photons is split off by chance [1]_, on a sample of the volume, with gain and offset of
    the camera found in the image [2]_. Then the whole volume is restored by `RichardsonLucy`. The same image
    and seed always give the same result.

    Where the image's noise is not that of photons (8-bit stretched, resampled, denoised), nothing can be
    chosen so. A narrow Gaussian and few iterations are used instead, and a warning says it.

    Parameters
    ----------
    background, total_variation, acceleration
        See `RichardsonLucy`.
    seed
        Of the photons that are split off.

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
        # The widest one, by which memory is planned.
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
        """Everything that was given, by name, as plain JSON data."""
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


WIDEST_BLUR, NARROWEST_BLUR, USUAL_BLUR = 6.0, 0.6, 1.3
"""Standard deviations of the Gaussian that `SemiBlind` looks for, and of the one it takes without."""


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
        psf_text, image_text = (steps_text(steps, 4) for steps in (psf_steps, image_steps))
        raise ValueError(
            f"its voxels are {image_text} {unit}, those of the PSF {psf_name} {psf_text} {unit}. The PSF has "
            f"to be sampled on the image's voxels, as nothing is resampled: {remedy}"
        )


def method_from_recipe(recipe: Mapping[str, Any], psf: Any = None) -> RichardsonLucy | Wiener | SemiBlind:
    """Make the classical method of a recipe.

    Parameters
    ----------
    recipe
        ``Result.recipe`` of a run with a classical method, also after a round trip through JSON.
    psf
        The one that was used; a recipe holds only its SHA-256. None after `SemiBlind`.

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
    if isinstance(entry, Mapping) and entry.get("name") == SemiBlind.name:
        return SemiBlind(**{name: entry[name] for name in SemiBlind().numbers})
    if not isinstance(entry, Mapping) or entry.get("name") not in CLASSICAL_METHODS:
        raise ValueError(
            f"This is not a recipe of {' or '.join(CLASSICAL_METHODS)}: its method is {entry!r}."
        )
    method = make_method(entry["name"], psf, {**_BEFORE_THEY_WERE_OPTIONS, **entry})
    if method.sha256 != recipe["psf"]["sha256"]:
        raise ValueError(
            f"The psf of shape {method.psf.shape} is not that of the recipe: its SHA-256 is "
            f"{method.sha256[:12]}…, but the recipe has {recipe['psf']['sha256']!s:.12}… of shape "
            f"{tuple(recipe['psf']['shape'])}."
        )
    return method


def _is_auto(value: Any) -> bool:
    return isinstance(value, str) and value == AUTO


def as_real(name: str, array: Any) -> npt.NDArray[np.float32]:
    """Return a float32 copy of an array of real, finite numbers.

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
    given = checks.array(f"The {name}", array)
    with np.errstate(over="ignore"):
        result = np.array(given, dtype=np.float32, order="C")
    if not np.isfinite(result).all():
        raise ValueError(f"The {name} holds NaN, infinity or numbers too large for float32; replace them.")
    return result
