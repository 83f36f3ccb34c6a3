"""Pieces that several sections draw: the photograph with boxes, a map, a grid of numbers, bars, a curve."""

from __future__ import annotations

from collections.abc import Sequence
from math import log10

import numpy as np

from frcnn_cli.explain.palette import heat, png
from frcnn_cli.explain.subject import Subject
from frcnn_cli.explain.svg import Svg

WIDE, HIGH = 450, 380
"""Pixels that the photograph is shown in, at most."""

PANEL = 330
"""The width of a panel that a phone shows in full."""


def photo_scale(subject: Subject) -> float:
    """Units of figures a pixel of the photograph."""
    width, height = subject.size
    return min(WIDE / width, HIGH / height)


def photograph(subject: Subject, alt: str) -> tuple[Svg, float]:
    """A figure of the photograph, to draw boxes into, and its units a pixel."""
    scale = photo_scale(subject)
    width, height = subject.size
    svg = Svg(width * scale, height * scale, alt)
    svg.photo()
    return svg, scale


def written(svg: Svg, x: float, y: float, text: object, width: float, **style: object) -> None:
    """A text over a picture, kept inside it."""
    right = x > width * 0.7
    anchor = "end" if right else "start"
    svg.text(min(x, width - 2) if right else x, max(y, 14), text, cls="halo", text_anchor=anchor, **style)


def cell_size(width: int, height: int, most: float = PANEL) -> float:
    """Pixels of a cell so that a map of so many fits a panel."""
    return most / max(width, height)


def map_panel(plane: np.ndarray, alt: str, most: float = PANEL) -> tuple[Svg, float]:
    """A map [h, w] of values from 0 on, drawn cell by cell, and the pixels of a cell."""
    height, width = plane.shape
    cell = cell_size(width, height, most)
    svg = Svg(width * cell, height * cell, alt)
    svg.image(png(heat(plane)), 0, 0, width * cell, height * cell, cls="cells")
    return svg, cell


def number_grid(values: np.ndarray, alt: str, side: float = 44, name: str = "") -> Svg:
    """A table of numbers [P, P] on the colours of the map; each number's digits are in its ``data-value``."""
    rows, columns = values.shape
    svg = Svg(columns * side, rows * side, alt)
    svg.image(png(heat(values)), 0, 0, columns * side, rows * side, cls="cells")
    top = max(float(values.max()), 1e-12)
    for (row, column), value in np.ndenumerate(values):
        ink = "#ffffff" if value < 0.6 * top else "#101010"
        attributes = {"data_name": f"{name}-{row}-{column}", "data_value": f"{value:.9g}"} if name else {}
        x, y = (column + 0.5) * side, (row + 0.5) * side
        svg.text(x, y, _brief(float(value)), fill=ink, cls="digits" if side >= 30 else "tiny", text_anchor="middle",
                 dominant_baseline="central", **attributes)  # fmt: skip
    return svg


def _brief(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def bars(rows: Sequence[tuple[str, float, str]], alt: str, colour: str = "blue", logarithmic: bool = False) -> Svg:
    """Bars lying one under the other, each under its name, with its value written at its end."""
    step, width = 40, PANEL
    svg = Svg(width, step * len(rows), alt)
    values = [value for _, value, _ in rows]
    room = width - 10 - 7.2 * max(len(text) for _, _, text in rows)  # beside the longest text
    least = min((value for value in values if value > 0), default=1.0)
    top = max([*values, 1e-12])

    def length(value: float) -> float:
        if value <= 0:
            return 0.0
        share = log10(10 * value / least) / log10(10 * top / least) if logarithmic else value / top
        return room * share

    for i, (name, value, text) in enumerate(rows):
        svg.text(0, i * step + 14, name, fill="ink")
        svg.rect(0, i * step + 19, max(length(value), 1), 13, fill=colour)
        svg.text(length(value) + 6, i * step + 30, text, fill="muted", cls="digits")
    return svg


def _tick(value: float) -> str:
    return f"{value:,g}".replace("-", "\N{MINUS SIGN}")


class Axes:
    """A plot with two axes.

    Args:
        alt: what it shows.
        x: least and largest.
        y: likewise.
        names: of the axes.
        ticks: on each.
        logarithmic: whether x is.
    """

    LEFT, TOP, WIDTH, HEIGHT = 38, 12, 270, 190

    def __init__(
        self,
        alt: str,
        x: tuple[float, float],
        y: tuple[float, float],
        names: tuple[str, str],
        ticks: tuple[Sequence[float], Sequence[float]],
        logarithmic: bool = False,
    ) -> None:
        self.svg = Svg(PANEL, self.TOP + self.HEIGHT + 44, alt)
        self.x_range, self.y_range, self.logarithmic = x, y, logarithmic
        left, right = self.at(x[0], y[0])[0], self.at(x[1], y[0])[0]
        bottom, top = self.at(x[0], y[0])[1], self.at(x[0], y[1])[1]
        for tick in ticks[0]:
            place = self.at(tick, y[0])[0]
            self.svg.line(place, bottom, place, top, stroke="line")
            self.svg.text(place, bottom + 16, _tick(tick), fill="muted", text_anchor="middle", cls="digits")
        for tick in ticks[1]:
            place = self.at(x[0], tick)[1]
            self.svg.line(left, place, right, place, stroke="line")
            self.svg.text(left - 5, place + 4, _tick(tick), fill="muted", text_anchor="end", cls="digits")
        self.svg.text(right, bottom + 36, names[0], fill="ink", text_anchor="end")
        self.svg.text(left + 4, top + 12, names[1], fill="ink", cls="halo")

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Where a point is drawn."""
        (x1, x2), (y1, y2) = self.x_range, self.y_range
        along = log10(x / x1) / log10(x2 / x1) if self.logarithmic else (x - x1) / (x2 - x1)
        return self.LEFT + self.WIDTH * along, self.TOP + self.HEIGHT * (1 - (y - y1) / (y2 - y1))

    def curve(self, points: Sequence[tuple[float, float]], **style: object) -> None:
        """A line through points of the plot."""
        self.svg.path([self.at(*point) for point in points], **style)
