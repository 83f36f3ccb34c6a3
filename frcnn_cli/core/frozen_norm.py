"""Frozen batch norm as part of the convolution before it.

With stored statistics batch norm multiplies and shifts each channel by constants. So does a convolution whose weights
are multiplied and whose bias is set, and a whole pass over the map is saved, forwards and backwards. What is computed,
what learns and how the tensors are called stays the same.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from timm.layers.conv2d_same import Conv2dSame
from timm.layers.padding import pad_same
from torch import Tensor, nn
from torch.nn import functional as F

from frcnn_cli.core.depthwise import depthwise_conv2d


class AbsorbedNorm(nn.BatchNorm2d):
    """What is left of a batch norm (with timm's activation, if it has one) that its convolution computes.

    Its tensors are the norm's own: making new ones to copy into would be a third of the time a model takes to build.
    """

    def __init__(self, norm: nn.BatchNorm2d) -> None:
        super().__init__(norm.num_features, eps=norm.eps, affine=False, track_running_stats=False)
        self.affine = self.track_running_stats = True
        self.weight, self.bias = norm.weight, norm.bias
        self.running_mean, self.running_var = norm.running_mean, norm.running_var
        self.num_batches_tracked = norm.num_batches_tracked
        self.act = getattr(norm, "act", nn.Identity())

    def scale_and_shift(self) -> tuple[Tensor, Tensor]:
        """Tensor[channels] each: the norm is x * scale + shift."""
        scale = self.weight * torch.rsqrt(self.running_var + self.eps)
        return scale, self.bias - self.running_mean * scale

    def forward(self, x: Tensor) -> Tensor:
        return self.act(x)


class ScaledConv(nn.Module):
    """A convolution without a bias, times and plus what its batch norm says.

    Args:
        conv: its weight is kept, and its geometry.
        norm: read at every pass; its tensors stay listed under its own name.
    """

    def __init__(self, conv: nn.Conv2d, norm: AbsorbedNorm) -> None:
        super().__init__()
        self.weight = conv.weight
        self.conv = {name: getattr(conv, name) for name in ("stride", "padding", "dilation", "groups")}
        self.depthwise = conv.groups == conv.in_channels == conv.out_channels and conv.dilation == (1, 1)
        self.same = conv.kernel_size if isinstance(conv, Conv2dSame) else None
        self._norm = (norm,)  # in a tuple: no child of this module

    def scaled(self) -> tuple[Tensor, Tensor]:
        """Weight and bias of the convolution that does both."""
        scale, shift = self._norm[0].scale_and_shift()
        return self.weight * scale[:, None, None, None], shift

    def forward(self, x: Tensor) -> Tensor:
        if self.same:
            x = pad_same(x, self.same, self.conv["stride"], self.conv["dilation"])
        weight, shift = self.scaled()
        if self.depthwise:
            return depthwise_conv2d(x, weight, shift, self.conv["stride"], self.conv["padding"])
        return F.conv2d(x, weight, shift, **self.conv)


def absorb_frozen_norms(network: nn.Module) -> None:
    """Let every convolution of a network do the work of the batch norm that directly follows it, in place.

    The network's modules must be registered in the order they run, and a norm that follows a convolution be applied to
    nothing but that: true of timm's EfficientNets, not of every network.
    """
    for parent in list(network.modules()):
        for (conv_name, conv), (norm_name, norm) in pairwise(list(parent.named_children())):
            if not (isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)):
                continue
            if conv.bias is None and conv.out_channels == norm.num_features:
                absorbed = AbsorbedNorm(norm)
                setattr(parent, norm_name, absorbed)
                setattr(parent, conv_name, ScaledConv(conv, absorbed))
