"""RoI pooling of one image's map, arrays in and arrays out: inference without torch, in float32 or in eight bits.

A maximum is the same before quantisation and after it, so the numbers that stand for features are pooled as they are.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np

from frcnn_cli.core.roi_pool import cpu_kernels
from frcnn_cli.core.roi_pool.bins import edges_of_bins
from frcnn_cli.core.roi_pool.instructions import VECTOR_BYTES
from frcnn_cli.core.roi_pool.memory import empty_array

STREAM_BYTES = 2**20
"""Outputs from this size on are written past the cache."""

WINDOWS_PAY = 6
"""Maxima of 2 x 2 windows are made if the bins have this many times as many cells as the map."""

_SLAB_VECTORS = 8
"""Vectors of a cell in a slab, at most: 128 channels of float32."""


def pool_array(cells: np.ndarray, boxes: np.ndarray, size: int, spatial_scale: float, threads: int = 1) -> np.ndarray:
    """Pool every RoI of an image.

    Args:
        cells: the map, float32 or uint8 [H, W, C], contiguous.
        boxes: float32 [K, 4], xyxy in pixels.
        size: P.
        spatial_scale: cells a pixel.
        threads: to share the work among.

    Returns:
        [K, P, P, C] of the map's type; 0 for a bin without a cell. Its memory is used again when nothing refers to it.

    Raises:
        ValueError: a coordinate is not finite.
        TypeError: a map of another type.
    """
    if cells.dtype not in (np.float32, np.uint8):
        raise TypeError(f"the map must be float32 or uint8, not {cells.dtype}")
    height, width, channels = cells.shape
    rois = np.concatenate((np.zeros((len(boxes), 1), np.float32), boxes), axis=1, dtype=np.float32)
    _, ys, xs = edges_of_bins(rois, size, size, 1, height, width, spatial_scale)
    members = np.arange(len(rois))
    pooled = empty_array((len(rois), size, size, channels), cells.dtype)
    real = cells.dtype == np.float32
    lowest = np.finfo(np.float32).min if real else np.uint8(0)
    source, output = (cells.view(np.int32), pooled.view(np.int32)) if real else (cells, pooled)
    lanes = VECTOR_BYTES // cells.itemsize
    # What is written past the cache is read at once by a head of eight bits, whose input is small enough to stay there.
    stream = real and pooled.nbytes >= STREAM_BYTES and channels % lanes == 0 and pooled.ctypes.data % VECTOR_BYTES == 0
    windows = cpu_kernels.cells_of_bins(ys, xs, members) > WINDOWS_PAY * height * width

    def pool_slab(begin: int, end: int) -> None:
        slab = np.empty((2 * height * width, -(-(end - begin) // lanes) * lanes), source.dtype)
        # Of 0 and -0 the first is the answer, and windows have another order.
        plain = not cpu_kernels.fill_from_cells(source, begin, end, slab) or not real
        arguments = (height, width, begin, end, ys, xs, members, lowest, windows and plain, stream, output)
        cpu_kernels.pool_slab(slab, *arguments)

    shares = _shares(channels, lanes, threads)
    if threads == 1:
        for share in shares:
            pool_slab(*share)
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(pool_slab, *zip(*shares, strict=True)))
    return pooled


def _shares(channels: int, lanes: int, threads: int) -> list[tuple[int, int]]:
    """Whole vectors of channels, (begin, end) each: at least one share a thread, where there are as many vectors."""
    vectors = max(-(-channels // lanes), 1)
    count = min(-(-max(-(-vectors // _SLAB_VECTORS), 1) // threads) * threads, vectors)
    return list(pairwise(min(vectors * i // count * lanes, channels) for i in range(count + 1)))
