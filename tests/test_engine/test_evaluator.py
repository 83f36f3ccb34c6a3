"""A detector and a data set that number the same classes differently."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from frcnn_cli.data.detections import Detections
from frcnn_cli.engine.detector import Detector
from frcnn_cli.engine.evaluator import evaluate_dataset
from frcnn_cli.errors import DataError
from frcnn_cli.metrics.average_precision import evaluate


@pytest.fixture(scope="module")
def detector(tiny_checkpoint) -> Detector:
    return Detector.load(tiny_checkpoint)


def renumbered(dataset, classes):
    """The same data set with its classes in another order; objects of classes left out go."""
    records = []
    for record in dataset.records:
        names = [dataset.classes[label - 1] for label in record.objects.labels]
        keep = np.array([name in classes for name in names], bool)
        labels = np.array([classes.index(name) + 1 for name in names if name in classes], np.int64)
        objects = replace(
            record.objects, boxes=record.objects.boxes[keep], labels=labels, difficult=record.objects.difficult[keep]
        )
        records.append(replace(record, objects=objects))
    return replace(dataset, classes=tuple(classes), records=tuple(records))


def test_average_precision_is_that_of_the_detections(detector, tiny_dataset, tiny_proposals):
    result = evaluate_dataset(detector, tiny_dataset, tiny_proposals)
    objects = [record.objects for record in tiny_dataset.records]
    again = evaluate(list(result.detections), objects, 20, "voc")
    np.testing.assert_array_equal(result.ap.ap, again.ap)
    assert len(result.detections) == 10
    assert result.proposal_seconds is None
    assert result.detection_seconds > 0
    assert result.ap.num_objects.sum() == sum((~record.objects.difficult).sum() for record in tiny_dataset.records)


@pytest.mark.parametrize("step", [-1, 3])  # backwards; every third, around and around
def test_classes_in_another_order(detector, tiny_dataset, tiny_proposals, step):
    classes = [tiny_dataset.classes[i * step % 20] for i in range(20)]
    assert set(classes) == set(tiny_dataset.classes)
    other = renumbered(tiny_dataset, classes)
    ours = evaluate_dataset(detector, tiny_dataset, tiny_proposals)
    theirs = evaluate_dataset(detector, other, tiny_proposals)
    by_name = dict(zip(tiny_dataset.classes, ours.ap.ap, strict=True))
    np.testing.assert_array_equal(theirs.ap.ap, [by_name[name] for name in classes])
    assert theirs.ap.mean_ap == pytest.approx(ours.ap.mean_ap)


def test_a_data_set_with_fewer_classes(detector, tiny_dataset, tiny_proposals):
    fewer = renumbered(tiny_dataset, ["horse", "cat"])
    ours = evaluate_dataset(detector, tiny_dataset, tiny_proposals)
    theirs = evaluate_dataset(detector, fewer, tiny_proposals)
    for found, kept in zip(ours.detections, theirs.detections, strict=True):
        assert isinstance(kept, Detections)
        for label, name in ((1, "horse"), (2, "cat")):
            mine = found.labels == tiny_dataset.classes.index(name) + 1
            np.testing.assert_array_equal(kept.scores[kept.labels == label], found.scores[mine])
        assert set(kept.labels.tolist()) <= {1, 2}
    assert sum(map(len, theirs.detections)) < sum(map(len, ours.detections))


def test_a_class_the_model_does_not_know(detector, tiny_dataset, tiny_proposals):
    other = replace(tiny_dataset, classes=(*tiny_dataset.classes[:-2], "unicorn", "dragon"))
    with pytest.raises(DataError, match="the model does not know the class 'dragon', 'unicorn'") as caught:
        evaluate_dataset(detector, other, tiny_proposals)
    assert "\n" not in str(caught.value)


def test_proposals_are_made_where_there_is_no_file(detector, tiny_dataset, tiny_proposals):
    two = replace(tiny_dataset, records=tiny_dataset.records[:2])
    made, stored = evaluate_dataset(detector, two, None), evaluate_dataset(detector, two, tiny_proposals)
    assert made.proposal_seconds > 0
    np.testing.assert_array_equal(made.ap.ap, stored.ap.ap)
