"""A neck: from a backbone's maps at strides 8, 16 and 32 to the one map that RoIs are pooled from, at stride 8.

A network cut at stride 16 either loses its last stages or runs them dilated, which costs most of the time of a pass.
Here they run at their own stride, as ImageNet taught them, and what they know is carried back up to finer maps (the
top-down pathway of feature pyramids: Lin et al., CVPR 2017, section 3; one level only). Cells of 8 pixels instead of 16
halve the rounding of RoI pooling.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class LayerNorm2d(nn.LayerNorm):
    """Layer norm over the channels of each cell: padding and neighbours do not matter."""

    def forward(self, x: Tensor) -> Tensor:
        """Tensor[N, C, H, W] -> the same shape."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class TopDownNeck(nn.Module):
    """Maps of falling resolution -> one of the resolution of the first.

    Every map is brought to `channels` by a 1 x 1 convolution and normalised cell by cell, as their scales differ by
    several times; the coarsest is doubled in size and added to the next finer one, and so on; a depthwise 3 x 3 and a
    1 x 1 convolution mix the sum.

    Args:
        in_channels: of the maps, finest first.
        channels: of the result.
    """

    def __init__(self, in_channels: Sequence[int], channels: int) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(count, channels, 1) for count in in_channels)
        self.norm = nn.ModuleList(LayerNorm2d(channels) for _ in in_channels)
        self.spatial = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.mix = nn.Conv2d(channels, channels, 1)
        for conv in (*self.lateral, self.mix):
            nn.init.kaiming_normal_(conv.weight, nonlinearity="linear")
            nn.init.zeros_(conv.bias)
        with torch.no_grad():  # the sum passes unchanged at first
            self.spatial.weight.zero_()
            self.spatial.weight[:, :, 1, 1] = 1
            self.spatial.bias.zero_()

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Tensor[N, in_channels[i], H_i, W_i] with H_(i+1) = ceil(H_i / 2) -> Tensor[N, channels, H_0, W_0], >= 0."""
        levels = [norm(lateral(level)) for lateral, norm, level in zip(self.lateral, self.norm, maps, strict=True)]
        merged = levels.pop()
        while levels:
            finer = levels.pop()
            height, width = finer.shape[-2:]
            merged = finer + F.interpolate(merged, scale_factor=2.0)[..., :height, :width]
        return F.relu(self.mix(self.spatial(merged)))
