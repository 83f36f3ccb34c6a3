"""COCO's twelve numbers, as pycocotools counts them, of detections and objects in memory.

Annotations of other formats have no outlines, so an object's area, by which it is small, medium or large, is that of
its box. ``difficult`` stands for COCO's ``iscrowd``.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from typing import Any

import numpy as np

from frcnn_cli.data.detections import Detections
from frcnn_cli.data.samples import Objects
from frcnn_cli.metrics.average_precision import COCO_THRESHOLDS, ClassAP

NUMBERS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
"""By the names of the leaderboard: AP at IoU 0.5:0.95, at 0.5, at 0.75, of small, medium and large objects; recall
with 1, 10 and 100 detections an image, and of small, medium and large objects."""


@dataclass(frozen=True, eq=False)
class CocoSummary:
    """What COCO's evaluation says.

    Attributes:
        numbers: each of `NUMBERS`, in [0, 1]; nan where there is no object to ask for.
        classes: AP at 0.5:0.95 of every class.
    """

    numbers: dict[str, float]
    classes: ClassAP


def coco_summary(detections: Sequence[Detections], objects: Sequence[Objects], num_classes: int) -> CocoSummary:
    """Evaluate as COCO does.

    Args:
        detections: one an image; of each class, the 100 of highest score count.
        objects: one an image, in the same order.
        num_classes: C, without the background.

    Raises:
        ValueError: the lists differ in length.
    """
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    truths, found = [], []
    for image, (mine, theirs) in enumerate(zip(detections, objects, strict=True)):
        for box, label, crowd in zip(theirs.boxes, theirs.labels, theirs.difficult, strict=True):
            truths.append(_annotation(len(truths), image, box, label) | {"iscrowd": int(crowd)})
        for box, label, score in zip(mine.boxes, mine.labels, mine.scores, strict=True):
            found.append(_annotation(len(found), image, box, label) | {"iscrowd": 0, "score": float(score)})
    with redirect_stdout(io.StringIO()):  # it reports each of its steps
        sides = []
        for annotations in (truths, found):
            side = COCO()
            side.dataset = {
                "images": [{"id": image} for image in range(len(objects))],
                "categories": [{"id": label} for label in range(1, num_classes + 1)],
                "annotations": annotations,
            }
            side.createIndex()
            sides.append(side)
        evaluation = COCOeval(*sides, "bbox")
        evaluation.params.iouThrs = COCO_THRESHOLDS
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    precision = evaluation.eval["precision"][..., 0, -1]  # [T, R, C]: of all sizes, 100 detections
    per_class = np.where(precision.min(axis=(0, 1)) < 0, np.nan, precision.mean(axis=(0, 1)))
    labels = np.concatenate([np.zeros(0, np.int64), *(truth.without_difficult().labels for truth in objects)])
    return CocoSummary(
        {name: float(value) if value >= 0 else float("nan") for name, value in zip(NUMBERS, evaluation.stats)},  # noqa: B905
        ClassAP(per_class, np.bincount(labels, minlength=num_classes + 1)[1:]),
    )


def _annotation(index: int, image: int, box: np.ndarray, label: int) -> dict[str, Any]:
    x1, y1, x2, y2 = (float(value) for value in box)
    width, height = x2 - x1, y2 - y1
    return {
        "id": index + 1,  # 0 stands for no match there
        "image_id": image,
        "category_id": int(label),
        "bbox": [x1, y1, width, height],
        "area": width * height,
    }
