"""The order of the proposals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.ops import box_iou

from proposals.ranking import AGREEMENT, VARIETY, agreement, rank, varied


def iou(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    import torch

    return box_iou(torch.tensor(boxes, dtype=torch.float64), torch.tensor(others, dtype=torch.float64)).numpy()


def random_boxes(rng: np.random.Generator, count: int, side: int = 60) -> np.ndarray:
    corners = rng.integers(0, side - 10, (count, 2))
    return np.concatenate((corners, corners + rng.integers(1, 30, (count, 2))), axis=1).astype(np.int32)


@settings(deadline=None)
@given(st.integers(1, 80), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_agreement_equals_a_count_over_all_pairs(count, groupings, seed):
    rng = np.random.default_rng(seed)
    boxes, sources = random_boxes(rng, count, 20), rng.integers(0, groupings, count)
    overlaps = iou(boxes, boxes)
    others = sources[:, None] != sources
    sure = ((overlaps >= AGREEMENT + 1e-6) & others).sum(axis=1)
    at_most = ((overlaps >= AGREEMENT - 1e-6) & others).sum(axis=1)
    found = agreement(boxes, sources)
    assert (sure <= found).all()
    assert (found <= at_most).all()


def test_last_merges_first_and_agreement_before_place():
    """The image is the last merge. Of two boxes in the same place, the one found twice comes first."""
    first = np.array([[0, 0, 20, 20], [50, 50, 90, 90], [0, 0, 100, 100]], np.int32)
    second = np.array([[30, 0, 50, 20], [50, 50, 90, 91], [0, 0, 100, 100]], np.int32)
    third = np.array([[0, 60, 40, 90], [0, 0, 100, 100]], np.int32)
    ranked = rank([first, second, third], min_side=1).tolist()
    assert ranked[0] == [0, 0, 100, 100]
    # In the second place of three groupings; two of the boxes are nearly one, which is found twice.
    assert ranked[1] in ([50, 50, 90, 90], [50, 50, 90, 91])
    assert ranked[2] == [0, 60, 40, 90]
    assert len(ranked) == 6


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_each_box_once_and_none_invented(seed):
    rng = np.random.default_rng(seed)
    hierarchies = [random_boxes(rng, count, 30) for count in (40, 3, 60)]
    ranked = rank(hierarchies, min_side=5)
    expected = {tuple(b) for h in hierarchies for b in h.tolist() if min(b[2] - b[0], b[3] - b[1]) >= 5}
    assert sorted(map(tuple, ranked.tolist())) == sorted(expected)


def test_the_first_boxes_vary():
    rng = np.random.default_rng(0)
    ranked = rank([random_boxes(rng, 4000, 200) for _ in range(2)], min_side=1)
    overlaps = np.triu(iou(ranked[:2000], ranked[:2000]), 1)
    for count, limit in VARIETY:
        assert overlaps[:count, :count].max() < limit
    # Of random boxes there are enough: the first limit is spent after exactly so many.
    assert overlaps.max() > VARIETY[0][1]


def slow_varied(boxes: np.ndarray) -> list[int]:
    """Level after level, the first box that overlaps none of the picked ones too much, until there are enough.

    In float32, which decides about shares of exactly a limit.
    """
    x1, y1, x2, y2 = boxes.T.astype(np.float32)
    widths, heights = (np.minimum.outer(b, b) - np.maximum.outer(a, a) for a, b in ((x1, x2), (y1, y2)))
    both = widths.clip(0) * heights.clip(0)
    area = (x2 - x1) * (y2 - y1)
    left, picked = list(range(len(boxes))), []
    for count, limit in VARIETY:
        near = both >= np.float32(limit) * (np.add.outer(area, area) - both)
        for i in list(left):
            if len(picked) < count and not near[i, picked].any():
                picked.append(i)
                left.remove(i)
    return picked + left


@pytest.mark.parametrize(("count", "side"), [(1, 20), (90, 30), (500, 40), (3000, 50), (3000, 300)])
def test_variety_equals_a_plain_search(count, side):
    """From boxes that run out of room at the first level to ones that fill all levels."""
    rng = np.random.default_rng(count)
    boxes = rng.permutation(np.unique(random_boxes(rng, count, side), axis=0))
    assert varied(boxes).tolist() == boxes[slow_varied(boxes)].tolist()


def test_near_duplicates_come_last_but_are_kept():
    boxes = np.array([[0, 0, 30, 30 + i] for i in range(5)] + [[40, 40, 60, 60]], np.int32)[::-1]
    ranked = rank([np.ascontiguousarray(boxes)], min_side=1).tolist()
    assert len(ranked) == 6
    assert [40, 40, 60, 60] in ranked[:2]


def test_one_box():
    box = np.array([[3, 4, 50, 60]], np.int32)
    assert rank([box], min_side=1).tolist() == box.tolist()
    assert rank([box] * 3, min_side=100).tolist() == box.tolist()


def test_small_boxes_are_left_out_but_never_all():
    boxes = np.array([[0, 0, 9, 50], [0, 0, 10, 10], [0, 0, 50, 9]], np.int32)
    assert rank([boxes], min_side=10).tolist() == [[0, 0, 10, 10]]
    assert rank([boxes], min_side=11).tolist() in ([[0, 0, 9, 50]], [[0, 0, 50, 9]])


@pytest.mark.parametrize("seed", range(5))
def test_seed_orders_boxes_of_one_place_only(seed):
    """Two groupings of boxes far apart: each place has two, in either order."""
    hierarchies = [np.array([[200 * g + 20 * i, 0, 200 * g + 20 * i + 15, 15] for i in range(8)]) for g in (0, 1)]
    ranked = rank([h.astype(np.int32) for h in hierarchies], 1, seed)
    places = [7 - (int(x) % 200) // 20 for x in ranked[:, 0]]
    assert places == sorted(places)


def test_other_seeds_give_other_orders():
    hierarchies = [
        np.array([[200 * g + 20 * i, 0, 200 * g + 20 * i + 15, 15] for i in range(8)], np.int32) for g in (0, 1)
    ]
    orders = {tuple(map(tuple, rank(hierarchies, 1, seed).tolist())) for seed in range(5)}
    assert len(orders) > 1
