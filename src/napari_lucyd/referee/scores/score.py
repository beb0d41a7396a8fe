"""The score of a result without a truth: held-out photons, two halves, residual and flux.

A recipe is repeated on two halves a and b of a sample's photons, which gives the estimates f and g of the
object t. With H the blur and W = H² / (H² + 0.01), the share of the object that the blur lets through:

- Where the blur lets light through, the error of f is judged by b, and that of g by a: both halves have
  the mean H·t, and noise of their own. The mean of the products of the two halves' terms is the squared
  error of an estimate from all photons, without the noise of either half.
- Where it does not, no photon says what is there. The difference of f and g then says how much noise the
  method invents.

The score is 1 minus the error as a share of the object's visible variance. 1 is a perfect result, 0 one that
explains nothing. It does not see what the blur hides and both halves invent alike.

References
----------
A. Neufeld, A. Dharamshi, L. L. Gao, D. Witten, "Data thinning for convolution-closed distributions",
Journal of Machine Learning Research 25 (2024) 1-35.
Y. C. Eldar, "Generalized SURE for exponential families: applications to regularization", IEEE Transactions
on Signal Processing 57 (2009) 471-481.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from napari_lucyd import checks
from napari_lucyd.deconvolution.classical.dark_level import find_dark_level
from napari_lucyd.photons.likelihood import Score as BlockScore
from napari_lucyd.photons.likelihood import block_sums
from napari_lucyd.referee.scores.correlation import Correlation, shell_correlation
from napari_lucyd.referee.scores.judged import Judged, judge
from napari_lucyd.referee.scores.reblur import Reblur
from napari_lucyd.referee.scores.residual import Residual, residual_of
from napari_lucyd.referee.scores.samples import Values, halves_of
from napari_lucyd.text import percent_text

# Residual correlation from which structure is left in the residual. In simulated images of bodies and
# filaments with 50 and 1000 photons, results with the right blur have -0.04 to 0.11, by Richardson-Lucy,
# Wiener and LUCYD. At 1000 photons, a blur twice as wide has 0.2 to 0.6. In the noise of few photons it does
# not show.
_STRUCTURE_LEFT = 0.5
# Share of the light from around the sample above which the light of image and result is not compared.
_MIXED = 0.2
WORSE = "Worse than the image: check the blur and the settings."
"""Verdict on a result that explains the unseen photons less than the image does."""
BLUR_IN_DOUBT = "More than noise is left: the PSF or blur may be wrong, or the result too smooth."
"""Verdict on a result that leaves structure in the residual."""
UNDECIDED = "Photons do not decide: too few to say that the result is better than the image."
"""Verdict on a result whose score is not above the image's by more than two standard errors."""

_ABOVE_ONE = (
    "1 is perfect, and a score above 1 is no better: the noise of the image makes each score uncertain by "
    "the number behind ±. If a score is above 1 by more than twice that number, the noise of the image is "
    "probably not that of independent photons, and the score is too high."
)


@dataclass(frozen=True)
class ResultScore:
    """The score of a result without a truth.

    Attributes
    ----------
    held_out, held_out_error
        Share of the specimen's visible structure that the result explains, from photons that it has not seen,
        and its standard error. 1 is perfect, 0 explains nothing, and a result worse than a constant image is
        below 0. None if the noise is not photon noise.
    image_held_out
        The same for the image itself.
    gain, gain_error
        ``held_out`` minus ``image_held_out``, and its standard error, which is smaller than those of the two.
    correlations
        Fourier shell correlation of the two halves and of their results, lateral and axial; empty if the
        noise is not photon noise.
    residual
        Image minus what the result predicts.
    flux_in, flux_out
        Light of image and result above the dark level, in units of the image.
    photons
        True if the noise is photon noise.
    reason
        Sentence that explains ``photons``.
    noise
        Noise at the bright end as measured: standard deviation as a share of the range.
    blur
        Phrase that says which blur the result was judged with.
    sample
        The judged part of the volume: start and stop along each axis.
    seconds
        Duration of the measurement.
    volume
        Index of the judged volume along each leading axis with several; empty for an image with one volume.
    light_from_around
        Share of an even light that the PSF brings to the sample from around it; large for widefield haze.
    """

    held_out: float | None
    held_out_error: float | None
    image_held_out: float | None
    gain: float | None
    gain_error: float | None
    correlations: tuple[Correlation, ...]
    residual: Residual
    flux_in: float
    flux_out: float
    photons: bool
    reason: str
    noise: float
    blur: str
    sample: tuple[tuple[int, int], ...]
    seconds: float
    volume: Mapping[str, int] = field(default_factory=dict)
    light_from_around: float = 0.0

    @property
    def flux_ratio(self) -> float | None:
        """Light of the result as a share of the image's.

        None if the image has no light, or `is_mixed_with_light_from_around`.
        """
        if self.flux_in <= 0 or self.is_mixed_with_light_from_around:
            return None
        return self.flux_out / self.flux_in

    @property
    def is_mixed_with_light_from_around(self) -> bool:
        """True if so much light comes from around the sample that object and image need not have the same.

        The object's own light leaves the sample in turn: in a thin widefield stack, the object may have five
        times the light of its image.
        """
        return self.light_from_around > _MIXED

    @property
    def is_worse_than_image(self) -> bool:
        """True if the image explains the unseen photons better, by more than two standard errors."""
        return self.gain is not None and self.gain_error is not None and self.gain < -2 * self.gain_error

    @property
    def is_undecided(self) -> bool:
        """True if neither image nor result explains the unseen photons better, by two standard errors."""
        return self.gain is not None and self.gain_error is not None and abs(self.gain) < 2 * self.gain_error

    @property
    def leaves_structure(self) -> bool:
        """True if image and result differ by more than noise: by structure of several voxels."""
        return self.residual.correlation >= _STRUCTURE_LEFT

    @property
    def verdict(self) -> str:
        """Fault of the result or of its score in one sentence; empty if none was found."""
        if self.is_worse_than_image:
            return WORSE
        if self.leaves_structure:
            return BLUR_IN_DOUBT
        return UNDECIDED if self.is_undecided else ""

    @property
    def summary(self) -> str:
        """The score in one line, for a status bar."""
        flux = "" if self.flux_ratio is None else f" · light {percent_text(self.flux_ratio)}"
        residual = f"residual correlation {self.residual.correlation:z.2f}"
        indices = ", ".join(f"{name} {index}" for name, index in self.volume.items())
        judged = f"{indices}: " if indices else ""
        if self.held_out is None:
            return f"{judged}No held-out score: {self.reason} {residual.capitalize()}{flux}"
        lateral = next((found for found in self.correlations if found.direction == "lateral"), None)
        resolved = ""
        if lateral is not None and lateral.resolution_before and lateral.resolution_after:
            before, after = map(lateral.in_voxels, (lateral.resolution_before, lateral.resolution_after))
            resolved = f" · reproduced to {after} (image {before})"
        return (
            f"{judged}Held-out score {self.held_out:.3f} ± {self.held_out_error:.3f} "
            f"(image {self.image_held_out:.3f}){resolved} · {residual}{flux}"
        )

    def as_dict(self) -> dict[str, Any]:
        """Return all fields as plain JSON data."""
        entries = asdict(self)
        entries["correlations"] = [found.as_dict() for found in self.correlations]
        return {**entries, "sample": [list(pair) for pair in self.sample], "flux_ratio": self.flux_ratio}


def score(
    image: Any,
    result: Any,
    *,
    voxel_size: Sequence[float] | None = None,
    microscope: Any = None,
    psf: Any = None,
    psf_voxel_size: Sequence[float] | None = None,
    blur_sigma: Any = None,
    axes: str | None = None,
    volume: Mapping[str, int] | None = None,
    voxels: int | None = None,
    seed: int = 0,
    device: Any = "auto",
) -> ResultScore:
    """Score a result without a truth.

    The photons of a sample of the image are divided at random into two halves. The run is repeated on each of
    them, with the numbers that it found in the whole image. Each result is judged by the half that it has not
    seen. See the module for the formula.

    Compare scores only if they were made with the same blur and the same sample of the same image.

    Parameters
    ----------
    image
        Image that was deconvolved, as for `napari_lucyd.deconvolve`.
    result
        Result of `deconvolve`, its recipe, the name of a model, a model, a classical method, a function that
        takes and returns one array of a part's shape, or None for the image itself.
    voxel_size, microscope, psf, psf_voxel_size, blur_sigma
        Blur of the image, as for `deconvolve`. By default it is the one that the run was made with. A method
        that knows no blur is judged by a Gaussian that is found in the image.
    axes
        One letter for each axis of the image; by default the recipe's.
    volume
        Index of the volume along each leading axis, such as ``{"T": 3, "C": 0}``. By default the first
        channel in the middle of the others.
    voxels
        Number of voxels of the sample. By default a sixteenth of the volume, from 131,072 to 1,048,576, so
        that a score takes less than a quarter of the run's time.
    seed
        Seed of the division of the photons, 0 or more.
    device
        Device of the repeated runs; see `deconvolve`.

    Returns
    -------
    ResultScore
        The score. If the noise is not photon noise, it has no held-out score and no correlation.

    Raises
    ------
    TypeError, ValueError
        If an argument is invalid; the message says what to do.

    Examples
    --------
    >>> import numpy as np, napari_lucyd as nl
    >>> from scipy.ndimage import uniform_filter
    >>> truth = nl.make_structures("bodies", (12, 48, 48), rng=3, background=60).image
    >>> photons = np.random.default_rng(0).poisson(uniform_filter(truth, 5))
    >>> result = nl.deconvolve(photons, nl.RichardsonLucy(np.ones((5, 5, 5)), num_iter=10), device="cpu")
    >>> found = nl.score(photons, result, device="cpu")
    >>> found.held_out > found.image_held_out
    True
    """
    told = {
        "microscope": microscope,
        "psf": psf,
        "psf_voxel_size": psf_voxel_size,
        "blur_sigma": blur_sigma,
    }
    chosen = checks.integer("seed", seed, least=0)
    start = time.perf_counter()
    judged = judge(image, result, told, voxel_size, axes, volume, voxels, device)
    found = score_judged(judged, chosen)
    return replace(found, seconds=time.perf_counter() - start)


def note_above_one(*scores: float | None) -> str:
    """Explain scores above 1 to the user; empty if there are none."""
    return _ABOVE_ONE if any(score is not None and score > 1 for score in scores) else ""


def score_judged(judged: Judged, seed: int = 0) -> ResultScore:
    """Score a result that was prepared for its judgement; see `score`."""
    start = time.perf_counter()
    reblur = Reblur(judged.kernel, judged.image.shape)
    noise = judged.noise
    held_out = itself = None
    correlations: tuple[Correlation, ...] = ()
    if noise.poisson:
        halves = halves_of(judged.image, noise, seed)
        results = judged.run.restore(halves[0]), judged.run.restore(halves[1])
        held_out, itself = explained(reblur, halves, results), explained(reblur, halves, halves)
        correlations = shell_correlation(halves, results, judged.place.voxel_size)
    gain = None if held_out is None or itself is None else held_out.minus(itself)
    flux_in, flux_out = _flux(judged)
    axes = judged.place.axes
    return ResultScore(
        None if held_out is None else held_out.mean,
        None if held_out is None else held_out.standard_error,
        None if itself is None else itself.mean,
        None if gain is None else gain.mean,
        None if gain is None else gain.standard_error,
        correlations,
        residual_of(reblur, judged.image, judged.output, noise),
        flux_in,
        flux_out,
        noise.poisson,
        noise.reason,
        noise.noise,
        judged.blur,
        tuple((part.start, part.stop) for part in judged.part),
        time.perf_counter() - start,
        {name: index for name, index in axes.lead_index(judged.place.lead).items() if axes.size(name) > 1},
        reblur.light_from_around,
    )


def explained(reblur: Reblur, halves: tuple[Values, Values], results: tuple[Values, Values]) -> BlockScore:
    """Return the share of the visible structure that two results of two halves explain, block by block.

    Parameters
    ----------
    reblur
        Blur for parts of this shape.
    halves
        Independent halves of an image, each of its mean.
    results
        The result of each half.
    """
    inner = reblur.inner
    seen = [reblur.sharpened(half)[inner].astype(np.float64) for half in halves]
    predicted, scaled = [], []
    for half, result in zip(halves, results, strict=True):
        image, factor = reblur.predicted(result, half)
        predicted.append(reblur.sharpened(image)[inner].astype(np.float64))
        scaled.append(np.float32(factor) * result)
    hidden = reblur.hidden(scaled[0] - scaled[1])[inner].astype(np.float64)
    (a, b), (f, g) = seen, predicted
    error = np.square((f + g) / 2) - f * b - g * a + a * b + np.square(hidden) / 4
    structure = (a - a.mean()) * (b - b.mean())
    errors, total = block_sums(error), block_sums(structure)
    # Blocks are weighted by their structure, so that the mean of the score is a ratio of sums.
    return BlockScore(total - errors, total)


def _flux(judged: Judged) -> tuple[float, float]:
    """Return the light of the sample above the dark level, in the image and in the result."""
    level = find_dark_level(judged.image).level
    values = (judged.image, judged.output)
    first, second = (float(np.sum(array, dtype=np.float64)) - level * array.size for array in values)
    return first, second
