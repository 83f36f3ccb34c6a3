"""All figures of a report, computed once from what an evaluation found."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from frcnn_cli.data.samples import Dataset
from frcnn_cli.engine.evaluator import Evaluation
from frcnn_cli.engine.proposal_coverage import CoverageSource
from frcnn_cli.metrics.average_precision import ClassAP, Metric, Ranking, rank_classes, score_rankings
from frcnn_cli.metrics.bootstrap import Interval, draw_images, resampled_detections, resampled_mean
from frcnn_cli.metrics.calibration import Calibration, calibrate
from frcnn_cli.metrics.confusion import confusion_matrix
from frcnn_cli.metrics.error_kinds import ERRORS, Judged, Kind, judge, mended_ap
from frcnn_cli.metrics.outcomes import Outcome, outcomes
from frcnn_cli.metrics.proposal_recall import Coverage
from frcnn_cli.metrics.thresholds import Threshold, best_threshold

USUAL_SCORE = 0.5
"""From which score on detections of a class count as reported where no score finds anything."""

LEAST_SCORE = 0.1
"""Never report from a lower score: where F1 is best below, a class is hardly found, and almost all is false alarm."""

LEVELS = (0.3, 0.5, 0.7, 0.9)
"""Scores that the confusion matrix can be seen at, beside each class's own."""


@dataclass(frozen=True, eq=False)
class Analysis:
    """What there is to say about a model on a data set.

    Attributes:
        dataset: images and objects, N of them and C classes.
        evaluation: what the model does.
        metric: what its mAP is.
        interval: of its mAP, by the choice of images.
        rankings: one a class, at IoU 0.5 by VOC's rules.
        ap: of them, by the metric, or by ``voc`` where that is COCO's; errors are counted against it.
        thresholds: one a class, the best F1.
        reported: float64 [C], the least score of each class that counts as reported: that of the best F1.
        judged: one an image.
        mended: AP without each kind of error.
        counts: int64 [C, 7], reported detections of each `Kind` by their class; missed objects by theirs.
        outcomes: one an image, int64 [G].
        confusion: int64 [C + 1, C + 1] each: at the reported scores first, then at each of `LEVELS`.
        calibration: of all detections.
        coverage: of the objects that count, by proposals; None where the model proposes its own.
    """

    dataset: Dataset
    evaluation: Evaluation
    metric: Metric
    interval: Interval
    rankings: list[Ranking]
    ap: ClassAP
    thresholds: list[Threshold]
    reported: np.ndarray
    judged: list[Judged]
    mended: dict[Kind, ClassAP]
    counts: np.ndarray
    outcomes: list[np.ndarray]
    confusion: list[np.ndarray]
    calibration: Calibration
    coverage: Coverage | None

    @property
    def classes(self) -> tuple[str, ...]:
        """C names."""
        return self.dataset.classes

    @property
    def num_objects(self) -> int:
        """Those that count."""
        return int(self.ap.num_objects.sum())

    def gain(self, kind: Kind) -> float:
        """What mAP would gain without a kind of error; nan where there is no object."""
        return self.mended[kind].mean_ap - self.ap.mean_ap

    def objects(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """All that count: boxes float32 [G, 4], labels int64 [G], and what became of them int64 [G]."""
        rows = [(image.objects, ~image.objects.difficult, becomes) for image, becomes in self.paired()]
        boxes = np.concatenate([np.zeros((0, 4), np.float32), *(truth.boxes[easy] for truth, easy, _ in rows)])
        labels = np.concatenate([np.zeros(0, np.int64), *(truth.labels[easy] for truth, easy, _ in rows)])
        becomes = np.concatenate([np.zeros(0, np.int64), *(result[easy] for _, easy, result in rows)])
        return boxes, labels, becomes

    def paired(self) -> zip:
        """Each image with what becomes of its objects."""
        return zip(self.judged, self.outcomes, strict=True)


def analyse(dataset: Dataset, evaluation: Evaluation, metric: Metric) -> Analysis:
    """Compute everything.

    Args:
        dataset: images and objects.
        evaluation: by the metric.
        metric: ``voc``, ``voc07`` or ``coco``.
    """
    objects, size = [record.objects for record in dataset.records], len(dataset.classes)
    found = evaluation.detections
    by_voc = "voc" if metric == "coco" else metric
    rankings = rank_classes(found, objects, size)
    thresholds = [best_threshold(ranking) for ranking in rankings]
    scores = np.array([best.score for best in thresholds], dtype=np.float64)
    reported = np.where(np.isnan(scores), USUAL_SCORE, np.maximum(scores, LEAST_SCORE))
    judged = [judge(*pair) for pair in zip(found, objects, strict=True)]
    covered = [None if table is None else table[-1] for table in evaluation.covered]
    becomes = [outcomes(image, reported, cover) for image, cover in zip(judged, covered, strict=True)]
    draws = resampled_detections(found, objects, size, metric, draw_images(len(dataset)))
    levels = [reported, *(np.full(size, level) for level in LEVELS)]
    return Analysis(
        dataset,
        evaluation,
        metric,
        Interval.of(resampled_mean(draws)),
        rankings,
        score_rankings(rankings, by_voc),
        thresholds,
        reported,
        judged,
        {kind: mended_ap(judged, kind, size, by_voc) for kind in ERRORS},
        _count_kinds(judged, becomes, reported),
        becomes,
        [confusion_matrix(found, objects, level) for level in levels],
        calibrate(rankings),
        _coverage(dataset, evaluation),
    )


def _count_kinds(judged: list[Judged], becomes: list[np.ndarray], reported: np.ndarray) -> np.ndarray:
    counts = np.zeros((len(reported), len(Kind)), dtype=np.int64)
    for image, result in zip(judged, becomes, strict=True):
        said = image.detections.scores >= reported[image.detections.labels - 1]
        np.add.at(counts, (image.detections.labels[said] - 1, image.kinds[said]), 1)
        missed = (result != Outcome.FOUND) & ~image.objects.difficult
        np.add.at(counts, (image.objects.labels[missed] - 1, Kind.MISSED), 1)
    return counts


def _coverage(dataset: Dataset, evaluation: Evaluation) -> Coverage | None:
    if not evaluation.covered or any(table is None for table in evaluation.covered):
        return None
    easy = [~record.objects.difficult for record in dataset.records]
    overlaps = [table[:, keep] for table, keep in zip(evaluation.covered, easy, strict=True)]
    labels = [record.objects.labels[keep] for record, keep in zip(dataset.records, easy, strict=True)]
    counts = CoverageSource.counts
    return Coverage(counts, np.full(len(counts), np.nan), np.concatenate(overlaps, axis=1), np.concatenate(labels))
