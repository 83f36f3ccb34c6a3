"""Charts as SVG: colours come from the page's style sheet, so they follow its theme, and text stays text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from frcnn_cli.report.markup import Markup, tag

WIDTH, HEIGHT = 420, 300
LEFT, RIGHT, TOP, BOTTOM = 42, 12, 12, 40


@dataclass(frozen=True)
class Axis:
    """What an axis shows.

    Attributes:
        name: of the quantity.
        ticks: values and their texts.
        low: where it starts.
        high: where it ends.
    """

    name: str
    ticks: Sequence[tuple[float, str]]
    low: float = 0.0
    high: float = 1.0

    def share(self, value: float | np.ndarray) -> float | np.ndarray:
        """Where a value lies, from 0 to 1."""
        return (value - self.low) / (self.high - self.low)


PERCENT = tuple((tick / 5, f"{20 * tick}") for tick in range(6))


def plot(x: Axis, y: Axis, marks: Sequence[Markup], title: str, description: str) -> Markup:
    """A frame with axes around marks that `line`, `dot` and `bar` made.

    Args:
        x: the lower axis.
        y: the left one.
        marks: in the order they are drawn.
        title: what a reader of the screen says first.
        description: what is to be seen, in words.
    """
    grid, texts = [], []
    for value, text in x.ticks:
        at = place_x(x, value)
        grid.append(tag("path", class_="grid", d=f"M{at:.1f} {TOP}V{HEIGHT - BOTTOM}"))
        texts.append(tag("text", text, x=f"{at:.1f}", y=HEIGHT - BOTTOM + 16, text_anchor="middle"))
    for value, text in y.ticks:
        at = place_y(y, value)
        grid.append(tag("path", class_="grid", d=f"M{LEFT} {at:.1f}H{WIDTH - RIGHT}"))
        texts.append(tag("text", text, x=LEFT - 6, y=f"{at + 4:.1f}", text_anchor="end"))
    middle = (TOP + HEIGHT - BOTTOM) / 2
    texts += [
        tag("text", x.name, class_="axis", x=(LEFT + WIDTH - RIGHT) / 2, y=HEIGHT - 6, text_anchor="middle"),
        tag("text", y.name, class_="axis", transform=f"translate(11 {middle}) rotate(-90)", text_anchor="middle"),
    ]
    return tag(
        "svg",
        tag("title", title),
        tag("desc", description),
        grid,
        marks,
        texts,
        class_="plot",
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        role="img",
        aria_label=f"{title}. {description}",
    )


def place_x(axis: Axis, value: float) -> float:
    """The x of a value, in the frame of `plot`."""
    return LEFT + float(axis.share(value)) * (WIDTH - LEFT - RIGHT)


def place_y(axis: Axis, value: float) -> float:
    """The y of a value."""
    return HEIGHT - BOTTOM - float(axis.share(value)) * (HEIGHT - TOP - BOTTOM)


def line(x: Axis, y: Axis, xs: Sequence[float], ys: Sequence[float], **attributes: object) -> Markup:
    """A curve through points; values that are nan are left out."""
    points = [(u, v) for u, v in zip(xs, ys, strict=True) if not (np.isnan(u) or np.isnan(v))]
    d = "L".join(f"{place_x(x, u):.1f} {place_y(y, v):.1f}" for u, v in points)
    return tag("path", d=f"M{d}" if d else None, **attributes)


def steps(x: Axis, y: Axis, xs: Sequence[float], ys: Sequence[float], **attributes: object) -> Markup:
    """A curve that is level up to each x and falls there to the next y; the area under it is that of the figures."""
    d = [f"M{place_x(x, x.low):.1f} {place_y(y, ys[0]):.1f}"]
    d += [f"V{place_y(y, v):.1f}H{place_x(x, u):.1f}" for u, v in zip(xs, ys, strict=True)]
    return tag("path", d="".join(d), **attributes)


def dot(x: Axis, y: Axis, at: tuple[float, float], text: str, **attributes: object) -> Markup:
    """A point, and what is said when it is pointed at."""
    title = tag("title", text)
    return tag("circle", title, cx=f"{place_x(x, at[0]):.1f}", cy=f"{place_y(y, at[1]):.1f}", r=4, **attributes)


def bar(x: Axis, y: Axis, span: tuple[float, float], height: float, text: str, **attributes: object) -> Markup:
    """A column from the lower axis up, and what is said when it is pointed at."""
    left, right, top = place_x(x, span[0]), place_x(x, span[1]), place_y(y, height)
    return tag(
        "rect",
        tag("title", text),
        x=f"{left + 1:.1f}",
        y=f"{top:.1f}",
        width=f"{max(right - left - 2, 1):.1f}",
        height=f"{max(HEIGHT - BOTTOM - top, 0):.1f}",
        **attributes,
    )


def stack(parts: Sequence[tuple[str, float, str]], total: float | None = None) -> Markup:
    """A bar of several parts, to stand beside text that says the same.

    Args:
        parts: the class of each part in the style sheet, its size, and what is said when it is pointed at.
        total: the size of the whole bar; None for the sum of the parts.
    """
    total = sum(size for _, size, _ in parts) if total is None else total
    shapes, start = [], 0.0
    for name, size, text in parts:
        width = 100 * size / total if total else 0.0
        if width > 0:
            shapes.append(
                tag("rect", tag("title", text), class_=name, x=f"{start:.2f}", width=f"{width:.2f}", height=10)
            )
        start += width
    return tag("svg", shapes, class_="stack", viewBox="0 0 100 10", preserveAspectRatio="none", aria_hidden="true")


def thinned(xs: np.ndarray, ys: np.ndarray, most: int = 150) -> tuple[np.ndarray, np.ndarray]:
    """A curve's points, or as many of them as can be told apart: first and last always."""
    if len(xs) <= most:
        return xs, ys
    keep = np.unique(np.linspace(0, len(xs) - 1, most).round().astype(int))
    return xs[keep], ys[keep]
