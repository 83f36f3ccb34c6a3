"""Looking twice: RoIs are scored once more where their regression moved them (iterative localisation: Gidaris and
Komodakis, Object detection via a multi-region & semantic segmentation-aware CNN model, ICCV 2015, section 4).

A box that lies better is scored higher, and its own regression is smaller and so more certain. The features are there
already, so that a second look costs a pass of the head over a few RoIs.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from frcnn_cli.core.boxes import clip, decode


def look_again(
    score: Callable[[Tensor], tuple[Tensor, Tensor]],
    boxes: Tensor,
    probabilities: Tensor,
    deltas: Tensor,
    count: int,
    image_size: tuple[float, float],
) -> tuple[Tensor, Tensor, Tensor]:
    """Score the likeliest RoIs once more, each where the regression of its likeliest class moved it.

    Args:
        score: probabilities Tensor[M, 1 + C] and deltas Tensor[M, C, 4] of boxes Tensor[M, 4].
        boxes: Tensor[K, 4].
        probabilities: Tensor[K, 1 + C], of the boxes.
        deltas: Tensor[K, C, 4], likewise.
        count: the most that are looked at again.
        image_size: (width, height) in pixels; moved boxes are clipped to it.

    Returns:
        The boxes of both looks Tensor[K + M, 4], M <= count, their probabilities and their deltas.
    """
    likelihood, label = probabilities[:, 1:].max(dim=1)
    chosen = likelihood.sort(descending=True, stable=True).indices[:count]  # of equals the first, on every runtime
    moved = clip(decode(boxes[chosen], deltas[chosen, label[chosen]]), *image_size)
    moved = moved[((moved[:, 2:] - moved[:, :2]) > 0).all(dim=1)]  # one that left the image clips to nothing
    again = (moved, *score(moved))
    return tuple(torch.cat(pair) for pair in zip((boxes, probabilities, deltas), again, strict=True))
