"""Boxes with labels, such as detections, drawn on a copy of an image."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from frcnn_cli.data.detections import Detections

Color = tuple[int, int, int]

DARK, LIGHT = (0, 0, 0), (255, 255, 255)
TEXT_SHARE = 0.028
"""Height of the text as a share of the image's side (the geometric mean of both)."""
MIN_TEXT, MAX_TEXT = 10, 160
SMALLEST_TEXT = 7
"""Pixels below which a label that must shrink to fit into the image is left out, as nobody could read it."""
NUM_COLORS = 96


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


class Mark(NamedTuple):
    """A box to draw, float [4], xyxy in pixels of the image; its text, which may be empty; its colour."""

    box: np.ndarray
    text: str
    color: Color


def draw_detections(image: np.ndarray, detections: Detections, class_names: Sequence[str]) -> np.ndarray:
    """Draws boxes, class names and scores; what has the higher score is drawn on top (see `draw_marks`).

    Args:
        image: uint8 [H, W, 3], RGB; left as it is.
        detections: of this image.
        class_names: names of the labels 1, 2, ...; a label beyond them is shown by its number.

    Returns:
        uint8 [H, W, 3], a new RGB image.

    Raises:
        ValueError: the image is not uint8 [H, W, 3], or is empty.
    """
    marks = []
    for index in np.argsort(-detections.scores, kind="stable"):
        label = int(detections.labels[index])
        name = class_names[label - 1] if label <= len(class_names) else f"class {label}"
        text = f"{name} {detections.scores[index]:.2f}"
        marks.append(Mark(detections.boxes[index], text, class_color(label)))
    return draw_marks(image, marks)


def draw_marks(image: np.ndarray, marks: Sequence[Mark]) -> np.ndarray:
    """Draws boxes and their texts.

    Lines and text grow with the image. Boxes are cut at the image's border and labels lie inside it; of labels that
    compete for a place the earlier one chooses first, and what comes earlier is drawn on top.

    Args:
        image: uint8 [H, W, 3], RGB; left as it is.
        marks: boxes that do not touch the image, or have no area, are not drawn.

    Returns:
        uint8 [H, W, 3], a new RGB image.

    Raises:
        ValueError: the image is not uint8 [H, W, 3], or is empty.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise ValueError(f"image must be uint8 [H, W, 3], not {image.dtype} {list(image.shape)}")
    canvas = Image.fromarray(image.copy())
    draw = ImageDraw.Draw(canvas, "RGBA")  # blends the outlines with the photograph
    side = float(np.sqrt(canvas.width * canvas.height))
    thickness = max(2, round(side / 220))

    drawn: list[tuple[Color, Rect, Rect | None, Label | None]] = []
    plates: list[Rect] = []
    for mark in marks:
        box = _pixels(mark.box, canvas.width, canvas.height)
        if box is None:
            continue
        tag = _fit_label(mark.text, side, canvas.width, canvas.height) if mark.text else None
        plate = _place(tag, box, plates, canvas.width, canvas.height) if tag else None
        if plate:
            plates.append(plate)
        drawn.append((mark.color, box, plate, tag))

    # All boxes come before all labels, so that no line ever crosses a text.
    for color, box, _, _ in reversed(drawn):
        _draw_box(draw, box, color, thickness)
    for color, _, plate, tag in reversed(drawn):
        if plate and tag:
            _draw_label(draw, plate, tag, color)
    return np.asarray(canvas).copy()


def class_color(label: int) -> Color:
    """The fixed colour of a class, RGB in 0 .. 255.

    Neighbouring labels differ most: each colour is the one farthest from all earlier ones in OKLab, among colours of
    medium lightness and high chroma. They repeat after `NUM_COLORS`.

    Raises:
        ValueError: the label is below 1.
    """
    if label < 1:
        raise ValueError(f"label {label}: the classes are numbered from 1")
    return _palette()[(label - 1) % NUM_COLORS]


@lru_cache(maxsize=1)
def _palette() -> tuple[Color, ...]:
    levels = np.linspace(0, 255, 18).round()
    colors = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(-1, 3)
    lab = _oklab(colors)
    lightness, chroma = lab[:, 0], np.hypot(lab[:, 1], lab[:, 2])
    good = (lightness > 0.58) & (lightness < 0.92) & (chroma > 0.12)
    colors, lab = colors[good], lab[good]
    chosen = [int(np.linalg.norm(colors - (255, 75, 60), axis=1).argmin())]  # start from a clear red
    nearest = np.full(len(lab), np.inf)
    while len(chosen) < NUM_COLORS:
        nearest = np.minimum(nearest, np.linalg.norm(lab - lab[chosen[-1]], axis=1))
        chosen.append(int(nearest.argmax()))
    return tuple((int(r), int(g), int(b)) for r, g, b in colors[chosen])


def _linear(colors: np.ndarray) -> np.ndarray:
    """sRGB in 0 .. 255 to linear light in [0, 1] (IEC 61966-2-1)."""
    srgb = np.asarray(colors, dtype=np.float64) / 255
    return np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)


def _oklab(colors: np.ndarray) -> np.ndarray:
    """sRGB [N, 3] in 0 .. 255 to OKLab [N, 3], where distances match what is seen.

    Source: B. Ottosson, "A perceptual color space for image processing", https://bottosson.github.io/posts/oklab/
    """
    to_cones = [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
    to_lab = [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
    return np.cbrt(_linear(colors) @ np.transpose(to_cones)) @ np.transpose(to_lab)


def _text_color(background: Color) -> Color:
    """Black on light colours and white on dark ones, by OKLab's lightness.

    WCAG's contrast ratio would put black even on a saturated purple, where white reads better.
    """
    lightness = _oklab(np.array([background]))[0, 0]
    return DARK if lightness > 0.64 else LIGHT


def _pixels(box: np.ndarray, width: int, height: int) -> Rect | None:
    """The pixels of a continuous box [4] inside the image, at least one; None for a box outside it or without area."""
    x1, y1, x2, y2 = (float(value) for value in box)
    if x2 <= x1 or y2 <= y1 or x2 <= 0 or y2 <= 0 or x1 >= width or y1 >= height:
        return None
    left, top = min(round(max(x1, 0)), width - 1), min(round(max(y1, 0)), height - 1)
    return Rect(left, top, max(left + 1, round(min(x2, width))), max(top + 1, round(min(y2, height))))


@lru_cache(maxsize=64)
def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont)  # what it gives whenever a size is asked for
    return font


def _fit_label(text: str, side: float, width: int, height: int) -> Label | None:
    """The label in the size that suits the image, smaller if it would not fit; None if it would be unreadable."""
    size = min(max(MIN_TEXT, round(side * TEXT_SHARE)), MAX_TEXT)
    while size >= SMALLEST_TEXT:
        font, padding = _font(size), max(2, round(size * 0.25))
        _, top, _, bottom = font.getbbox("Hg", anchor="ls")  # capitals above the baseline, tails below it
        label = Label(
            text,
            font,
            width=round(font.getlength(text)) + 2 * padding,
            height=round(bottom - top) + 2 * padding,
            start=(padding, padding - round(top)),
        )
        if label.width <= width and label.height <= height:
            return label
        size -= 1
    return None


def _place(label: Label, box: Rect, taken: Sequence[Rect], width: int, height: int) -> Rect:
    """A place for a label at its box, wholly inside the image: of a few simple ones the one that hides others least."""
    above, below = box.top - label.height, box.bottom
    inside_top, inside_bottom = box.top, box.bottom - label.height
    at_left, at_right = box.left, box.right - label.width
    places = []
    for top in (above, inside_top, below, inside_bottom):
        for left in (at_left, at_right):
            if 0 <= top <= height - label.height:
                left = min(max(left, 0), width - label.width)
                places.append(Rect(left, top, left + label.width, top + label.height))
    if not places:
        left, top = min(max(at_left, 0), width - label.width), min(max(above, 0), height - label.height)
        places = [Rect(left, top, left + label.width, top + label.height)]
    return min(places, key=lambda place: sum(place.shared_area(other) for other in taken))  # the first of equals


def _draw_box(draw: ImageDraw.ImageDraw, box: Rect, color: Color, thickness: int) -> None:
    """A coloured line just inside the box, with a dark hairline around it and a light one within."""
    thickness = min(thickness, max(1, min(box.right - box.left, box.bottom - box.top) // 4))
    hairline = max(1, round(thickness / 3))
    _draw_frame(draw, box, -hairline, hairline, (*DARK, 150))
    _draw_frame(draw, box, 0, thickness, (*color, 255))
    _draw_frame(draw, box, thickness, hairline, (*LIGHT, 120))


def _draw_frame(draw: ImageDraw.ImageDraw, box: Rect, inset: int, width: int, color: tuple[int, int, int, int]) -> None:
    left, top, right, bottom = box.left + inset, box.top + inset, box.right - inset - 1, box.bottom - inset - 1
    if right >= left and bottom >= top:
        draw.rectangle((left, top, right, bottom), outline=color, width=width)


def _draw_label(draw: ImageDraw.ImageDraw, plate: Rect, label: Label, color: Color) -> None:
    """The text on a plate of the class's colour."""
    draw.rectangle((plate.left, plate.top, plate.right - 1, plate.bottom - 1), fill=(*color, 255))
    start = (plate.left + label.start[0], plate.top + label.start[1])
    draw.text(start, label.text, font=label.font, fill=_text_color(color), anchor="ls")
