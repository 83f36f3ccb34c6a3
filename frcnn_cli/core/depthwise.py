"""Depthwise convolution that learns quickly on a CPU.

At one thread, torch's kernel for the gradient of a depthwise weight is fast for 3 x 3 and six to twelve times as slow
as need be for every other size, a tenth of a step of EfficientNet-Lite0. In bfloat16 all its depthwise gradients are
slow, and a step takes many times as long as in float32 (``scripts/bench_training.py``). Here that gradient is a loop
over the taps whose innermost index is the channel, as the maps lie in memory; all else is torch's.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from frcnn_cli.core.roi_pool.compiled import compiled
from frcnn_cli.core.roi_pool.threads import run

_FAST = (3, 3)
"""The window whose gradient torch's own kernel computes well, in float32."""

_LINE = 16
"""Channels of float32 in a line of the cache: two threads that write to one line wait for each other."""


def depthwise_conv2d(
    input: Tensor, weight: Tensor, bias: Tensor, stride: tuple[int, int], padding: tuple[int, int]
) -> Tensor:
    """Convolve each channel with its own window: ``F.conv2d`` with as many groups as channels.

    Args:
        input: Tensor[N, C, H, W]; channels-last is fastest.
        weight: Tensor[C, 1, k, k'].
        bias: Tensor[C].
        stride: cells, (down, right).
        padding: cells of zeros, (above and below, left and right).

    Returns:
        Tensor[N, C, H', W'].
    """
    torch_is_slow = tuple(weight.shape[2:]) != _FAST or torch.is_autocast_enabled("cpu")
    learns = torch.is_grad_enabled() and weight.requires_grad
    if learns and torch_is_slow and input.device.type == "cpu" and input.dtype != torch.float64:
        return _Depthwise.apply(input, weight, bias, stride, padding)
    return F.conv2d(input, weight, bias, stride, padding, groups=len(weight))


class _Depthwise(torch.autograd.Function):
    """The same, in float32 whatever precision autocast asks for, with our gradient of the weight."""

    @staticmethod
    @torch.amp.custom_fwd(device_type="cpu", cast_inputs=torch.float32)
    def forward(ctx, input, weight, bias, stride, padding):
        ctx.save_for_backward(input, weight)
        ctx.stride, ctx.padding = stride, padding
        return F.conv2d(input, weight, bias, stride, padding, groups=len(weight))

    @staticmethod
    @torch.amp.custom_bwd(device_type="cpu")
    def backward(ctx, grad):
        input, weight = ctx.saved_tensors
        size, channels = tuple(weight.shape[2:]), len(weight)
        geometry = (list(ctx.stride), list(ctx.padding), [1, 1], False, [0, 0], channels)
        wanted = [ctx.needs_input_grad[0], size == _FAST, False]
        of_input, of_weight, _ = torch.ops.aten.convolution_backward(grad, input, weight, None, *geometry, wanted)
        if size != _FAST:
            of_weight = weight_gradient(input, grad, size, ctx.stride, ctx.padding)
        return of_input, of_weight, grad.sum((0, 2, 3)), None, None


def weight_gradient(
    input: Tensor, grad: Tensor, size: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int]
) -> Tensor:
    """dL/dw[c, i, j] = sum over n, y, x of grad[n, c, y, x] input[n, c, y s - p + i, x s - p + j], zero outside.

    The sums have one order, so the bits do not depend on the number of threads.

    Args:
        input: Tensor[N, C, H, W] of float32 on a CPU.
        grad: Tensor[N, C, H', W'], the same.
        size: k and k', of the weight.
        stride: as of the convolution.
        padding: likewise.

    Returns:
        Tensor[C, 1, k, k'].
    """
    cells, grads = (_by_cell(tensor) for tensor in (input, grad))
    channels = cells.shape[3]
    sums = np.zeros((*size, channels), np.float32)

    def add(_: int, begin: int, end: int) -> None:
        _add_taps(cells, grads, *stride, *padding, begin, end, sums)

    share = _LINE * math.ceil(channels / (_LINE * torch.get_num_threads()))
    run(add, [(begin, min(begin + share, channels)) for begin in range(0, channels, share)])
    return torch.from_numpy(sums).permute(2, 0, 1)[:, None]


def _by_cell(tensor: Tensor) -> np.ndarray:
    return tensor.detach().permute(0, 2, 3, 1).contiguous().numpy()


@compiled
def _add_taps(cells, grads, down, right, above, left, begin, end, sums):
    images, height, width = cells.shape[:3]
    for n in range(images):
        for y in range(grads.shape[1]):
            for i in range(sums.shape[0]):
                row = y * down - above + i
                if row < 0 or row >= height:
                    continue
                for x in range(grads.shape[2]):
                    for j in range(sums.shape[1]):
                        column = x * right - left + j
                        if 0 <= column < width:
                            for c in range(np.uint64(begin), np.uint64(end)):  # unsigned: vectors need no check
                                sums[i, j, c] += cells[n, row, column, c] * grads[n, y, x, c]
