"""What selective search knows of a region: its colours, its texture, its size and its box (IJCV 2013, section 3.2)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from scipy.ndimage import gaussian_filter

COLOUR_BINS = 25
TEXTURE_BINS = 10
ORIENTATIONS = 8
TEXTURE_SIGMA = 1.0


@dataclass(frozen=True)
class Regions:
    """The features of R regions and which of them touch.

    Attributes:
        colour: float32 [R, C * 25], histogram that sums to 1.
        texture: float32 [R, C * 8 * 10], histogram that sums to 1.
        size: int64 [R], pixels.
        box: int32 [R, 4], x1 y1 x2 y2 with the ends exclusive.
        edges: int32 [E, 2], pairs (a, b), a < b, of regions that share a side or a corner.
    """

    colour: np.ndarray
    texture: np.ndarray
    size: np.ndarray
    box: np.ndarray
    edges: np.ndarray


def describe(image: np.ndarray, labels: np.ndarray) -> Regions:
    """Measure every region of a segmentation.

    Args:
        image: float32 [H, W, C] in [0, 1].
        labels: int32 [H, W], labels 0 .. R - 1.
    """
    dx, dy = gaussian_derivatives(image)
    largest = max(float(np.sqrt(dx * dx + dy * dy).max()), 1e-12)
    count = int(labels.max()) + 1
    colour, texture, size, box = _accumulate(image, dx / largest, dy / largest, labels, count)
    channels = image.shape[2]
    per_region = size[:, None].astype(np.float32) * channels
    return Regions(colour / per_region, texture / (per_region * ORIENTATIONS), size, box, touching(labels))


def gaussian_derivatives(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Derivatives of Gaussian along x and y, each float32 [H, W, C]."""
    sigma = (TEXTURE_SIGMA, TEXTURE_SIGMA, 0)
    dx = gaussian_filter(image, sigma, order=(0, 1, 0), mode="nearest")
    dy = gaussian_filter(image, sigma, order=(1, 0, 0), mode="nearest")
    return dx, dy


def touching(labels: np.ndarray) -> np.ndarray:
    """The pairs of labels that meet in an 8-neighbourhood: int32 [E, 2], sorted, each pair once."""
    count = np.int64(labels.max()) + 1
    keys = []
    for first, second in (
        (labels[:, :-1], labels[:, 1:]),
        (labels[:-1], labels[1:]),
        (labels[:-1, :-1], labels[1:, 1:]),
        (labels[:-1, 1:], labels[1:, :-1]),
    ):
        differ = first != second
        a, b = first[differ].astype(np.int64), second[differ].astype(np.int64)
        keys.append(np.unique(np.minimum(a, b) * count + np.maximum(a, b)))
    pairs = np.unique(np.concatenate(keys))
    return np.stack((pairs // count, pairs % count), axis=1).astype(np.int32)


@njit(cache=True, nogil=True)
def _accumulate(image, dx, dy, labels, count):
    height, width, channels = image.shape
    colour = np.zeros((count, channels * COLOUR_BINS), np.float32)
    texture = np.zeros((count, channels * ORIENTATIONS * TEXTURE_BINS), np.float32)
    size = np.zeros(count, np.int64)
    box = np.empty((count, 4), np.int32)
    box[:, 0], box[:, 1], box[:, 2], box[:, 3] = width, height, 0, 0
    half = ORIENTATIONS // 2
    cosines = np.cos(np.arange(half) * np.pi / half).astype(np.float32)
    sines = np.sin(np.arange(half) * np.pi / half).astype(np.float32)
    for y in range(height):
        for x in range(width):
            r = labels[y, x]
            size[r] += 1
            box[r, 0] = min(box[r, 0], x)
            box[r, 1] = min(box[r, 1], y)
            box[r, 2] = max(box[r, 2], x + 1)
            box[r, 3] = max(box[r, 3], y + 1)
            for c in range(channels):
                level = min(int(image[y, x, c] * COLOUR_BINS), COLOUR_BINS - 1)
                colour[r, c * COLOUR_BINS + level] += 1
                for o in range(half):
                    # Opposite directions share one projection: its positive part belongs to one, its negative
                    # part to the other, and the one that gets nothing counts in its lowest bin.
                    slope = cosines[o] * dx[y, x, c] + sines[o] * dy[y, x, c]
                    strength = min(int(abs(slope) * TEXTURE_BINS), TEXTURE_BINS - 1)
                    first = (c * ORIENTATIONS + o) * TEXTURE_BINS
                    opposite = first + half * TEXTURE_BINS
                    texture[r, first + (strength if slope > 0 else 0)] += 1
                    texture[r, opposite + (strength if slope < 0 else 0)] += 1
    return colour, texture, size, box
