"""From which score on to believe a detector, class by class: where F1, the harmonic mean of precision and recall, is
highest."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from frcnn_cli.metrics.average_precision import Ranking, precision_recall


@dataclass(frozen=True)
class Threshold:
    """What is reported of a class from a score on.

    Attributes:
        score: the least one reported, in [0, 1]; nan where no score finds anything.
        precision: share of what is reported that is right.
        recall: share of the objects that are found.
        f1: of the two; 0 where nothing is found, nan where there is nothing to find (as precision and recall then).
    """

    score: float
    precision: float
    recall: float
    f1: float


def best_threshold(ranking: Ranking) -> Threshold:
    """The score with the highest F1; of equals the highest. Detections of equal score are reported together."""
    nan = float("nan")
    if ranking.num_objects == 0:
        return Threshold(nan, nan, nan, nan)
    if not ranking.correct.any():
        return Threshold(nan, 0.0, 0.0, 0.0)
    recall, precision = precision_recall(ranking.correct, ranking.num_objects)
    last = np.append(ranking.scores[1:] != ranking.scores[:-1], True)  # of those of equal score
    total = precision + recall
    f1 = np.divide(2 * precision * recall, total, out=np.zeros_like(total), where=last & (total > 0))
    best = int(f1.argmax())
    return Threshold(float(ranking.scores[best]), float(precision[best]), float(recall[best]), float(f1[best]))
