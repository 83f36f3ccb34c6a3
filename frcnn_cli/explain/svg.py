"""Figures as SVG, whose text stays text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from html import escape

PHOTO = "photo"
"""The id of the photograph, which is in the page once and used by many figures."""


def state(group: str, number: int, start: int = 0) -> str:
    """Attributes of what is seen while a reader has chosen this number; at first, that is `start`."""
    return f'data-group="{group}" data-state="{number}"{" data-on" if number == start else ""}'


class Svg:
    """A figure that is being drawn; `str` of it is the element.

    Args:
        width: in units, which are pixels where the screen is wide enough.
        height: likewise.
        alt: what it shows, for those who do not see it.
    """

    def __init__(self, width: float, height: float, alt: str) -> None:
        self.width = width
        self._head = (
            f'<svg viewBox="0 0 {width:g} {height:g}" style="width:{width:g}px" role="img" aria-label="{escape(alt)}">'
        )
        self._parts: list[str] = []

    def __str__(self) -> str:
        return f"{self._head}{''.join(self._parts)}</svg>"

    def _add(self, tag: str, attributes: dict[str, object], content: str = "") -> None:
        self._parts.append(f"<{tag}{_attributes(attributes)}>{content}</{tag}>")

    def rect(self, x: float, y: float, width: float, height: float, **style: object) -> None:
        self._add("rect", {"x": x, "y": y, "width": max(width, 0), "height": max(height, 0), **style})

    def box(self, corners: Sequence[float], **style: object) -> None:
        """A frame of (x1, y1, x2, y2)."""
        x1, y1, x2, y2 = corners
        self.rect(x1, y1, x2 - x1, y2 - y1, **{"fill": "none", **style})

    def line(self, x1: float, y1: float, x2: float, y2: float, **style: object) -> None:
        self._add("line", {"x1": x1, "y1": y1, "x2": x2, "y2": y2, **style})

    def path(self, points: Sequence[tuple[float, float]], **style: object) -> None:
        """Straight lines from point to point."""
        d = "M" + "L".join(f"{x:.5g},{y:.5g}" for x, y in points)
        self._add("path", {"d": d, "fill": "none", **style})

    def circle(self, x: float, y: float, radius: float, **style: object) -> None:
        self._add("circle", {"cx": x, "cy": y, "r": radius, **style})

    def text(self, x: float, y: float, text: object, **style: object) -> None:
        self._add("text", {"x": x, "y": y, **style}, escape(str(text)))

    def image(self, uri: str, x: float, y: float, width: float, height: float, **style: object) -> None:
        """A picture stretched to a place."""
        place = {"x": x, "y": y, "width": width, "height": height}
        self._add("image", {"href": uri, **place, "preserveAspectRatio": "none", **style})

    def photo(self) -> None:
        """The photograph, in its own pixels."""
        self._add("use", {"href": f"#{PHOTO}"})

    @contextmanager
    def group(self, attributes: str) -> Iterator[None]:
        """What is drawn in the block belongs together, with these attributes."""
        self._parts.append(f"<g {attributes}>")
        yield
        self._parts.append("</g>")


def _attributes(values: dict[str, object]) -> str:
    """Colours are names of the palette; `cls` is the class, and _ stands for -."""
    style = [f"{name}:{_colour(values.pop(name))}" for name in ("fill", "stroke") if name in values]
    plain = {("class" if name == "cls" else name if name == "preserveAspectRatio" else name.replace("_", "-")): value
             for name, value in values.items()}  # fmt: skip
    text = "".join(f' {name}="{_short(value)}"' for name, value in plain.items())
    return f'{text} style="{";".join(style)}"' if style else text


def _short(value: object) -> str:
    return f"{value:.5g}" if isinstance(value, float) else escape(str(value))


def _colour(name: object) -> object:
    return name if name in ("none", "currentColor") or str(name).startswith(("#", "rgb")) else f"var(--{name})"
