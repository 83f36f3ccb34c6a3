"""The region proposal network against torchvision's, against float64 by hand, and against counts."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torchvision.models.detection._utils import BalancedPositiveNegativeSampler, BoxCoder
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.rpn import AnchorGenerator, RPNHead, concat_box_prediction_layers
from torchvision.models.detection.rpn import RegionProposalNetwork as TheirNetwork

from frcnn_cli.core.boxes import encode, iou
from frcnn_cli.core.rpn.anchors import RATIOS, anchor_grid, cell_anchors, inside, of_image
from frcnn_cli.core.rpn.config import AnchorSampling, ProposalSelection
from frcnn_cli.core.rpn.losses import anchor_loss
from frcnn_cli.core.rpn.network import RegionProposalNetwork
from frcnn_cli.core.rpn.selection import best_apart, select_proposals
from frcnn_cli.core.rpn.targets import IGNORED, NEGATIVE, POSITIVE, label_anchors, sample_anchors

SIZES = (32.0, 80.0)
STRIDE = 16
ALL = AnchorSampling(anchors=10**6)


def random_boxes(count: int, size: float, generator: torch.Generator) -> torch.Tensor:
    corners = torch.rand(count, 2, generator=generator) * size * 0.7
    return torch.cat((corners, corners + 8 + torch.rand(count, 2, generator=generator) * size * 0.3), dim=1)


def theirs(config: AnchorSampling = ALL, count: int = 50, considered: int = 200) -> TheirNetwork:
    """torchvision's network with these numbers; it learns from all anchors."""
    return TheirNetwork(
        AnchorGenerator((SIZES,), (RATIOS,)),
        RPNHead(8, len(SIZES) * len(RATIOS)),
        config.iou[1],
        config.iou[0],
        config.anchors,
        config.positive_fraction,
        {"training": considered, "testing": considered},
        {"training": count, "testing": count},
        0.7,
    )


@pytest.fixture
def anchors() -> torch.Tensor:
    """Of an image of 160 x 128 pixels."""
    return anchor_grid(cell_anchors(SIZES, RATIOS), 8, 10, STRIDE)


def test_anchors_are_torchvision_s_moved_to_the_centres_of_the_cells(anchors):
    """They lie around the cells' first corners there, and are rounded to whole pixels."""
    images = ImageList(torch.zeros(1, 3, 128, 160), [(128, 160)])
    (expected,) = AnchorGenerator((SIZES,), (RATIOS,))(images, [torch.zeros(1, 8, 8, 10)])
    assert anchors.shape == expected.shape
    assert (anchors - expected - STRIDE / 2).abs().max() <= 0.5


def test_an_anchor_has_the_area_and_the_ratio_it_is_named_after(anchors):
    width, height = (anchors[:, 2:] - anchors[:, :2]).reshape(80, 3, 2, 2).double().unbind(-1)
    for number, ratio in enumerate(RATIOS):
        for place, size in enumerate(SIZES):
            assert (width * height)[:, number, place].tolist() == pytest.approx([size**2] * 80, rel=1e-5)
            assert (height / width)[:, number, place].tolist() == pytest.approx([ratio] * 80, rel=1e-5)


def test_what_crosses_the_border_is_counted():
    """Cells of 16 pixels, anchors of 32 around their centres: in a row of ten, those around the first and the last
    cell cross the border."""
    anchors = anchor_grid(cell_anchors((32,), (1,)), 8, 10, STRIDE)
    assert int(inside(anchors, 160, 128).sum()) == 6 * 8


def test_cells_of_the_padding_are_none_of_the_image_s(anchors):
    """An image of 100 x 33 pixels begins 7 cells in a row, and 3 rows."""
    here = of_image(anchors, 100, 33, STRIDE).reshape(8, 10, 6)
    assert here[:3, :7].all()
    assert int(here.sum()) == 3 * 7 * 6


@pytest.mark.parametrize("seed", range(8))
def test_labels_and_targets_are_torchvision_s(anchors, seed):
    generator = torch.Generator().manual_seed(seed)
    gt_boxes = random_boxes(1 + seed, 128, generator)
    labels, matched = label_anchors(anchors, gt_boxes, ALL)
    (expected,), (objects,) = theirs().assign_targets_to_anchors([anchors], [{"boxes": gt_boxes}])
    assert labels.tolist() == expected.tolist()
    positive = labels == POSITIVE
    assert positive.any()
    assert gt_boxes[matched[positive]].tolist() == objects[positive].tolist()
    deltas = BoxCoder((1.0, 1.0, 1.0, 1.0)).encode([objects], [anchors])[0]
    torch.testing.assert_close(encode(anchors[positive], gt_boxes[matched[positive]]), deltas[positive])


def test_labels_by_hand():
    """Overlaps 1, 0.75, 0.5 and 0 with the first object; the second's best anchor overlaps it by 0.2."""
    anchors = torch.tensor([[0.0, 0, 20, 20], [0, 0, 20, 15], [0, 0, 20, 10], [40, 40, 60, 60], [80, 80, 90, 90]])
    objects = torch.tensor([[0.0, 0, 20, 20], [40, 40, 44, 60], [300, 300, 310, 310]])
    labels, matched = label_anchors(anchors, objects, ALL)
    assert labels.tolist() == [POSITIVE, POSITIVE, IGNORED, POSITIVE, NEGATIVE]
    assert matched[[0, 1, 3]].tolist() == [0, 0, 1]


def test_an_object_that_no_anchor_touches_makes_none_positive():
    """It has no best anchor; where 0 counts as the best, every anchor would be one."""
    anchors = torch.tensor([[0.0, 0, 20, 20], [20, 0, 40, 20]])
    labels, _ = label_anchors(anchors, torch.tensor([[100.0, 100, 120, 120]]), ALL)
    assert labels.tolist() == [NEGATIVE, NEGATIVE]


def test_an_image_without_objects_is_all_background(anchors):
    labels, _ = label_anchors(anchors, torch.zeros(0, 4), ALL)
    assert (labels == NEGATIVE).all()


def test_what_lies_in_a_crowd_is_no_background():
    anchors = torch.tensor([[0.0, 0, 20, 20], [20, 0, 40, 20], [40, 0, 60, 20]])
    labels, _ = label_anchors(anchors, torch.zeros(0, 4), ALL, torch.tensor([[0.0, 0, 30, 30]]))
    assert labels.tolist() == [IGNORED, IGNORED, NEGATIVE]


@pytest.mark.parametrize("seed", range(5))
def test_as_many_anchors_are_drawn_as_torchvision_draws(anchors, seed):
    generator = torch.Generator().manual_seed(seed)
    gt_boxes = random_boxes(4, 128, generator)
    config = AnchorSampling(anchors=64, positive_fraction=(0.5, 0.1, 0.0, 1.0, 0.25)[seed])
    labels, matched = label_anchors(anchors, gt_boxes, config)
    sampled = sample_anchors(anchors, torch.ones(len(anchors), dtype=torch.bool), gt_boxes, config, generator)
    positive, negative = BalancedPositiveNegativeSampler(config.anchors, config.positive_fraction)([labels.float()])
    assert len(sampled.positive) == int(positive[0].sum())
    assert len(sampled.negative) == int(negative[0].sum())
    assert len(sampled) == 64
    assert (labels[sampled.positive] == POSITIVE).all()
    assert (labels[sampled.negative] == NEGATIVE).all()
    assert len(sampled.positive.unique()) + len(sampled.negative.unique()) == 64
    expected = encode(anchors[sampled.positive], gt_boxes[matched[sampled.positive]])
    assert sampled.deltas.tolist() == expected.tolist()


def test_anchors_that_are_not_allowed_are_as_if_they_were_not_there(anchors):
    """The object's best anchor is then the best of those that are."""
    gt_boxes = torch.tensor([[110.0, 68, 160, 128]])
    allowed = inside(anchors, 160, 128)
    labels, _ = label_anchors(anchors[allowed], gt_boxes, ALL)
    sampled = sample_anchors(anchors, allowed, gt_boxes, ALL, torch.Generator())
    numbers = allowed.nonzero()[:, 0]
    assert sorted(sampled.positive.tolist()) == numbers[labels == POSITIVE].tolist()
    assert sorted(sampled.negative.tolist()) == numbers[labels == NEGATIVE].tolist()
    assert int(iou(anchors, gt_boxes)[:, 0].argmax()) not in sampled.positive.tolist()
    nothing = sample_anchors(anchors, torch.zeros_like(allowed), gt_boxes, ALL, torch.Generator())
    assert len(nothing) == 0


def test_the_same_seed_draws_the_same_anchors(anchors):
    gt_boxes, allowed = torch.tensor([[60.0, 50, 100, 120]]), torch.ones(len(anchors), dtype=torch.bool)
    draws = [
        sample_anchors(anchors, allowed, gt_boxes, AnchorSampling(anchors=32), torch.Generator().manual_seed(seed))
        for seed in (5, 5, 6)
    ]
    assert draws[0].negative.tolist() == draws[1].negative.tolist() != draws[2].negative.tolist()


def test_the_loss_is_torchvision_s(anchors):
    generator = torch.Generator().manual_seed(3)
    gt_boxes = random_boxes(5, 128, generator)
    logits = torch.randn(len(anchors), generator=generator, requires_grad=True)
    deltas = torch.randn(len(anchors), 4, generator=generator, requires_grad=True)
    allowed = torch.ones(len(anchors), dtype=torch.bool)
    sampled = sample_anchors(anchors, allowed, gt_boxes, replace(ALL, positive_fraction=0.5), generator)
    ours = anchor_loss(logits, deltas, sampled, len(sampled))
    network = theirs()
    labels, objects = network.assign_targets_to_anchors([anchors], [{"boxes": gt_boxes}])
    targets = network.box_coder.encode(objects, [anchors])
    expected = network.compute_loss(logits[:, None], deltas, labels, targets)
    torch.testing.assert_close((ours["rpn_cls"], ours["rpn_bbox"]), expected)
    gradients = torch.autograd.grad(sum(ours.values()), (logits, deltas))
    torch.testing.assert_close(gradients, torch.autograd.grad(sum(expected), (logits, deltas)))


def test_the_loss_by_hand():
    """One positive anchor whose deltas are off by 1/18 and by 1, one negative, of a batch of four."""
    anchors = torch.tensor([[0.0, 0, 10, 10], [50, 50, 60, 60], [90, 90, 99, 99]])
    sampled = sample_anchors(anchors, torch.tensor([True, True, False]), anchors[:1], ALL, torch.Generator())
    logits, deltas = torch.tensor([1.5, -0.5, 9.0]), torch.tensor([[1 / 18, 0, -1, 0], [9, 9, 9, 9], [9, 9, 9, 9]])
    loss = anchor_loss(logits, deltas, sampled, 4)
    assert float(loss["rpn_cls"]) == pytest.approx((math.log1p(math.exp(-1.5)) + math.log1p(math.exp(-0.5))) / 4)
    assert float(loss["rpn_bbox"]) == pytest.approx((0.5 * (1 / 18) ** 2 * 9 + (1 - 0.5 / 9)) / 4)


def test_without_anchors_the_loss_is_0():
    nothing = sample_anchors(torch.zeros(3, 4), torch.zeros(3, dtype=torch.bool), torch.zeros(0, 4), ALL, None)
    loss = anchor_loss(torch.ones(3), torch.ones(3, 4), nothing, 0)
    assert [float(value) for value in loss.values()] == [0, 0]


@pytest.fixture
def networks() -> tuple[RegionProposalNetwork, TheirNetwork]:
    """Ours and torchvision's, with the same weights."""
    torch.manual_seed(0)
    ours, other = RegionProposalNetwork(8, 8, SIZES, RATIOS, STRIDE), theirs()
    for layer in (ours.objectness, ours.bbox_pred):
        torch.nn.init.normal_(layer.weight, std=0.3)
    pairs = ((other.head.conv[0][0], ours.conv), (other.head.cls_logits, ours.objectness))
    for target, source in (*pairs, (other.head.bbox_pred, ours.bbox_pred)):
        target.load_state_dict(source.state_dict())
    return ours, other.eval()


def test_scores_and_deltas_are_in_the_order_of_the_anchors_as_torchvision_s(networks):
    ours, other = networks
    features = torch.randn(2, 8, 8, 10)
    logits, deltas, anchors = ours(features)
    assert logits.shape == (2, len(anchors)) == (2, 8 * 10 * 6)
    expected_logits, expected_deltas = concat_box_prediction_layers(*other.head([features]))
    torch.testing.assert_close(logits.flatten(), expected_logits.flatten())
    torch.testing.assert_close(deltas.flatten(0, 1), expected_deltas)


def test_proposals_are_torchvision_s(networks):
    """From the same anchors: at most 50 of the likeliest 200, none overlapping by more than 0.7."""
    ours, other = networks
    features = torch.randn(1, 8, 8, 10)
    with torch.no_grad():
        logits, deltas, anchors = ours(features)
        decoded = other.box_coder.decode(deltas[0], [anchors]).reshape(1, -1, 4)
        (expected,), (scores,) = other.filter_proposals(decoded, logits.reshape(-1, 1), [(128, 160)], [len(anchors)])
    boxes, probabilities = ours.propose(features, (160, 128), ProposalSelection(50, 200, 0.7, 1e-3))
    assert len(expected) == 50
    torch.testing.assert_close(boxes, expected)
    torch.testing.assert_close(probabilities, scores)


def test_proposals_by_hand():
    """Decoded in float64: one moved and grown, one cut at the border, one that leaves the image, one too thin, one that
    overlaps a better one by 0.81, one of a cell that is not the image's."""
    anchors = torch.tensor([[10.0, 10, 30, 50]] * 2 + [[80, 10, 120, 30], [90, 90, 99, 99], [40, 40, 60, 60]] * 2)[:8]
    deltas = torch.zeros(8, 4)
    deltas[0] = torch.tensor([0.1, -0.2, math.log(1.5), math.log(0.5)])
    deltas[1] = torch.tensor([0.1, -0.2, math.log(1.5), math.log(0.45)])
    deltas[3] = torch.tensor([5.0, 0, 0, 0])
    deltas[4] = torch.tensor([0, 0, math.log(0.01), 0])
    logits = torch.tensor([3.0, 2, 1, 4, 5, -torch.inf, -torch.inf, 0])
    boxes, scores = select_proposals(logits, deltas, anchors, (100, 100), ProposalSelection(10, 8))
    assert scores.tolist() == [3, 1, 0]
    centre, size = (20 + 0.1 * 20, 30 - 0.2 * 40), (20 * 1.5, 40 * 0.5)
    first = [centre[0] - size[0] / 2, centre[1] - size[1] / 2, centre[0] + size[0] / 2, centre[1] + size[1] / 2]
    torch.testing.assert_close(boxes, torch.tensor([first, [80, 10, 100, 30], [40, 40, 60, 60]]))


def test_no_gradient_goes_through_proposals():
    logits, deltas = torch.zeros(3, requires_grad=True), torch.zeros(3, 4, requires_grad=True)
    boxes, scores = select_proposals(
        logits, deltas, torch.tensor([[0.0, 0, 9, 9]] * 3), (9, 9), ProposalSelection(3, 3)
    )
    assert not boxes.requires_grad
    assert not scores.requires_grad


def test_a_network_that_says_nonsense_proposes_nothing():
    """As one does that has diverged; what its loss is then says so."""
    nan = torch.full((3, 4), torch.nan)
    boxes, _ = select_proposals(
        torch.zeros(3), nan, torch.tensor([[0.0, 0, 9, 9]] * 3), (9, 9), ProposalSelection(3, 3)
    )
    assert boxes.shape == (0, 4)


@pytest.mark.parametrize("count", [1, 3, 20, 500])
def test_the_best_apart_are_those_of_all_boxes_together(count):
    """However few are looked at first."""
    from torchvision.ops import nms

    generator = torch.Generator().manual_seed(1)
    boxes = random_boxes(400, 60, generator)
    scores = torch.rand(400, generator=generator).sort(descending=True).values
    kept, their_scores = best_apart(boxes, scores, 0.5, count)
    expected = nms(boxes, scores, 0.5)[:count]
    assert kept.tolist() == boxes[expected].tolist()
    assert their_scores.tolist() == scores[expected].tolist()
