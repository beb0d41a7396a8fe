"""Work in a thread for the Trust section: score, trust map, planted beads and report of a result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from napari_lucyd._napari.inspection.run_layers import RunLayers, full
from napari_lucyd._napari.layers.results import place_region
from napari_lucyd._napari.workers import torch_loading
from napari_lucyd.spans import SPATIAL
from napari_lucyd.text import percent_text

SCORE, MAP, INTERVAL, BEADS = "score", "trust map", "interval", "planted beads"
REPORT, METHODS = "report", "methods"
# Mean square of the residual that is drawn in the brightest colour; 1 is that of the noise.
_BRIGHTEST = 4.0
# Share of unexplained voxels above which the map marks the blur rather than places of the result.
_MOST = 0.5


@dataclass(frozen=True)
class JudgeRequest:
    """A question about a result.

    Parameters
    ----------
    kind
        One of `SCORE`, `MAP`, `INTERVAL`, `BEADS`, `REPORT`, `METHODS`.
    run
        The layers of the run.
    volume
        Index of the shown volume along each leading axis of the image.
    number
        Number of the question: the same one may be asked twice.
    path
        File of the report.
    replace
        True to replace it if it exists.
    """

    kind: str
    run: RunLayers
    volume: dict[str, int]
    number: int
    path: Path | None = None
    replace: bool = False

    @property
    def key(self) -> Any:
        """See `LatestOnly`."""
        return self.number


@dataclass(frozen=True)
class Judgement:
    """The answer: a text, and data and keywords of layers; `problem` is True if it is a bad one."""

    kind: str
    text: str
    layers: tuple[tuple[Any, dict[str, Any]], ...] = ()
    problem: bool = False


def judge(request: JudgeRequest, should_stop: Callable[[], bool]) -> Judgement:
    """Answer a question.

    Raises
    ------
    ValueError
        If it cannot be answered, for example because the PSF of the run is not in its recipe.
    """
    torch_loading.load()
    from napari_lucyd import referee
    from napari_lucyd.deconvolution import Result
    from napari_lucyd.referee.scores.score import note_above_one

    run, kind = request.run, request.kind
    if "strength" in run.recipe:
        raise ValueError("This is a weaker version of a result. Choose the full output.")
    image, output = full(run.image), full(run.output)
    if kind == METHODS:
        return Judgement(kind, referee.methods_paragraph(run.recipe))
    result = Result(np.asarray(output), None, None, None, run.recipe)
    if kind == REPORT:
        made = referee.report(image, result, title=run.image.name, volume=request.volume)
        assert request.path is not None
        files = made.save(request.path, overwrite=request.replace)
        return Judgement(kind, f"Saved {' and '.join(file.name for file in files)}. {made.score.summary}")
    if kind == SCORE:
        score = referee.score(image, result, volume=request.volume)
        text = f"{score.verdict} {score.summary} {note_above_one(score.held_out)}".strip()
        return Judgement(kind, text, problem=bool(score.verdict))
    if kind == INTERVAL:
        return _interval(request, referee.interval(result))
    if kind == BEADS:
        text = referee.plant_beads(image, result, volume=request.volume).text()
        return Judgement(kind, f"{_judged(request)}{text}")
    return _trust_map(request, referee.trust_map(image, result, volume=request.volume))


def _judged(request: JudgeRequest) -> str:
    """Name the judged volume, such as ``"C 0: "``; empty for an image with one volume, as in a score."""
    sizes = dict(zip(request.run.recipe["axes"], full(request.run.image).shape, strict=True))
    indices = ", ".join(f"{name} {index}" for name, index in request.volume.items() if sizes[name] > 1)
    return f"{indices}: " if indices else ""


def _trust_map(request: JudgeRequest, found: Any) -> Judgement:
    from napari_lucyd.referee.scores.score import BLUR_IN_DOUBT

    run, judged = request.run, _judged(request)
    wrong = found.share > _MOST
    text = f"{BLUR_IN_DOUBT} " if wrong else ""
    text += (
        f"{judged}{percent_text(found.share, '.1f')} of the tested voxels are not explained (at most "
        f"{percent_text(found.false_discovery_rate)} of the marked blocks by chance). "
    )
    if found.significant.any():
        usual = float(np.sqrt(np.median(found.unexplained[found.significant])))
        text += (
            f"In half of these blocks the difference is at most {usual:.1f} times the noise; brighter "
            "colours mark larger differences. The more light an image has, the smaller are the differences "
            "that are found. "
        )
    text += f"Judged with {found.blur}."
    axes, shape = run.recipe["axes"], full(run.output).shape
    region = run.recipe.get("region") or [(0, size) for size in shape]
    start = [
        0 if name in SPATIAL else request.volume[name] - bounds[0]
        for name, bounds in zip(axes, region, strict=True)
    ]
    # NaN is transparent: the map marks, and leaves the rest of the result visible.
    marked = np.where(found.significant, found.unexplained, np.float32(np.nan))
    sizes = [size if name in SPATIAL else 1 for name, size in zip(axes, shape, strict=True)]
    keywords = {
        **place_region(run.place, start),
        # The volume comes first: long names are cut in the layer list.
        "name": f"{judged.replace(': ', ' · ')}not explained · {run.title}",
        "contrast_limits": [1.0, _BRIGHTEST],
        "colormap": "magma",
        "opacity": 0.7,
        "blending": "translucent_no_depth",
        "metadata": run.metadata("trust_map", false_discovery_rate=found.false_discovery_rate),
    }
    return Judgement(MAP, text, ((marked.reshape(sizes), keywords),), problem=wrong)


def _interval(request: JudgeRequest, found: Any) -> Judgement:
    if found.lower is None:
        return Judgement(INTERVAL, found.reason)
    run, output = request.run, request.run.output
    layers = tuple(
        (
            data,
            {
                **run.place,
                "name": f"{name} limit · {run.title}",
                "contrast_limits": output.contrast_limits,
                "colormap": output.colormap,
                "gamma": output.gamma,
                "blending": "translucent_no_depth",
                "visible": False,
                "metadata": run.metadata(f"{name}_limit", coverage=found.coverage),
            },
        )
        for name, data in (("lower", found.lower), ("upper", found.upper))
    )
    text = (
        f"Two hidden layers, lower and upper limit ({percent_text(found.coverage)} of the voxels)"
        f"{', for all channels and time points' if _judged(request) else ''}. "
        f"{found.reason}"
    )
    return Judgement(INTERVAL, text, layers)
