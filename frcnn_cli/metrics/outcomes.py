"""What becomes of each object: found, or missed, and what stood in the way."""

from __future__ import annotations

from enum import IntEnum

import numpy as np

from frcnn_cli.metrics.error_kinds import MATCH, Judged, Kind


class Outcome(IntEnum):
    """The first of these that holds."""

    FOUND = 0
    """A detection that matches is reported."""
    UNSURE = 1
    """One matches, with a score below what is reported."""
    UNPROPOSED = 2
    """No proposal has an IoU above 0.5 with it."""
    MISPLACED = 3
    """One of its class is reported near it, with an IoU of 0.1 to 0.5."""
    CONFUSED = 4
    """One of another class is reported on it."""
    UNSEEN = 5
    """It was proposed, and taken for background."""


def outcomes(image: Judged, thresholds: np.ndarray, covered: np.ndarray | None = None) -> np.ndarray:
    """What becomes of an image's objects.

    Args:
        image: its detections, judged.
        thresholds: float [C], the least score of each class that is reported.
        covered: float [G], the best IoU of a proposal with each object; None where a model proposes its own, of which
            then nothing is `UNPROPOSED`.

    Returns:
        int64 [G], values of `Outcome`; those of difficult objects count for nothing.
    """
    reported = image.detections.scores >= thresholds[image.detections.labels - 1]
    result = np.full(len(image.objects), Outcome.UNSEEN, dtype=np.int64)
    unproposed = np.zeros(len(result), bool) if covered is None else covered <= MATCH
    for outcome, kind, which in (  # from the last to the first, so that the first stays
        (Outcome.CONFUSED, Kind.CLASSIFICATION, reported),
        (Outcome.MISPLACED, Kind.LOCALISATION, reported),
        (Outcome.UNPROPOSED, None, None),
        (Outcome.UNSURE, Kind.CORRECT, ~reported),
        (Outcome.FOUND, Kind.CORRECT, reported),
    ):
        if kind is None:
            result[unproposed] = outcome
        else:
            result[image.nearest[(image.kinds == kind) & which]] = outcome
    return result
