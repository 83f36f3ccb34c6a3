"""Faster R-CNN: Fast R-CNN whose RoIs a region proposal network finds on the map they are pooled from (Ren et al.,
Faster R-CNN: Towards real-time object detection with region proposal networks, NIPS 2015)."""

from __future__ import annotations

from dataclasses import dataclass

from frcnn_cli.core.model import Architecture, FastRCNN
from frcnn_cli.core.rpn.anchors import RATIOS, SIZES
from frcnn_cli.core.rpn.network import RegionProposalNetwork

MOST_CHANNELS = 512
"""Of the network's convolution, which otherwise has those of the map, as the paper's for VGG16 (512) and ZF (256)."""

TARGET_STD = (0.1, 0.1, 0.2, 0.2)
"""Spread of the head's regression targets, as in the paper's code: it cannot be measured over a data set, as proposals
come and go with the network that makes them."""


@dataclass(frozen=True)
class FasterArchitecture(Architecture):
    """Fast R-CNN's, and the anchors.

    Attributes:
        anchor_sizes: square roots of their areas, in pixels of the network's input.
        anchor_ratios: their height by their width.

    Raises:
        ValueError: no anchor, or one without an area.
    """

    anchor_sizes: tuple[int, ...] = SIZES
    anchor_ratios: tuple[float, ...] = RATIOS

    def __post_init__(self) -> None:
        for name in ("anchor_sizes", "anchor_ratios"):
            values = tuple(getattr(self, name))  # JSON has lists
            if not values or not all(value > 0 for value in values):
                raise ValueError(f"{name} {list(values)} are no sizes")
            object.__setattr__(self, name, values)


class FasterRCNN(FastRCNN):
    """The detector: images in, class logits and box deltas of its own proposals out."""

    def __init__(self, architecture: FasterArchitecture, dropout: float = 0.5) -> None:
        super().__init__(architecture, dropout)
        channels = self.backbone.channels
        sizes, ratios = architecture.anchor_sizes, architecture.anchor_ratios
        self.rpn = RegionProposalNetwork(channels, min(channels, MOST_CHANNELS), sizes, ratios, self.backbone.stride)
