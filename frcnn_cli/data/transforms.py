"""Geometry of images before the network: scaling to a short side (paper, section 5.2), mirroring."""

from __future__ import annotations

import cv2
import numpy as np


def scale_to(width: int, height: int, short_side: int, long_side: int) -> float:
    """The factor that brings the shorter side to `short_side`, or less where the longer would pass `long_side`."""
    return min(short_side / min(width, height), long_side / max(width, height))


def resize(image: np.ndarray, scale: float) -> np.ndarray:
    """Scale uint8 [H, W, 3]; a side never falls below one pixel."""
    height, width = image.shape[:2]
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    if size == (width, height):
        return image
    # Averaging over what a new pixel covers keeps fine texture from aliasing when shrinking.
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)


def mirror(image: np.ndarray) -> np.ndarray:
    """Flip [H, W, 3] left to right."""
    return np.ascontiguousarray(image[:, ::-1])
