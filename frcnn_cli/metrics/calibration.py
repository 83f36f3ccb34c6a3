"""Whether scores are probabilities: of what is reported with a score of 0.8, are four of five right?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from frcnn_cli.metrics.average_precision import Ranking

NUM_BINS = 10


@dataclass(frozen=True, eq=False)
class Calibration:
    """Detections by their score, in `NUM_BINS` equal parts of [0, 1].

    Attributes:
        counts: int64 [B], detections.
        scores: float64 [B], their mean score; nan where there are none.
        precision: float64 [B], share of them that are right; likewise.
    """

    counts: np.ndarray
    scores: np.ndarray
    precision: np.ndarray

    @property
    def error(self) -> float:
        """Expected calibration error (Guo et al., ICML 2017): mean of |score - precision|; nan without detections."""
        there = self.counts > 0
        gaps = np.abs(self.scores - self.precision)[there]
        return float(np.average(gaps, weights=self.counts[there])) if there.any() else float("nan")


def calibrate(rankings: Sequence[Ranking], least: float = 0.0) -> Calibration:
    """Count the detections of some classes together.

    Args:
        rankings: one a class.
        least: leave out lower scores.
    """
    scores = np.concatenate([np.zeros(0), *(ranking.scores.astype(np.float64) for ranking in rankings)])
    correct = np.concatenate([np.zeros(0), *(ranking.correct for ranking in rankings)])
    correct, scores = correct[scores >= least], scores[scores >= least]
    bins = np.minimum((scores * NUM_BINS).astype(np.int64), NUM_BINS - 1)
    counts = np.bincount(bins, minlength=NUM_BINS)
    sums = (np.bincount(bins, weights=values, minlength=NUM_BINS) for values in (scores, correct))
    return Calibration(counts, *(np.divide(x, counts, out=np.full(NUM_BINS, np.nan), where=counts > 0) for x in sums))
