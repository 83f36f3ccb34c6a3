"""RoI max pooling and its gradient (paper, sections 2.1 and 2.3).

Each RoI, a window of the feature map, is divided into P x P bins, and each bin answers with its largest value, channel
by channel. The bins cover any window, so RoIs of every size give the same number of features. Going back, an output's
gradient goes to the one input cell that was the maximum (the first in row-major order if several are equal), and a cell
adds up what it gets from every RoI and bin (equation 4).

The arithmetic is that of the paper's code and of ``torchvision.ops.roi_pool``: corners are rounded half away from zero
to cells, the end is inclusive, bin sizes are float32 (float64 for a float64 map), bins overlap by up to a cell, and a
bin off the map is 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
import torchvision
from numba import njit
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


def roi_pool(
    input: Tensor, boxes: Tensor | Sequence[Tensor], output_size: int | tuple[int, int], spatial_scale: float = 1.0
) -> Tensor:
    """Pool every RoI to the same size, with torchvision.ops.roi_pool's signature and meaning.

    On a CPU this is our own kernel, which reads and writes channels-last; on CUDA it is torchvision's.

    Args:
        input: Tensor[N, C, H, W], floating point.
        boxes: Tensor[K, 5], each (batch index, x1, y1, x2, y2), or a list of N Tensor[L, 4].
        output_size: P, or (rows, columns).
        spatial_scale: feature cells a pixel, such as 1/16.

    Returns:
        Tensor[K, C, P, P], channels-last in memory on a CPU.

    Raises:
        TypeError: input or boxes are not floating point.
        ValueError: wrong shapes, a batch index that is not one of 0 .. N - 1, a coordinate that is not finite.
    """
    rois = _as_rois(boxes)
    rows, columns = (output_size, output_size) if isinstance(output_size, int) else output_size
    _check(input, rois, rows, columns)
    if not input.is_cpu:
        return torchvision.ops.roi_pool(input, rois.to(input.dtype), (rows, columns), spatial_scale)
    return _RoIPool.apply(input, rois, rows, columns, spatial_scale)


class RoIPool(nn.Module):
    """`roi_pool` as a layer."""

    def __init__(self, output_size: int | tuple[int, int], spatial_scale: float) -> None:
        super().__init__()
        self.output_size = output_size
        self.spatial_scale = spatial_scale

    def forward(self, input: Tensor, boxes: Tensor | Sequence[Tensor]) -> Tensor:
        """See `roi_pool`."""
        return roi_pool(input, boxes, self.output_size, self.spatial_scale)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}, spatial_scale={self.spatial_scale}"


def _as_rois(boxes: Tensor | Sequence[Tensor]) -> Tensor:
    if isinstance(boxes, Tensor):
        return boxes
    if not boxes:
        raise ValueError("boxes: an empty list; give one Tensor[L, 4] an image")
    for i, b in enumerate(boxes):
        if b.ndim != 2 or b.shape[1] != 4:
            raise ValueError(f"boxes[{i}] must be Tensor[L, 4], got {list(b.shape)}")
    return torch.cat([torch.cat((b.new_full((len(b), 1), i), b), dim=1) for i, b in enumerate(boxes)])


def _check(input: Tensor, rois: Tensor, rows: int, columns: int) -> None:
    if not input.is_floating_point() or not rois.is_floating_point():
        raise TypeError(f"input and boxes must be floating point, got {input.dtype} and {rois.dtype}")
    if input.ndim != 4:
        raise ValueError(f"input must be Tensor[N, C, H, W], got {list(input.shape)}")
    if rois.ndim != 2 or rois.shape[1] != 5:
        raise ValueError(f"boxes must be Tensor[K, 5] or a list of Tensor[L, 4], got {list(rois.shape)}")
    if rois.device != input.device:
        raise ValueError(f"input and boxes must be on the same device, got {input.device} and {rois.device}")
    if rows < 1 or columns < 1:
        raise ValueError(f"output_size must be at least 1, got {rows} x {columns}")
    if len(rois) == 0:
        return
    if not bool(torch.isfinite(rois).all()):
        raise ValueError("boxes hold a coordinate that is not finite")
    index = rois[:, 0]
    if bool(((index < 0) | (index >= len(input)) | (index != index.floor())).any()):
        raise ValueError(f"boxes hold a batch index that is not one of 0 .. {len(input) - 1}")


class _RoIPool(torch.autograd.Function):
    @staticmethod
    def forward(ctx, input, rois, rows, columns, spatial_scale):
        # The kernels know float32 and float64; a maximum of half-precision values is exact in float32.
        work = input.dtype if input.dtype in (torch.float32, torch.float64) else torch.float32
        features = input.detach().to(work).permute(0, 2, 3, 1).contiguous()
        windows = _windows(rois.detach().to(work), spatial_scale)
        shape = (len(rois), rows, columns, input.shape[1])
        output = torch.empty(shape, dtype=work)
        keep = input.requires_grad
        argmax = torch.empty(shape if keep else (0, 0, 0, 0), dtype=torch.int32)
        arrays = (features.numpy(), windows, output.numpy(), argmax.numpy(), keep)
        _in_threads(_forward_kernel, arrays, len(rois))
        if keep:
            ctx.save_for_backward(argmax)
            ctx.windows = windows
            ctx.input_shape = input.shape
        return output.to(input.dtype).permute(0, 3, 1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_output):
        (argmax,) = ctx.saved_tensors
        n, c, h, w = ctx.input_shape
        work = grad_output.dtype if grad_output.dtype in (torch.float32, torch.float64) else torch.float32
        grad = grad_output.to(work).permute(0, 2, 3, 1).contiguous()
        grad_input = torch.zeros((n, h, w, c), dtype=work)
        arrays = (grad.numpy(), ctx.windows, argmax.numpy(), grad_input.view(n, h * w, c).numpy())
        # Threads share out the channels, not the RoIs: every cell's sum has one order, and the same bits every time.
        _in_threads(_backward_kernel, arrays, c)
        return grad_input.to(grad_output.dtype).permute(0, 3, 1, 2), None, None, None, None


def _windows(rois: Tensor, spatial_scale: float) -> np.ndarray:
    """int64 [K, 5]: batch index and the RoI's cells x1, y1, x2, y2, ends inclusive."""
    scaled = rois[:, 1:] * torch.tensor(spatial_scale, dtype=rois.dtype)
    # C's round() breaks ties away from zero; torch.round would break them to even.
    whole = scaled.trunc()
    cells = whole + torch.sign(scaled) * ((scaled - whole).abs() >= 0.5)
    return torch.cat((rois[:, :1].double(), cells.double().clamp(-(2**30), 2**30)), dim=1).long().numpy()


def _in_threads(kernel: Callable[..., None], arrays: tuple, count: int) -> None:
    """Run kernel(*arrays, begin, end) over 0 .. count in as many parts as torch has threads."""
    parts = min(torch.get_num_threads(), count)
    if parts <= 1:
        kernel(*arrays, 0, count)
        return
    bounds = [count * i // parts for i in range(parts + 1)]
    with ThreadPoolExecutor(parts) as pool:
        list(pool.map(lambda begin, end: kernel(*arrays, begin, end), bounds[:-1], bounds[1:]))


@njit(cache=True, nogil=True)
def _bin_edges(start, end, bins, limit, real):
    """First cell of each bin and the one behind its last, cut to a map of `limit` cells: int64 [bins, 2]."""
    size = real(max(end - start + 1, 1)) / real(bins)
    edges = np.empty((bins, 2), np.int64)
    for p in range(bins):
        first = int(np.floor(real(p) * size)) + start
        behind = int(np.ceil(real(p + 1) * size)) + start
        edges[p, 0] = min(max(first, 0), limit)
        edges[p, 1] = min(max(behind, 0), limit)
    return edges


@njit(cache=True, nogil=True)
def _forward_kernel(features, windows, output, argmax, keep_argmax, begin, end):
    _, height, width, channels = features.shape
    _, rows, columns, _ = output.shape
    real = features.dtype.type  # torchvision too computes the bins in the type of the map
    for r in range(begin, end):
        image = features[windows[r, 0]]
        xs = _bin_edges(windows[r, 1], windows[r, 3], columns, width, real)
        ys = _bin_edges(windows[r, 2], windows[r, 4], rows, height, real)
        for row in range(rows):
            for column in range(columns):
                best = output[r, row, column]
                y1, y2, x1, x2 = ys[row, 0], ys[row, 1], xs[column, 0], xs[column, 1]
                if y1 >= y2 or x1 >= x2:
                    best[:] = 0
                    if keep_argmax:
                        argmax[r, row, column] = -1
                    continue
                best[:] = -np.inf
                if keep_argmax:
                    where = argmax[r, row, column]
                    where[:] = y1 * width + x1
                    for y in range(y1, y2):
                        for x in range(x1, x2):
                            cell = image[y, x]
                            here = np.int32(y * width + x)
                            for c in range(channels):
                                larger = cell[c] > best[c]
                                best[c] = cell[c] if larger else best[c]
                                where[c] = here if larger else where[c]
                else:
                    for y in range(y1, y2):
                        for x in range(x1, x2):
                            cell = image[y, x]
                            for c in range(channels):
                                best[c] = cell[c] if cell[c] > best[c] else best[c]


@njit(cache=True, nogil=True)
def _backward_kernel(grad, windows, argmax, grad_input, begin, end):
    count, rows, columns, _ = grad.shape
    for r in range(count):
        image = grad_input[windows[r, 0]]
        for row in range(rows):
            for column in range(columns):
                for c in range(begin, end):
                    cell = argmax[r, row, column, c]
                    if cell >= 0:
                        image[cell, c] += grad[r, row, column, c]
