"""The results as pictures: bars for the parties, lines for growth. SVG by hand, so that a plot is a small text file."""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING

from bench.party import OURS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.result import Results, Series

_WIDTH = 760
_ROW = 30
_LABEL = 300
_INK, _OURS, _OTHER, _GRID = "#24292f", "#1f6feb", "#9aa4af", "#d0d7de"
_PANEL = (340, 200)
_MARGIN = 46


def bars(results: Results, scene: str, at: float, titles: Mapping[str, str], caption: str) -> str:
    """Return how many mails a second each party sends, as SVG; whiskers span the rounds."""
    found = sorted(
        (series for series in results.of(scene, "mails/s") if series.at == at), key=lambda series: -series.middle
    )
    scale = (_WIDTH - _LABEL - 90) / max(max(series.values) for series in found)
    parts = [_text(12, 22, caption, size=15)]
    for index, series in enumerate(found):
        top = 38 + index * _ROW
        colour = _OURS if series.party.startswith(OURS.name) else _OTHER
        middle, low, high = (scale * value for value in (series.middle, min(series.values), max(series.values)))
        parts += [
            _text(_LABEL - 8, top + 15, titles[series.party], anchor="end"),
            f'<rect x="{_LABEL}" y="{top}" width="{middle:.1f}" height="20" rx="2" fill="{colour}"/>',
            _line([(_LABEL + low, top + 10), (_LABEL + high, top + 10)], _INK),
            _text(_LABEL + high + 8, top + 15, f"{series.middle:,.0f}"),
        ]
    return _svg(_WIDTH, 50 + len(found) * _ROW, parts)


def lines(results: Results, scenes: Sequence[str], unit: str, caption: str) -> str:
    """Return how a figure grows along the axis of each scene, as SVG, both axes logarithmic."""
    parts = [_text(12, 22, caption, size=15)]
    width, height = _PANEL
    for index, scene in enumerate(scenes):
        left, top = (index % 2) * (width + 30) + 10, 40 + (index // 2) * (height + 40)
        parts += _panel(scene, sorted(results.of(scene, unit), key=lambda series: series.at), left, top)
    return _svg(_WIDTH, 40 + math.ceil(len(scenes) / 2) * (height + 40), parts)


def _panel(scene: str, found: Sequence[Series], left: float, top: float) -> list[str]:
    width, height = _PANEL[0] - _MARGIN, _PANEL[1] - 30
    xs = [math.log10(series.at) for series in found]
    ys = [math.log10(series.middle) for series in found]
    low, high = math.floor(min(ys)), math.ceil(max(ys) + 0.01)
    span = max(xs[-1] - xs[0], 0.01)
    points = [
        (left + _MARGIN + (x - xs[0]) / span * (width - 20), top + height - (y - low) / (high - low) * (height - 10))
        for x, y in zip(xs, ys, strict=True)
    ]
    parts = [_text(left + _MARGIN + width / 2, top + height + 32, scene, anchor="middle")]
    for power in range(low, high + 1):
        y = top + height - (power - low) / (high - low) * (height - 10)
        parts += [_line([(left + _MARGIN, y), (left + _MARGIN + width, y)], _GRID)]
        parts += [_text(left + _MARGIN - 6, y + 4, f"{10**power:,}", anchor="end", size=11)]
    parts.append(_line(points, _OURS, width=2))
    for (x, y), series in zip(points, found, strict=True):
        parts += [
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{_OURS}"/>',
            _text(x, y - 8, f"{series.middle:,.0f}", anchor="middle", size=11),
            _text(x, top + height + 15, f"{series.at:,.0f}", anchor="middle", size=11),
        ]
    return parts


def _svg(width: float, height: float, parts: Sequence[str]) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif">'
    paper = f'<rect width="{width}" height="{height}" fill="white"/>'
    return "\n".join([head, paper, *parts, "</svg>"]) + "\n"


def _text(x: float, y: float, text: str, *, anchor: str = "start", size: int = 13) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{_INK}">{escape(text)}</text>'
    )


def _line(points: Sequence[tuple[float, float]], colour: str, *, width: float = 1) -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}"/>'
