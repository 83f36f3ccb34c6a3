"""RoI pooling as a function and as a layer of torch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.overrides import handle_torch_function, has_torch_function

from frcnn_cli.core.roi_pool import operator


def roi_pool(
    input: Tensor, boxes: Tensor | Sequence[Tensor], output_size: int | tuple[int, int], spatial_scale: float = 1.0
) -> Tensor:
    """Pool every RoI to the same size, with the signature and meaning of torchvision.ops.roi_pool.

    RoIs that cover the same cells are not sought here: `FastRCNN.score` does it before, and saves their fully connected
    layers as well.

    Args:
        input: Tensor[N, C, H, W], floating point. Channels-last is fastest, any memory format works.
        boxes: Tensor[K, 5], each (batch index, x1, y1, x2, y2), or a list of N Tensor[L, 4].
        output_size: P, or (rows, columns).
        spatial_scale: feature cells a pixel, such as 1/16.

    Returns:
        Tensor[K, C, P, P] of the input's type, channels-last in memory: ``permute(0, 2, 3, 1).flatten(1)``, what the
        first fully connected layer reads, copies nothing. -0 counts as 0; half precision gives 0 for it.

    Raises:
        TypeError: input or boxes are not floating point.
        ValueError: wrong shapes, a batch index that is not one of 0 .. N - 1, a coordinate that is not finite, or
            input and boxes on two devices.
    """
    parts = (input, *boxes) if isinstance(boxes, (list, tuple)) else (input, boxes)
    if has_torch_function(parts):
        # torch.fx traces with stand-ins that have no shape; a subclass of Tensor may have its own way to pool.
        return handle_torch_function(roi_pool, parts, input, boxes, output_size, spatial_scale)
    rows, columns = (output_size, output_size) if isinstance(output_size, int) else output_size
    if rows < 1 or columns < 1:
        raise ValueError(f"output_size must be at least 1, got {rows} x {columns}")
    if input.ndim != 4:
        raise ValueError(f"input must be Tensor[N, C, H, W], got {list(input.shape)}")
    rois = boxes if isinstance(boxes, Tensor) else _indexed(boxes, len(input))
    if not input.is_floating_point() or not rois.is_floating_point():
        raise TypeError(f"input and boxes must be floating point, got {input.dtype} and {rois.dtype}")
    if rois.ndim != 2 or rois.shape[1] != 5:
        raise ValueError(f"boxes must be Tensor[K, 5] or a list of Tensor[L, 4], got {list(rois.shape)}")
    if rois.device != input.device:
        raise ValueError(f"input and boxes must be on the same device, got {input.device} and {rois.device}")
    rois = rois.detach()
    if torch.is_grad_enabled() and input.requires_grad:
        output, _ = operator.pool_argmax(input, rois, rows, columns, spatial_scale)
        return output
    return operator.pool(input, rois, rows, columns, spatial_scale)


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


def _indexed(boxes: Sequence[Tensor], images: int) -> Tensor:
    """A list of Tensor[L, 4] -> Tensor[K, 5]."""
    if len(boxes) != images:
        raise ValueError(f"boxes: {len(boxes)} in the list, for {images} images; give one Tensor[L, 4] an image")
    for i, b in enumerate(boxes):
        if b.ndim != 2 or b.shape[1] != 4:
            raise ValueError(f"boxes[{i}] must be Tensor[L, 4], got {list(b.shape)}")
    return torch.cat([torch.cat((b.new_full((len(b), 1), i), b), dim=1) for i, b in enumerate(boxes)])
