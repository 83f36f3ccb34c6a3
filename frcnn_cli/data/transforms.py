"""Geometry of images before the network: scaling to a short side (paper, section 5.2), mirroring."""

from __future__ import annotations

import cv2
import numpy as np


def scale_to(width: int, height: int, short_side: int, long_side: int) -> float:
    """The factor that brings the shorter side to `short_side`, or less where the longer would pass `long_side`."""
    return min(short_side / min(width, height), long_side / max(width, height))


def scaled_size(width: int, height: int, scale: float) -> tuple[int, int]:
    """Width and height after scaling; a side never falls below one pixel."""
    return max(round(width * scale), 1), max(round(height * scale), 1)


def resize(image: np.ndarray, scale: float) -> np.ndarray:
    """Scale uint8 [H, W, 3]; see `scaled_size`."""
    height, width = image.shape[:2]
    size = scaled_size(width, height, scale)
    if size == (width, height):
        return image
    # Averaging over what a new pixel covers keeps fine texture from aliasing when shrinking.
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)


def scale_image(image: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Scale an image for the network, and say what its boxes have to be multiplied with.

    Returns:
        `resize` of the image, and the ratio, float32 [4]: boxes in xyxy times this are boxes in pixels of the result.
        Sides are whole pixels, so that its two directions differ a little.
    """
    height, width = image.shape[:2]
    scaled = resize(image, scale)
    return scaled, np.array((scaled.shape[1] / width, scaled.shape[0] / height) * 2, np.float32)


def mirror(image: np.ndarray) -> np.ndarray:
    """Flip [H, W, 3] left to right."""
    return np.ascontiguousarray(image[:, ::-1])


def jitter_colours(image: np.ndarray, brightness: float, contrast: float, saturation: float) -> np.ndarray:
    """Multiply the brightness of uint8 RGB [H, W, 3], its distance from the mean grey, and from each pixel's own grey.

    Factors of 1 change nothing. One matrix does all three, as each is linear in a pixel's colour.
    """
    luma = np.array((0.299, 0.587, 0.114))
    mean_grey = luma @ cv2.mean(image)[:3] * brightness
    matrix = brightness * contrast * (saturation * np.eye(3) + (1 - saturation) * np.tile(luma, (3, 1)))
    offset = np.full((3, 1), (1 - contrast) * mean_grey)
    return cv2.transform(image, np.hstack((matrix, offset)))  # rounds, and clips to 0 .. 255
