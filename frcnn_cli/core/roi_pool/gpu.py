"""RoI pooling on a GPU, in Triton.

Forward, a program pools one bin for a block of channels. Backward, a program gathers for one cell what all bins that
contain it send there, RoI by RoI: no atomic additions, so the same bits on every run, and the CPU's.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from frcnn_cli.core.roi_pool.geometry import bin_edges

_BLOCK = 128
"""Channels a program works on."""

_PRECISION = {torch.float64: tl.float64}
"""What is computed in; float32 for all other types, which holds their values exactly."""


def pool(
    input: Tensor, rois: Tensor, rows: int, columns: int, spatial_scale: float, argmax_type: torch.dtype | None
) -> tuple[Tensor, Tensor | None]:
    """As `cpu.pool`."""
    images, channels, height, width = input.shape
    precision = torch.float64 if input.dtype == torch.float64 else torch.float32
    index, ys, xs = bin_edges(rois.to(precision), rows, columns, images, height, width, spatial_scale)
    shape = (len(rois), rows, columns, channels)
    output = input.new_empty(shape)
    argmax = None if argmax_type is None else input.new_empty(shape, dtype=argmax_type)
    if output.numel():
        # Channels side by side, as the programs read them; free where the network runs channels-last.
        cells = input.detach().contiguous(memory_format=torch.channels_last).permute(0, 2, 3, 1)
        _pool[(len(rois) * rows * columns, triton.cdiv(channels, _BLOCK))](
            cells, index, ys, xs, output, output if argmax is None else argmax,
            torch.finfo(input.dtype).min, rows, columns, channels, height, width,
            PRECISION=_PRECISION.get(input.dtype, tl.float32), TRACK=argmax is not None, BLOCK=_BLOCK,
        )  # fmt: skip
    return output, argmax


def backward(
    grad: Tensor, argmax: Tensor, rois: Tensor, images: int, height: int, width: int, spatial_scale: float
) -> Tensor:
    """As `cpu.backward`."""
    _, rows, columns, channels = grad.shape
    result = grad.new_empty((images, height, width, channels))
    if result.numel():
        index, ys, xs = bin_edges(rois.to(grad.dtype), rows, columns, images, height, width, spatial_scale)
        # The RoIs image by image, in their order, and where each image's begin.
        index, order = torch.sort(index, stable=True)
        begin = torch.searchsorted(index, torch.arange(images + 1, dtype=index.dtype, device=index.device))
        _gather[(images * height * width, triton.cdiv(channels, _BLOCK))](
            grad, argmax, order, begin, ys, xs, result, rows, columns, channels, height, width,
            PRECISION=_PRECISION.get(grad.dtype, tl.float32), BLOCK=_BLOCK,
        )  # fmt: skip
    return result


@triton.jit
def _pool(
    cells, index, ys, xs, output, argmax, lowest, rows, columns, channels, height, width,
    PRECISION: tl.constexpr, TRACK: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    bin_ = tl.program_id(0).to(tl.int64)
    roi = bin_ // (rows * columns)
    row = bin_ // columns % rows
    column = bin_ % columns
    y1 = tl.load(ys + (roi * rows + row) * 2)
    y2 = tl.load(ys + (roi * rows + row) * 2 + 1)
    x1 = tl.load(xs + (roi * columns + column) * 2)
    x2 = tl.load(xs + (roi * columns + column) * 2 + 1)
    image = tl.load(index + roi).to(tl.int64)
    channel = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = channel < channels

    empty = (y1 >= y2) | (x1 >= x2)
    best = tl.full([BLOCK], lowest, PRECISION)
    place = tl.full([BLOCK], -1, tl.int32)
    for y in range(y1, y2):
        for x in range(x1, x2):
            cell = y * width + x
            at = (image * height * width + cell) * channels
            value = tl.load(cells + at + channel, mask=inside, other=0).to(PRECISION)
            larger = value > best
            best = tl.where(larger, value, best)
            place = tl.where(larger, cell, place)
    best = tl.where(empty, 0, best)
    tl.store(output + bin_ * channels + channel, best, mask=inside)
    if TRACK:
        tl.store(argmax + bin_ * channels + channel, place, mask=inside)


@triton.jit
def _gather(
    grad, argmax, order, begin, ys, xs, result, rows, columns, channels, height, width,
    PRECISION: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    cell = tl.program_id(0).to(tl.int64)
    image = cell // (height * width)
    y = cell // width % height
    x = cell % width
    here = (y * width + x).to(tl.int32)
    channel = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = channel < channels

    total = tl.zeros([BLOCK], PRECISION)
    for k in range(tl.load(begin + image), tl.load(begin + image + 1)):
        roi = tl.load(order + k)
        # The first bin's first cell, and the one behind the last bin's last, of all that lie on the map.
        top = tl.load(ys + roi * rows * 2)
        bottom = tl.load(ys + (roi * rows + rows - 1) * 2 + 1)
        left = tl.load(xs + roi * columns * 2)
        right = tl.load(xs + (roi * columns + columns - 1) * 2 + 1)
        if (y >= top) & (y < bottom) & (x >= left) & (x < right):
            for row in range(rows):
                y1 = tl.load(ys + (roi * rows + row) * 2)
                y2 = tl.load(ys + (roi * rows + row) * 2 + 1)
                if (y >= y1) & (y < y2):
                    for column in range(columns):
                        x1 = tl.load(xs + (roi * columns + column) * 2)
                        x2 = tl.load(xs + (roi * columns + column) * 2 + 1)
                        if (x >= x1) & (x < x2):
                            at = ((roi * rows + row) * columns + column) * channels + channel
                            place = tl.load(argmax + at, mask=inside, other=-1)
                            value = tl.load(grad + at, mask=inside, other=0)
                            total += tl.where(place == here, value, 0)
    tl.store(result + cell * channels + channel, total, mask=inside)
