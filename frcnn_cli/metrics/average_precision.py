"""Average precision (AP) by the rules of PASCAL VOC and of COCO, as pure functions of arrays.

Both rank the detections of a class over all images by falling score, decide for each whether it is a true positive, a
false positive or ignored, and average precision over recall. They differ in the decision:

==============  ==================================================  ==============================================
                VOC (Everingham et al., IJCV 2010, section 4.2)     COCO (Lin et al., ECCV 2014; pycocotools)
==============  ==================================================  ==============================================
candidate       the object of highest IoU, taken or not             the object of highest IoU among those not taken
match if        IoU >  threshold                                    IoU >= threshold
ignored object  ``difficult``: competes like any other              crowd: used only if no other object matches,
                                                                    and its IoU is intersection / detection area
average         area under the envelope, or 11 recall levels        101 recall levels
==============  ==================================================  ==============================================

Areas. VOC's boxes are 1-based and include their last pixel, so its areas are counted with +1. Our continuous box
(x1, y1, x2, y2) is VOC's (x1 + 1, y1 + 1, x2, y2), whose width is x2 - (x1 + 1) + 1 = x2 - x1: VOC's +1 areas *are* the
continuous areas, and the same holds for intersections and for the fractional corners of detections. So one IoU serves
both. Only files of results differ from what is evaluated here, as their corners are rounded (`voc_results`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from frcnn_cli.data.boxes import box_iou
from frcnn_cli.data.detections import Detections
from frcnn_cli.data.samples import Objects

VocMetric = Literal["voc", "voc07"]
Metric = Literal["voc", "voc07", "coco"]

# voc_eval.py's own expression. Its 0.3, 0.6 and 0.7 are one rounding step too high, so that a recall of exactly 3/10
# does not reach 0.3; kept, since numbers must compare with those that others publish.
VOC07_RECALLS = np.arange(0.0, 1.1, 0.1)
COCO_RECALLS = np.linspace(0.0, 1.0, 101)
COCO_THRESHOLDS = np.linspace(0.5, 0.95, 10)


@dataclass(frozen=True, eq=False)
class Ranking:
    """The detections of one class over all images by falling score; those that count neither way are left out.

    Attributes:
        scores: float32 [D], falling.
        correct: bool [D], True for a true positive and False for a false positive.
        images: int64 [D], the index of each detection's image.
        objects: int64 [N], how many objects there are to be found in each image (without difficult ones).
    """

    scores: np.ndarray
    correct: np.ndarray
    images: np.ndarray
    objects: np.ndarray

    @property
    def num_objects(self) -> int:
        """All that are to be found."""
        return int(self.objects.sum())


@dataclass(frozen=True, eq=False)
class ClassAP:
    """AP of every class.

    Attributes:
        ap: float64 [C] in [0, 1], for the labels 1 .. C; nan for a class without an object that counts.
        num_objects: int64 [C], objects that count.
    """

    ap: np.ndarray
    num_objects: np.ndarray

    @property
    def mean_ap(self) -> float:
        """Mean over the classes that have objects; nan if none has."""
        return _mean(self.ap)


@dataclass(frozen=True, eq=False)
class CocoAP:
    """AP of every class at each of COCO's IoU thresholds, over objects of all sizes.

    Attributes:
        table: float64 [10, C] in [0, 1]: thresholds 0.5, 0.55 .. 0.95 by labels 1 .. C; nan for a class without an
            object that counts.
    """

    table: np.ndarray

    @property
    def per_class(self) -> np.ndarray:
        """float64 [C], the mean over the thresholds."""
        return self.table.mean(axis=0)

    @property
    def mean_ap(self) -> float:
        """COCO's AP (its main number): mean over thresholds and classes."""
        return _mean(self.table)

    @property
    def mean_ap50(self) -> float:
        """COCO's AP50: mean over classes at IoU 0.5."""
        return _mean(self.table[0])


def evaluate(
    detections: Sequence[Detections],
    objects: Sequence[Objects],
    num_classes: int,
    metric: VocMetric = "voc",
    iou_threshold: float = 0.5,
) -> ClassAP:
    """VOC's AP of every class.

    Args:
        detections: one an image.
        objects: one an image, in the same order.
        num_classes: C, without the background.
        metric: ``"voc"`` (VOC2010 and later) or ``"voc07"`` (11 points).
        iou_threshold: a match needs an IoU strictly above it.

    Raises:
        ValueError: the lists differ in length, a label exceeds C, or the metric is unknown.
    """
    if metric not in get_args(VocMetric):
        raise ValueError(f"unknown metric {metric!r}: choose from {', '.join(get_args(VocMetric))}")
    return score_rankings(rank_classes(detections, objects, num_classes, iou_threshold), metric)


def rank_classes(
    detections: Sequence[Detections], objects: Sequence[Objects], num_classes: int, iou_threshold: float = 0.5
) -> list[Ranking]:
    """What `match_detections` makes of every class, in the order of the labels 1 .. ``num_classes``.

    Raises:
        ValueError: the lists differ in length, or a label exceeds the number of classes.
    """
    _check_inputs(detections, objects, num_classes)
    return [match_detections(detections, objects, label, iou_threshold) for label in range(1, num_classes + 1)]


def score_rankings(rankings: Sequence[Ranking], metric: Metric) -> ClassAP:
    """The AP of each ranking, one a class."""
    return ClassAP(
        ap=np.array([_ranking_ap(ranking, metric) for ranking in rankings], dtype=np.float64),
        num_objects=np.array([ranking.num_objects for ranking in rankings], dtype=np.int64),
    )


def coco_average_precision(
    detections: Sequence[Detections], objects: Sequence[Objects], num_classes: int, max_detections: int = 100
) -> CocoAP:
    """COCO's AP of every class and threshold; equal to ``COCOeval`` of pycocotools with area range "all".

    Args:
        detections: one an image.
        objects: one an image, in the same order; ``difficult`` stands for COCO's ``iscrowd``.
        num_classes: C, without the background.
        max_detections: only that many of highest score count, for each class of each image (as in ``COCOeval``, whose
            "100 detections an image" are counted class by class).

    Raises:
        ValueError: the lists differ in length, or a label exceeds C.
    """
    _check_inputs(detections, objects, num_classes)
    table = np.full((len(COCO_THRESHOLDS), num_classes), np.nan)
    for column in range(num_classes):
        rankings = match_coco_detections(detections, objects, column + 1, max_detections)
        table[:, column] = [_ranking_ap(ranking, "coco") for ranking in rankings]
    return CocoAP(table)


def match_detections(
    detections: Sequence[Detections], objects: Sequence[Objects], label: int, iou_threshold: float = 0.5
) -> Ranking:
    """Ranks one class's detections and decides by VOC's rules which are right (voc_eval.py, VOCdevkit's VOCevaldet.m).

    A detection belongs to the object of highest IoU in its image, the first of equals. It is right if that IoU exceeds
    the threshold and no detection of higher score has claimed the object; a second one is a false positive. It is left
    out if the object is difficult. Detections of equal score keep their order.

    Args:
        detections, objects: one an image, in the same order.
        label: the class, 1 or more.
        iou_threshold: a match needs an IoU strictly above it.
    """
    scores, claims = [np.zeros(0, np.float32)], [np.zeros(0, np.int64)]
    is_difficult, num_easy = [np.zeros(0, bool)], []
    num_seen = 0
    for found, truth in zip(detections, objects, strict=True):
        mine, theirs = found.labels == label, truth.labels == label
        scores.append(found.scores[mine])
        claim = np.full(len(scores[-1]), -1)
        if len(claim) and theirs.any():
            overlaps = box_iou(found.boxes[mine], truth.boxes[theirs])
            claim = np.where(overlaps.max(axis=1) > iou_threshold, overlaps.argmax(axis=1) + num_seen, -1)
        claims.append(claim)
        is_difficult.append(truth.difficult[theirs])
        num_easy.append(np.count_nonzero(~is_difficult[-1]))
        num_seen += len(is_difficult[-1])

    score, claim, difficult = np.concatenate(scores), np.concatenate(claims), np.concatenate(is_difficult)
    image = np.repeat(np.arange(len(num_easy)), [len(part) for part in scores[1:]])
    order = np.argsort(-score, kind="stable")
    score, claim = score[order], claim[order]
    correct = np.zeros(len(claim), dtype=bool)
    claimed, first = np.unique(claim, return_index=True)  # the index of the best-ranked claim of each object
    correct[first[claimed >= 0]] = True
    counts = ~np.append(difficult, False)[claim]  # claim -1 (no object) reads the appended False
    return Ranking(score[counts], correct[counts], image[order][counts], np.array(num_easy, dtype=np.int64))


def precision_recall(correct: np.ndarray, num_objects: int) -> tuple[np.ndarray, np.ndarray]:
    """Recall and precision after each detection of a ranking.

    Args:
        correct: bool [D], by falling score.
        num_objects: objects to be found, at least 1.

    Returns:
        recall: float64 [D], never falling.
        precision: float64 [D].

    Raises:
        ValueError: there is nothing to be found, so recall is undefined.
    """
    if num_objects < 1:
        raise ValueError("recall is undefined without an object to be found")
    hits = np.cumsum(correct, dtype=np.float64)
    return hits / num_objects, hits / np.arange(1, len(hits) + 1)


def average_precision(recall: np.ndarray, precision: np.ndarray, metric: Metric = "voc") -> float:
    """Average of the precision envelope (at each recall, the best precision at that recall or a higher one).

    Args:
        recall: float [D], never falling.
        precision: float [D].
        metric: ``"voc"``: the area under the envelope (VOC2010 and later); ``"voc07"``: its mean at the recalls 0, 0.1,
            .. 1; ``"coco"``: its mean at 0, 0.01, .. 1.

    Returns:
        AP in [0, 1]; 0 if D is 0.

    Raises:
        ValueError: the metric is unknown.
    """
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    if metric == "voc":
        return float(np.sum(np.diff(recall, prepend=0.0) * envelope))
    if metric not in get_args(Metric):
        raise ValueError(f"unknown metric {metric!r}: choose from {', '.join(get_args(Metric))}")
    levels = VOC07_RECALLS if metric == "voc07" else COCO_RECALLS
    reached = np.searchsorted(recall, levels, side="left")  # D where a level is never reached: precision 0
    return float(np.append(envelope, 0.0)[reached].mean())


def match_coco_detections(
    detections: Sequence[Detections], objects: Sequence[Objects], label: int, max_detections: int = 100
) -> list[Ranking]:
    """One class's ranking at each of COCO's thresholds; see `coco_average_precision`."""
    scores = [np.zeros(0, np.float32)]
    outcomes = [np.zeros((2, len(COCO_THRESHOLDS), 0), dtype=bool)]
    num_regular = []
    for found, truth in zip(detections, objects, strict=True):
        mine, theirs = np.flatnonzero(found.labels == label), truth.labels == label
        mine = mine[np.argsort(-found.scores[mine], kind="stable")][:max_detections]
        scores.append(found.scores[mine])
        crowd = truth.difficult[theirs]
        outcomes.append(_match_coco_image(box_iou(found.boxes[mine], truth.boxes[theirs], crowd), crowd))
        num_regular.append(np.count_nonzero(~crowd))
    score = np.concatenate(scores)
    order = np.argsort(-score, kind="stable")
    image = np.repeat(np.arange(len(num_regular)), [len(part) for part in scores[1:]])[order]
    score = score[order]
    correct, ignored = np.concatenate(outcomes, axis=-1)[..., order]
    there = np.array(num_regular, dtype=np.int64)
    return [Ranking(score[~skip], hit[~skip], image[~skip], there) for hit, skip in zip(correct, ignored, strict=True)]


def _match_coco_image(overlaps: np.ndarray, crowd: np.ndarray) -> np.ndarray:
    """COCO's greedy matching in one image, at all thresholds at once.

    Args:
        overlaps: float64 [D, G], IoU of detections (by falling score) and objects.
        crowd: bool [G].

    Returns:
        bool [2, T, D]: correct, ignored.
    """
    thresholds = COCO_THRESHOLDS[:, None]
    correct, ignored = np.zeros((2, len(thresholds), len(overlaps)), dtype=bool)
    regular, in_crowd = overlaps[:, ~crowd], overlaps[:, crowd]
    free = np.ones((len(thresholds), regular.shape[1]), dtype=bool)
    # Most detections overlap nothing enough at any threshold, and stay false positives.
    for index in np.flatnonzero((overlaps >= COCO_THRESHOLDS[0]).any(axis=1)):
        candidates = np.where(free & (regular[index] >= thresholds), regular[index], 0.0)
        hit = candidates.any(axis=1)
        if hit.any():
            best = free.shape[1] - 1 - candidates[:, ::-1].argmax(axis=1)  # the last of equals, as in COCOeval
            free[hit, best[hit]] = False
        correct[:, index] = hit
        ignored[:, index] = ~hit & (in_crowd[index] >= thresholds).any(axis=1)
    return np.stack([correct, ignored])


def _ranking_ap(ranking: Ranking, metric: Metric) -> float:
    """AP of one class; nan if there is nothing to be found."""
    if ranking.num_objects == 0:
        return float("nan")
    return average_precision(*precision_recall(ranking.correct, ranking.num_objects), metric)


def _mean(values: np.ndarray) -> float:
    """Mean of the values that are numbers; nan, and no warning, if none is."""
    numbers = values[~np.isnan(values)]
    return float(numbers.mean()) if numbers.size else float("nan")


def _check_inputs(detections: Sequence[Detections], objects: Sequence[Objects], num_classes: int) -> None:
    if len(detections) != len(objects):
        raise ValueError(f"{len(detections)} images with detections, but {len(objects)} with objects")
    for index, pair in enumerate(zip(detections, objects, strict=True)):
        for item in pair:
            if item.labels.max(initial=0) > num_classes:
                raise ValueError(f"image {index}: label {item.labels.max()}, but there are {num_classes} classes")
