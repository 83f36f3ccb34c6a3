"""SPPnet (He et al., ECCV 2014): convolutions once an image, then a pyramid of max pools of each window on the map."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from frcnn_cli.core.backbones import build_backbone
from frcnn_cli.core.regions import RegionArchitecture, RegionHead
from frcnn_cli.core.roi_pool import RoIPool


@dataclass(frozen=True)
class SPPArchitecture(RegionArchitecture):
    """All that is needed to build an SPPnet.

    Attributes:
        pyramid: the levels: a window is max pooled to n x n for each n of these.
    """

    pyramid: tuple[int, ...] = (6, 3, 2, 1)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "pyramid", tuple(self.pyramid))  # JSON has lists
        if not self.pyramid or min(self.pyramid) < 1:
            raise ValueError(f"no pyramid of {self.pyramid}")

    @property
    def cells(self) -> int:
        """Of a window, at all levels."""
        return sum(level**2 for level in self.pyramid)


def project(boxes: Tensor, stride: int, size: tuple[int, int]) -> Tensor:
    """The cells of a feature map that a window covers (SPPnet, appendix A).

    Cell i has the centre of its receptive field at pixel ``stride * i``. The left and the top side go to the first cell
    whose centre is inside, floor(x / stride) + 1, and the right and the bottom side to the last one, ceil(x / stride)
    - 1. A window that has no centre inside gets the one nearest to its middle.

    Args:
        boxes: Tensor[K, 4] in pixels of the network's input.
        stride: pixels of a cell.
        size: (width, height) of the map in cells.

    Returns:
        Tensor[K, 4]: first column, first row, last column, last row; all of them inside the map.
    """
    first = (boxes[:, :2] / stride).floor() + 1
    last = (boxes[:, 2:] / stride).ceil() - 1
    middle = ((boxes[:, :2] + boxes[:, 2:]) / (2 * stride) + 0.5).floor()
    empty = first > last
    first, last = torch.where(empty, middle, first), torch.where(empty, middle, last)
    limit = boxes.new_tensor(size) - 1
    return torch.cat((first.clamp(min=0).minimum(limit), last.clamp(min=0).minimum(limit)), dim=1)


class SPPNet(nn.Module):
    """The network: images and windows in, class logits out."""

    def __init__(self, architecture: SPPArchitecture, dropout: float = 0.5) -> None:
        super().__init__()
        self.architecture = architecture
        self.backbone = build_backbone(architecture.backbone, architecture.neck)
        self.pools = nn.ModuleList(RoIPool(level, 1 / self.backbone.stride) for level in architecture.pyramid)
        self.head = RegionHead(architecture, self.backbone.channels, architecture.cells, dropout)

    def pooled(self, features: Tensor, rois: Tensor) -> Tensor:
        """The pyramid of each window.

        Args:
            features: Tensor[N, channels, h, w], of the backbone.
            rois: Tensor[K, 5], (image index, x1, y1, x2, y2) in pixels of the images.

        Returns:
            Tensor[K, cells * channels], level by level, cell by cell.
        """
        stride = self.backbone.stride
        cells = project(rois[:, 1:], stride, (features.shape[-1], features.shape[-2]))
        # RoI pooling takes pixels, and the last cell is part of the RoI there, too.
        rois = torch.cat((rois[:, :1], cells * stride), dim=1)
        levels = [pool(features, rois).permute(0, 2, 3, 1).flatten(1) for pool in self.pools]
        return torch.cat(levels, dim=1)

    def forward(self, images: Tensor, rois: Tensor) -> Tensor:
        """Class logits Tensor[K, 1 + C] of images Tensor[N, 3, H, W] and rois Tensor[K, 5]; convolutions stay fixed."""
        with torch.no_grad():
            features = self.backbone(images)
        return self.head(self.pooled(features, rois))

    @torch.inference_mode()
    def score_on(self, features: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """Score windows on an image's features.

        Args:
            features: Tensor[1, channels, h, w].
            boxes: Tensor[K, 4] in pixels of the image.

        Returns:
            Scores Tensor[K, 1 + C] from 0 to 1, and box deltas Tensor[K, C, 4].
        """
        return self.head.score(self.pooled(features, torch.cat((boxes.new_zeros(len(boxes), 1), boxes), dim=1)))
