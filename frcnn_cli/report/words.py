"""What a page calls things."""

from __future__ import annotations

import math

from frcnn_cli.metrics.error_kinds import Kind
from frcnn_cli.metrics.outcomes import Outcome

KINDS = {
    Kind.LOCALISATION: ("Localisation", "localisation", "right class, but the box fits badly: IoU 0.1 to 0.5"),
    Kind.CLASSIFICATION: ("Classification", "classification", "a box on an object of another class"),
    Kind.BOTH: ("Both", "both", "wrong class, and the box fits badly"),
    Kind.DUPLICATE: ("Duplicate", "duplicate", "a second box on an object that has one"),
    Kind.BACKGROUND: ("Background", "background", "a box where no object is"),
    Kind.MISSED: ("Missed", "missed", "an object that nothing reported is on"),
}
"""Of each kind of error: its name, its class in the style sheet, and what it is."""

OUTCOMES = {
    Outcome.FOUND: ("found", "found", "reported with a box that fits"),
    Outcome.UNSURE: ("score too low", "unsure", "a box fits, with a score below the class's threshold"),
    Outcome.UNPROPOSED: ("not proposed", "unproposed", "no proposal has an IoU above 0.5 with it"),
    Outcome.MISPLACED: ("box fits badly", "localisation", "its class is reported, with an IoU of 0.1 to 0.5"),
    Outcome.CONFUSED: ("other class", "classification", "another class is reported on it"),
    Outcome.UNSEEN: ("taken for background", "unseen", "proposed, and nothing is reported on it"),
}
"""The same of what becomes of an object."""

METRICS = {
    "voc": "area under the curve at IoU 0.5, as in VOC2010",
    "voc07": "11 points at IoU 0.5, as in VOC2007",
    "coco": "COCO's, the mean over IoU 0.5 to 0.95",
}

PARTS = {"backbone": "backbone", "roi_pool": "RoI pooling", "head": "fully connected layers"}
"""Modules of a network; others are called as they are."""


NOTHING = "\N{EN DASH}"


def percent(share: float, digits: int = 1) -> str:
    """A share in per cent, without the sign."""
    return NOTHING if math.isnan(share) else f"{100 * share:.{digits}f}"


def points(gain: float, digits: int = 1) -> str:
    """A difference of two shares in points, with its sign."""
    return NOTHING if math.isnan(gain) else f"{100 * gain:+.{digits}f}".replace("-", "\N{MINUS SIGN}")


def score(value: float) -> str:
    """A score."""
    return NOTHING if math.isnan(value) else f"{value:.2f}"


def count(number: int, noun: str) -> str:
    """Such as ``1 object`` and ``1,201 objects``."""
    return f"{number:,} {noun}{'' if number == 1 else 'es' if noun.endswith('s') else 's'}"
