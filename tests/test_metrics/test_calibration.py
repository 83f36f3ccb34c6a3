"""Scores beside what is right, against scikit-learn's calibration curve."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.calibration import calibration_curve

from frcnn_cli.metrics.average_precision import Ranking
from frcnn_cli.metrics.calibration import NUM_BINS, calibrate


def ranking(scores, correct) -> Ranking:
    return Ranking(np.array(scores), np.array(correct, bool), np.zeros(len(scores), np.int64), np.array([len(scores)]))


def test_by_hand():
    """0.95 and 0.92 of which one is right, and 0.25, which is; the second class adds 1.0, right."""
    result = calibrate([ranking([0.95, 0.92, 0.25], [True, False, True]), ranking([1.0], [True])])
    assert result.counts.tolist() == [0, 0, 1, 0, 0, 0, 0, 0, 0, 3]
    assert result.scores[[2, 9]] == pytest.approx([0.25, (0.95 + 0.92 + 1) / 3])
    assert result.precision[[2, 9]] == pytest.approx([1, 2 / 3])
    assert np.isnan(result.precision[0])
    assert result.error == pytest.approx((0.75 + 3 * abs(2 / 3 - 2.87 / 3)) / 4)


def test_scikit_learn_s_curve():
    random = np.random.default_rng(0)
    scores = random.random(500)
    correct = random.random(500) < scores**2
    result = calibrate([ranking(scores[:200], correct[:200]), ranking(scores[200:], correct[200:])])
    right, said = calibration_curve(correct, scores, n_bins=NUM_BINS)
    np.testing.assert_allclose(result.precision, right)
    np.testing.assert_allclose(result.scores, said)


def test_lower_scores_are_left_out_and_nothing_is_nan():
    assert calibrate([ranking([0.9, 0.2], [True, False])], least=0.5).counts.sum() == 1
    assert np.isnan(calibrate([]).error)
