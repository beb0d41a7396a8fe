"""Report of a run as HTML and JSON."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from napari_lucyd import checks
from napari_lucyd.deconvolution import Result
from napari_lucyd.io.atomic import check_destination, replacing
from napari_lucyd.referee.reports.figures import curves, middle_plane, picture
from napari_lucyd.referee.reports.paragraph import methods_paragraph
from napari_lucyd.referee.scores.correlation import THRESHOLD
from napari_lucyd.referee.scores.judged import judge
from napari_lucyd.referee.scores.score import ResultScore, score_judged
from napari_lucyd.text import percent_text

_STYLE = (
    "body{font-family:sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}"
    "figure{display:inline-block;margin:.5rem 1rem .5rem 0;vertical-align:top}figcaption{font-size:.85rem}"
    "table{border-collapse:collapse}td,th{padding:.2rem .8rem .2rem 0;text-align:left;vertical-align:top}"
    "pre,textarea{width:100%;font-size:.8rem;white-space:pre-wrap}textarea{height:9rem}"
)


@dataclass(frozen=True, eq=False)
class Report:
    """Report of one result.

    Attributes
    ----------
    recipe
        Recipe of the run.
    score
        Score of the result.
    methods
        Paragraph for the methods section of a paper.
    title
        Title, such as the name of the image.
    warnings
        Messages of the run.
    """

    recipe: Mapping[str, Any]
    score: ResultScore
    methods: str
    title: str
    warnings: tuple[str, ...] = ()
    _figures: tuple[str, ...] = field(default=(), repr=False)

    def as_dict(self) -> dict[str, Any]:
        """Return everything but the figures as plain JSON data."""
        return {
            "title": self.title,
            "score": self.score.as_dict(),
            "methods": self.methods,
            "warnings": list(self.warnings),
            "recipe": dict(self.recipe),
        }

    def html(self) -> str:
        """Return the report as one HTML page that needs no other file."""
        rows = "".join(
            f"<tr><th>{html.escape(name)}</th><td>{html.escape(text)}</td></tr>"
            for name, text in _table(self.score)
        )
        notes = "".join(f"<li>{html.escape(text)}</li>" for text in self.warnings)
        recipe = html.escape(json.dumps(dict(self.recipe), indent=1, ensure_ascii=False))
        return (
            '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
            f"<title>{html.escape(self.title)}</title><style>{_STYLE}</style></head><body><h1>{html.escape(self.title)}</h1>"
            f"<table>{rows}</table>{''.join(self._figures)}"
            + (f"<h2>Messages</h2><ul>{notes}</ul>" if notes else "")
            + f"<h2>Methods paragraph</h2><textarea readonly>{html.escape(self.methods)}</textarea>"
            f"<h2>Recipe</h2><pre>{recipe}</pre></body></html>\n"
        )

    def save(self, path: str | Path, *, overwrite: bool = False) -> list[Path]:
        """Write the HTML page, and the JSON data beside it under the same name.

        Parameters
        ----------
        path
            File, ending in ``.html``.
        overwrite
            True to replace existing files.

        Returns
        -------
        list of Path
            The two files.

        Raises
        ------
        ValueError
            If the name ends otherwise.
        ImageFileError
            If a file exists and ``overwrite`` is False, or cannot be written.
        """
        page = checks.path("path", path)
        if page.suffix.lower() not in (".html", ".htm"):
            raise ValueError(
                f"The report is written as HTML; give a name that ends in .html, not {page.name!r}."
            )
        files = [page, page.with_suffix(".json")]
        for file in files:
            check_destination(file, overwrite)
        data = json.dumps(self.as_dict(), indent=1, ensure_ascii=False)
        for file, text in zip(files, (self.html(), data + "\n"), strict=True):
            with replacing(file, overwrite) as temporary:
                temporary.write_text(text, "utf-8")
        return files


def report(image: Any, result: Result, *, title: str = "Deconvolution report", **options: Any) -> Report:
    """Score a result and make a report of it, with figures.

    Parameters
    ----------
    image
        Image that was deconvolved.
    result
        Result of `deconvolve`.
    title
        Title of the report, such as the name of the image.
    **options
        See `napari_lucyd.score`.

    Returns
    -------
    Report
        Report, which `Report.save` writes.

    Raises
    ------
    TypeError, ValueError
        If ``result`` is not a result of `deconvolve`, or as `napari_lucyd.score`.

    Examples
    --------
    >>> import numpy as np, napari_lucyd as nl
    >>> image = np.random.default_rng(0).poisson(9, (40, 40))
    >>> made = nl.report(image, nl.deconvolve(image, nl.Wiener(np.ones((3, 3))), device="cpu"))
    >>> made.html()[:15], sorted(made.as_dict())
    ('<!DOCTYPE html>', ['methods', 'recipe', 'score', 'title', 'warnings'])
    """
    if not isinstance(result, Result):
        raise TypeError(f"result is {checks.shown(result)}; give a result of deconvolve.")
    told = {name: options.pop(name, None) for name in ("microscope", "psf", "psf_voxel_size", "blur_sigma")}
    seed = checks.integer("seed", options.pop("seed", 0), least=0)
    judged = judge(image, result, told, **options)
    found = score_judged(judged, seed)
    planes = [middle_plane(values) for values in (judged.image, judged.output)]
    limits = [tuple(float(v) for v in np.percentile(plane, (1, 99.9))) for plane in planes]
    figures = [
        picture(plane, (low, high), f"{name}, middle of the judged sample, {low:.4g} to {high:.4g}")
        for name, plane, (low, high) in zip(("Image", "Result"), planes, limits, strict=True)
    ]
    figures += [
        curves(
            one.frequencies,
            {"image": one.before, "result": one.after},
            (
                f"spatial frequency, {one.direction} (1 / {_unit(judged.place.voxel_size)})",
                "correlation of two halves",
            ),
            THRESHOLD,
        )
        for one in found.correlations
    ]
    return Report(
        result.recipe, found, methods_paragraph(result.recipe, found), title, result.warnings, tuple(figures)
    )


def _unit(voxel_size: Any) -> str:
    return "voxel" if voxel_size is None else "unit of the voxel size"


def _table(score: ResultScore) -> list[tuple[str, str]]:
    """Return the rows of the report's table."""
    rows = []
    if score.held_out is None:
        rows.append(("Held-out score", f"None: {score.reason}"))
    else:
        rows += [
            ("Held-out score", f"{score.held_out:.4f} ± {score.held_out_error:.4f} (1 is perfect)"),
            ("Score of the image", f"{score.image_held_out:.4f}"),
            ("Gain over the image", f"{score.gain:+.4f} ± {score.gain_error:.4f}"),
        ]
    for found in score.correlations:
        before, after = map(found.in_voxels, (found.resolution_before, found.resolution_after))
        rows.append((f"Reproduced detail, {found.direction}", f"{after} (image: {before})"))
    residual = score.residual
    variance = "" if residual.variance is None else f", variance {residual.variance:.2f} (1 is expected)"
    rows.append(("Residual", f"correlation of neighbours {residual.correlation:z.3f} (0 is white){variance}"))
    ratio = "" if score.flux_ratio is None else f" ({percent_text(score.flux_ratio, '.1f')})"
    if score.is_mixed_with_light_from_around:
        ratio = " (not comparable: the PSF brings much of the light from around the sample)"
    rows += [
        ("Light of image and result", f"{score.flux_in:.4g} and {score.flux_out:.4g} grey levels{ratio}"),
        ("Noise", f"{100 * score.noise:.2g} % of the range at the bright end. {score.reason}"),
        ("Judged with", score.blur),
        ("Judged part", " × ".join(f"{low}–{high - 1}" for low, high in score.sample)),
    ]
    return rows
