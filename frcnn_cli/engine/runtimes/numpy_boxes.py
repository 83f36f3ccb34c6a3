"""Boxes as arrays of NumPy, float32 [..., 4] in xyxy: what `core.boxes` and `core.pyramid` compute, without torch.

Each function is the one of the same name there, to the last bits of float32; the tests compare them.
"""

from __future__ import annotations

import math

import numpy as np

MAX_LOG_SCALE = math.log(1000 / 16)
USUAL_AREA = 224**2


def area(boxes: np.ndarray) -> np.ndarray:
    """See `core.boxes.area`."""
    return np.maximum(boxes[:, 2:] - boxes[:, :2], 0).prod(axis=1)


def iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """See `core.boxes.iou`."""
    top_left = np.maximum(a[:, None, :2], b[None, :, :2])
    bottom_right = np.minimum(a[:, None, 2:], b[None, :, 2:])
    intersection = np.maximum(bottom_right - top_left, 0).prod(axis=2)
    union = area(a)[:, None] + area(b)[None, :] - intersection
    return np.where(union > 0, intersection / np.maximum(union, np.finfo(np.float32).tiny), np.float32(0))


def decode(proposals: np.ndarray, deltas: np.ndarray) -> np.ndarray:
    """See `core.boxes.decode`."""
    size = proposals[..., 2:] - proposals[..., :2]
    centre = proposals[..., :2] + np.float32(0.5) * size + deltas[..., :2] * size
    half = np.float32(0.5) * size * np.exp(np.minimum(deltas[..., 2:], np.float32(MAX_LOG_SCALE)))
    return np.concatenate((centre - half, centre + half), axis=-1)


def clip(boxes: np.ndarray, width: float, height: float) -> np.ndarray:
    """See `core.boxes.clip`."""
    return np.minimum(np.maximum(boxes, np.float32(0)), np.array((width, height, width, height), np.float32))


def solid(boxes: np.ndarray) -> np.ndarray:
    """Which boxes have a width and a height: bool [N]. One decoded to outside the image clips to nothing."""
    return (boxes[:, 2:] > boxes[:, :2]).all(axis=1)


def flip(boxes: np.ndarray, width: float) -> np.ndarray:
    """See `core.boxes.flip`."""
    x1, y1, x2, y2 = boxes.T
    return np.stack((width - x2, y1, width - x1, y2), axis=1).astype(np.float32)


def flip_deltas(deltas: np.ndarray) -> np.ndarray:
    """See `core.boxes.flip_deltas`."""
    return deltas * np.array((-1, 1, 1, 1), np.float32)


def assign_levels(boxes: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """See `core.pyramid.assign_levels`."""
    return np.abs(area(boxes)[:, None] * np.square(factors, dtype=np.float32) - np.float32(USUAL_AREA)).argmin(axis=1)
