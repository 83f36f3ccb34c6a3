"""Anchors: the boxes that a region proposal network starts from, the same set around every cell of its map."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

SIZES = (32, 64, 128, 256, 512)
"""Square roots of the areas, in pixels of the network's input. The paper has the last three, of which none comes near a
small object: the best anchor has IoU 0.5 with 87 of 100 objects of VOC2012, and with 98 where there are the first two
as well. Images of half the paper's size need those anyway."""

RATIOS = (0.5, 1.0, 2.0)
"""Of height and width, the paper's (Faster R-CNN, section 3.1.1)."""


def cell_anchors(sizes: Sequence[float], ratios: Sequence[float]) -> Tensor:
    """The anchors of one cell, around (0, 0).

    Args:
        sizes: S square roots of the areas, in pixels.
        ratios: R quotients of height and width.

    Returns:
        Tensor[R * S, 4]; all sizes of the first ratio come first, as in torchvision.
    """
    side, root = torch.tensor(sizes, dtype=torch.float32), torch.tensor(ratios, dtype=torch.float32).sqrt()[:, None]
    width, height = (side / root).flatten(), (side * root).flatten()
    return torch.stack((-width, -height, width, height), dim=1) / 2


def anchor_grid(cell: Tensor, height: int, width: int, stride: int) -> Tensor:
    """The anchors of a whole map, around the centres of its cells.

    Args:
        cell: Tensor[A, 4], those of one cell around (0, 0).
        height: of the map, in cells.
        width: likewise.
        stride: pixels of a cell.

    Returns:
        Tensor[height * width * A, 4] in pixels, in the order row, column, anchor.
    """
    y, x = ((torch.arange(count, device=cell.device) + 0.5) * stride for count in (height, width))
    y, x = torch.meshgrid(y, x, indexing="ij")
    centres = torch.stack((x, y, x, y), dim=-1).reshape(-1, 1, 4)
    return (centres + cell).flatten(0, 1)


def of_image(anchors: Tensor, width: int, height: int, stride: int) -> Tensor:
    """Which anchors of a padded image are those of cells that begin inside of the image itself, as they would if it
    were not padded: bool Tensor[K].

    Args:
        anchors: Tensor[K, 4].
        width: of the image, in pixels.
        height: likewise.
        stride: pixels of a cell.
    """
    first = (anchors[:, :2] + anchors[:, 2:] - stride) / 2  # the near corner of an anchor's cell
    return (first < first.new_tensor((width, height))).all(dim=1)


def inside(anchors: Tensor, width: float, height: float) -> Tensor:
    """Which anchors Tensor[K, 4] do not cross the border of an image of width x height pixels: bool Tensor[K]."""
    return (anchors[:, :2] >= 0).all(dim=1) & (anchors[:, 2:] <= anchors.new_tensor((width, height))).all(dim=1)
