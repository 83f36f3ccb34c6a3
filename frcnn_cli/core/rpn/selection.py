"""From scored anchors to proposals: the likeliest, moved, cut to the image, and thinned out."""

from __future__ import annotations

from torch import Tensor
from torchvision.ops import nms

from frcnn_cli.core.boxes import clip, decode
from frcnn_cli.core.rpn.config import ProposalSelection


def select_proposals(
    logits: Tensor, deltas: Tensor, anchors: Tensor, size: tuple[float, float], selection: ProposalSelection
) -> tuple[Tensor, Tensor]:
    """The proposals of one image. No gradient goes through them: to the detector's head they are constants
    (Faster R-CNN, section 3.2, approximate joint training).

    Args:
        logits: Tensor[K], scores of the anchors; minus infinity for those that are none of the image's.
        deltas: Tensor[K, 4], from the anchors to the boxes.
        anchors: Tensor[K, 4] in pixels.
        size: (width, height) of the image in pixels; boxes are cut to it.
        selection: which boxes become proposals.

    Returns:
        Boxes Tensor[P, 4] and their scores Tensor[P], falling.
    """
    logits, deltas = logits.detach(), deltas.detach()
    logits, likeliest = logits.topk(min(selection.considered, len(logits)))
    boxes = clip(decode(anchors[likeliest], deltas[likeliest]), *size)
    fit = ((boxes[:, 2:] - boxes[:, :2]) >= selection.least_side).all(dim=1) & logits.isfinite()
    return best_apart(boxes[fit], logits[fit], selection.nms_iou, selection.count)


def best_apart(boxes: Tensor, scores: Tensor, nms_iou: float, count: int) -> tuple[Tensor, Tensor]:
    """The best boxes of which no two overlap by more than `nms_iou`, at most `count`, by falling score.

    Whether a box is kept follows from better ones alone, so that the worse are not looked at until they are needed: the
    time grows with the square of their number.

    Args:
        boxes: Tensor[N, 4].
        scores: Tensor[N], falling.
        nms_iou: see above.
        count: likewise.
    """
    part = 4 * count
    while True:
        keep = nms(boxes[:part], scores[:part], nms_iou)[:count]
        if len(keep) == count or part >= len(boxes):
            return boxes[keep], scores[keep]
        part *= 2
