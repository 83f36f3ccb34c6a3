"""Box arithmetic: values worked out by hand, and properties that hold for any box."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchvision import ops

from frcnn_cli.core.boxes import MAX_LOG_SCALE, area, clip, decode, encode, flip, flip_deltas, iou, share_inside
from frcnn_cli.data.boxes import box_iou

coordinate = st.floats(-1000, 1000, width=32)
side = st.floats(1, 500, width=32)


@st.composite
def solid_boxes(draw, count: int) -> Tensor:
    """float64 boxes with sides of 1 to 500 pixels."""
    rows = [(draw(coordinate), draw(coordinate), draw(side), draw(side)) for _ in range(count)]
    return torch.tensor([(x, y, x + w, y + h) for x, y, w, h in rows], dtype=torch.float64)


@st.composite
def any_boxes(draw, count: int) -> Tensor:
    """float64 boxes, inverted and empty ones among them; whole numbers make equal coordinates common."""
    value = st.integers(-20, 20) | coordinate
    return torch.tensor([[draw(value) for _ in range(4)] for _ in range(count)], dtype=torch.float64)


# --- by hand


def test_area_by_hand():
    boxes = torch.tensor([[1.0, 2, 4, 8], [0, 0, 0, 5], [5, 5, 2, 9], [5, 5, 2, 2]])
    assert area(boxes).tolist() == [18, 0, 0, 0]  # a box inverted in both directions is empty too


def test_iou_by_hand():
    a = torch.tensor([[0.0, 0, 10, 10], [5, 5, 5, 5]])
    b = torch.tensor([[0.0, 0, 10, 10], [5, 0, 15, 10], [10, 0, 20, 10], [2, 2, 4, 7], [5, 5, 5, 5], [8, 8, 2, 2]])
    expected = torch.tensor([[1, 50 / 150, 0, 10 / 100, 0, 0], [0.0] * 6])
    torch.testing.assert_close(iou(a, b), expected, rtol=1e-7, atol=0)
    assert iou(a, b).shape == (2, 6)
    assert iou(a[:0], b).shape == (0, 6)
    assert iou(a, b[:0]).shape == (2, 0)


def test_encode_by_hand():
    """Centre (20, 40), size 20 x 40; the target's centre is (30, 36), its size 40 x 10."""
    proposals, targets = torch.tensor([[10.0, 20, 30, 60]]), torch.tensor([[10.0, 31, 50, 41]])
    expected = torch.tensor([[10 / 20, -4 / 40, math.log(2), math.log(1 / 4)]])
    torch.testing.assert_close(encode(proposals, targets), expected)
    torch.testing.assert_close(decode(proposals, expected), targets)


def test_flip_deltas_by_hand():
    deltas = torch.tensor([[[0.5, 1, 2, 3], [-1, 0, -2, 4]]])
    assert flip_deltas(deltas).tolist() == [[[-0.5, 1, 2, 3], [1, 0, -2, 4]]]
    assert torch.equal(flip_deltas(flip_deltas(deltas)), deltas)


def test_zero_deltas_are_the_proposal():
    proposals = torch.tensor([[3.0, 4, 10, 20], [0, 0, 1, 1]])
    assert torch.equal(decode(proposals, torch.zeros(2, 4)), proposals)


def test_decode_one_box_a_class():
    """Deltas [K, C, 4] go with proposals [K, 1, 4]."""
    proposals, deltas = (
        torch.tensor([[0.0, 0, 10, 20], [5, 5, 9, 9]]),
        torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0)),
    )
    decoded = decode(proposals[:, None], deltas)
    assert decoded.shape == (2, 3, 4)
    for label in range(3):
        torch.testing.assert_close(decoded[:, label], decode(proposals, deltas[:, label]))


def test_growth_is_capped_and_shrinking_is_not():
    """exp(1000) is infinite; 62.5 = 1000 / 16 times is the most."""
    proposals = torch.tensor([[0.0, 0, 16, 16]])
    grown = decode(proposals, torch.tensor([[0.0, 0, 1000, MAX_LOG_SCALE]]))
    torch.testing.assert_close(grown, torch.tensor([[-492.0, -492, 508, 508]]))
    shrunk = decode(proposals, torch.tensor([[0.0, 0, -100, -1]]))
    torch.testing.assert_close(shrunk[0, 2] - shrunk[0, 0], torch.tensor(0.0))
    torch.testing.assert_close(shrunk[0, 3] - shrunk[0, 1], torch.tensor(16 * math.exp(-1)))


def test_clip_by_hand():
    boxes = torch.tensor([[-5.0, -1, 105, 60], [10, 20, 30, 40], [200, 200, 300, 300]])
    assert clip(boxes, 100, 50).tolist() == [[0, 0, 100, 50], [10, 20, 30, 40], [100, 50, 100, 50]]
    assert boxes[0, 0] == -5  # a new tensor, not a change of the old one


def test_flip_by_hand():
    """The leftmost pixel of ten becomes the rightmost one: edges 0 and 1 go to 9 and 10."""
    assert flip(torch.tensor([[0.0, 2, 1, 5], [3, 0, 10, 1]]), 10).tolist() == [[9, 2, 10, 5], [0, 0, 7, 1]]


def test_flipped_box_holds_the_flipped_pixels():
    image = torch.rand(6, 9)
    box = torch.tensor([[2.0, 1, 7, 5]])
    x1, y1, x2, y2 = (int(v) for v in flip(box, 9)[0])
    assert torch.equal(image.flip(1)[y1:y2, x1:x2], image[1:5, 2:7].flip(1))


# --- properties


@given(solid_boxes(3), solid_boxes(3))
def test_decode_inverts_encode(proposals, targets):
    cap = targets[:, 2:] - targets[:, :2] <= 62.5 * (proposals[:, 2:] - proposals[:, :2])
    fits = cap.all(dim=1)
    decoded = decode(proposals, encode(proposals, targets))
    torch.testing.assert_close(decoded[fits], targets[fits], rtol=1e-9, atol=1e-9)


@given(solid_boxes(2), st.lists(st.floats(-3, 3), min_size=8, max_size=8))
def test_encode_inverts_decode(proposals, values):
    deltas = torch.tensor(values, dtype=torch.float64).view(2, 4)
    torch.testing.assert_close(encode(proposals, decode(proposals, deltas)), deltas, rtol=1e-7, atol=1e-7)


@given(solid_boxes(2), solid_boxes(2), st.floats(0.125, 8))
def test_deltas_do_not_depend_on_the_image_scale(proposals, targets, scale):
    """So they may be computed before or after the image is resized."""
    torch.testing.assert_close(encode(proposals, targets), encode(proposals * scale, targets * scale))


@given(any_boxes(3), st.integers(1, 4000))
def test_flip_is_an_involution(boxes, width):
    boxes = boxes.round(decimals=0)  # whole numbers, so that nothing is rounded on the way
    assert torch.equal(flip(flip(boxes, width), width), boxes)


@given(solid_boxes(3), st.integers(1, 4000))
def test_flip_keeps_sizes(boxes, width):
    flipped = flip(boxes, width)
    torch.testing.assert_close(flipped[:, 2:] - flipped[:, :2], boxes[:, 2:] - boxes[:, :2])


@settings(deadline=None)
@given(solid_boxes(2), st.lists(st.floats(-3, 3), min_size=8, max_size=8), st.integers(1, 4000))
def test_mirrored_deltas_lead_to_the_mirrored_box(proposals, values, width):
    deltas = torch.tensor(values, dtype=torch.float64).view(2, 4)
    mirrored = decode(flip(proposals, width), flip_deltas(deltas))
    torch.testing.assert_close(mirrored, flip(decode(proposals, deltas), width), rtol=1e-7, atol=1e-6)


@given(solid_boxes(4), st.integers(1, 2000), st.integers(1, 2000))
def test_clip_stays_inside_and_changes_nothing_inside(boxes, width, height):
    clipped = clip(boxes, width, height)
    assert (clipped >= 0).all()
    assert (clipped[:, 0::2] <= width).all()
    assert (clipped[:, 1::2] <= height).all()
    assert (clipped[:, 2:] >= clipped[:, :2]).all()
    assert torch.equal(clip(clipped, width, height), clipped)
    inside = ((boxes >= 0) & (boxes <= torch.tensor([width, height] * 2))).all(dim=1)
    assert torch.equal(clipped[inside], boxes[inside])


@given(any_boxes(3), any_boxes(4))
def test_iou_is_symmetric_and_in_0_1(a, b):
    overlap = iou(a, b)
    assert torch.equal(overlap, iou(b, a).T)
    assert (overlap >= 0).all()
    assert (overlap <= 1 + 1e-12).all()


@given(solid_boxes(3), solid_boxes(4))
def test_iou_equals_torchvision(a, b):
    torch.testing.assert_close(iou(a, b), ops.box_iou(a, b), rtol=1e-12, atol=1e-15)
    torch.testing.assert_close(iou(a, a).diagonal(), torch.ones(3, dtype=torch.float64), rtol=1e-9, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_iou_of_crowded_boxes_equals_torchvision(dtype):
    """Boxes drawn in a small square overlap often, which random ones on a large plane seldom do."""
    corners = torch.rand(60, 4, generator=torch.Generator().manual_seed(0), dtype=dtype) * 50
    boxes = torch.cat((torch.minimum(corners[:, :2], corners[:, 2:]), torch.maximum(corners[:, :2], corners[:, 2:])), 1)
    overlap = iou(boxes[:30], boxes[30:])
    assert overlap.dtype == dtype
    assert (overlap > 0).float().mean() > 0.3
    torch.testing.assert_close(overlap, ops.box_iou(boxes[:30], boxes[30:]), rtol=1e-6, atol=0)


@given(any_boxes(3), any_boxes(4))
def test_share_inside_equals_coco_overlap_with_crowds(a, b):
    """The overlap that COCO's evaluation takes with crowds, of the boxes that are not inverted."""
    a, b = (torch.cat((torch.minimum(c[:, :2], c[:, 2:]), torch.maximum(c[:, :2], c[:, 2:])), 1) for c in (a, b))
    expected = box_iou(a.numpy(), b.numpy(), crowd=np.ones(4, bool))
    torch.testing.assert_close(share_inside(a, b), torch.from_numpy(expected), rtol=1e-12, atol=1e-15)


def test_share_inside_by_hand():
    boxes = torch.tensor([[0.0, 0, 10, 10], [5, 0, 15, 10], [8, 8, 9, 9], [3, 3, 3, 9]])
    assert share_inside(boxes, torch.tensor([[0.0, 0, 10, 8], [8, 8, 20, 20]])).T.tolist() == [
        pytest.approx([0.8, 0.4, 0, 0]),
        pytest.approx([0.04, 0.14, 1, 0]),
    ]
