"""Geometry of boxes as NumPy arrays [N, 4] in xyxy; `frcnn_cli.core.boxes` has that of tensors."""

from __future__ import annotations

import numpy as np


def box_iou(boxes: np.ndarray, others: np.ndarray, crowd: np.ndarray | None = None) -> np.ndarray:
    """Intersection over union of continuous boxes.

    Args:
        boxes: float [N, 4], xyxy in pixels.
        others: float [M, 4].
        crowd: bool [M]; where set, the intersection is divided by the area of the box of ``boxes`` instead of the union
            (COCO: a detection anywhere inside a crowd overlaps it fully).

    Returns:
        float64 [N, M] in [0, 1]; 0 for boxes without area.
    """
    a, b = boxes[:, None].astype(np.float64), others[None].astype(np.float64)
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    intersection = np.prod(np.maximum(sides, 0.0), axis=-1)
    area, other_area = np.prod(a[..., 2:] - a[..., :2], axis=-1), np.prod(b[..., 2:] - b[..., :2], axis=-1)
    union = area + other_area - intersection
    if crowd is not None:
        union = np.where(crowd, area, union)
    return np.divide(intersection, union, out=np.zeros_like(intersection), where=intersection > 0)
