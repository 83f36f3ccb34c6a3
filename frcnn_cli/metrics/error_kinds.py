"""What is wrong with detections, and what average precision would be were each kind of fault mended.

Detections are sorted into kinds as TIDE does (Bolya et al., ECCV 2020, sections 2.2 and 2.3), with VOC's rules: IoU is
with the nearest object of the same class where there is one within reach.

==============  ===============================================  =====================================
kind            a detection                                      is mended by
==============  ===============================================  =====================================
localisation    of the right class, IoU 0.1 to 0.5               putting the box onto the object
classification  on an object of another class                    correcting the class
both            of a wrong class, IoU 0.1 to 0.5                 removing it
duplicate       on an object that a higher-scored one has        removing it
background      near no object, IoU below 0.1                    removing it
missed          (an object that none of the above is on or at)   not asking for it
==============  ===============================================  =====================================

Of several that are put onto one object the best stays. Gains do not add up: a detection has one fault, but an object
may have several detections.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from frcnn_cli.data.boxes import box_iou
from frcnn_cli.data.detections import Detections
from frcnn_cli.data.samples import Objects
from frcnn_cli.metrics.average_precision import ClassAP, VocMetric, evaluate

MATCH, NEAR = 0.5, 0.1


class Kind(IntEnum):
    """What a detection is; `MISSED` is of objects."""

    CORRECT = 0
    LOCALISATION = 1
    CLASSIFICATION = 2
    BOTH = 3
    DUPLICATE = 4
    BACKGROUND = 5
    MISSED = 6


ERRORS = tuple(kind for kind in Kind if kind is not Kind.CORRECT)


@dataclass(frozen=True, eq=False)
class Judged:
    """One image's detections by falling score, and what they are.

    Attributes:
        detections: D of them.
        kinds: int64 [D], values of `Kind`. Those on a difficult object of their class are `CORRECT`.
        nearest: int64 [D], the object that each is held against: the nearest of its class, of any for
            `CLASSIFICATION`; without meaning for `BOTH` and `BACKGROUND`.
        objects: of the image.
    """

    detections: Detections
    kinds: np.ndarray
    nearest: np.ndarray
    objects: Objects

    @property
    def missed(self) -> np.ndarray:
        """bool [G], the objects that count and that no detection is on, or near with the right class."""
        near = np.isin(self.kinds, (Kind.CORRECT, Kind.DUPLICATE, Kind.LOCALISATION, Kind.CLASSIFICATION))
        return ~np.isin(np.arange(len(self.objects)), self.nearest[near]) & ~self.objects.difficult


def judge(detections: Detections, objects: Objects) -> Judged:
    """Sort one image's detections into kinds."""
    order = np.argsort(-detections.scores, kind="stable")
    detections = Detections(detections.boxes[order], detections.scores[order], detections.labels[order])
    kinds = np.full(len(order), Kind.BACKGROUND, dtype=np.int64)
    nearest = np.zeros(len(order), dtype=np.int64)
    if not len(objects) or not len(order):
        return Judged(detections, kinds, nearest, objects)
    overlap = box_iou(detections.boxes, objects.boxes)
    same = np.where(detections.labels[:, None] == objects.labels, overlap, -1.0)
    own, other = same.argmax(axis=1), overlap.argmax(axis=1)
    own_iou, other_iou = same.max(axis=1), overlap.max(axis=1)
    nearest[:] = own
    taken: set[int] = set()
    for i in np.flatnonzero(other_iou >= NEAR):  # most detections are near nothing
        if own_iou[i] > MATCH:
            again = own[i] in taken and not objects.difficult[own[i]]
            kinds[i] = Kind.DUPLICATE if again else Kind.CORRECT
            taken.add(int(own[i]))
        elif own_iou[i] >= NEAR:
            kinds[i] = Kind.LOCALISATION
        elif other_iou[i] > MATCH:
            kinds[i], nearest[i] = Kind.CLASSIFICATION, other[i]
        else:
            kinds[i] = Kind.BOTH
    return Judged(detections, kinds, nearest, objects)


def mend(image: Judged, kind: Kind) -> tuple[Detections, Objects]:
    """One image without one kind of fault."""
    if kind is Kind.MISSED:
        objects = image.objects
        return image.detections, Objects(objects.boxes, objects.labels, objects.difficult | image.missed)
    boxes, labels = image.detections.boxes.copy(), image.detections.labels.copy()
    keep = np.ones(len(boxes), dtype=bool)
    taken = set(image.nearest[image.kinds == Kind.CORRECT].tolist())
    for i in np.flatnonzero(image.kinds == kind):
        target = int(image.nearest[i])
        if kind not in (Kind.LOCALISATION, Kind.CLASSIFICATION) or target in taken:
            keep[i] = False
            continue
        taken.add(target)
        boxes[i], labels[i] = image.objects.boxes[target], image.objects.labels[target]
    return Detections(boxes[keep], image.detections.scores[keep], labels[keep]), image.objects


def mended_ap(images: Sequence[Judged], kind: Kind, num_classes: int, metric: VocMetric = "voc") -> ClassAP:
    """What AP would be without one kind of fault.

    Args:
        images: all of a data set.
        kind: of fault.
        num_classes: C, without the background.
        metric: see `evaluate`.
    """
    detections, objects = zip(*(mend(image, kind) for image in images), strict=True) if images else ((), ())
    return evaluate(detections, objects, num_classes, metric)
