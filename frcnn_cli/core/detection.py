"""From scores and deltas to detections (paper, section 3): the class's own box for each RoI, then NMS by class."""

from __future__ import annotations

from torch import Tensor
from torchvision.ops import batched_nms

from frcnn_cli.core.boxes import clip, decode


def select_detections(
    probabilities: Tensor,
    deltas: Tensor,
    proposals: Tensor,
    image_size: tuple[int, int],
    score_threshold: float,
    nms_threshold: float,
    max_detections: int,
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

    Returns:
        boxes Tensor[D, 4], scores Tensor[D], labels int64 Tensor[D] (1 .. C).
    """
    roi, label = (probabilities[:, 1:] >= score_threshold).nonzero(as_tuple=True)
    scores = probabilities[roi, label + 1]
    boxes = clip(decode(proposals[roi], deltas[roi, label]), *image_size)
    solid = ((boxes[:, 2:] - boxes[:, :2]) > 0).all(dim=1)  # a box decoded to outside the image clips to nothing
    boxes, scores, label = boxes[solid], scores[solid], label[solid]
    keep = batched_nms(boxes, scores, label, nms_threshold)[:max_detections]
    return boxes[keep], scores[keep], label[keep] + 1
