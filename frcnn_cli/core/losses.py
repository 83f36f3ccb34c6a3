"""The multi-task loss (paper, section 2.3, equations 1-3)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def multi_task_loss(
    class_logits: Tensor,
    box_deltas: Tensor,
    labels: Tensor,
    target_deltas: Tensor,
    box_weight: float = 1.0,
    count: int | None = None,
) -> dict[str, Tensor]:
    """Classification and localisation of R RoIs: L = L_cls + lambda [u >= 1] L_loc, averaged over all R of them.

    Both terms are divided by R, background RoIs included, so that they keep the proportion of equation 1.

    Args:
        class_logits: Tensor[R, 1 + C], class 0 is background.
        box_deltas: Tensor[R, C, 4], one box a class, background left out.
        labels: int64 Tensor[R], u in 0 .. C.
        target_deltas: Tensor[R, 4], v; not read where u = 0.
        box_weight: lambda.
        count: what to divide by, where these RoIs are a part of the batch; None for their own number.

    Returns:
        ``cls`` and ``bbox`` (lambda included): scalars whose sum is the loss. Without RoIs both are 0.
    """
    count = max(len(labels) if count is None else count, 1)
    loss_cls = F.cross_entropy(class_logits, labels, reduction="sum") / count
    foreground = labels.nonzero()[:, 0]
    predicted = box_deltas[foreground, labels[foreground] - 1]
    loss_bbox = smooth_l1(predicted - target_deltas[foreground]).sum() / count
    return {"cls": loss_cls, "bbox": box_weight * loss_bbox}


def smooth_l1(x: Tensor) -> Tensor:
    """0.5 x^2 where |x| < 1, |x| - 0.5 elsewhere (paper, equation 3)."""
    return F.smooth_l1_loss(x, torch.zeros_like(x), reduction="none", beta=1.0)
