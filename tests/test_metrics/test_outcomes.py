"""What becomes of an object: one case of each."""

from __future__ import annotations

import numpy as np
import pytest

from frcnn_cli.data.detections import Detections
from frcnn_cli.data.samples import Objects
from frcnn_cli.metrics.error_kinds import judge
from frcnn_cli.metrics.outcomes import Outcome, outcomes

A, THIRD, FAR = (0, 0, 10, 10), (0, 5, 10, 15), (100, 100, 110, 110)
CAT, DOG = 1, 2


@pytest.mark.parametrize(
    ("rows", "covered", "outcome"),
    [
        ([(A, 0.9, CAT)], 0.9, Outcome.FOUND),
        ([(A, 0.9, CAT)], 0.2, Outcome.FOUND),  # the box was moved there
        ([(A, 0.4, CAT)], 0.9, Outcome.UNSURE),
        ([(A, 0.4, CAT), (THIRD, 0.9, CAT)], 0.9, Outcome.UNSURE),
        ([(THIRD, 0.9, CAT)], 0.5, Outcome.UNPROPOSED),
        ([(THIRD, 0.9, CAT)], 0.6, Outcome.MISPLACED),
        ([(THIRD, 0.9, CAT), (A, 0.9, DOG)], 0.6, Outcome.MISPLACED),
        ([(A, 0.9, DOG)], 0.6, Outcome.CONFUSED),
        ([(A, 0.4, DOG)], 0.6, Outcome.UNSEEN),
        ([(FAR, 0.9, CAT)], 0.6, Outcome.UNSEEN),
        ([], 0.6, Outcome.UNSEEN),
        ([], 0.5, Outcome.UNPROPOSED),
        ([], None, Outcome.UNSEEN),  # a model that proposes its own
    ],
)
def test_one_cat(rows, covered, outcome):
    boxes, scores, labels = zip(*rows, strict=True) if rows else ((), (), ())
    found = Detections(np.array(boxes, np.float32).reshape(-1, 4), np.array(scores), np.array(labels, np.int64))
    objects = Objects(np.array([A], np.float32), np.array([CAT]), np.array([False]))
    cover = None if covered is None else np.array([covered])
    assert outcomes(judge(found, objects), np.array([0.5, 0.5]), cover).tolist() == [outcome]
