"""Where the bins of a RoI lie, compiled for a CPU; `geometry` says how it is computed."""

from __future__ import annotations

import numpy as np

from frcnn_cli.core.roi_pool.compiled import compiled

FAR = 2**29
"""Corners beyond this many cells are moved here, just as far outside: whole numbers do not overflow."""

NOT_FINITE, BAD_INDEX = 1, 2


def raise_fault(fault: int, images: int) -> None:
    """Say what `_bin_edges` found. Raises a ValueError, or nothing for 0."""
    if fault == NOT_FINITE:
        raise ValueError("boxes hold a coordinate that is not finite")
    if fault == BAD_INDEX:
        raise ValueError(f"boxes hold a batch index that is not one of 0 .. {images - 1}")


def edges_of_bins(
    rois: np.ndarray, rows: int, columns: int, images: int, height: int, width: int, spatial_scale: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """As `geometry.bin_edges`, of a contiguous array: int32 [K], int32 [K, rows, 2] and int32 [K, columns, 2]."""
    index = np.empty(len(rois), np.int32)
    ys, xs = np.empty((len(rois), rows, 2), np.int32), np.empty((len(rois), columns, 2), np.int32)
    fault = _bin_edges(rois, rois.dtype.type(spatial_scale), images, height, width, index, ys, xs)
    raise_fault(fault, images)
    return index, ys, xs


@compiled
def _bin_edges(rois, spatial_scale, images, height, width, index, ys, xs):
    fault = 0
    for r in range(len(rois)):
        for value in rois[r]:
            if not np.isfinite(value):
                return NOT_FINITE
        image = rois[r, 0]
        if image < 0 or image >= images or image != np.floor(image):
            fault = BAD_INDEX
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
    return int(min(max(whole, -FAR), FAR))
