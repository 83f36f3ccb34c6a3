"""The choice of how closely to look: on machines whose speed is known, and what one frame leaves to the next."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest

from frcnn_cli.data.detections import Detections
from frcnn_cli.engine.detection_config import DetectionConfig
from frcnn_cli.engine.detector import Detector
from frcnn_cli.engine.realtime import LEVELS, Level, Pace, RealtimeDetector

COSTS = (8.0, 4.0, 2.0, 1.0)
FOUR = tuple(Level("single", 200, 320, 100, 0, cost) for cost in COSTS)


def run(pace: Pace, frames: int, seconds: Callable[[int, int], float], rest: float = 0.0) -> list[int]:
    """The level of each frame on a machine; `seconds` are of a level, at a frame."""
    levels = []
    for frame in range(frames):
        levels.append(pace.number)
        pace.took(seconds(pace.number, frame), rest)
    return levels


@pytest.mark.parametrize(("unit", "level"), [(0.001, 0), (0.015, 1), (0.03, 2), (0.06, 3), (1.0, 3)])
def test_it_finds_the_best_level_that_keeps_the_rate(unit, level):
    """10 frames a second: a level of 8 units fits as long as they take less than 0.1 s."""
    levels = run(Pace(10, FOUR), 60, lambda number, frame: COSTS[number] * unit)
    assert set(levels[20:]) == {level}


def test_time_that_no_level_changes_counts():
    levels = run(Pace(10, FOUR), 60, lambda number, frame: COSTS[number] * 0.01, rest=0.07)
    assert set(levels[20:]) == {2}


def test_the_first_frame_of_a_level_does_not_count():
    """It may compile for seconds."""
    seen: set[int] = set()

    def seconds(number: int, frame: int) -> float:
        first = number not in seen
        seen.add(number)
        return 10.0 if first else COSTS[number] * 0.001

    assert run(Pace(10, FOUR), 40, seconds)[-1] == 0


def test_it_follows_a_machine_that_becomes_slower_and_faster_again():
    levels = run(Pace(10, FOUR), 180, lambda number, frame: COSTS[number] * (0.06 if 60 <= frame < 120 else 0.01))
    assert (levels[59], levels[119], levels[-1]) == (0, 3, 0)


def test_a_level_that_is_slower_than_its_cost_says_is_tried_ever_more_seldom():
    """Level 1 takes 0.2 s, though half of that is expected of it."""
    levels = run(Pace(10, FOUR), 1000, lambda number, frame: (9, 0.2, 0.04, 0.02)[number])
    tried = [frame for frame in range(1, 1000) if levels[frame] < 2 <= levels[frame - 1]]
    assert 2 <= len(tried) <= 16
    assert sum(number <= 1 for number in levels) < 100


def test_levels_are_cheaper_one_after_the_other():
    assert all(better.cost > worse.cost for better, worse in pairwise(LEVELS))
    assert Pace(25).level in LEVELS


class Listener:
    """An engine that reports its proposals, and finds what it is told to."""

    classes = ("cat", "dog")
    needs_proposals = True

    def __init__(self) -> None:
        self.given: list[np.ndarray] = []
        self.configs: list[DetectionConfig] = []
        self.finds = Detections.empty()

    def detect(self, image, proposals, config) -> Detections:
        self.given.append(proposals)
        self.configs.append(config)
        return self.finds


def test_the_boxes_of_the_last_frame_join_the_proposals(tmp_path):
    image = np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8)
    engine = Listener()
    level = Level("single", 150, 224, 20, 7, 1.0)
    look = RealtimeDetector(Detector(engine), DetectionConfig(score_threshold=0.5), Pace(10, (level,)))
    boxes = np.array([[1, 2, 30, 40], [5, 6, 20, 21]], np.float32)
    engine.finds = Detections(boxes, np.array([0.9, 0.2]), np.array([2, 1]))
    first = look.detect(image, tmp_path, "0")
    engine.finds = Detections.empty()
    look.detect(image, tmp_path, "1")
    look.detect(image, tmp_path, "2")
    assert first.detections.names == ("dog",)  # the other is not sure enough to be reported
    np.testing.assert_array_equal(first.detections.boxes, boxes[:1])
    counts = [len(given) for given in engine.given]
    assert counts[1] == counts[0] + 2 == counts[2] + 2
    assert counts[0] <= 20
    np.testing.assert_array_equal(engine.given[1][:2], boxes)
    np.testing.assert_array_equal(engine.given[1][2:], engine.given[0])
    assert {(config.short_side, config.refine, config.score_threshold) for config in engine.configs} == {(224, 7, 0.1)}
