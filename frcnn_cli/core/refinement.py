"""Looking twice: RoIs are scored once more where their regression moved them (iterative localisation: Gidaris and
Komodakis, Object detection via a multi-region & semantic segmentation-aware CNN model, ICCV 2015, section 4).

A box that lies better is scored higher, and its own regression is smaller and so more certain. The features are there
already, so that a second look costs a pass of the head over a few RoIs.

A head that only learned from proposals has not seen boxes that lie as well as the moved ones do. `moved_rois` gives it
those of its own regression to learn from, labelled anew by their overlap, as the second stage of Cascade R-CNN (Cai and
Vasconcelos, CVPR 2018, section 4) has them; here both looks are of one head.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from frcnn_cli.core.boxes import clip, decode, solid
from frcnn_cli.core.sampling import SampledRois, answered, best_overlap, in_crowd
from frcnn_cli.core.scenes import Scene


def look_again(
    score: Callable[[Tensor], tuple[Tensor, Tensor]],
    boxes: Tensor,
    probabilities: Tensor,
    deltas: Tensor,
    count: int,
    image_size: tuple[float, float],
) -> tuple[Tensor, Tensor, Tensor]:
    """Score the likeliest RoIs once more, each where the regression of its likeliest class moved it, and forget what
    they were before. One that has left the image is forgotten too.

    Args:
        score: probabilities Tensor[M, 1 + C] and deltas Tensor[M, C, 4] of boxes Tensor[M, 4].
        boxes: Tensor[K, 4].
        probabilities: Tensor[K, 1 + C], of the boxes.
        deltas: Tensor[K, C, 4], likewise.
        count: the most that are looked at again.
        image_size: (width, height) in pixels; moved boxes are clipped to it.

    Returns:
        The other boxes and the moved ones, Tensor[M, 4] with M <= K, their probabilities and their deltas.
    """
    likelihood, label = probabilities[:, 1:].max(dim=1)
    order = likelihood.sort(descending=True, stable=True).indices  # of equals the first, on every runtime
    chosen, others = order[:count], order[count:]
    moved = clip(decode(boxes[chosen], deltas[chosen, label[chosen]]), *image_size)
    moved = moved[solid(moved)]
    again = (moved, *score(moved))
    kept = (part[others] for part in (boxes, probabilities, deltas))
    return tuple(torch.cat(pair) for pair in zip(kept, again, strict=True))


@torch.no_grad()
def moved_rois(
    rois: Tensor, class_logits: Tensor, deltas: Tensor, scenes: Sequence[Scene], foreground_iou: float
) -> tuple[SampledRois, Tensor]:
    """A mini-batch's RoIs where the regression of their likeliest class moves them, with new labels and targets.

    One is foreground if it now overlaps an object by `foreground_iou`, and else background, so that a box that moved
    away from its object is unlearned. Those that lie in a crowd, or have left their image, are left out.

    Args:
        rois: Tensor[R, 5], (image index, x1, y1, x2, y2).
        class_logits: Tensor[R, 1 + C] of the first look.
        deltas: Tensor[R, C, 4] of the first look, not normalised.
        scenes: what is on each image.
        foreground_iou: least IoU with an object.

    Returns:
        The RoIs, in the order they came, and int64 Tensor[S], the image of each.
    """
    likeliest = class_logits[:, 1:].argmax(dim=1)
    boxes = decode(rois[:, 1:], deltas[torch.arange(len(rois), device=rois.device), likeliest])
    parts, images = [], []
    for i, scene in enumerate(scenes):
        moved = clip(boxes[rois[:, 0] == i], *scene.size)
        moved = moved[solid(moved)]
        overlap, matched = best_overlap(moved, scene.boxes)
        foreground = (overlap >= foreground_iou) & (len(scene.boxes) > 0)
        kept = foreground | ~in_crowd(moved, scene.crowds)
        parts.append(answered(moved[kept], foreground[kept], scene.boxes, scene.labels, matched[kept]))
        images.append(torch.full((len(parts[-1]),), i))
    fields = (torch.cat([getattr(part, name) for part in parts]) for name in ("rois", "labels", "deltas"))
    return SampledRois(*fields), torch.cat(images)
