"""Figures of a report: planes as PNG and curves as SVG, inside the HTML, so that one file is enough."""

from __future__ import annotations

import base64
import html
import struct
import zlib
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

_COLOURS = ("#3366aa", "#cc5533", "#228855")
# Largest size of a picture in pixels; larger ones are reduced.
_LARGEST = 512
_WIDTH, _HEIGHT, _MARGIN = 420, 240, 44


def middle_plane(values: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    """Return the middle plane of a volume, or the plane itself."""
    return values[len(values) // 2] if values.ndim == 3 else values


def picture(plane: npt.NDArray[np.floating], limits: tuple[float, float], caption: str) -> str:
    """Return a plane as an HTML figure.

    Parameters
    ----------
    plane
        (Y, X).
    limits
        Values that are black and white.
    caption
        Text below it.
    """
    step = max(1, -(-max(plane.shape) // _LARGEST))
    low, high = limits
    scaled = (np.nan_to_num(plane[::step, ::step]) - low) / max(high - low, 1e-30)
    pixels = (np.clip(scaled, 0, 1) * 255).round().astype(np.uint8)
    data = base64.b64encode(_png(pixels)).decode()
    return (
        f'<figure><img src="data:image/png;base64,{data}" width="{max(256, pixels.shape[1])}" '
        f'alt="{html.escape(caption)}"><figcaption>{html.escape(caption)}</figcaption></figure>'
    )


def curves(
    x: Sequence[float],
    lines: Mapping[str, Sequence[float]],
    labels: tuple[str, str],
    mark: float | None = None,
) -> str:
    """Return curves as an HTML figure.

    Parameters
    ----------
    x
        Positions along X, rising.
    lines
        Values along Y by name.
    labels
        Labels of both axes.
    mark
        Value of a dashed line across; None for none.
    """
    values = np.concatenate([np.asarray(line, float) for line in lines.values()])
    low, high = min(0.0, float(values.min())), max(1.0, float(values.max()))
    left, right = float(x[0]), float(x[-1])

    def place(at: float, value: float) -> tuple[float, float]:
        across = _MARGIN + (at - left) / max(right - left, 1e-30) * (_WIDTH - _MARGIN - 10)
        down = _HEIGHT - _MARGIN - (value - low) / (high - low) * (_HEIGHT - _MARGIN - 10)
        return round(across, 1), round(down, 1)

    parts = []
    for number, (name, line) in enumerate(lines.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        points = " ".join("{},{}".format(*place(a, b)) for a, b in zip(x, line, strict=True))
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.8"/>')
        parts.append(
            f'<text x="{_WIDTH - 110}" y="{20 + 16 * number}" fill="{colour}">{html.escape(name)}</text>'
        )
    if mark is not None:
        (x0, y0), (x1, _) = place(left, mark), place(right, mark)
        parts.append(f'<line x1="{x0}" y1="{y0}" x2="{x1}" y2="{y0}" stroke="#888" stroke-dasharray="4 3"/>')
    (x0, y0), (x1, y1) = place(left, low), place(right, high)
    parts.append(f'<path d="M{x0} {y1} V{y0} H{x1}" fill="none" stroke="#444"/>')
    for at in (left, (left + right) / 2, right):
        parts.append(f'<text x="{place(at, low)[0]}" y="{y0 + 14}" text-anchor="middle">{at:.3g}</text>')
    for value in (low, (low + high) / 2, high):
        parts.append(
            f'<text x="{x0 - 4}" y="{place(left, value)[1] + 4}" text-anchor="end">{value:.2g}</text>'
        )
    parts.append(
        f'<text x="{_WIDTH / 2}" y="{_HEIGHT - 8}" text-anchor="middle">{html.escape(labels[0])}</text>'
    )
    parts.append(f'<text x="{_MARGIN}" y="9">{html.escape(labels[1])}</text>')
    return (
        f'<figure><svg viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" font-size="11" '
        f'font-family="sans-serif">{"".join(parts)}</svg></figure>'
    )


def _png(pixels: npt.NDArray[np.uint8]) -> bytes:
    """Return an 8-bit greyscale image as a PNG file."""
    height, width = pixels.shape

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + row.tobytes() for row in np.ascontiguousarray(pixels))
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts
