"""Where the bins of a RoI lie on the feature map (paper, section 2.1).

The arithmetic is that of the paper's code and of ``torchvision.ops.roi_pool``: corners are rounded half away from zero
to cells, the end is inclusive, a bin is (end - start + 1) / P cells in float32 (float64 for a float64 map), bin p goes
from floor(p * size) to ceil((p + 1) * size), so neighbours may share a cell, and all is cut to the map.

It stands here twice: in torch's operators for a GPU, and compiled, which on a CPU takes a tenth of their time.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from frcnn_cli.core.roi_pool.compiled import compiled

_FAR = 2**29
"""Corners beyond this many cells are moved here, just as far outside: whole numbers do not overflow."""


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
    _raise(int(torch.where(torch.isfinite(rois).all(), faulty * _BAD_INDEX, _NOT_FINITE)), images)
    scaled = rois[:, 1:] * torch.tensor(spatial_scale, dtype=rois.dtype, device=rois.device)
    # C's round() breaks ties away from zero; torch.round would break them to even.
    whole = scaled.trunc()
    cells = whole + torch.sign(scaled) * ((scaled - whole).abs() >= 0.5)
    x1, y1, x2, y2 = cells.clamp(-_FAR, _FAR).int().unbind(1)
    return index.int(), _edges(y1, y2, rows, height, rois.dtype), _edges(x1, x2, columns, width, rois.dtype)


_NOT_FINITE, _BAD_INDEX = 1, 2


def _raise(fault: int, images: int) -> None:
    if fault == _NOT_FINITE:
        raise ValueError("boxes hold a coordinate that is not finite")
    if fault == _BAD_INDEX:
        raise ValueError(f"boxes hold a batch index that is not one of 0 .. {images - 1}")


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
    array = rois.detach().contiguous().numpy()
    index = np.empty(len(array), np.int32)
    ys, xs = np.empty((len(array), rows, 2), np.int32), np.empty((len(array), columns, 2), np.int32)
    fault = _bin_edges(array, array.dtype.type(spatial_scale), images, height, width, index, ys, xs)
    _raise(fault, images)
    return index, ys, xs


@compiled
def _bin_edges(rois, spatial_scale, images, height, width, index, ys, xs):
    fault = 0
    for r in range(len(rois)):
        for value in rois[r]:
            if not np.isfinite(value):
                return _NOT_FINITE
        image = rois[r, 0]
        if image < 0 or image >= images or image != np.floor(image):
            fault = _BAD_INDEX
        else:
            index[r] = int(image)
            _edges_of(rois[r, 2] * spatial_scale, rois[r, 4] * spatial_scale, height, ys[r])
            _edges_of(rois[r, 1] * spatial_scale, rois[r, 3] * spatial_scale, width, xs[r])
    return fault


@compiled
def _edges_of(start, end, limit, edges):
    """Write the edges of the bins between two corners in cells. All is computed in the corners' precision."""
    first, last = _rounded(start), _rounded(end)
    real = type(start)
    size = real(max(last - first + 1, 1)) / real(len(edges))
    for p in range(len(edges)):
        edges[p, 0] = min(max(int(np.floor(real(p) * size)) + first, 0), limit)
        edges[p, 1] = min(max(int(np.ceil(real(p + 1) * size)) + first, 0), limit)


@compiled
def _rounded(value):
    """Half away from zero, as C's round() does; NumPy's rounds half to even."""
    whole = np.trunc(value)
    if abs(value - whole) >= 0.5:
        whole += np.sign(value)
    return int(min(max(whole, -_FAR), _FAR))
