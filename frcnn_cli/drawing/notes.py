"""A line of text in the corner of an image."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from frcnn_cli.drawing.colors import DARK
from frcnn_cli.drawing.labels import Rect, draw_label, fit_label


def draw_note(image: np.ndarray, text: str) -> np.ndarray:
    """Draw a text on a dark plate in the lower left corner.

    Args:
        image: uint8 [H, W, 3], RGB; left as it is.
        text: left out where the image is too small.

    Returns:
        uint8 [H, W, 3], a new RGB image.
    """
    height, width = image.shape[:2]
    label = fit_label(text, float(np.sqrt(height * width)), width, height)
    canvas = Image.fromarray(image.copy())
    if label is not None:
        draw = ImageDraw.Draw(canvas, "RGBA")
        draw_label(draw, Rect(0, height - label.height, label.width, height), label, DARK)
    return np.asarray(canvas).copy()
