"""R-CNN (Girshick et al., CVPR 2014): each region is warped to a square, and the whole network looks at it."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from frcnn_cli.core.backbones import build_backbone
from frcnn_cli.core.normalisation import Normalisation
from frcnn_cli.core.regions import RegionArchitecture, RegionHead


@dataclass(frozen=True)
class RCNNArchitecture(RegionArchitecture):
    """All that is needed to build an R-CNN.

    Attributes:
        roi_size: P; the feature map of a crop is max pooled to P x P, as the network's own last pooling did.
        crop: pixels of a side of the warped region.
        context: those of them, at each side, that show what is around it.
    """

    roi_size: int = 7
    crop: int = 224
    context: int = 16

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= 2 * self.context < self.crop:
            raise ValueError(f"a crop of {self.crop} pixels has no room for {self.context} of context at each side")


class RCNN(nn.Module):
    """The network: crops in, class logits out."""

    def __init__(self, architecture: RCNNArchitecture, dropout: float = 0.5) -> None:
        super().__init__()
        self.architecture = architecture
        self.backbone = build_backbone(architecture.backbone, architecture.neck)
        self.head = RegionHead(architecture, self.backbone.channels, architecture.roi_size**2, dropout)

    def pooled(self, crops: Tensor) -> Tensor:
        """Features of crops: Tensor[K, 3, S, S], normalised -> Tensor[K, P * P * channels], cell by cell."""
        features = F.adaptive_max_pool2d(self.backbone(crops), self.architecture.roi_size)
        return features.permute(0, 2, 3, 1).flatten(1)

    def forward(self, crops: Tensor) -> Tensor:
        """Class logits: Tensor[K, 3, S, S] -> Tensor[K, 1 + C]."""
        return self.head(self.pooled(crops))


def warp(image: np.ndarray, boxes: Tensor, architecture: RCNNArchitecture, normalisation: Normalisation) -> Tensor:
    """Warp regions to the network's input, whatever their shape (R-CNN, appendix A).

    Args:
        image: uint8 RGB [H, W, 3].
        boxes: Tensor[K, 4] in pixels of the image.
        architecture: the size of a crop, and of the context in it.
        normalisation: of the input. Beyond the image's border is its mean colour.

    Returns:
        Tensor[K, 3, S, S], normalised.
    """
    size = architecture.crop
    inner = size - 2 * architecture.context
    colour = np.divide(normalisation.mean, normalisation.scale)
    colour = colour[::-1] if normalisation.order == "BGR" else colour
    border = tuple(float(round(value)) for value in colour)
    crops = torch.empty(len(boxes), 3, size, size).to(memory_format=torch.channels_last)
    for crop, (x1, y1, x2, y2) in zip(crops, boxes.tolist(), strict=True):
        # Pixels per pixel of the crop; OpenCV counts from the centre of the first pixel, boxes from its corner.
        step_x, step_y = (x2 - x1) / inner, (y2 - y1) / inner
        left, top = x1 - architecture.context * step_x, y1 - architecture.context * step_y
        matrix = np.array([[step_x, 0, left + step_x / 2 - 0.5], [0, step_y, top + step_y / 2 - 0.5]])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        warped = cv2.warpAffine(
            image, matrix, (size, size), flags=flags, borderMode=cv2.BORDER_CONSTANT, borderValue=border
        )
        crop.copy_(normalisation(torch.from_numpy(warped).permute(2, 0, 1)))
    return crops
