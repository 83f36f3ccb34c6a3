"""The worst of what went wrong, one by one: false positives that are surest, missed objects that are largest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from frcnn_cli.data.boxes import box_iou
from frcnn_cli.metrics.error_kinds import MATCH, Judged, Kind
from frcnn_cli.metrics.outcomes import Outcome
from frcnn_cli.report.analysis import Analysis

MOST = 480
"""Cases of a page."""


@dataclass(frozen=True, eq=False)
class Case:
    """One false positive, or one missed object.

    Attributes:
        kind: of error.
        image: its index.
        label: of the class that was said, or that was missed.
        score: of what was said; of a missed object, that of a detection on it, or nan.
        box: float32 [4], what was said or missed.
        target: index of the object that was there; -1 for none.
        why: a phrase.
        weight: cases of more weight are worse; compared within a kind only.
    """

    kind: Kind
    image: int
    label: int
    score: float
    box: np.ndarray
    target: int
    why: str
    weight: float


def worst_cases(analysis: Analysis, most: int = MOST) -> list[Case]:
    """The worst case of every kind and class, then the second of each, and so on; in this order."""
    groups: dict[tuple[int, int], list[Case]] = {}
    for index in range(len(analysis.judged)):
        for case in (*_false_positives(analysis, index), *_missed(analysis, index)):
            groups.setdefault((case.label, case.kind), []).append(case)
    for group in groups.values():
        group.sort(key=lambda case: -case.weight)
    ranked = [(place, case) for group in groups.values() for place, case in enumerate(group[:most])]
    ranked.sort(key=lambda pair: (pair[0], pair[1].kind, pair[1].label))
    return [case for _, case in ranked[:most]]


def _false_positives(analysis: Analysis, index: int) -> Iterator[Case]:
    image = analysis.judged[index]
    found = image.detections
    wrong = (image.kinds != Kind.CORRECT) & (found.scores >= analysis.reported[found.labels - 1])
    for place in np.flatnonzero(wrong):
        kind, label = Kind(int(image.kinds[place])), int(found.labels[place])
        overlaps = box_iou(found.boxes[place : place + 1], image.objects.boxes)[0]
        target = int(image.nearest[place])
        if kind is Kind.BOTH:
            target = int(overlaps.argmax())
        elif kind is Kind.BACKGROUND:
            target = -1
        why = _why_wrong(analysis, image, kind, label, target, overlaps)
        score = float(found.scores[place])
        yield Case(kind, index, label, score, found.boxes[place], target, why, score)


def _why_wrong(analysis: Analysis, image: Judged, kind: Kind, label: int, target: int, overlaps: np.ndarray) -> str:
    name = analysis.classes[label - 1]
    if kind is Kind.BACKGROUND:
        return "no object there"
    there, overlap = analysis.classes[image.objects.labels[target] - 1], overlaps[target]
    if kind is Kind.DUPLICATE:
        return f"a second box of one {name}"
    if kind is Kind.CLASSIFICATION:
        return f"it is a {there}" + (" (difficult)" if image.objects.difficult[target] else "")
    return f"IoU {overlap:.2f} with the {there}" + ("" if kind is Kind.LOCALISATION else ", another class")


def _missed(analysis: Analysis, index: int) -> Iterator[Case]:
    image, becomes = analysis.judged[index], analysis.outcomes[index]
    objects, found, record = image.objects, image.detections, analysis.dataset.records[index]
    table = analysis.evaluation.covered[index] if analysis.evaluation.covered else None
    for place in np.flatnonzero((becomes != Outcome.FOUND) & ~objects.difficult):
        label, outcome = int(objects.labels[place]), Outcome(int(becomes[place]))
        on = np.flatnonzero((image.nearest == place) & (image.kinds == Kind.CORRECT))
        score = float(found.scores[on[0]]) if len(on) else float("nan")
        least = analysis.reported[label - 1]
        covered = float(table[-1, place]) if table is not None else float("nan")
        why = {
            Outcome.UNSURE: f"found with a score of {score:.2f}, reported from {least:.2f}",
            Outcome.UNPROPOSED: f"no proposal covers it, the best has IoU {covered:.2f}",
            Outcome.MISPLACED: "a box near it does not fit",
            Outcome.CONFUSED: "taken for another class",
            Outcome.UNSEEN: f"proposed (IoU {covered:.2f}), taken for background"
            if covered > MATCH
            else "taken for background",
        }[outcome]
        x1, y1, x2, y2 = (float(value) for value in objects.boxes[place])
        share = (x2 - x1) * (y2 - y1) / (record.width * record.height)
        yield Case(Kind.MISSED, index, label, score, objects.boxes[place], int(place), why, share)
