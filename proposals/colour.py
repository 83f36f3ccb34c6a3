"""The colour spaces selective search diversifies over (IJCV 2013, section 3.2), each scaled to [0, 1]."""

from __future__ import annotations

import cv2
import numpy as np


def _hsv(rgb: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(rgb, cv2.COLOR_RGB2HSV) * np.float32((1 / 360, 1, 1))


def _lab(rgb: np.ndarray) -> np.ndarray:
    # The authors' 8-bit Lab: L over its whole range, a and b around the middle.
    scale, middle = np.float32((1 / 100, 1 / 255, 1 / 255)), np.float32((0, 128 / 255, 128 / 255))
    return cv2.cvtColor(rgb, cv2.COLOR_RGB2Lab) * scale + middle


def _intensity(rgb: np.ndarray) -> np.ndarray:
    return cv2.transform(rgb, np.full((1, 3), 1 / 3, np.float32))[..., None]


def _rgi(rgb: np.ndarray) -> np.ndarray:
    # Chromaticities r and g do not change with the light's strength; black has none, so it is put at neutral grey.
    intensity = _intensity(rgb)
    third = np.float32(1 / 3)
    chroma = np.divide(rgb[..., :2] * third, intensity, out=np.full_like(rgb[..., :2], third), where=intensity > 0)
    return np.concatenate((chroma, intensity), axis=2)


def _hue(rgb: np.ndarray) -> np.ndarray:
    return _hsv(rgb)[..., :1]


COLOUR_SPACES = {"hsv": _hsv, "lab": _lab, "rgi": _rgi, "hue": _hue, "intensity": _intensity}


def convert(rgb: np.ndarray, space: str) -> np.ndarray:
    """Convert an RGB image to one of `COLOUR_SPACES`.

    Args:
        rgb: float32 [H, W, 3] in [0, 1].
        space: a key of `COLOUR_SPACES`.

    Returns:
        float32 [C, H, W], a plane a channel, C = 3 or 1, values in [0, 1].
    """
    planes = np.ascontiguousarray(COLOUR_SPACES[space](rgb).transpose(2, 0, 1))
    return np.clip(planes, 0, 1, out=planes)
