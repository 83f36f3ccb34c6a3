"""The starting regions: Felzenszwalb-Huttenlocher graph segmentation, by scikit-image."""

from __future__ import annotations

import numpy as np
from skimage.segmentation import felzenszwalb

SIGMA = 0.8
"""Gaussian smoothing before the segmentation, in pixels (IJCV 2013, section 3.1; the authors' code)."""


def segment(image: np.ndarray, k: float) -> np.ndarray:
    """Cut an image into small, even regions.

    Args:
        image: float [H, W, C] in [0, 1].
        k: the scale of observation for values in 0-255, and the smallest region in pixels (the authors tie the two).

    Returns:
        int32 [H, W]: labels 0, 1, ..., each region connected.
    """
    height, width = image.shape[:2]
    if min(height, width) < 2:
        # The pixel graph of scikit-image needs two rows and two columns; a line of pixels is one region.
        return np.zeros((height, width), dtype=np.int32)
    labels = felzenszwalb(image.astype(np.float64), scale=k, sigma=SIGMA, min_size=int(k), channel_axis=-1)
    return np.ascontiguousarray(labels, dtype=np.int32)
