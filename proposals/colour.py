"""The colour spaces selective search diversifies over (IJCV 2013, section 3.2), each scaled to [0, 1]."""

from __future__ import annotations

import numpy as np
from skimage.color import rgb2hsv, rgb2lab


def _hsv(rgb: np.ndarray) -> np.ndarray:
    return rgb2hsv(rgb)


def _lab(rgb: np.ndarray) -> np.ndarray:
    # The authors' 8-bit Lab: L over its whole range, a and b around the middle.
    return (rgb2lab(rgb) * (2.55, 1.0, 1.0) + (0.0, 128.0, 128.0)) / 255.0


def _intensity(rgb: np.ndarray) -> np.ndarray:
    return rgb.mean(axis=2, keepdims=True)


def _rgi(rgb: np.ndarray) -> np.ndarray:
    # Chromaticities r and g do not change with the light's strength; black has none, so it is put at neutral grey.
    total = rgb.sum(axis=2, keepdims=True)
    chroma = np.divide(rgb[..., :2], total, out=np.full_like(rgb[..., :2], 1 / 3), where=total > 0)
    return np.concatenate((chroma, _intensity(rgb)), axis=2)


def _hue(rgb: np.ndarray) -> np.ndarray:
    return rgb2hsv(rgb)[..., :1]


COLOUR_SPACES = {"hsv": _hsv, "lab": _lab, "rgi": _rgi, "hue": _hue, "intensity": _intensity}


def convert(rgb: np.ndarray, space: str) -> np.ndarray:
    """Convert an RGB image to one of `COLOUR_SPACES`.

    Args:
        rgb: float [H, W, 3] in [0, 1].
        space: a key of `COLOUR_SPACES`.

    Returns:
        float32 [H, W, C], C = 3 or 1, values in [0, 1].
    """
    return np.ascontiguousarray(COLOUR_SPACES[space](rgb).clip(0.0, 1.0), dtype=np.float32)
