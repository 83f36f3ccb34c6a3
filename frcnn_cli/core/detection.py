"""From scores and deltas to detections (paper, section 3): the class's own box for each RoI, then NMS by class."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.ops import batched_nms

from frcnn_cli.core.boxes import clip, decode, iou, solid

VOTING_IOU = 0.5


def select_detections(
    probabilities: Tensor,
    deltas: Tensor,
    proposals: Tensor,
    image_size: tuple[int, int],
    score_threshold: float,
    nms_threshold: float,
    max_detections: int,
    box_voting: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """The detections of one image, by falling score.

    Args:
        probabilities: Tensor[K, 1 + C].
        deltas: Tensor[K, C, 4].
        proposals: Tensor[K, 4] in pixels of the image.
        image_size: (width, height) in pixels; boxes are clipped to it.
        score_threshold: the least probability that is a detection.
        nms_threshold: of two boxes of one class that overlap by more, the lower score is dropped.
        max_detections: the most to keep, over all classes.
        box_voting: replace each kept box by the mean of those around it; see `vote`.

    Returns:
        boxes Tensor[D, 4], scores Tensor[D], labels int64 Tensor[D] (1 .. C).
    """
    roi, label = (probabilities[:, 1:] >= score_threshold).nonzero(as_tuple=True)
    scores = probabilities[roi, label + 1]
    boxes = clip(decode(proposals[roi], deltas[roi, label]), *image_size)
    kept = solid(boxes)
    boxes, scores, label = boxes[kept], scores[kept], label[kept]
    keep = batched_nms(boxes, scores, label, nms_threshold)[:max_detections]
    boxes, scores, label = boxes[keep], scores[keep], label[keep]
    if box_voting:
        for c in label.unique().tolist():
            voters = clip(decode(proposals, deltas[:, c]), *image_size)
            boxes[label == c] = clip(vote(boxes[label == c], voters, probabilities[:, c + 1]), *image_size)
    return boxes, scores, label + 1


def vote(boxes: Tensor, voters: Tensor, weights: Tensor) -> Tensor:
    """Each box becomes the weighted mean of the voters that overlap it by half or more (Gidaris and Komodakis, Object
    detection via a multi-region & semantic segmentation-aware CNN model, ICCV 2015, section 4).

    All RoIs' boxes of a class vote, however unlikely, so that a box does not depend on the least score to report.

    Args:
        boxes: Tensor[D, 4], what NMS kept of a class.
        voters: Tensor[K, 4], that class's boxes before NMS.
        weights: Tensor[K], their scores.

    Returns:
        Tensor[D, 4]; a box that nobody votes on stays.
    """
    share = (iou(boxes, voters) >= VOTING_IOU) * weights
    total = share.sum(dim=1, keepdim=True)
    return torch.where(total > 0, share @ voters / total, boxes)
