"""A result prepared for its judgement: the volume, a sample of it, its noise and its blur."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_lucyd import checks
from napari_lucyd.compute.device import choose_device
from napari_lucyd.deconvolution import ClassicalMethod, Result, Source
from napari_lucyd.deconvolution.classical.automatic import decide
from napari_lucyd.deconvolution.classical.semi_blind import USUAL_BLUR, SemiBlind
from napari_lucyd.deconvolution.first_stage.blur import check_blur
from napari_lucyd.photons import NoiseModel, estimate_noise
from napari_lucyd.photons.sampling import between_empty_ends
from napari_lucyd.psf.gaussian import gaussian_psf
from napari_lucyd.referee.sample import draw_volume_sample
from napari_lucyd.referee.scores.rerun import TOLD, Place, Rerun, as_request, rerun
from napari_lucyd.referee.scores.samples import Values, contrast_part
from napari_lucyd.spans import Span

# The sample is this share of the volume. A score, with its two runs on the sample, then takes less than a
# quarter of the run's time. It has at least and at most these numbers of voxels.
_SHARE, _FEWEST_VOXELS, _MOST_VOXELS = 1 / 16, 2**17, 2**20
# Voxels in which an unknown blur is looked for.
_SEARCH_VOXELS = 2**17


@dataclass(frozen=True, eq=False)
class Judged:
    """A result with all that is needed to judge it: the volume, a sample of it, its noise and its blur.

    Attributes
    ----------
    image, output
        The sample of image and result, float32.
    place, part
        The volume, and the sample's slices in it.
    shape
        Shape of the volume, or of its computed region.
    run
        The run, to be repeated on parts.
    kernel, blur
        PSF, and a phrase that says where it comes from.
    noise
        Noise model of the volume.
    is_network
        True if the run is a network's.
    """

    image: Values
    output: Values
    place: Place
    part: tuple[slice, ...]
    shape: tuple[int, ...]
    run: Rerun
    kernel: Values
    blur: str
    noise: NoiseModel
    is_network: bool


def judge(
    image: Any,
    result: Any,
    told: Mapping[str, Any],
    voxel_size: Sequence[float] | None = None,
    axes: str | None = None,
    volume: Mapping[str, int] | None = None,
    voxels: int | None = None,
    device: Any = "auto",
    whole: bool = False,
    with_output: bool = True,
    by: tuple[Values, str] | None = None,
) -> Judged:
    """Prepare the judgement of a result; see `score` for the arguments.

    Parameters
    ----------
    whole
        True to take the whole volume instead of a sample, but for empty planes at its ends.
    with_output
        False to leave the result out, where it is not needed: it may have to be computed.
    by
        PSF to judge by, and a phrase that says where it comes from, in place of the run's own.
    """
    recipe = result.recipe if isinstance(result, Result) else result if isinstance(result, Mapping) else {}
    request = as_request(result, image, axes or recipe.get("axes"), told)
    dimension = request.model.dimension if request is not None else min(3, max(2, np.ndim(image)))
    source = Source(image, dimension, axes or recipe.get("axes"))
    lead = _lead(source, volume)
    steps = voxel_size if voxel_size is not None else recipe.get("voxel_size")
    steps = None if steps is None else tuple(float(step) for step in steps)[-dimension:]
    spans = _computed_spans(source, recipe)
    shape = tuple(span.size for span in spans)
    view = _View(source, lead, spans)
    if voxels is None:
        wanted = int(min(_MOST_VOXELS, max(_FEWEST_VOXELS, _SHARE * math.prod(shape))))
    else:
        wanted = checks.integer("voxels", voxels, least=4096)
    first, shown = 0, view
    if len(shape) == 3:
        # Planes at the ends that a program has filled in show nothing of the specimen.
        first, last = between_empty_ends(shape[0], view.plane)
        shown = view.of_planes(first, last)
    part = tuple(slice(0, n) for n in shown.shape) if whole else contrast_part(shown, wanted)
    part = (slice(part[0].start + first, part[0].stop + first), *part[1:])
    values = _finite(view[part])
    place = Place(source.axes, lead, values.shape, steps)
    run = rerun(result, request, place, device=device)
    given = _whole_output(result, source, lead, spans)
    if not with_output:
        output = values
    elif given is None:
        output = run.restore(values)
    else:
        output = _finite(given[part])
    try:
        noise = estimate_noise(draw_volume_sample(source, lead).values)
    except ValueError:
        noise = NoiseModel(0.0, 0.0, 0.0, 0.0, False, "The image is too small to measure its noise.")
    kernel, blur = _kernel(told, run, place, shown, noise, device) if by is None else by
    is_network = request is not None and not isinstance(request.model, ClassicalMethod)
    return Judged(values, output, place, part, shape, run, kernel, blur, noise, is_network)


class _View:
    """One volume, or a region of it, that is read when it is indexed."""

    def __init__(self, source: Source, lead: tuple[int, ...], spans: Sequence[Span]) -> None:
        self._source, self._lead, self._spans = source, lead, spans
        self.shape = tuple(span.size for span in spans)

    def __getitem__(self, index: Any) -> npt.NDArray[Any]:
        spans, steps = [], []
        for part, span in zip(index, self._spans, strict=True):
            low, high, step = part.indices(span.size)
            spans.append(Span(span.start + low, span.start + high))
            steps.append(slice(None, None, step))
        return self._source.read(self._lead, spans)[tuple(steps)]

    def plane(self, z: int) -> npt.NDArray[Any]:
        """Read a plane of a volume."""
        return self[(slice(z, z + 1), slice(None), slice(None))]

    def of_planes(self, start: int, stop: int) -> _View:
        """Return the view of a range of planes of a volume."""
        first, *across = self._spans
        return _View(self._source, self._lead, [Span(first.start + start, first.start + stop), *across])


def _computed_spans(source: Source, recipe: Mapping[str, Any]) -> list[Span]:
    """Return the part of a volume that was computed, along its spatial axes."""
    spans = [Span(0, n) for n in source.axes.volume_shape]
    region = recipe.get("region")
    if region is not None and len(region) == len(source.axes.names):
        by_axis = dict(zip(source.axes.names, region, strict=True))
        spans = [
            Span(*by_axis[name]) if name in by_axis else span
            for name, span in zip(source.axes.letters, spans, strict=True)
        ]
    return spans


def _whole_output(result: Any, source: Source, lead: Sequence[int], spans: Sequence[Span]) -> Any:
    """Return the result's volume, along (Z,) Y, X; None if there is none."""
    if not isinstance(result, Result) or result.output is None:
        return None
    output, axes = result.output, source.axes
    starts = dict.fromkeys(axes.leading, 0)
    region = result.recipe.get("region")
    if region is not None and len(region) == len(axes.names):
        starts |= {
            name: part[0] for name, part in zip(axes.names, region, strict=True) if name in axes.leading
        }
    index = tuple(
        dict(zip(axes.leading, lead, strict=True))[name] - starts[name]
        if name in axes.leading
        else slice(None)
        for name in axes.names
    )
    there = output[index]
    shape = tuple(span.size for span in spans)
    if there.size != math.prod(shape):
        raise ValueError(
            f"The result has shape {output.shape}, which does not fit the image of shape {axes.shape}; give "
            "the image that was deconvolved."
        )
    return np.asarray(there).reshape(shape)


def _lead(source: Source, volume: Mapping[str, int] | None) -> tuple[int, ...]:
    axes, given = source.axes, dict(volume or {})
    unknown = [name for name in given if name not in axes.leading]
    if unknown:
        raise ValueError(
            f"volume names the axes {', '.join(unknown)}; the leading axes of this image are "
            f"{', '.join(axes.leading) or 'none'}."
        )
    lead = []
    for name in axes.leading:
        size = axes.size(name)
        number = given.get(name, 0 if name == "C" else size // 2)
        if not 0 <= number < size:
            raise ValueError(f"volume has {name} {number}; this axis has the indices 0 to {size - 1}.")
        lead.append(int(number))
    return tuple(lead)


def _finite(values: npt.NDArray[Any]) -> Values:
    ready = np.asarray(values, np.float32)
    known = np.isfinite(ready)
    if known.all():
        return np.ascontiguousarray(ready)
    if not known.any():
        raise ValueError("The image has no finite voxel; there is nothing to score.")
    return np.where(known, ready, np.float32(np.median(ready[known])))


def _kernel(
    told: Mapping[str, Any], run: Rerun, place: Place, view: _View, noise: NoiseModel, device: Any
) -> tuple[Values, str]:
    """Return the PSF to judge by, and a phrase that says where it comes from."""
    if any(told[name] is not None for name in TOLD):
        blur = check_blur(**told, axes=place.part_axes, steps=place.voxel_size)
        return blur.kernel(place.channel if len(blur.kernels) > 1 else 0), "the blur that was given"
    if run.kernel is not None:
        return run.kernel, run.blur
    flat = len(place.shape) == 2 or place.shape[0] == 1
    usual = (USUAL_BLUR,) * len(place.shape)
    if not noise.poisson:
        return gaussian_psf(usual), f"a Gaussian of {USUAL_BLUR} voxels, which was assumed"
    part = _finite(view[contrast_part(view, _SEARCH_VOXELS)])
    stack = part if part.ndim == 3 else part[None]
    method, _ = SemiBlind().prepared(None, stack.shape)
    chosen = choose_device(device) if isinstance(device, str) else device
    search = decide(method, stack, chosen, lambda: None)
    while True:
        try:
            next(search)
        except StopIteration as end:
            found = end.value.record.get("sigma_found", [USUAL_BLUR])
            break
    sigmas = (0.0, found[0], found[0]) if flat else (found[0], found[-1], found[-1])
    return gaussian_psf(sigmas[3 - len(place.shape) :]), "a Gaussian blur that was found in the image"
