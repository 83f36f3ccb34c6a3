"""The score of the best F1, against every score tried out and scikit-learn's curve."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score, precision_recall_curve

from frcnn_cli.metrics.average_precision import Ranking
from frcnn_cli.metrics.thresholds import best_threshold


def ranking(scores, correct, num_objects) -> Ranking:
    """Of one image."""
    scores, correct = np.array(scores, np.float32), np.array(correct, bool)
    order = np.argsort(-scores, kind="stable")
    return Ranking(scores[order], correct[order], np.zeros(len(scores), np.int64), np.array([num_objects]))


def test_by_hand():
    """Hit, miss, hit, miss of 4 objects: F1 is 2/5, 2/6, 4/7, 4/8."""
    best = best_threshold(ranking([0.9, 0.8, 0.7, 0.6], [True, False, True, False], 4))
    assert (best.score, best.precision, best.recall, best.f1) == pytest.approx((0.7, 2 / 3, 1 / 2, 4 / 7))


def test_equal_scores_are_reported_together():
    """From 0.5 on there are two hits and two misses, in whichever order they come; from 0.9 on one hit."""
    best = best_threshold(ranking([0.9, 0.5, 0.5, 0.5], [True, True, False, False], 2))
    assert (best.score, best.f1) == pytest.approx((0.9, 2 / 3))  # of equals (4/6 from 0.5 on) the highest


def test_nothing_found_and_nothing_to_find():
    nothing = best_threshold(ranking([0.9, 0.8], [False, False], 3))
    assert np.isnan(nothing.score)
    assert (nothing.precision, nothing.recall, nothing.f1) == (0, 0, 0)
    assert np.isnan(best_threshold(ranking([], [], 0)).f1)
    assert best_threshold(ranking([], [], 2)).f1 == 0


@given(
    st.lists(st.tuples(st.integers(0, 20), st.booleans()), min_size=1, max_size=40).filter(
        lambda rows: any(hit for _, hit in rows)
    )
)
def test_scikit_learn_finds_no_better_one(rows):
    """Where each object has one detection, so that the objects are the positives."""
    scores, hits = np.array([score / 20 for score, _ in rows]), np.array([hit for _, hit in rows])
    best = best_threshold(ranking(scores, hits, int(hits.sum())))
    precision, recall, _ = precision_recall_curve(hits, scores.astype(np.float32))
    with np.errstate(invalid="ignore"):
        f1 = np.nan_to_num(2 * precision * recall / (precision + recall))
    assert best.f1 == pytest.approx(f1.max())
    assert best.f1 == pytest.approx(f1_score(hits, scores.astype(np.float32) >= np.float32(best.score)))
