"""RoI pooling on a CPU.

The work is shared out by channels. A slab, some channels of one image laid out cell by cell, is small enough to stay in
the cache of a core while all RoIs are pooled from it. No two threads write to one place, so backwards, where a cell adds
up over RoIs, the additions have one order: the same bits for any number of threads.

Where there are many RoIs, the maxima of the slab's 2 x 2 windows are computed first. A bin of 4 x 6 cells is then read as
2 x 3 of those.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from frcnn_cli.core.roi_pool.compiled import compiled
from frcnn_cli.core.roi_pool.geometry import bin_edges_on_cpu
from frcnn_cli.core.roi_pool.instructions import VECTOR_BYTES, bin_maximum, prefetch
from frcnn_cli.core.roi_pool.memory import empty
from frcnn_cli.core.roi_pool.threads import run

_SLABS_BYTES = 2**22
"""Working memory of all threads together."""

_SLAB_CELL_BYTES = 512
"""Channels of a cell in a slab: at most 128 of float32."""

_STREAM_BYTES = 2**20
"""Outputs from this size on are written past the cache."""

_WINDOWS_PAY = 6
"""Maxima of 2 x 2 windows are made if the bins have this many times as many cells as the map."""

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
    stream = out.nbytes >= _STREAM_BYTES and channels % lanes == 0 and output.data_ptr() % VECTOR_BYTES == 0
    by_cell = bits.permute(0, 2, 3, 1)
    fill = _fill_from_cells if by_cell.is_contiguous() else _fill_from_planes
    maps = (by_cell if by_cell.is_contiguous() else bits.contiguous()).numpy()

    def pool_slab(worker: int, image: int, members: np.ndarray, windows: bool, begin: int, end: int) -> None:
        slab = slabs[worker]
        negative_zero = fill(maps[image], begin, end, slab)
        if where is None:
            # Of 0 and -0 the first is the answer, and windows have another order.
            arguments = (windows and not negative_zero, stream, out)
            _pool_slab(slab, height, width, begin, end, ys, xs, members, lowest, *arguments)
        else:
            _pool_slab_argmax(slab, width, begin, end, ys, xs, members, lowest, stream, out, where)

    tasks = []
    for image, members in enumerate(_members(index, images)):
        windows = argmax is None and _cells(ys, xs, members) > _WINDOWS_PAY * height * width
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
        _add_slab(slabs[worker].reshape(-1), grads, where, members, begin, end, maps[image])

    run(add_slab, [(i, m, *share) for i, m in enumerate(_members(index, images)) for share in shares])
    return result


def _slabs(channels: int, lanes: int, cells: int, dtype: torch.dtype) -> tuple[list[tuple[int, int]], np.ndarray]:
    """How the channels are shared out, [(begin, end), ...], and a slab for each thread: [threads, cells, channels]."""
    threads = torch.get_num_threads()
    pair = 2 * lanes
    widest = min(_SLAB_CELL_BYTES, _SLABS_BYTES // (threads * cells)) // dtype.itemsize // pair * pair
    pairs = -(-channels // pair)
    count = -(-channels // max(widest, pair))
    count = min(-(-count // threads) * threads, pairs)
    bounds = [min(pairs * i // count * pair, channels) for i in range(count + 1)]
    shares = list(zip(bounds[:-1], bounds[1:], strict=True))
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


_window_maximum = bin_maximum(1, decode=False)
_maximum_4, _maximum_1 = bin_maximum(4), bin_maximum(1)
_maximum_4_streamed, _maximum_1_streamed = bin_maximum(4, stream=True), bin_maximum(1, stream=True)
_argmax_4, _argmax_1 = bin_maximum(4, track=True), bin_maximum(1, track=True)
_argmax_4_streamed, _argmax_1_streamed = (bin_maximum(n, track=True, stream=True) for n in (4, 1))


@compiled
def _cells(ys, xs, members):
    """Cells of these RoIs' bins together."""
    total = 0
    for r in members:
        height, width = 0, 0
        for i in range(ys.shape[1]):
            height += max(ys[r, i, 1] - ys[r, i, 0], 0)
        for j in range(xs.shape[1]):
            width += max(xs[r, j, 1] - xs[r, j, 0], 0)
        total += height * width
    return total


@compiled
def _fill_from_cells(map_, begin, end, slab):
    """Copy channels of a map [H, W, C] to a slab [H * W or more, C]; say whether there is a negative zero."""
    height, width, _ = map_.shape
    sign = np.iinfo(map_.dtype).min  # the bits of -0
    found = 0  # an integer: LLVM makes vectors of these, not of truth values
    for y in range(height):
        for x in range(width):
            source, target = map_[y, x, begin:end], slab[y * width + x]
            for c in range(end - begin):
                value = source[c]
                target[c] = value
                found |= value == sign
    return found


@compiled
def _fill_from_planes(map_, begin, end, slab):
    """The same for a map [C, H, W]."""
    _, height, width = map_.shape
    sign = np.iinfo(map_.dtype).min
    found = 0  # an integer: LLVM makes vectors of these, not of truth values
    for first in range(begin, end, 16):  # as many planes at a time as a cache line has channels
        for y in range(height):
            for x in range(width):
                target = slab[y * width + x]
                for c in range(first, min(first + 16, end)):
                    value = map_[c, y, x]
                    target[c - begin] = value
                    found |= value == sign
    return found


@compiled
def _pool_slab(slab, height, width, begin, end, ys, xs, members, lowest, windows, stream, output):
    """Pool the channels of a slab for all RoIs of its image."""
    _, rows, columns, channels = output.shape
    lanes = VECTOR_BYTES // output.itemsize
    full = -(-(end - begin) // lanes) * lanes
    fours = full // (4 * lanes) * 4 * lanes
    area = height * width
    if windows:
        for y in range(height - 1):
            for x in range(width - 1):
                at = (area + y * width + x) * slab.shape[1]
                _window_maximum(lowest, slab, 0, 0, full, y, y + 2, x, x + 2, 1, width, slab, at, slab)
    whole = np.empty(full, slab.dtype)  # where the last channels do not fill a vector
    for r in members:
        for i in range(rows):
            y1, y2 = ys[r, i, 0], ys[r, i, 1]
            for j in range(columns):
                x1, x2 = xs[r, j, 0], xs[r, j, 1]
                if y1 >= y2 or x1 >= x2:
                    for c in range(begin, end):
                        output[r, i, j, c] = 0
                    continue
                base, step = (area, 2) if windows and y2 - y1 > 1 and x2 - x1 > 1 else (0, 1)
                at = ((r * rows + i) * columns + j) * channels + begin
                if stream:
                    _maximum_4_streamed(lowest, slab, base, 0, fours, y1, y2, x1, x2, step, width, output, at, output)
                    _maximum_1_streamed(
                        lowest, slab, base, fours, full, y1, y2, x1, x2, step, width, output, at, output
                    )
                elif full == end - begin:
                    _maximum_4(lowest, slab, base, 0, fours, y1, y2, x1, x2, step, width, output, at, output)
                    _maximum_1(lowest, slab, base, fours, full, y1, y2, x1, x2, step, width, output, at, output)
                else:
                    _maximum_1(lowest, slab, base, 0, full, y1, y2, x1, x2, step, width, whole, 0, whole)
                    for c in range(begin, end):
                        output[r, i, j, c] = whole[c - begin]


@compiled
def _pool_slab_argmax(slab, width, begin, end, ys, xs, members, lowest, stream, output, argmax):
    """Pool the channels of a slab for all RoIs of its image, and write which cell was the maximum."""
    _, rows, columns, channels = output.shape
    lanes = VECTOR_BYTES // output.itemsize
    full = -(-(end - begin) // lanes) * lanes
    fours = full // (4 * lanes) * 4 * lanes
    whole, places = np.empty(full, slab.dtype), np.empty(full, argmax.dtype)
    for r in members:
        for i in range(rows):
            y1, y2 = ys[r, i, 0], ys[r, i, 1]
            for j in range(columns):
                x1, x2 = xs[r, j, 0], xs[r, j, 1]
                if y1 >= y2 or x1 >= x2:
                    for c in range(begin, end):
                        output[r, i, j, c] = 0
                        argmax[r, i, j, c] = -1
                    continue
                at = ((r * rows + i) * columns + j) * channels + begin
                if stream:
                    _argmax_4_streamed(lowest, slab, 0, 0, fours, y1, y2, x1, x2, 1, width, output, at, argmax)
                    _argmax_1_streamed(lowest, slab, 0, fours, full, y1, y2, x1, x2, 1, width, output, at, argmax)
                elif full == end - begin:
                    _argmax_4(lowest, slab, 0, 0, fours, y1, y2, x1, x2, 1, width, output, at, argmax)
                    _argmax_1(lowest, slab, 0, fours, full, y1, y2, x1, x2, 1, width, output, at, argmax)
                else:
                    _argmax_1(lowest, slab, 0, 0, full, y1, y2, x1, x2, 1, width, whole, 0, places)
                    for c in range(begin, end):
                        output[r, i, j, c] = whole[c - begin]
                        argmax[r, i, j, c] = places[c - begin]


@compiled
def _add_slab(slab, grad, argmax, members, begin, end, output):
    """Add the channels' gradients up in a slab, one cell after another with cell 0 for nowhere, and copy to the map."""
    _, rows, columns, channels = grad.shape
    width = end - begin
    line = VECTOR_BYTES // grad.itemsize
    for k in range((len(output) + 1) * width):
        slab[k] = 0
    for r in members:
        for i in range(rows):
            for j in range(columns):
                # The processor does not see by itself that after these channels the next bin's follow, 2 kB on.
                after_next = ((r * rows + i) * columns + j + 2) * channels + begin
                for c in range(0, width, line):
                    prefetch(grad, after_next + c)
                    prefetch(argmax, after_next + c)
                gradients, cells = grad[r, i, j, begin:end], argmax[r, i, j, begin:end]
                for c in range(width):
                    slab[np.uint64(cells[c] + 1) * np.uint64(width) + np.uint64(c)] += gradients[c]
    for cell in range(len(output)):
        target = output[cell, begin:end]
        for c in range(width):
            target[c] = slab[(cell + 1) * width + c]
