"""Resampled AP equals AP of the images that were drawn, repeated ones and all; intervals and differences."""

from __future__ import annotations

import numpy as np
import pytest

from frcnn_cli.data.detections import Detections
from frcnn_cli.data.samples import Objects
from frcnn_cli.metrics.average_precision import coco_average_precision, evaluate
from frcnn_cli.metrics.bootstrap import (
    Interval,
    difference,
    draw_images,
    resampled_ap,
    resampled_detections,
    resampled_mean,
)


@pytest.fixture(scope="module")
def images() -> tuple[list[Detections], list[Objects]]:
    """Twelve images of three classes, with detections around the objects and elsewhere."""
    random = np.random.default_rng(1)
    found, there = [], []
    for _ in range(12):
        count = random.integers(0, 4)
        corners = random.integers(0, 50, (count, 2))
        boxes = np.concatenate([corners, corners + random.integers(10, 30, (count, 2))], axis=1).astype(np.float32)
        objects = Objects(boxes, random.integers(1, 4, count), random.random(count) < 0.2)
        near = boxes[random.integers(0, count, 6)] + random.integers(-4, 5, (6, 4)) if count else np.zeros((0, 4))
        off = np.array([[60, 60, 90, 90]], np.float32)
        all_boxes = np.concatenate([near, off])
        all_boxes[:, 2:] = np.maximum(all_boxes[:, 2:], all_boxes[:, :2] + 1)
        scores = random.permutation(9)[: len(all_boxes)] / 10 + 0.1  # equal ones are of several images
        found.append(Detections(all_boxes, scores, random.integers(1, 4, len(all_boxes))))
        there.append(objects)
    return found, there


@pytest.mark.parametrize("metric", ["voc", "voc07", "coco"])
def test_equal_to_the_images_repeated(images, metric):
    found, there = images
    weights = draw_images(12, draws=8, seed=4)
    result = resampled_detections(found, there, 3, metric, weights)
    assert result.shape == (8, 3)
    for row, times in zip(result, weights, strict=True):
        drawn = np.repeat(np.arange(12), times)
        again = ([found[i] for i in drawn], [there[i] for i in drawn], 3)
        expected = coco_average_precision(*again).per_class if metric == "coco" else evaluate(*again, metric).ap
        np.testing.assert_allclose(row, expected, atol=1e-12)


def test_draws_are_of_as_many_images_and_the_same_every_time():
    weights = draw_images(30, draws=50)
    assert (weights.sum(axis=1) == 30).all()
    np.testing.assert_array_equal(weights, draw_images(30, draws=50))
    assert abs(weights.mean(axis=0) - 1).max() < 0.6
    assert draw_images(0, draws=3).shape == (3, 0)


def test_a_class_that_a_draw_lacks_is_left_out_of_its_mean(images):
    found, there = images
    only = int(next(i for i, objects in enumerate(there) if (objects.labels[~objects.difficult] == 1).any()))
    weights = np.zeros((1, 12), np.int64)
    weights[0, only] = 12
    table = resampled_detections(found, there, 3, "voc", weights)
    expected = evaluate([found[only]], [there[only]], 3)
    np.testing.assert_allclose(table[0], expected.ap)
    assert resampled_mean(table)[0] == pytest.approx(expected.mean_ap)
    assert np.isnan(resampled_mean(np.full((1, 3), np.nan))[0])


def test_many_detections_are_drawn_in_parts(images, monkeypatch):
    from frcnn_cli.metrics import bootstrap
    from frcnn_cli.metrics.average_precision import match_detections

    ranking, weights = match_detections(*images, label=1), draw_images(12, draws=9)
    whole = resampled_ap(ranking, weights, "voc")
    monkeypatch.setattr(bootstrap, "_CELLS", 2 * len(ranking.scores))
    np.testing.assert_array_equal(resampled_ap(ranking, weights, "voc"), whole)


def test_an_interval_holds_95_of_100():
    interval = Interval.of(np.append(np.arange(1001) / 1000, np.nan))
    assert (interval.low, interval.high) == pytest.approx((0.025, 0.975))
    assert np.isnan(Interval.of(np.array([np.nan])).low)


def test_a_difference_is_more_than_chance_if_nearly_all_draws_have_its_sign():
    sure = difference(0.1, np.linspace(0.01, 0.2, 100))
    assert sure.more_than_chance
    assert sure.p == 0
    doubtful = difference(0.1, np.append(np.full(90, 0.1), np.full(10, -0.1)))
    assert not doubtful.more_than_chance
    assert doubtful.p == pytest.approx(0.2)
    same = difference(0.0, np.zeros(10))
    assert (same.p, same.more_than_chance) == (1, False)


def test_of_models_that_do_not_differ_one_in_twenty_seems_to():
    """The interval of a mean of 60 numbers around nought, by the same draws."""
    random = np.random.default_rng(2)
    weights = draw_images(60, draws=400)
    wrong = 0
    for _ in range(200):
        values = random.normal(size=60)
        wrong += difference(values.mean(), weights @ values / 60).more_than_chance
    assert 3 <= wrong <= 24
