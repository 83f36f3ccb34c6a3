"""From scores and deltas to detections, in NumPy and OpenCV: what `core.detection` and `core.refinement` compute."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from frcnn_cli.data.detections import Detections
from frcnn_cli.engine.detection_config import DetectionConfig
from frcnn_cli.engine.runtimes.numpy_boxes import clip, decode, iou, solid

VOTING_IOU = 0.5

Scored = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Boxes float32 [K, 4], their probabilities [K, 1 + C] and their deltas [K, C, 4], or [K, 1, 4] for all classes."""


def select_detections(scored: Scored, image_size: tuple[int, int], config: DetectionConfig) -> Detections:
    """See `core.detection.select_detections`.

    Args:
        scored: all RoIs, in pixels of the image.
        image_size: (width, height) in pixels.
        config: thresholds.
    """
    proposals, probabilities, deltas = scored
    deltas = np.broadcast_to(deltas, (len(proposals), probabilities.shape[1] - 1, 4))
    roi, label = (probabilities[:, 1:] >= np.float32(config.score_threshold)).nonzero()
    scores = probabilities[roi, label + 1]
    boxes = clip(decode(proposals[roi], deltas[roi, label]), *image_size)
    kept = np.flatnonzero(solid(boxes))
    kept = kept[_suppress(boxes[kept], scores[kept], label[kept], config.nms_threshold)][: config.max_detections]
    boxes, scores, label = boxes[kept], scores[kept], label[kept]
    if config.box_voting:
        for c in np.unique(label):
            voters = clip(decode(proposals, deltas[:, c]), *image_size)
            boxes[label == c] = clip(_vote(boxes[label == c], voters, probabilities[:, c + 1]), *image_size)
    return Detections(boxes, scores, label + 1)


def _suppress(boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray, threshold: float) -> np.ndarray:
    """Which boxes stay, by falling score; see `torchvision.ops.batched_nms`."""
    sides = np.concatenate((boxes[:, :2], boxes[:, 2:] - boxes[:, :2]), axis=1)
    kept = [np.zeros(0, np.int64)]
    for c in np.unique(labels):
        mine = np.flatnonzero(labels == c)
        kept.append(mine[cv2.dnn.NMSBoxes(sides[mine], scores[mine], 0.0, threshold)])
    together = np.sort(np.concatenate(kept))
    return together[np.argsort(-scores[together], kind="stable")]


def _vote(boxes: np.ndarray, voters: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """See `core.detection.vote`."""
    share = (iou(boxes, voters) >= VOTING_IOU) * weights
    total = share.sum(axis=1, keepdims=True)
    return np.where(total > 0, share @ voters / np.where(total > 0, total, 1), boxes)


def look_again(
    score: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]],
    scored: Scored,
    count: int,
    image_size: tuple[int, int],
) -> Scored:
    """See `core.refinement.look_again`."""
    boxes, probabilities, deltas = scored
    likelihood, label = probabilities[:, 1:].max(axis=1), probabilities[:, 1:].argmax(axis=1)
    order = np.argsort(-likelihood, kind="stable")
    chosen, others = order[:count], order[count:]
    moves = np.broadcast_to(deltas, (len(boxes), probabilities.shape[1] - 1, 4))[chosen, label[chosen]]
    moved = clip(decode(boxes[chosen], moves), *image_size)
    moved = moved[solid(moved)]
    again = (moved, *score(moved))
    return tuple(np.concatenate((before[others], after)) for before, after in zip(scored, again, strict=True))
