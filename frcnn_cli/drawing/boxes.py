"""Boxes with labels, such as detections, drawn on a copy of an image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from frcnn_cli.data.detections import Detections
from frcnn_cli.drawing.colors import DARK, LIGHT, Color, class_color
from frcnn_cli.drawing.fonts import DEFAULT_FONTS, Fonts
from frcnn_cli.drawing.labels import Label, Rect, draw_label, fit_label


class Mark(NamedTuple):
    """A box to draw, float [4], xyxy in pixels of the image; its text, which may be empty; its colour."""

    box: np.ndarray
    text: str
    color: Color


def draw_detections(
    image: np.ndarray, detections: Detections, class_names: Sequence[str], fonts: Fonts = DEFAULT_FONTS
) -> np.ndarray:
    """Draws boxes, class names and scores; what has the higher score is drawn on top (see `draw_marks`).

    Args:
        image: uint8 [H, W, 3], RGB; left as it is.
        detections: of this image.
        class_names: names of the labels 1, 2, ...; a label beyond them is shown by its number.
        fonts: where to find one for a name.

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
    return draw_marks(image, marks, fonts)


def draw_marks(image: np.ndarray, marks: Sequence[Mark], fonts: Fonts = DEFAULT_FONTS) -> np.ndarray:
    """Draws boxes and their texts.

    Lines and text grow with the image. Boxes are cut at the image's border and labels lie inside it; of labels that
    compete for a place the earlier one chooses first, and what comes earlier is drawn on top.

    Args:
        image: uint8 [H, W, 3], RGB; left as it is.
        marks: boxes that do not touch the image, or have no area, are not drawn.
        fonts: where to find one for a text.

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
        tag = fit_label(mark.text, side, canvas.width, canvas.height, fonts) if mark.text else None
        plate = _place(tag, box, plates, canvas.width, canvas.height) if tag else None
        if plate:
            plates.append(plate)
        drawn.append((mark.color, box, plate, tag))

    # All boxes come before all labels, so that no line ever crosses a text.
    for color, box, _, _ in reversed(drawn):
        _draw_box(draw, box, color, thickness)
    for color, _, plate, tag in reversed(drawn):
        if plate and tag:
            draw_label(draw, plate, tag, color)
    return np.asarray(canvas).copy()


def _pixels(box: np.ndarray, width: int, height: int) -> Rect | None:
    """The pixels of a continuous box [4] inside the image, at least one; None for a box outside it or without area."""
    x1, y1, x2, y2 = (float(value) for value in box)
    if x2 <= x1 or y2 <= y1 or x2 <= 0 or y2 <= 0 or x1 >= width or y1 >= height:
        return None
    left, top = min(round(max(x1, 0)), width - 1), min(round(max(y1, 0)), height - 1)
    return Rect(left, top, max(left + 1, round(min(x2, width))), max(top + 1, round(min(y2, height))))


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
