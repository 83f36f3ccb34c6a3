"""How well ranked proposals cover objects, as pure functions of arrays: the bound on what a detector can find.

An object is covered at a threshold if the best of the first n proposals has IoU >= threshold with it. Each object is
asked alone: one proposal may cover two (COCO's matching, which gives a box to one object only, is for detections).

==============  =================================================================================================
recall          share of the objects covered at a threshold
average recall  mean of the recalls at IoU 0.50, 0.55 .. 0.95 (Hosang et al., PAMI 2016; COCO's thresholds)
ABO             average best overlap: mean of a class's best IoUs (Uijlings et al., IJCV 2013, section 5)
MABO            mean of ABO over the classes that have objects
==============  =================================================================================================

Difficult objects never count: the caller leaves them out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from frcnn_cli.data.boxes import box_iou
from frcnn_cli.metrics.average_precision import COCO_THRESHOLDS

COUNTS = (10, 20, 50, 100, 200, 500, 1000, 2000)
"""Numbers of proposals that are looked at, the best ones each time."""


def best_overlaps(proposals: np.ndarray, objects: np.ndarray, counts: Sequence[int] = COUNTS) -> np.ndarray:
    """The best IoU that each object has with one of the first n proposals of its image.

    Args:
        proposals: float [N, 4], xyxy in pixels, best first.
        objects: float [G, 4].
        counts: K numbers n, each 0 or more; one beyond N means all.

    Returns:
        float64 [K, G] in [0, 1]; 0 where there is no proposal.
    """
    overlaps = np.concatenate([np.zeros((1, len(objects))), box_iou(proposals, objects)])
    return np.maximum.accumulate(overlaps)[np.minimum(np.asarray(counts, np.int64), len(proposals))]


def recall(overlaps: np.ndarray, iou: float) -> np.ndarray:
    """Share of the objects whose best overlap, float [..., G], is ``iou`` or more: float64 [...], nan if G is 0."""
    return _mean(overlaps >= iou)


def average_recall(overlaps: np.ndarray) -> np.ndarray:
    """Mean of the recalls at IoU 0.50, 0.55 .. 0.95 for best overlaps [..., G]: float64 [...], nan if G is 0."""
    return _mean((overlaps[..., None] >= COCO_THRESHOLDS).mean(axis=-1))


def mean_average_best_overlap(overlaps: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Mean over the classes of the mean best overlap of a class's objects.

    Args:
        overlaps: float [..., G].
        labels: int [G], each object's class. A class that no object has is left out of the mean.

    Returns:
        float64 [...]; nan if G is 0. Where all labels are equal it is that class's ABO.
    """
    abo = [_mean(overlaps[..., labels == label]) for label in np.unique(labels)]
    return np.mean(abo, axis=0) if abo else _mean(overlaps)


@dataclass(frozen=True, eq=False)
class Coverage:
    """The best overlap of every object with the first n proposals of its image, and what follows from it.

    Attributes:
        counts: K numbers n.
        boxes: float64 [K], mean number of boxes an image that were there to use: less than n where images have fewer.
        overlaps: float64 [K, G].
        labels: int64 [G], each object's class.
    """

    counts: tuple[int, ...]
    boxes: np.ndarray
    overlaps: np.ndarray
    labels: np.ndarray

    @property
    def num_objects(self) -> int:
        """G."""
        return len(self.labels)

    def recall(self, iou: float) -> np.ndarray:
        """float64 [K]; see `recall`."""
        return recall(self.overlaps, iou)

    @property
    def average_recall(self) -> np.ndarray:
        """float64 [K]; see `average_recall`."""
        return average_recall(self.overlaps)

    @property
    def mabo(self) -> np.ndarray:
        """float64 [K], MABO; of a single class, its ABO."""
        return mean_average_best_overlap(self.overlaps, self.labels)

    def of_class(self, label: int) -> Coverage:
        """The coverage of one class's objects; all its figures are nan if there are none."""
        mine = self.labels == label
        return Coverage(self.counts, self.boxes, self.overlaps[:, mine], self.labels[mine])


class ProposalRecall:
    """Gathers a data set image by image: `add` each one, then take the `result`."""

    def __init__(self, counts: Sequence[int] = COUNTS) -> None:
        self.counts = tuple(counts)
        self._overlaps = [np.zeros((len(self.counts), 0))]
        self._labels = [np.zeros(0, np.int64)]
        self._boxes: list[np.ndarray] = []

    def add(self, proposals: np.ndarray, objects: np.ndarray, labels: np.ndarray) -> None:
        """Count one image.

        Args:
            proposals: float [N, 4], xyxy in pixels, best first.
            objects: float [G, 4], those that count.
            labels: int [G].

        Raises:
            ValueError: not one label an object.
        """
        if len(objects) != len(labels):
            raise ValueError(f"{len(objects)} objects, but {len(labels)} labels")
        self._overlaps.append(best_overlaps(proposals, objects, self.counts))
        self._labels.append(labels)
        self._boxes.append(np.minimum(self.counts, len(proposals)))

    def result(self) -> Coverage:
        """What all images together give; nan where there are none."""
        boxes = _mean(np.array(self._boxes).reshape(-1, len(self.counts)).T)
        return Coverage(self.counts, boxes, np.concatenate(self._overlaps, axis=1), np.concatenate(self._labels))


def _mean(values: np.ndarray) -> np.ndarray:
    """Mean over the last axis; nan, and no warning, if it is empty."""
    return values.mean(axis=-1) if values.shape[-1] else np.full(values.shape[:-1], np.nan)
