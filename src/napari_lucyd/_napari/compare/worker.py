"""Computation of metrics, profile and projections, for worker threads; nothing here touches the window."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_lucyd._napari.compare.snapshot import LayerSnapshot, Line
from napari_lucyd._napari.layers.axis_order import why_unpaired
from napari_lucyd._napari.workers import garbage_collection, torch_loading
from napari_lucyd._napari.workers.events import explain
from napari_lucyd.text import axes_text, bytes_text

if TYPE_CHECKING:
    from napari_lucyd.evaluation.comparison import Scores
    from napari_lucyd.evaluation.projections import Projections

# Both images in float64, and the largest arrays of the windowed SSIM.
_BYTES_A_VOXEL = 136
# More pixels are visible neither in the panel nor in the figure, and take time to draw.
_PIXELS = 640
_UNSEEN = 127


@dataclass(frozen=True, eq=False)
class MetricsRequest:
    """Images to compare with the ground truth."""

    truth: LayerSnapshot
    images: tuple[LayerSnapshot, ...]

    @property
    def key(self) -> Any:
        """Value that identifies the metrics."""
        return [(one.values_key, one.place) for one in (self.truth, *self.images)]


@dataclass(frozen=True)
class Row:
    """Metrics of one layer."""

    name: str
    scores: Scores


@dataclass(frozen=True)
class Metrics:
    """Table of metrics at one position."""

    truth: str
    position: str
    rows: tuple[Row, ...]


@dataclass(frozen=True, eq=False)
class ProfileRequest:
    """Layers to sample along a line; `truth` is True if the first is the ground truth."""

    line: Line
    images: tuple[LayerSnapshot, ...]
    truth: bool

    @property
    def key(self) -> Any:
        """Value that identifies the profile."""
        return self.truth, self.line.key, [one.values_key for one in self.images]


@dataclass(frozen=True)
class Curve:
    """Values of one layer along a line, NaN outside the layer.

    `width` is that of the highest peak (FWHM); `in_pixels` is True if the layer has no unit of length.
    """

    name: str
    values: np.ndarray
    is_truth: bool
    is_factor: bool
    width: float | None = None
    in_pixels: bool = False


@dataclass(frozen=True)
class Profile:
    """Curves over the distance from the line's start in `unit`; `points` are the positions, (n, axes)."""

    unit: str
    axes: str
    distance: np.ndarray
    points: np.ndarray
    curves: tuple[Curve, ...]


@dataclass(frozen=True, eq=False)
class ProjectionsRequest:
    """Layers to project."""

    images: tuple[LayerSnapshot, ...]

    @property
    def key(self) -> Any:
        """Value that identifies the projections."""
        return [one.look_key for one in self.images]


@dataclass(frozen=True)
class Picture:
    """Pixels, (height, width, 4) uint8, and their size in the world."""

    pixels: np.ndarray
    height: float
    width: float


@dataclass(frozen=True)
class LayerProjections:
    """Projections of one layer in its colours, or the reason why there are none."""

    name: str
    lateral: Picture | None = None
    axial: Picture | None = None
    problem: str = ""


def measure(request: MetricsRequest, should_stop: Callable[[], bool]) -> Metrics:
    """Compute the metrics of images against the ground truth."""
    with garbage_collection.held():
        torch_loading.load()
        truth: np.ndarray | None = None
        rows = []
        for image in request.images:
            if should_stop():
                break
            remark = _why_not(image, request.truth)
            if not remark and truth is None:
                truth = read_volume(request.truth)
            rows.append(_row(image, request.truth, truth, remark, should_stop))
        return Metrics(request.truth.name, request.truth.position, tuple(rows))


def _row(
    image: LayerSnapshot,
    of: LayerSnapshot,
    truth: np.ndarray | None,
    remark: str,
    should_stop: Callable[[], bool],
) -> Row:
    from napari_lucyd.evaluation.comparison import Scores, score

    if remark or truth is None:
        return Row(image.name, Scores(remarks=(remark,)))
    try:
        scores = score(read_volume(image), truth, should_stop)
    except Exception as error:  # any error is reported in the table; the others continue
        return Row(image.name, Scores(remarks=(explain(error),)))
    if image.place != of.place:
        elsewhere = "its position differs from that of the ground truth; voxels are compared by index"
        scores = Scores(scores.psnr, scores.ssim_global, scores.ssim_windowed, (*scores.remarks, elsewhere))
    return Row(image.name, scores)


def _why_not(image: LayerSnapshot, truth: LayerSnapshot) -> str:
    from napari_lucyd.compute.device import cpu, free_memory

    if not image.is_image:
        what = image.quantity.replace("_", " ")
        return f"{'an' if what[0] in 'aeiou' else 'a'} {what} cannot be compared with a ground truth"
    if problem := shape_problem(image, truth, "the ground truth"):
        return problem
    size = _BYTES_A_VOXEL * int(np.prod([size for _, size in _volume_shape(image)], dtype=object))
    free = free_memory(cpu())
    if size > free:
        return f"its metrics need {bytes_text(size)} of memory, and only {bytes_text(free)} are free"
    return ""


def shape_problem(image: LayerSnapshot, other: LayerSnapshot, name: str) -> str:
    """Say why two layers cannot be compared voxel by voxel; empty if axes and shapes agree."""
    if problem := why_unpaired(image.axes, other.axes):
        return problem
    shapes = [_volume_shape(one) for one in (image, other)]
    if shapes[0] == shapes[1]:
        return ""
    own, wanted = (axes_text(*zip(*shape, strict=True)) for shape in shapes)
    return f"its shape is {own}, and that of {name} is {wanted}. Tick layers of equal shape, or crop one"


def _volume_shape(image: LayerSnapshot) -> list[tuple[str, int]]:
    return [(name, n) for name, n in zip(image.axes, image.source.shape, strict=True) if name in "ZYX"]


def read_volume(image: LayerSnapshot) -> np.ndarray:
    """Read the shown volume of a layer."""
    at = iter(image.lead)
    index = tuple(slice(None) if name in "ZYX" else next(at) for name in image.axes)
    return np.asarray(image.source.data[index])


def trace(request: ProfileRequest, should_stop: Callable[[], bool]) -> Profile:
    """Sample layers along a line."""
    with garbage_collection.held():
        # A neighbour of `sample_line` imports torch; the first import must not stop the window.
        torch_loading.load()
        from napari_lucyd.evaluation.line_profile import find_peaks, points_along, sample_line

        line = request.line
        count = points_along([np.linalg.norm(ends[1] - ends[0]) for ends in line.ends])
        curves = []
        for number, (image, ends) in enumerate(zip(request.images, line.ends, strict=True)):
            if should_stop():
                break
            values = sample_line(image.source.data, ends[0], ends[1], count)
            peaks = find_peaks(values, line.length / (count - 1))
            width = max(peaks, key=lambda peak: peak.height).fwhm if peaks else None
            is_truth, in_pixels = request.truth and number == 0, image.source.unit_um is None
            curves.append(Curve(image.name, values, is_truth, image.is_factor, width, in_pixels))
        return Profile(
            line.unit,
            line.axes,
            np.linspace(0, line.length, count),
            np.linspace(line.start, line.stop, count),
            tuple(curves),
        )


@dataclass
class Projector:
    """Projects layers and keeps the projections: other contrast limits read nothing again."""

    _known: OrderedDict[Any, tuple[LayerSnapshot, Projections]] = field(default_factory=OrderedDict)

    def project(self, request: ProjectionsRequest, should_stop: Callable[[], bool]) -> list[LayerProjections]:
        """Project layers along Z and Y; one call at a time."""
        wanted = {one.values_key for one in request.images}
        for key in [key for key in self._known if key not in wanted]:
            del self._known[key]
        with garbage_collection.held():
            torch_loading.load()
            views = []
            for image in request.images:
                if should_stop():
                    break
                views.append(self._view(image, should_stop))
            return views

    def _view(self, image: LayerSnapshot, should_stop: Callable[[], bool]) -> LayerProjections:
        from napari_lucyd.evaluation.projections import project_maximum

        key = image.values_key
        if key not in self._known:
            try:
                found = project_maximum(image.source.data, image.axes, image.lead, should_stop)
            except Exception as error:  # reported in its place; the others continue
                return LayerProjections(image.name, problem=explain(error))
            if found is None:
                return LayerProjections(image.name)
            # The layer is kept too, so that no new array can get the id of a deleted one.
            self._known[key] = image, found
        lateral, axial = self._known[key][1]
        steps = dict(zip(image.axes, image.source.steps, strict=True))
        z, y, x = (_step(steps.get(name, 1.0)) for name in "ZYX")
        return LayerProjections(
            image.name,
            _picture(lateral, (y, x), image),
            None if axial is None else _picture(axial, (z, x), image),
        )


def _step(step: float) -> float:
    return step if np.isfinite(step) and step > 0 else 1.0


def _picture(values: np.ndarray, steps: Sequence[float], image: LayerSnapshot) -> Picture:
    height, width = (n * step for n, step in zip(values.shape, steps, strict=True))
    for axis in (0, 1):
        times = -(-values.shape[axis] // _PIXELS)
        if times > 1:
            values = np.fmax.reduceat(values, range(0, values.shape[axis], times), axis=axis)
    low, high = image.source.display["contrast_limits"]
    last = len(image.lut) - 1
    levels = np.nan_to_num((values - low) * (last / ((high - low) or 1)), nan=0, posinf=last, neginf=0)
    pixels = image.lut[np.clip(np.rint(levels), 0, last).astype(int)]
    pixels[np.isnan(values)] = (_UNSEEN, _UNSEEN, _UNSEEN, 255)
    return Picture(np.ascontiguousarray(pixels), height, width)
