"""RoI pooling's kernels for a CPU.

Where there are many RoIs, the maxima of a slab's 2 x 2 windows are computed first: a bin of 4 x 6 cells is then read as
2 x 3 of those.
"""

from __future__ import annotations

import numpy as np

from frcnn_cli.core.roi_pool.compiled import compiled
from frcnn_cli.core.roi_pool.instructions import VECTOR_BYTES, bin_maximum, prefetch

# Numba keeps compiled code until this file changes: touch it after a change of `instructions`.

_window_maximum = bin_maximum(1, decode=False)
_maximum_4, _maximum_1 = bin_maximum(4), bin_maximum(1)
_maximum_4_streamed, _maximum_1_streamed = bin_maximum(4, stream=True), bin_maximum(1, stream=True)
_argmax_8, _argmax_4, _argmax_1 = (bin_maximum(n, track=True) for n in (8, 4, 1))
_argmax_8_streamed, _argmax_4_streamed, _argmax_1_streamed = (
    bin_maximum(n, track=True, stream=True) for n in (8, 4, 1)
)


@compiled
def cells_of_bins(ys, xs, members):
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
def fill_from_cells(map_, begin, end, slab):
    """Copy channels of a map [H, W, C] to a slab [H * W or more, C]; say whether there is a negative zero (of uint8,
    whether there is a 0)."""
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
def fill_from_planes(map_, begin, end, slab):
    """The same for a map [C, H, W]."""
    _, height, width = map_.shape
    sign = np.iinfo(map_.dtype).min
    found = 0
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
def pool_slab(slab, height, width, begin, end, ys, xs, members, lowest, windows, stream, output):
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
def pool_slab_argmax(cells, first, width, begin, end, ys, xs, members, lowest, stream, output, argmax):
    """Pool channels of an image, which `cells` has from `first` on, and write which cell was each maximum."""
    _, rows, columns, channels = output.shape
    lanes = VECTOR_BYTES // output.itemsize
    full = -(-(end - begin) // lanes) * lanes
    # Eight at a time hide how long a comparison takes to become a choice of two.
    eights = first + full // (8 * lanes) * 8 * lanes
    fours = first + full // (4 * lanes) * 4 * lanes
    ones = first + full
    whole, places = np.empty(full, cells.dtype), np.empty(full, argmax.dtype)
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
                at = ((r * rows + i) * columns + j) * channels + begin - first
                if stream:
                    _argmax_8_streamed(lowest, cells, 0, first, eights, y1, y2, x1, x2, 1, width, output, at, argmax)
                    _argmax_4_streamed(lowest, cells, 0, eights, fours, y1, y2, x1, x2, 1, width, output, at, argmax)
                    _argmax_1_streamed(lowest, cells, 0, fours, ones, y1, y2, x1, x2, 1, width, output, at, argmax)
                elif full == end - begin:
                    _argmax_8(lowest, cells, 0, first, eights, y1, y2, x1, x2, 1, width, output, at, argmax)
                    _argmax_4(lowest, cells, 0, eights, fours, y1, y2, x1, x2, 1, width, output, at, argmax)
                    _argmax_1(lowest, cells, 0, fours, ones, y1, y2, x1, x2, 1, width, output, at, argmax)
                else:
                    _argmax_1(lowest, cells, 0, first, ones, y1, y2, x1, x2, 1, width, whole, -first, places)
                    for c in range(begin, end):
                        output[r, i, j, c] = whole[c - begin]
                        argmax[r, i, j, c] = places[c - begin]


@compiled
def add_slab(slab, grad, argmax, members, begin, end, output):
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
