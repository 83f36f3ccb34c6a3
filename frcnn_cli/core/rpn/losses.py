"""The loss of a region proposal network (Faster R-CNN, section 3.1.2, equation 1)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from frcnn_cli.core.rpn.targets import SampledAnchors

BETA = 1 / 9
"""Where smooth L1 turns from a square to a line: deltas of anchors are not normalised, so that a spread of 1, at which
Fast R-CNN's turns, would leave every error in the square. As in the paper's code (sigma = 3)."""


def anchor_loss(logits: Tensor, deltas: Tensor, sampled: SampledAnchors, count: int) -> dict[str, Tensor]:
    """Classification and localisation of the sampled anchors of an image.

    Both are divided by the number of anchors in the mini-batch. The paper weights the second by 10 and divides it by
    the number of cells instead, which at its 2,400 cells is the same within a fifteenth, and adds that neither matters.

    Args:
        logits: Tensor[K], of all anchors.
        deltas: Tensor[K, 4], likewise.
        sampled: those to learn from.
        count: what to divide by.

    Returns:
        ``rpn_cls`` and ``rpn_bbox``: scalars.
    """
    chosen = torch.cat((sampled.positive, sampled.negative)).to(logits.device)
    wanted = torch.zeros(len(chosen), device=logits.device)
    wanted[: len(sampled.positive)] = 1
    loss_cls = F.binary_cross_entropy_with_logits(logits[chosen], wanted, reduction="sum")
    moved = deltas[chosen[: len(sampled.positive)]]
    loss_bbox = F.smooth_l1_loss(moved, sampled.deltas.to(moved.device), reduction="sum", beta=BETA)
    return {"rpn_cls": loss_cls / max(count, 1), "rpn_bbox": loss_bbox / max(count, 1)}
