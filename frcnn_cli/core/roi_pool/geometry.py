"""Where the bins of a RoI lie on the feature map (paper, section 2.1).

The arithmetic is that of the paper's code and of ``torchvision.ops.roi_pool``: corners are rounded half away from zero
to cells, the end is inclusive, a bin is (end - start + 1) / P cells in float32 (float64 for a float64 map), bin p goes
from floor(p * size) to ceil((p + 1) * size), so neighbours may share a cell, and all is cut to the map.

It stands here in torch's operators, for a GPU, and in `bins` compiled, which on a CPU takes a tenth of their time.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from frcnn_cli.core.roi_pool.bins import BAD_INDEX, FAR, NOT_FINITE, edges_of_bins, raise_fault


def bin_edges(
    rois: Tensor, rows: int, columns: int, images: int, height: int, width: int, spatial_scale: float
) -> tuple[Tensor, Tensor, Tensor]:
    """The image of each RoI, and the edges of its bins: the first cell, and the one behind the last.

    Args:
        rois: Tensor[K, 5], each (batch index, x1, y1, x2, y2), in the precision to compute in.
        rows: bins from top to bottom.
        columns: bins from left to right.
        images: N.
        height: of the map, in cells.
        width: likewise.
        spatial_scale: cells a pixel.

    Returns:
        int32 Tensor[K]; int32 Tensor[K, rows, 2] for y, int32 Tensor[K, columns, 2] for x. A bin is empty if its edges
        are equal.

    Raises:
        ValueError: a coordinate is not finite, or a batch index is not one of 0 .. N - 1.
    """
    index = rois[:, 0]
    faulty = ((index < 0) | (index >= images) | (index != index.floor())).any()
    raise_fault(int(torch.where(torch.isfinite(rois).all(), faulty * BAD_INDEX, NOT_FINITE)), images)
    scaled = rois[:, 1:] * torch.tensor(spatial_scale, dtype=rois.dtype, device=rois.device)
    # C's round() breaks ties away from zero; torch.round would break them to even.
    whole = scaled.trunc()
    cells = whole + torch.sign(scaled) * ((scaled - whole).abs() >= 0.5)
    x1, y1, x2, y2 = cells.clamp(-FAR, FAR).int().unbind(1)
    return index.int(), _edges(y1, y2, rows, height, rois.dtype), _edges(x1, x2, columns, width, rois.dtype)


def _edges(start: Tensor, end: Tensor, bins: int, limit: int, precision: torch.dtype) -> Tensor:
    length = (end - start + 1).clamp_(min=1).to(precision)[:, None]
    # By a tensor: on a GPU, division by a number is multiplication by its inverse, off in the last bit.
    size = length / torch.full_like(length, bins)
    p = torch.arange(bins, dtype=precision, device=size.device)
    first = torch.floor(p * size).int() + start[:, None]
    behind = torch.ceil((p + 1) * size).int() + start[:, None]
    return torch.stack((first, behind), dim=2).clamp_(0, limit)


def bin_edges_on_cpu(
    rois: Tensor, rows: int, columns: int, images: int, height: int, width: int, spatial_scale: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`bin_edges`, compiled."""
    return edges_of_bins(rois.detach().contiguous().numpy(), rows, columns, images, height, width, spatial_scale)
