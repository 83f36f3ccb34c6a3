"""What objects are taken for: a confusion matrix of detections."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from frcnn_cli.data.boxes import box_iou
from frcnn_cli.data.detections import Detections
from frcnn_cli.data.samples import Objects


def confusion_matrix(
    detections: Sequence[Detections],
    objects: Sequence[Objects],
    thresholds: np.ndarray,
    iou_threshold: float = 0.5,
) -> np.ndarray:
    """Count objects by their class and by what the detector says of them.

    Detections take objects by falling score, each the free one of highest IoU: first all those of the detection's own
    class, then what is left of others. So an object that is found is never counted as confused. What is on a difficult
    object, and took no other, counts neither way.

    Args:
        detections: one an image.
        objects: one an image, in the same order.
        thresholds: float [C], the least score of each class that is reported.
        iou_threshold: taking needs an IoU above it.

    Returns:
        int64 [C + 1, C + 1]: rows are the classes of objects and columns those of detections. Row 0 counts detections
        on no object, column 0 objects that are missed; every other row sums to the objects of the class.
    """
    size = len(thresholds) + 1
    matrix = np.zeros((size, size), dtype=np.int64)
    for found, truth in zip(detections, objects, strict=True):
        reported = np.flatnonzero(found.scores >= thresholds[found.labels - 1])
        reported = reported[np.argsort(-found.scores[reported], kind="stable")]
        said = found.labels[reported]
        overlaps = box_iou(found.boxes[reported], truth.boxes)
        taker = _take(overlaps, said, truth, iou_threshold)
        easy = ~truth.difficult
        names = np.append(said, 0)[taker]  # a taker of -1, nobody, reads the appended 0
        np.add.at(matrix, (truth.labels[easy], names[easy]), 1)
        idle = ~np.isin(np.arange(len(said)), taker)
        if truth.difficult.any():
            idle &= ~(overlaps[:, truth.difficult] > iou_threshold).any(axis=1)
        np.add.at(matrix, (0, said[idle]), 1)
    return matrix


def _take(overlaps: np.ndarray, said: np.ndarray, truth: Objects, iou_threshold: float) -> np.ndarray:
    """The detection that takes each object, int64 [G]; -1 for none."""
    taker = np.full(len(truth), -1)
    same = said[:, None] == truth.labels
    for allowed in (same, ~same):
        candidates = np.where(allowed & (overlaps > iou_threshold) & ~truth.difficult, overlaps, 0.0)
        for index in np.flatnonzero(candidates.any(axis=1)):
            if (taker == index).any():
                continue
            free = np.where(taker < 0, candidates[index], 0.0)
            if free.any():
                taker[free.argmax()] = index
    return taker
