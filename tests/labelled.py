"""Detections and objects on boxes whose overlap can be counted, for the tests of metrics."""

from __future__ import annotations

import numpy as np

from frcnn_cli.data.detections import Detections
from frcnn_cli.data.samples import Objects

A, B, FAR = (0, 0, 10, 10), (20, 20, 40, 40), (100, 100, 110, 110)
CAT, DOG = 1, 2


def found(*rows) -> Detections:
    """Rows of (box, score, label)."""
    boxes, scores, labels = zip(*rows, strict=True) if rows else ((), (), ())
    return Detections(np.array(boxes, np.float32).reshape(-1, 4), np.array(scores), np.array(labels, np.int64))


def truth(*rows, difficult=()) -> Objects:
    """Rows of (box, label)."""
    boxes, labels = zip(*rows, strict=True) if rows else ((), ())
    flags = np.isin(np.arange(len(boxes)), difficult)
    return Objects(np.array(boxes, np.float32).reshape(-1, 4), np.array(labels, np.int64), flags)
