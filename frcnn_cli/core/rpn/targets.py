"""What the network should say of an image's anchors, and which of them to learn from (Faster R-CNN, section 3.1.2)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from frcnn_cli.core.boxes import encode, iou
from frcnn_cli.core.rpn.config import AnchorSampling
from frcnn_cli.core.sampling import draw, in_crowd

POSITIVE, NEGATIVE, IGNORED = 1, 0, -1


@dataclass(frozen=True)
class SampledAnchors:
    """The anchors of one image in a mini-batch.

    Attributes:
        positive: int64 Tensor[P], numbers of anchors.
        negative: int64 Tensor[Q], likewise.
        deltas: Tensor[P, 4], from the positive anchors to their objects.
    """

    positive: Tensor
    negative: Tensor
    deltas: Tensor

    def __len__(self) -> int:
        return len(self.positive) + len(self.negative)


def label_anchors(
    anchors: Tensor, gt_boxes: Tensor, config: AnchorSampling, crowds: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Hold each anchor against the objects of an image.

    The best of an object are several where these are equally good; an object that no anchor touches has none. What is
    neither positive nor negative is ignored, and so is what lies in a crowd and on no object.

    Args:
        anchors: Tensor[K, 4].
        gt_boxes: Tensor[G, 4], G >= 0.
        config: where the bounds are.
        crowds: Tensor[M, 4], regions of objects that are not in `gt_boxes`.

    Returns:
        int64 Tensor[K] of `POSITIVE`, `NEGATIVE` and `IGNORED`, and int64 Tensor[K], the object that each anchor
        overlaps most; its number means nothing where G = 0.
    """
    labels = torch.full((len(anchors),), IGNORED)
    if len(gt_boxes):
        overlaps = iou(anchors, gt_boxes)
        overlap, matched = overlaps.max(dim=1)
        best = overlaps.amax(dim=0) if len(anchors) else overlaps.new_zeros(len(gt_boxes))
        is_best = ((overlaps == best) & (best > 0)).any(dim=1)
    else:
        overlap, matched = anchors.new_zeros(len(anchors)), torch.zeros(len(anchors), dtype=torch.int64)
        is_best = torch.zeros(len(anchors), dtype=torch.bool)
    is_negative = overlap < config.iou[0]
    if crowds is not None:
        is_negative &= ~in_crowd(anchors, crowds)
    labels[is_negative] = NEGATIVE
    labels[(overlap >= config.iou[1]) | is_best] = POSITIVE
    return labels, matched


def sample_anchors(
    anchors: Tensor,
    allowed: Tensor,
    gt_boxes: Tensor,
    config: AnchorSampling,
    generator: torch.Generator,
    crowds: Tensor | None = None,
) -> SampledAnchors:
    """Draw one image's anchors of a mini-batch, without replacement; a short pool is not padded.

    Args:
        anchors: Tensor[K, 4], all of them.
        allowed: bool Tensor[K]; the others are as if they were not there.
        gt_boxes: Tensor[G, 4], G >= 0.
        config: the sampling's numbers.
        generator: source of the draw.
        crowds: see `label_anchors`.
    """
    numbers = allowed.nonzero()[:, 0]
    labels, matched = label_anchors(anchors[numbers], gt_boxes, config, crowds)
    positive = draw((labels == POSITIVE).nonzero()[:, 0], int(config.anchors * config.positive_fraction), generator)
    negative = draw((labels == NEGATIVE).nonzero()[:, 0], config.anchors - len(positive), generator)
    deltas = encode(anchors[numbers[positive]], gt_boxes[matched[positive]])
    return SampledAnchors(numbers[positive], numbers[negative], deltas)
