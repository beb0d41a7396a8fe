"""Export of a comparison: tables as CSV, a figure as PNG, and the sentences of the panel as text."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from qtpy.QtCore import QRectF
from qtpy.QtGui import QColor, QImage, QPainter

from napari_lucyd._napari.compare.views import profile_plot, projections_view
from napari_lucyd._napari.compare.views.painting import FIGURE, painting, to_image, write
from napari_lucyd._napari.compare.worker import LayerProjections, Metrics, Profile

_STEM = "comparison"
_METRICS, _PROFILE, _FIGURE, _NOTES = "_metrics.csv", "_profile.csv", ".png", "_notes.txt"
# Sizes in pixels, for a page at print resolution.
_WIDTH = 1600
_MARGIN = 30
_PLOT = 560
_NARROWEST = 300


@dataclass(frozen=True)
class Comparison:
    """Content of an export; parts that are None or empty are left out.

    Parameters
    ----------
    metrics, profile, views
        The results that the panel shows.
    numbers
        Numbers of the layers, for their colours.
    canvas
        The side-by-side view, (height, width, 4) uint8, or None.
    notes
        Sentences below the tables and pictures of the panel: remarks, agreement with the image, held-out
        scores and widths.
    """

    metrics: Metrics | None = None
    profile: Profile | None = None
    views: Sequence[LayerProjections] = ()
    numbers: Mapping[str, int] = field(default_factory=dict)
    canvas: np.ndarray | None = None
    notes: Sequence[str] = ()


def write_comparison(folder: Path, comparison: Comparison) -> list[Path]:
    """Write a comparison. Existing files are never overwritten; the new ones get a number.

    Call it off the window's thread.

    Parameters
    ----------
    folder
        An existing folder.
    comparison
        The content.

    Raises
    ------
    OSError
        If a file cannot be written.
    """
    figure = draw_figure(comparison)
    suffixes = [
        suffix
        for suffix, part in (
            (_METRICS, comparison.metrics),
            (_PROFILE, comparison.profile),
            (_FIGURE, figure),
            (_NOTES, comparison.notes or None),
        )
        if part is not None
    ]
    stem = _free(folder, suffixes)
    paths = []
    if comparison.metrics is not None:
        paths.append(_write_table(folder / (stem + _METRICS), metrics_table(comparison.metrics)))
    if comparison.profile is not None:
        paths.append(_write_table(folder / (stem + _PROFILE), profile_table(comparison.profile)))
    if figure is not None:
        paths.append(folder / (stem + _FIGURE))
        if not figure.save(str(paths[-1]), "PNG"):
            raise OSError(
                f"{paths[-1]} cannot be written. Check the free disk space and the permissions of the folder."
            )
    if comparison.notes:
        paths.append(folder / (stem + _NOTES))
        with paths[-1].open("x", encoding="utf-8") as stream:
            stream.write("\n\n".join(comparison.notes) + "\n")
    return paths


def metrics_table(metrics: Metrics) -> list[list[Any]]:
    """Make the rows of the metrics, the heading first."""
    head = ["layer", "truth", "position", "PSNR (dB)", "SSIM global", "SSIM windowed", "remarks"]
    rows = [
        [
            row.name,
            metrics.truth,
            metrics.position,
            *("" if value is None else value for value in row_values(row.scores)),
            "; ".join(row.scores.remarks),
        ]
        for row in metrics.rows
    ]
    return [head, *rows]


def row_values(scores: Any) -> tuple[float | None, ...]:
    """Return PSNR, global and windowed SSIM."""
    return scores.psnr, scores.ssim_global, scores.ssim_windowed


def profile_table(profile: Profile) -> list[list[Any]]:
    """Make the rows of the profile: distance, position in the world, and the value of each layer."""
    unit = profile.unit
    head = [f"distance ({unit})", *(f"{name.lower()} ({unit})" for name in profile.axes)]
    head += [curve.name + (" (truth)" if curve.is_truth else "") for curve in profile.curves]
    rows = []
    for index, distance in enumerate(profile.distance):
        values = [curve.values[index] for curve in profile.curves]
        place = profile.points[index]
        rows.append(
            [
                f"{distance:.9g}",
                *(f"{value:.9g}" for value in place),
                *("" if np.isnan(value) else f"{value:.9g}" for value in values),
            ]
        )
    return [head, *rows]


def draw_figure(comparison: Comparison) -> QImage | None:
    """Draw side-by-side view, projections and profile below each other; None if there is nothing to draw."""
    width = _WIDTH - 2 * _MARGIN
    line = FIGURE.size * 1.5
    blocks: list[tuple[str, float]] = []
    if comparison.canvas is not None:
        rows, columns = comparison.canvas.shape[:2]
        blocks.append(("Side by side", rows * width / columns))
    if comparison.views:
        grid = projections_view.arrange(comparison.views, width, _NARROWEST, line)
        blocks.append((_projected(comparison.views), grid.height(len(comparison.views))))
    if comparison.profile is not None:
        legend = 1.2 * line * len(comparison.profile.curves)
        blocks.append(("Line profile", _PLOT + legend))
    if not blocks:
        return None
    height = sum(size + line + _MARGIN for _, size in blocks) + _MARGIN
    image = QImage(_WIDTH, int(height), QImage.Format.Format_RGB32)
    image.fill(QColor(FIGURE.paper))
    with painting(image) as painter:
        top = float(_MARGIN)
        for title, size in blocks:
            FIGURE.begin(painter)
            font = painter.font()
            font.setBold(True)
            painter.setFont(font)
            write(painter, QRectF(_MARGIN, top, width, line), title)
            font.setBold(False)
            painter.setFont(font)
            top += line
            _draw_block(painter, QRectF(_MARGIN, top, width, size), title, comparison)
            top += size + _MARGIN
    return image


def _projected(views: Sequence[LayerProjections]) -> str:
    axial = any(view.axial is not None for view in views)
    return "Maximum along Z, and below along Y" if axial else "Images"


def _draw_block(painter: QPainter, where: QRectF, title: str, comparison: Comparison) -> None:
    if title == "Line profile" and comparison.profile is not None:
        profile_plot.draw(painter, where, comparison.profile, comparison.numbers, FIGURE, legend=True)
    elif title == "Side by side" and comparison.canvas is not None:
        painter.drawImage(where, to_image(comparison.canvas))
    else:
        projections_view.draw(painter, where, comparison.views, comparison.numbers, FIGURE, _NARROWEST)


def _write_table(path: Path, rows: Sequence[Sequence[Any]]) -> Path:
    # Mode x: a file that appeared meanwhile is not overwritten either.
    with path.open("x", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows(rows)
    return path


def _free(folder: Path, suffixes: Sequence[str]) -> str:
    stem, number = _STEM, 1
    while any((folder / (stem + suffix)).exists() for suffix in suffixes):
        number += 1
        stem = f"{_STEM}_{number}"
    return stem
