"""RoI pooling as operators of torch: autograd, torch.compile and autocast know them, and each device has its kernels.

`frcnn::roi_pool` is for inference and keeps nothing; `frcnn::roi_pool_argmax` also says where each maximum was, as
`frcnn::roi_pool_backward` needs to know. Outputs are channels-last.
"""

from functools import partial

import torch
from torch import Tensor
from torch.library import custom_op

from frcnn_cli.core.roi_pool import cpu

# No `from __future__ import annotations` here: torch reads the operators' schemas from the annotations.


@custom_op("frcnn::roi_pool", mutates_args=())
def pool(input: Tensor, rois: Tensor, rows: int, columns: int, spatial_scale: float) -> Tensor:
    """Tensor[N, C, H, W] and Tensor[K, 5] -> Tensor[K, C, rows, columns]."""
    return _pool(_gpu(input), input, rois, rows, columns, spatial_scale)


@custom_op("frcnn::roi_pool_argmax", mutates_args=())
def pool_argmax(input: Tensor, rois: Tensor, rows: int, columns: int, spatial_scale: float) -> tuple[Tensor, Tensor]:
    """The same, and for each output the cell y * W + x that was the maximum; -1 if none was."""
    return _pool_argmax(_gpu(input), input, rois, rows, columns, spatial_scale)


@custom_op("frcnn::roi_pool_backward", mutates_args=())
def pool_backward(
    grad: Tensor, argmax: Tensor, rois: Tensor, images: int, height: int, width: int, spatial_scale: float
) -> Tensor:
    """Gradient of the outputs -> gradient of the map, Tensor[N, C, H, W]. Half precision is added up in float32."""
    return _backward(_gpu(grad), grad, argmax, rois, images, height, width, spatial_scale)


def _pool(kernels, input, rois, rows, columns, spatial_scale):
    output, _ = kernels.pool(input, rois, rows, columns, spatial_scale, None)
    return output.permute(0, 3, 1, 2)


def _pool_argmax(kernels, input, rois, rows, columns, spatial_scale):
    output, argmax = kernels.pool(input, rois, rows, columns, spatial_scale, _argmax_type(input))
    return output.permute(0, 3, 1, 2), argmax.permute(0, 3, 1, 2)


def _backward(kernels, grad, argmax, rois, *map_and_scale):
    precision = torch.float64 if grad.dtype == torch.float64 else torch.float32
    grad_by_cell = grad.to(precision).permute(0, 2, 3, 1).contiguous()
    argmax_by_cell = argmax.permute(0, 2, 3, 1).contiguous()
    result = kernels.backward(grad_by_cell, argmax_by_cell, rois, *map_and_scale)
    return result.to(grad.dtype).permute(0, 3, 1, 2)


# On a CPU past custom_op's own dispatch, whose first call imports torch._dynamo: longer than a photograph takes.
_library = torch.library.Library("frcnn", "FRAGMENT")
_library.impl("roi_pool", partial(_pool, cpu), "CPU")
_library.impl("roi_pool_argmax", partial(_pool_argmax, cpu), "CPU")
_library.impl("roi_pool_backward", partial(_backward, cpu), "CPU")


def _gpu(tensor: Tensor):
    if not tensor.is_cuda:
        raise NotImplementedError(f"RoI pooling runs on a CPU and on CUDA, not on {tensor.device.type}")
    from frcnn_cli.core.roi_pool import gpu  # Triton is there where CUDA is

    return gpu


def _argmax_type(input: Tensor) -> torch.dtype:
    """The smallest that holds every cell's number. It may depend on shapes alone: torch.compile does not see values."""
    return torch.int16 if input.shape[2] * input.shape[3] <= torch.iinfo(torch.int16).max else torch.int32


# --- what torch.compile traces instead of running a kernel


@pool.register_fake
def _(input, rois, rows, columns, spatial_scale):
    return input.new_empty((rois.shape[0], rows, columns, input.shape[1])).permute(0, 3, 1, 2)


@pool_argmax.register_fake
def _(input, rois, rows, columns, spatial_scale):
    output = input.new_empty((rois.shape[0], rows, columns, input.shape[1]))
    argmax = torch.empty_like(output, dtype=_argmax_type(input))
    return output.permute(0, 3, 1, 2), argmax.permute(0, 3, 1, 2)


@pool_backward.register_fake
def _(grad, argmax, rois, images, height, width, spatial_scale):
    return grad.new_empty((images, height, width, grad.shape[1])).permute(0, 3, 1, 2)


# --- gradients


def _keep_for_backward(ctx, inputs, output):
    input, rois, _, _, spatial_scale = inputs
    ctx.save_for_backward(output[1], rois)
    ctx.set_materialize_grads(False)  # else torch makes a gradient of the argmax: zeros, as large as itself
    ctx.map = input.shape[0], input.shape[2], input.shape[3], spatial_scale


def _autograd(ctx, grad, _):
    argmax, rois = ctx.saved_tensors
    grad_input = None if grad is None else pool_backward(grad, argmax, rois, *ctx.map)
    return grad_input, None, None, None, None


pool_argmax.register_autograd(_autograd, setup_context=_keep_for_backward)


def _keep_for_second_backward(ctx, inputs, output):
    _, argmax, rois, *_ = inputs
    ctx.save_for_backward(argmax, rois)


def _second_autograd(ctx, grad):
    """The backward pass is linear: each output's gradient went to one cell, so it gets that cell's back."""
    argmax, rois = ctx.saved_tensors
    cells = argmax.flatten(2).long()
    picked = grad.flatten(2)[rois[:, 0].long()].gather(2, cells.clamp(min=0)) * (cells >= 0)
    return picked.view(argmax.shape), *(None,) * 6


pool_backward.register_autograd(_second_autograd, setup_context=_keep_for_second_backward)
