"""Pieces of an image."""

from __future__ import annotations

import numpy as np


def crop(image: np.ndarray, box: np.ndarray) -> np.ndarray:
    """The pixels that a box touches, at least one.

    Args:
        image: uint8 [H, W, 3].
        box: float [4], xyxy in pixels of the image.

    Returns:
        uint8 [h, w, 3], a view.
    """
    height, width = image.shape[:2]
    left, top = np.clip(np.floor(box[:2]), 0, (width - 1, height - 1)).astype(int)
    right, bottom = np.clip(np.ceil(box[2:]), (left + 1, top + 1), (width, height)).astype(int)
    return image[top:bottom, left:right]
