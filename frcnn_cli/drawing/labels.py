"""A line of text on a plate, in a size that suits the image."""

from __future__ import annotations

from typing import NamedTuple

from PIL import ImageDraw, ImageFont

from frcnn_cli.drawing.colors import Color, text_color
from frcnn_cli.drawing.fonts import DEFAULT_FONTS, Fonts

TEXT_SHARE = 0.028
"""Height of the text as a share of the image's side (the geometric mean of both)."""
MIN_TEXT, MAX_TEXT = 10, 160
SMALLEST_TEXT = 7
"""Pixels below which nobody could read a text."""
FEWEST_SIGNS = 8
"""Characters that a text is shortened to at most, where its image is too narrow."""


class Rect(NamedTuple):
    """Pixels left .. right - 1 and top .. bottom - 1."""

    left: int
    top: int
    right: int
    bottom: int

    def shared_area(self, other: Rect) -> int:
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.bottom, other.bottom) - max(self.top, other.top)
        return max(width, 0) * max(height, 0)


class Label(NamedTuple):
    """A text, its font and its plate: size, and where the text's baseline starts on it, in pixels."""

    text: str
    font: ImageFont.FreeTypeFont
    width: int
    height: int
    start: tuple[int, int]


def fit_label(text: str, side: float, width: int, height: int, fonts: Fonts = DEFAULT_FONTS) -> Label | None:
    """The label in the size that suits the image, smaller or shorter if it would not fit; None if it were unreadable.

    Args:
        text: line breaks in it are drawn as blanks.
        side: of the image: the geometric mean of the two below.
        width: of the image.
        height: of the image.
        fonts: where to find one for the text.
    """
    text = " ".join(text.split())
    size = min(max(MIN_TEXT, round(side * TEXT_SHARE)), MAX_TEXT)
    while size >= SMALLEST_TEXT:
        label = _label(text, size, fonts)
        if label.width <= width and label.height <= height:
            return label
        size -= 1
    # The end stays, as a score is there.
    for count in range(len(text) - 1, FEWEST_SIGNS - 1, -1):
        label = _label(f"{text[: count - 8]}...{text[-5:]}", SMALLEST_TEXT, fonts)
        if label.width <= width and label.height <= height:
            return label
    return None


def _label(text: str, size: int, fonts: Fonts) -> Label:
    font, padding = fonts.find(text, size), max(2, round(size * 0.25))
    # Capitals above the baseline and tails below it, so that plates are equal; more where a script needs it.
    _, top, _, bottom = font.getbbox("Hg", anchor="ls")
    _, text_top, _, text_bottom = font.getbbox(text, anchor="ls")
    top, bottom = min(top, text_top + padding // 2), max(bottom, text_bottom - padding // 2)
    return Label(
        text,
        font,
        width=round(font.getlength(text)) + 2 * padding,
        height=round(bottom - top) + 2 * padding,
        start=(padding, padding - round(top)),
    )


def draw_label(draw: ImageDraw.ImageDraw, plate: Rect, label: Label, color: Color) -> None:
    """The text on a plate of the class's colour."""
    draw.rectangle((plate.left, plate.top, plate.right - 1, plate.bottom - 1), fill=(*color, 255))
    start = (plate.left + label.start[0], plate.top + label.start[1])
    draw.text(start, label.text, font=label.font, fill=text_color(color), anchor="ls")
