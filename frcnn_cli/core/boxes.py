"""Boxes as float tensors [N, 4] in xyxy: overlap, the regression's parameters (paper, section 2.3), clipping."""

from __future__ import annotations

import math

import torch
from torch import Tensor

MAX_LOG_SCALE = math.log(1000 / 16)
"""Largest dw, dh that is decoded: a box grows by at most 62.5 times, so exp() stays finite on any prediction."""


def area(boxes: Tensor) -> Tensor:
    """Areas of boxes [N, 4] in square pixels: [N]. A box without a width or a height has area 0."""
    return (boxes[:, 2:] - boxes[:, :2]).clamp(min=0).prod(dim=1)


def iou(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union of every box of one set with every box of another.

    Args:
        a: Tensor[N, 4].
        b: Tensor[M, 4].

    Returns:
        Tensor[N, M] in [0, 1]; 0 where both boxes have no area.
    """
    intersection = _intersection(a, b)
    return _ratio(intersection, area(a)[:, None] + area(b)[None, :] - intersection)


def share_inside(a: Tensor, b: Tensor) -> Tensor:
    """How much of every box of one set lies in every box of another: intersection over the area of the first.

    Args:
        a: Tensor[N, 4].
        b: Tensor[M, 4].

    Returns:
        Tensor[N, M] in [0, 1]; 0 for a box without area.
    """
    intersection = _intersection(a, b)
    return _ratio(intersection, area(a)[:, None].expand_as(intersection))


def _intersection(a: Tensor, b: Tensor) -> Tensor:
    top_left = torch.maximum(a[:, None, :2], b[None, :, :2])
    bottom_right = torch.minimum(a[:, None, 2:], b[None, :, 2:])
    return (bottom_right - top_left).clamp(min=0).prod(dim=2)


def _ratio(part: Tensor, whole: Tensor) -> Tensor:
    return torch.where(whole > 0, part / whole.clamp(min=torch.finfo(whole.dtype).tiny), 0.0)


def _centre_and_size(boxes: Tensor) -> tuple[Tensor, Tensor]:
    size = boxes[..., 2:] - boxes[..., :2]
    return boxes[..., :2] + 0.5 * size, size


def encode(proposals: Tensor, targets: Tensor) -> Tensor:
    """The regression targets (dx, dy, dw, dh) that turn proposals into targets (R-CNN, appendix C, equations 6-9).

    Args:
        proposals: Tensor[N, 4], each with a width and a height above 0.
        targets: Tensor[N, 4], likewise.

    Returns:
        Tensor[N, 4]: shift of the centre in units of the proposal's size, logarithm of the ratio of the sizes.
    """
    proposal_centre, proposal_size = _centre_and_size(proposals)
    target_centre, target_size = _centre_and_size(targets)
    shift = (target_centre - proposal_centre) / proposal_size
    return torch.cat((shift, torch.log(target_size / proposal_size)), dim=-1)


def decode(proposals: Tensor, deltas: Tensor) -> Tensor:
    """Boxes from proposals and (dx, dy, dw, dh): the inverse of `encode`.

    Args:
        proposals: Tensor[..., 4].
        deltas: Tensor[..., 4], broadcast against proposals; dw and dh are capped at `MAX_LOG_SCALE`.
    """
    centre, size = _centre_and_size(proposals)
    centre = centre + deltas[..., :2] * size
    half = 0.5 * size * torch.exp(deltas[..., 2:].clamp(max=MAX_LOG_SCALE))
    return torch.cat((centre - half, centre + half), dim=-1)


def clip(boxes: Tensor, width: float, height: float) -> Tensor:
    """Boxes [..., 4] cut to an image of width x height pixels."""
    limit = boxes.new_tensor((width, height, width, height))
    return torch.minimum(boxes.clamp(min=0), limit)


def solid(boxes: Tensor) -> Tensor:
    """Which boxes [N, 4] have a width and a height: bool [N]. One that lies outside its image clips to nothing."""
    return ((boxes[:, 2:] - boxes[:, :2]) > 0).all(dim=1)


def flip(boxes: Tensor, width: float) -> Tensor:
    """Boxes [N, 4] of an image mirrored left to right."""
    x1, y1, x2, y2 = boxes.unbind(dim=-1)
    return torch.stack((width - x2, y1, width - x1, y2), dim=-1)


def flip_deltas(deltas: Tensor) -> Tensor:
    """The regression [..., 4] of mirrored boxes: what is to move right moves left."""
    return deltas * deltas.new_tensor((-1, 1, 1, 1))
