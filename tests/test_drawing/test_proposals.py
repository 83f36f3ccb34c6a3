"""Pictures of segments and of the proposals that cover objects best: what is drawn, where, in which colour."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frcnn_cli.data.samples import Objects
from frcnn_cli.drawing.boxes import class_color
from frcnn_cli.drawing.proposals import (
    BOUNDARY_COLOR,
    OBJECT_COLOR,
    PROPOSAL_COLOR,
    draw_best_proposals,
    draw_first_proposals,
    draw_segments,
    together,
)

GREY = np.full((16, 16, 3), 128, np.uint8)  # too small for a readable label: only frames are drawn
LARGE = np.full((200, 300, 3), 128, np.uint8)


def boxes(*rows) -> np.ndarray:
    return np.array(rows, np.float32).reshape(-1, 4)


def objects(*rows) -> Objects:
    return Objects(boxes(*rows), np.ones(len(rows), np.int64), np.zeros(len(rows), bool))


def has_color(picture: np.ndarray, color) -> np.ndarray:
    return (picture == color).all(axis=-1)


# --- segments


def test_segments_have_their_mean_colour_and_a_line_between_them():
    image = np.zeros((4, 6, 3), np.uint8)
    image[:, :3] = [[10, 0, 0], [20, 0, 0], [33, 0, 0]]
    image[:, 3:] = (0, 50, 200)
    segments = np.repeat([[0, 0, 0, 1, 1, 1]], 4, axis=0)
    picture = draw_segments(image, segments)
    assert (picture[:, :3] == (21, 0, 0)).all()
    assert (picture[:, 3] == BOUNDARY_COLOR).all()
    assert (picture[:, 4:] == (0, 50, 200)).all()
    assert image[0, 0].tolist() == [10, 0, 0]


def test_one_segment_has_no_line_and_labels_may_have_gaps():
    image = np.random.default_rng(0).integers(0, 255, (5, 7, 3), dtype=np.uint8)
    for label in (0, 9):
        picture = draw_segments(image, np.full((5, 7), label, np.int32))
        assert (picture == image.reshape(-1, 3).mean(axis=0).round()).all()


@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 6), st.integers(0, 2**32 - 1))
def test_segments_of_any_shape(height, width, labels, seed):
    rng = np.random.default_rng(seed)
    segments = rng.integers(0, labels, (height, width), dtype=np.int32)
    image = rng.integers(0, 250, (height, width, 3), dtype=np.uint8)  # 250 and more are the line's alone
    picture = draw_segments(image, segments)
    assert (picture.dtype, picture.shape) == (np.uint8, image.shape)
    for label in range(labels):
        inside = (segments == label) & ~has_color(picture, BOUNDARY_COLOR)
        mean = image[segments == label].mean(axis=0).round() if inside.any() else None
        assert (picture[inside] == mean).all()


def test_lines_are_seen_in_large_pictures():
    segments = np.zeros((1400, 1400), np.int32)
    segments[:, 700:] = 1
    line = has_color(draw_segments(np.zeros((1400, 1400, 3), np.uint8), segments), BOUNDARY_COLOR)
    assert line[5].sum() == 2


# --- proposals


def test_the_object_and_its_best_proposal_are_drawn():
    """The second proposal covers the object best; the first, in the corner, is not drawn."""
    proposals = boxes((0, 0, 4, 4), (4, 4, 12, 14), (4, 4, 12, 16))
    picture = draw_best_proposals(GREY, proposals, objects((4, 4, 12, 12)), ["cat"])
    assert has_color(picture, PROPOSAL_COLOR)[13, 4:12].all()
    assert has_color(picture, PROPOSAL_COLOR)[4:14, 4].all()
    assert has_color(picture, OBJECT_COLOR)[10, 7:9].all()  # its lower edge, which the proposal does not hide
    assert (picture[:3, :3] == 128).all()
    assert (picture[15] == 128).all()


def test_of_equally_good_proposals_the_first_is_named():
    twice = boxes((50, 50, 100, 100), (50, 50, 100, 100))
    alone = draw_best_proposals(LARGE, twice[:1], objects((50, 50, 100, 100)), ["cat"])
    np.testing.assert_array_equal(draw_best_proposals(LARGE, twice, objects((50, 50, 100, 100)), ["cat"]), alone)
    later = np.concatenate([boxes((200, 100, 250, 150)), twice])
    assert (draw_best_proposals(LARGE, later, objects((50, 50, 100, 100)), ["cat"]) != alone).any()  # no. 2, not no. 1


@pytest.mark.parametrize("proposals", [boxes(), boxes((200, 100, 250, 150))])
def test_an_object_that_nothing_touches_is_drawn_alone(proposals):
    picture = draw_best_proposals(LARGE, proposals, objects((50, 50, 100, 100)), ["cat"])
    assert has_color(picture, OBJECT_COLOR)[50:100, 50].all()
    assert not has_color(picture, PROPOSAL_COLOR).any()
    assert (picture[100:, 200:] == 128).all()
    plate = has_color(picture, OBJECT_COLOR)[:48]
    assert plate.sum() > 500  # says that there is none


def test_first_proposals_have_a_colour_each():
    rows = boxes(*((20 * i, 20 * i, 20 * i + 15, 20 * i + 15) for i in range(5)))
    picture = draw_first_proposals(LARGE, rows, 3)
    assert [has_color(picture, class_color(rank)).any() for rank in range(1, 6)] == [True, True, True, False, False]
    np.testing.assert_array_equal(draw_first_proposals(LARGE, boxes()), LARGE)


@pytest.mark.parametrize(
    ("size", "expected"),
    [((60, 80), (60, 162)), ((60, 120), (60, 242)), ((60, 121), (122, 121)), ((300, 30), (300, 62)), ((1, 1), (1, 4))],
)
def test_very_wide_pictures_lie_one_above_the_other(size, expected):
    first, second = np.full((*size, 3), 1, np.uint8), np.full((*size, 3), 2, np.uint8)
    picture = together(first, second)
    assert picture.shape == (*expected, 3)
    height, width = size
    assert (picture[:height, :width] == 1).all()
    assert (picture[-height:, -width:] == 2).all()
    assert (picture == 255).sum() == picture.size - first.size - second.size
