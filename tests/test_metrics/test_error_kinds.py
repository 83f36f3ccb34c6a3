"""Kinds of error on boxes whose overlap can be counted, and what AP is without them."""

from __future__ import annotations

import numpy as np
import pytest
from labelled import CAT, DOG, FAR, A, B, found, truth

from frcnn_cli.metrics.average_precision import evaluate
from frcnn_cli.metrics.error_kinds import ERRORS, Kind, judge, mend, mended_ap

THIRD = (0, 5, 10, 15)  # IoU 1/3 with A
SLIVER = (0, 9, 10, 19)  # IoU 1/19 with A


def kinds(detections, objects) -> list[Kind]:
    return [Kind(int(kind)) for kind in judge(detections, objects).kinds]


@pytest.mark.parametrize(
    ("box", "label", "kind"),
    [
        (A, CAT, Kind.CORRECT),
        (THIRD, CAT, Kind.LOCALISATION),
        (A, DOG, Kind.CLASSIFICATION),
        (THIRD, DOG, Kind.BOTH),
        (SLIVER, CAT, Kind.BACKGROUND),
        (SLIVER, DOG, Kind.BACKGROUND),
        (FAR, CAT, Kind.BACKGROUND),
        ((0, 0, 10, 20), CAT, Kind.LOCALISATION),  # IoU of exactly 0.5 is no match
        ((0, 0, 10, 20), DOG, Kind.BOTH),
    ],
)
def test_one_box_beside_a_cat(box, label, kind):
    assert kinds(found((box, 0.9, label)), truth((A, CAT))) == [kind]


def test_the_surest_box_of_an_object_is_the_right_one():
    judged = judge(found((A, 0.7, CAT), (A, 0.9, CAT)), truth((A, CAT)))
    assert judged.kinds.tolist() == [Kind.CORRECT, Kind.DUPLICATE]
    assert judged.detections.scores.tolist() == pytest.approx([0.9, 0.7])


def test_boxes_on_a_difficult_object_are_no_errors():
    assert kinds(found((A, 0.9, CAT), (A, 0.8, CAT)), truth((A, CAT), difficult=[0])) == [Kind.CORRECT] * 2


def test_the_own_class_comes_before_a_better_box_of_another():
    objects = truth((THIRD, CAT), (A, DOG))
    assert kinds(found((A, 0.9, CAT)), objects) == [Kind.LOCALISATION]


def test_images_without_objects_or_detections():
    assert kinds(found((A, 0.9, CAT)), truth()) == [Kind.BACKGROUND]
    assert kinds(found(), truth((A, CAT))) == []
    assert judge(found(), truth((A, CAT))).missed.tolist() == [True]
    assert judge(found(), truth((A, CAT), difficult=[0])).missed.tolist() == [False]


@pytest.mark.parametrize(
    ("kind", "detections"),
    [
        (Kind.LOCALISATION, found((THIRD, 0.9, CAT))),
        (Kind.CLASSIFICATION, found((A, 0.9, DOG))),
        (Kind.BOTH, found((THIRD, 0.9, DOG), (A, 0.8, CAT))),
        (Kind.DUPLICATE, found((A, 0.9, CAT), (A, 0.8, CAT))),
        (Kind.BACKGROUND, found((FAR, 0.9, CAT), (A, 0.8, CAT))),
        (Kind.MISSED, found()),
    ],
)
def test_mending_the_only_kind_there_is_makes_all_right(kind, detections):
    """One cat, which is there in the end, and found first; or not asked for."""
    judged = judge(detections, truth((A, CAT)))
    better, objects = mend(judged, kind)
    ap = evaluate([better], [objects], 2).ap
    assert ap[CAT - 1] == 1 if kind is not Kind.MISSED else np.isnan(ap).all()
    others = [other for other in ERRORS if other not in (kind, Kind.MISSED)]
    before = evaluate([detections], [judged.objects], 2).ap[CAT - 1]
    for other in others:
        assert mended_ap([judged], other, 2).ap[CAT - 1] == before


def test_of_several_put_onto_one_object_the_best_stays():
    judged = judge(found((THIRD, 0.9, CAT), ((0, 4, 10, 14), 0.8, CAT)), truth((A, CAT)))
    better, _ = mend(judged, Kind.LOCALISATION)
    assert better.boxes.tolist() == [list(A)]
    assert better.scores.tolist() == pytest.approx([0.9])


def test_what_is_put_onto_an_object_that_has_a_box_goes():
    better, _ = mend(judge(found((A, 0.5, CAT), (THIRD, 0.9, CAT)), truth((A, CAT))), Kind.LOCALISATION)
    assert better.scores.tolist() == pytest.approx([0.5])


def test_gains_over_two_images():
    """A cat found and one called a dog: AP of cats 1/2, and 1 once the class is corrected."""
    images = [judge(found((A, 0.9, CAT)), truth((A, CAT))), judge(found((A, 0.8, DOG)), truth((A, CAT), (B, DOG)))]
    assert mended_ap(images, Kind.CLASSIFICATION, 2).ap.tolist() == [1, 0]
    assert mended_ap(images, Kind.MISSED, 2).ap.tolist() == pytest.approx([0.5, np.nan], nan_ok=True)
