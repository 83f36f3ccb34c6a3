"""Mini-batch sampling (paper, section 2.3): which RoIs of an image to learn from, and what each should answer."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from frcnn_cli.core.boxes import encode, iou, share_inside
from frcnn_cli.core.sampling_config import SamplingConfig

IN_CROWD = 0.5
"""A RoI with at least this share of its area in a crowd is not background: objects of a crowd are not annotated one by
one. COCO's evaluation at IoU 0.5 likewise does not count detections of that share."""


@dataclass(frozen=True)
class SampledRois:
    """The RoIs of one image in a mini-batch.

    Attributes:
        rois: Tensor[S, 4], foreground first.
        labels: int64 Tensor[S]: class of each, 0 for background.
        deltas: Tensor[S, 4]: regression targets towards the matched object; 0 for background.
    """

    rois: Tensor
    labels: Tensor
    deltas: Tensor

    def __len__(self) -> int:
        return len(self.rois)


def sample_rois(
    proposals: Tensor,
    gt_boxes: Tensor,
    gt_labels: Tensor,
    config: SamplingConfig,
    generator: torch.Generator,
    place: int = 0,
    crowds: Tensor | None = None,
) -> SampledRois:
    """Draw one image's share of the mini-batch.

    The ground-truth boxes join the proposals. RoIs are drawn without replacement, and a short pool is not padded: an
    image may give fewer than its share of RoIs, even none.

    Args:
        proposals: Tensor[P, 4].
        gt_boxes: Tensor[G, 4], G >= 0.
        gt_labels: int64 Tensor[G], classes from 1.
        config: the sampling's numbers.
        generator: source of the draw.
        place: of the image in the batch, from 0.
        crowds: Tensor[M, 4], regions of objects that are not in `gt_boxes`: what lies in them is no background.
    """
    candidates = torch.cat((gt_boxes, proposals))
    overlap, matched = best_overlap(candidates, gt_boxes)
    low, high = config.background_iou

    is_foreground = (overlap >= config.foreground_iou) & (len(gt_boxes) > 0)
    is_background = ~is_foreground & (overlap >= low) & (overlap < high)
    if crowds is not None:
        is_background &= ~in_crowd(candidates, crowds)
    foreground = draw(is_foreground.nonzero()[:, 0], config.most_foreground(place), generator)
    background = draw(is_background.nonzero()[:, 0], config.rois_of(place) - len(foreground), generator)

    chosen = torch.cat((foreground, background))
    return answered(candidates[chosen], is_foreground[chosen], gt_boxes, gt_labels, matched[chosen])


def answered(rois: Tensor, is_foreground: Tensor, gt_boxes: Tensor, gt_labels: Tensor, matched: Tensor) -> SampledRois:
    """RoIs with what each should answer.

    Args:
        rois: Tensor[S, 4].
        is_foreground: bool Tensor[S]; the others are background.
        gt_boxes: Tensor[G, 4].
        gt_labels: int64 Tensor[G], classes from 1.
        matched: int64 Tensor[S], the object of each; not read of background.
    """
    labels = torch.zeros(len(rois), dtype=torch.int64)
    deltas = torch.zeros_like(rois)
    objects = matched[is_foreground]
    labels[is_foreground] = gt_labels[objects]
    deltas[is_foreground] = encode(rois[is_foreground], gt_boxes[objects])
    return SampledRois(rois, labels, deltas)


def in_crowd(boxes: Tensor, crowds: Tensor) -> Tensor:
    """Which boxes [N, 4] lie in one of the crowds [M, 4], by a share of `IN_CROWD` or more: bool [N]."""
    if len(crowds) == 0:
        return torch.zeros(len(boxes), dtype=torch.bool)
    return share_inside(boxes, crowds).amax(dim=1) >= IN_CROWD


def best_overlap(boxes: Tensor, gt_boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Each box's largest IoU with an object, and which object that is.

    Args:
        boxes: Tensor[N, 4].
        gt_boxes: Tensor[G, 4]; with G = 0 every overlap is 0 and the object's number means nothing.

    Returns:
        Tensor[N] and int64 Tensor[N].
    """
    if len(gt_boxes) == 0:
        return boxes.new_zeros(len(boxes)), torch.zeros(len(boxes), dtype=torch.int64)
    return iou(boxes, gt_boxes).max(dim=1)


def draw(pool: Tensor, most: int, generator: torch.Generator) -> Tensor:
    """Some of a pool [N], at most so many, without replacement: all of a smaller pool, in an order drawn too."""
    return pool[torch.randperm(len(pool), generator=generator)[:most]]
