"""What a report says in sentences: each one a figure that the page also shows, and each only where it holds."""

from __future__ import annotations

import numpy as np

from frcnn_cli.metrics.error_kinds import ERRORS, MATCH, Kind
from frcnn_cli.metrics.outcomes import Outcome
from frcnn_cli.report.analysis import Analysis
from frcnn_cli.report.words import count, percent, points

REMEDIES = {
    Kind.LOCALISATION: "boxes that do not fit",
    Kind.CLASSIFICATION: "objects taken for another class",
    Kind.BOTH: "boxes near objects of another class",
    Kind.DUPLICATE: "second boxes of one object",
    Kind.BACKGROUND: "boxes where nothing is",
    Kind.MISSED: "objects that nothing comes near",
}


def findings(analysis: Analysis) -> list[str]:
    """The sentences, the most important first."""
    if not analysis.num_objects:
        return ["There is no object that counts, so there is nothing to measure."]
    said = [
        _limit(analysis),
        _proposals(analysis),
        _classes(analysis),
        _confused(analysis),
        _sizes(analysis),
        _scores(analysis),
    ]
    return [sentence.replace(" %", "\N{NO-BREAK SPACE}%") for sentence in said if sentence]


def _limit(analysis: Analysis) -> str:
    gains = {kind: analysis.gain(kind) for kind in ERRORS}
    first, second = sorted(gains, key=lambda kind: -gains[kind])[:2]
    if gains[first] < 0.0005:
        return "No kind of error costs anything worth naming."
    return (
        f"Most is lost to {REMEDIES[first]}: without them mAP would be {percent(analysis.mended[first].mean_ap)}, "
        f"not {percent(analysis.ap.mean_ap)}; then to {REMEDIES[second]} ({points(gains[second])} points)."
    )


def _proposals(analysis: Analysis) -> str | None:
    if analysis.coverage is None:
        return None
    covered = analysis.coverage.overlaps[-1] > MATCH
    _, _, becomes = analysis.objects()
    missed = becomes != Outcome.FOUND
    blamed = int((missed & ~covered).sum())
    return (
        f"Proposals cover {percent(covered.mean())} % of the objects at IoU 0.5, so without moving boxes no detector "
        f"finds more; {blamed:,} of the {count(int(missed.sum()), 'missed object')} had no proposal."
    )


def _classes(analysis: Analysis) -> str | None:
    there = np.flatnonzero(~np.isnan(analysis.ap.ap))
    if len(there) < 2:
        return None
    order = there[np.argsort(-analysis.ap.ap[there], kind="stable")]
    best, worst = ([analysis.classes[index] for index in part] for part in (order[:1], order[-1:]))
    return (
        f"The best class is {best[0]} (AP {percent(analysis.ap.ap[order[0]])}), the worst {worst[0]} "
        f"({percent(analysis.ap.ap[order[-1]])})."
    )


def _confused(analysis: Analysis) -> str | None:
    matrix = analysis.confusion[0].copy()
    objects = matrix.sum(axis=1)
    matrix[0] = matrix[:, 0] = 0
    np.fill_diagonal(matrix, 0)
    if not matrix.any():
        return None
    row, column = np.unravel_index(matrix.argmax(), matrix.shape)
    return (
        f"The most frequent confusion: {analysis.classes[row - 1]} called {analysis.classes[column - 1]}, "
        f"{matrix[row, column]} of {count(int(objects[row]), 'object')}."
    )


def _sizes(analysis: Analysis) -> str | None:
    boxes, _, becomes = analysis.objects()
    side, found = np.sqrt((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])), becomes == Outcome.FOUND
    small = side < 64
    if not (small.any() and (~small).any()):
        return None
    return (
        f"Of objects smaller than 64 x 64 pixels {percent(found[small].mean(), 0)} % are found, of larger ones "
        f"{percent(found[~small].mean(), 0)} %."
    )


def _scores(analysis: Analysis) -> str | None:
    calibration = analysis.calibration
    sure = np.flatnonzero((calibration.counts > 0) & (calibration.scores >= 0.5))
    if not len(sure):
        return None
    counts = calibration.counts[sure]
    said = np.average(calibration.scores[sure], weights=counts)
    right = np.average(calibration.precision[sure], weights=counts)
    word = "more" if said > right + 0.02 else "less" if said < right - 0.02 else None
    if word is None:
        return "Scores above 0.5 are what they seem: such a share of the detections is right."
    return (
        f"The model is {word} sure than it should be: detections with scores above 0.5 claim {percent(said, 0)} % on "
        f"average, and {percent(right, 0)} % of them are right."
    )
