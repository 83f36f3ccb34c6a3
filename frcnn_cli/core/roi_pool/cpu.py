"""RoI pooling on a CPU: how the work is shared out. `cpu_kernels` does it.

The work is shared out by channels. A slab, some channels of one image laid out cell by cell, is small enough to stay in
the cache of a core while all RoIs are pooled from it. No two threads write to one place, so backwards, where cells add
up over RoIs, the additions have one order: the same bits for any number of threads.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from frcnn_cli.core.roi_pool import cpu_kernels
from frcnn_cli.core.roi_pool.arrays import STREAM_BYTES, WINDOWS_PAY
from frcnn_cli.core.roi_pool.geometry import bin_edges_on_cpu
from frcnn_cli.core.roi_pool.instructions import VECTOR_BYTES
from frcnn_cli.core.roi_pool.memory import empty
from frcnn_cli.core.roi_pool.threads import run

_SLABS_BYTES = 2**22
"""Working memory of all threads together."""

_SLAB_CELL_BYTES = 512
"""Channels of a cell in a slab: at most 128 of float32."""

_BITS = {2: torch.int16, 4: torch.int32, 8: torch.int64}


def pool(
    input: Tensor, rois: Tensor, rows: int, columns: int, spatial_scale: float, argmax_type: torch.dtype | None
) -> tuple[Tensor, Tensor | None]:
    """Pool, and if `argmax_type` is given, say which cell (y * W + x) was each maximum; -1 for none.

    Args:
        input: Tensor[N, C, H, W], any floating type and memory format.
        rois: Tensor[K, 5].
        rows: bins from top to bottom.
        columns: bins from left to right.
        spatial_scale: cells a pixel.
        argmax_type: a signed type that holds H * W, or None.

    Returns:
        Tensor[K, rows, columns, C], and one like it of `argmax_type`, or None.
    """
    images, channels, height, width = input.shape
    precision = torch.float64 if input.dtype == torch.float64 else torch.float32
    index, ys, xs = bin_edges_on_cpu(rois.to(precision), rows, columns, images, height, width, spatial_scale)

    shape = (len(rois), rows, columns, channels)
    output = empty(shape, input.dtype)
    argmax = None if argmax_type is None else empty(shape, argmax_type)
    bits, lowest = _comparable(input)
    out, where = output.view(bits.dtype).numpy(), None if argmax is None else argmax.numpy()

    lanes = VECTOR_BYTES // input.dtype.itemsize
    layers = 2 if argmax is None else 1
    shares, slabs = _slabs(channels, lanes, layers * height * width, bits.dtype)
    stream = out.nbytes >= STREAM_BYTES and channels % lanes == 0 and output.data_ptr() % VECTOR_BYTES == 0
    by_cell = bits.permute(0, 2, 3, 1)
    fill = cpu_kernels.fill_from_cells if by_cell.is_contiguous() else cpu_kernels.fill_from_planes
    maps = (by_cell if by_cell.is_contiguous() else bits.contiguous()).numpy()
    # A training batch has too few RoIs to pay for a copy of a map that lies cell by cell anyway.
    in_place = argmax is not None and by_cell.is_contiguous() and channels % lanes == 0

    def pool_slab(worker: int, image: int, members: np.ndarray, windows: bool, begin: int, end: int) -> None:
        slab = slabs[worker]
        if in_place:
            cells = maps[image].reshape(height * width, channels)
            cpu_kernels.pool_slab_argmax(cells, begin, width, begin, end, ys, xs, members, lowest, stream, out, where)
            return
        negative_zero = fill(maps[image], begin, end, slab)
        if where is None:
            # Of 0 and -0 the first is the answer, and windows have another order.
            arguments = (windows and not negative_zero, stream, out)
            cpu_kernels.pool_slab(slab, height, width, begin, end, ys, xs, members, lowest, *arguments)
        else:
            cpu_kernels.pool_slab_argmax(slab, 0, width, begin, end, ys, xs, members, lowest, stream, out, where)

    tasks = []
    for image, members in enumerate(_members(index, images)):
        windows = argmax is None and cpu_kernels.cells_of_bins(ys, xs, members) > WINDOWS_PAY * height * width
        tasks += [(image, members, windows, begin, end) for begin, end in shares]
    run(pool_slab, tasks)
    return output, argmax


def backward(
    grad: Tensor, argmax: Tensor, rois: Tensor, images: int, height: int, width: int, spatial_scale: float
) -> Tensor:
    """Give every output's gradient to the cell that was its maximum; a cell adds up in the order of RoIs and bins.

    Args:
        grad: Tensor[K, rows, columns, C], float32 or float64, contiguous.
        argmax: as `pool` returned it.
        rois: Tensor[K, 5]; only the batch index is read.
        images: N.
        height: of the map.
        width: of the map.
        spatial_scale: for the GPU, which looks from each cell for the bins that contain it; not needed here.

    Returns:
        Tensor[N, H, W, C].
    """
    channels = grad.shape[3]
    result = empty((images, height, width, channels), grad.dtype)
    maps = result.view(images, height * width, channels).numpy()
    grads, where, index = grad.numpy(), argmax.numpy(), rois[:, 0].int().numpy()
    # One cell more, for outputs that have no maximum.
    shares, slabs = _slabs(channels, VECTOR_BYTES // grad.dtype.itemsize, height * width + 1, grad.dtype)

    def add_slab(worker: int, image: int, members: np.ndarray, begin: int, end: int) -> None:
        cpu_kernels.add_slab(slabs[worker].reshape(-1), grads, where, members, begin, end, maps[image])

    run(add_slab, [(i, m, *share) for i, m in enumerate(_members(index, images)) for share in shares])
    return result


def _slabs(channels: int, lanes: int, cells: int, dtype: torch.dtype) -> tuple[list[tuple[int, int]], np.ndarray]:
    """How the channels are shared out, [(begin, end), ...], and a slab for each thread: [threads, cells, channels]."""
    threads = torch.get_num_threads()
    pair = 2 * lanes
    widest = min(_SLAB_CELL_BYTES, _SLABS_BYTES // (threads * max(cells, 1))) // dtype.itemsize // pair * pair
    pairs = max(-(-channels // pair), 1)
    count = -(-channels // max(widest, pair))
    count = max(min(-(-count // threads) * threads, pairs), 1)
    bounds = [min(pairs * i // count * pair, channels) for i in range(count + 1)]
    shares = list(pairwise(bounds))
    width = max(-(-(end - begin) // lanes) * lanes for begin, end in shares)
    return shares, empty((threads, cells, width), dtype).numpy()


def _members(index: np.ndarray, images: int) -> list[np.ndarray]:
    """Which RoIs each image has."""
    if images == 1:
        return [np.arange(len(index))]
    return [np.flatnonzero(index == image) for image in range(images)]


def _comparable(input: Tensor) -> tuple[Tensor, np.generic]:
    """The map's bits as integers, and the value that a maximum starts from: the lowest, as in torchvision.

    Float16 and bfloat16 become keys, int16 of the same order: neither numba nor most processors compare them.
    """
    input = input.detach()
    bits = input.view(_BITS[input.dtype.itemsize])
    if input.dtype.itemsize > 2:
        return bits, (np.float32 if input.dtype == torch.float32 else np.float64)(torch.finfo(input.dtype).min)
    largest, infinity = (
        torch.tensor(v, dtype=input.dtype).view(torch.int16).item() for v in (torch.finfo(input.dtype).max, torch.inf)
    )
    keys = _keys(bits)
    keys[(keys > infinity) | (keys < ~infinity)] = ~largest  # a NaN is never the larger
    keys[keys == -1] = 0  # -0 equals 0
    return keys, np.int16(~largest)


def _keys(bits: Tensor) -> Tensor:
    """Sign and magnitude -> two's complement: a float's bits, as an integer of the float's order."""
    return bits ^ ((bits >> 15) & 0x7FFF)
