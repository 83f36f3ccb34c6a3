"""The network: a 3 x 3 convolution over the shared map, then a score and a box for each anchor of every cell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from frcnn_cli.core.rpn.anchors import anchor_grid, cell_anchors
from frcnn_cli.core.rpn.config import ProposalSelection
from frcnn_cli.core.rpn.selection import select_proposals


class AnchorScores(NamedTuple):
    """What the network says of the K anchors of each image, in the order of `anchor_grid`.

    Attributes:
        logits: Tensor[N, K]; the sigmoid is the probability of an object.
        deltas: Tensor[N, K, 4], from the anchors to the boxes.
        anchors: Tensor[K, 4] in pixels of the network's input.
    """

    logits: Tensor
    deltas: Tensor
    anchors: Tensor


class RegionProposalNetwork(nn.Module):
    """Scores and moves anchors (Faster R-CNN, section 3.1).

    The paper's code has two scores an anchor and a softmax; one score and a sigmoid say the same.

    Args:
        in_channels: of the map.
        channels: of the convolution.
        sizes: of the anchors; see `cell_anchors`.
        ratios: likewise.
        stride: pixels of a cell of the map.
    """

    def __init__(
        self, in_channels: int, channels: int, sizes: Sequence[float], ratios: Sequence[float], stride: int
    ) -> None:
        super().__init__()
        self.sizes, self.ratios, self.stride = tuple(sizes), tuple(ratios), stride
        count = len(self.sizes) * len(self.ratios)
        self.conv = nn.Conv2d(in_channels, channels, 3, padding=1)
        self.objectness = nn.Conv2d(channels, count, 1)
        self.bbox_pred = nn.Conv2d(channels, 4 * count, 1)
        for layer in (self.conv, self.objectness, self.bbox_pred):
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)

    def forward(self, features: Tensor) -> AnchorScores:
        """Tensor[N, in_channels, h, w] -> float32 scores of h * w * A anchors."""
        x = F.relu(self.conv(features))
        logits = self.objectness(x).permute(0, 2, 3, 1).flatten(1)
        deltas = self.bbox_pred(x).permute(0, 2, 3, 1).flatten(1).unflatten(1, (-1, 4))
        cell = cell_anchors(self.sizes, self.ratios).to(features.device)
        return AnchorScores(logits.float(), deltas.float(), anchor_grid(cell, *features.shape[-2:], self.stride))

    @torch.inference_mode()
    def propose(self, features: Tensor, size: tuple[int, int], selection: ProposalSelection) -> tuple[Tensor, Tensor]:
        """The proposals of one image.

        Args:
            features: Tensor[1, in_channels, h, w].
            size: (width, height) of the network's input, in pixels.
            selection: which boxes become proposals.

        Returns:
            Boxes Tensor[P, 4] in pixels of the input, and their probabilities Tensor[P], falling.
        """
        logits, deltas, anchors = self(features)
        boxes, chosen = select_proposals(logits[0], deltas[0], anchors, size, selection)
        return boxes, chosen.sigmoid()
