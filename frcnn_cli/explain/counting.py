"""Counting what convolutions compute, without computing it."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def multiply_adds(network: nn.Module, width: int, height: int) -> int:
    """Multiply-adds of a network's convolutions on one image Tensor[1, 3, height, width].

    The network runs on the meta device, where shapes are known and nothing is computed.
    """
    empty = deepcopy(network).to("meta").eval()
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        empty(torch.empty(1, 3, height, width, device="meta"))
    counts = counter.get_flop_counts()["Global"]
    return sum(count for operator, count in counts.items() if "conv" in str(operator)) // 2
