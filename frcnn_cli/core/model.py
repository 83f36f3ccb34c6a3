"""Fast R-CNN (paper, section 2): one pass of the image through the network, then a small head for every RoI."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from frcnn_cli.core.backbones import backbone_config, build_backbone
from frcnn_cli.core.roi_pool import RoIPool
from frcnn_cli.core.svd import LowRankLinear


@dataclass(frozen=True)
class Architecture:
    """All that is needed to build a model: two models of equal architecture have the same tensors.

    Attributes:
        backbone: a name of `core.backbones`.
        num_classes: C, without the background.
        roi_size: P.
        fc_width: units of fc6 and of fc7.
        fc6_rank: t of a compressed fc6, or None.
        fc7_rank: likewise.
        neck: channels of the backbone's neck, 0 for none.
        class_agnostic: one box a RoI, the same for every class, instead of one a class.
    """

    backbone: str
    num_classes: int
    roi_size: int
    fc_width: int
    fc6_rank: int | None = None
    fc7_rank: int | None = None
    neck: int = 0
    class_agnostic: bool = False


class FullyConnected(nn.Module):
    """fc6 and fc7, each with a ReLU and dropout, which every member of the family has.

    fc6 reads a RoI cell by cell (row, column, channel), the order RoI pooling writes, so nothing is copied. Weights
    trained in torchvision's order (channel, row, column) need their columns permuted once, as `start_from` does.

    Args:
        channels: of the feature map.
        cells: of a RoI.
        architecture: names the backbone, the width of the layers and their ranks.
        dropout: share of units that are dropped in training.
    """

    def __init__(self, channels: int, cells: int, architecture: Architecture, dropout: float) -> None:
        super().__init__()
        self.channels = channels
        std = backbone_config(architecture.backbone).fc_std
        self.fc6 = _linear(channels * cells, architecture.fc_width, architecture.fc6_rank, std)
        self.fc7 = _linear(architecture.fc_width, architecture.fc_width, architecture.fc7_rank, std)
        self.dropout = nn.Dropout(dropout)

    def fc7_of(self, x: Tensor) -> Tensor:
        """Tensor[K, cells * channels] -> Tensor[K, fc_width]."""
        x = self.dropout(F.relu(self.fc6(x), inplace=True))
        return self.dropout(F.relu(self.fc7(x), inplace=True))

    @torch.no_grad()
    def start_from(self, fc6: tuple[Tensor, Tensor], fc7: tuple[Tensor, Tensor]) -> None:
        """Take fc6 and fc7 from the classifier that the backbone was trained with (paper, section 2.2), in place.

        Of a wider classifier, the first units are taken, as if the others had been dropped out, for good: what is left
        of fc7's sums is multiplied as in dropout, by the ratio of all units to those left.

        Args:
            fc6: weight Tensor[U, channels * P * P], with columns in the order (channel, row, column), and bias
                Tensor[U]; U is at least this head's width.
            fc7: weight Tensor[V, U] and bias Tensor[V]; V is likewise.

        Raises:
            ValueError: they have other shapes.
        """
        width, units, outputs = self.fc6.out_features, fc6[1].numel(), fc7[1].numel()
        expected = [(units, self.fc6.in_features), (units,), (outputs, units), (outputs,)]
        if [tuple(tensor.shape) for tensor in (*fc6, *fc7)] != expected or min(units, outputs) < width:
            raise ValueError(f"not the layers of a classifier for a head of {width} units")
        by_cell = fc6[0][:width].unflatten(1, (self.channels, -1)).transpose(1, 2).flatten(1)
        self.fc6.weight.copy_(by_cell)
        self.fc6.bias.copy_(fc6[1][:width])
        self.fc7.weight.copy_(fc7[0][:width, :width] * (units / width))
        self.fc7.bias.copy_(fc7[1][:width])


class Head(FullyConnected):
    """From pooled features to a class and a box: fc6, fc7, and the two sibling layers (paper, figure 1)."""

    def __init__(self, architecture: Architecture, channels: int, dropout: float = 0.5) -> None:
        super().__init__(channels, architecture.roi_size**2, architecture, dropout)
        self.cls_score = nn.Linear(architecture.fc_width, 1 + architecture.num_classes)
        self.num_classes = architecture.num_classes
        boxes = 1 if architecture.class_agnostic else architecture.num_classes
        self.bbox_pred = nn.Linear(architecture.fc_width, 4 * boxes)
        nn.init.normal_(self.cls_score.weight, std=0.01)
        nn.init.normal_(self.bbox_pred.weight, std=0.001)
        nn.init.zeros_(self.cls_score.bias)
        nn.init.zeros_(self.bbox_pred.bias)

    def forward(self, pooled: Tensor) -> tuple[Tensor, Tensor]:
        """Tensor[K, channels, P, P] -> class logits Tensor[K, 1 + C], box deltas Tensor[K, C, 4]."""
        x = self.fc7_of(pooled.permute(0, 2, 3, 1).flatten(1))
        return self.cls_score(x), self.bbox_pred(x).unflatten(1, (-1, 4)).expand(-1, self.num_classes, -1)


def _linear(in_features: int, out_features: int, rank: int | None, std: float | None) -> nn.Module:
    if rank is not None:
        return LowRankLinear(in_features, out_features, rank)
    layer = nn.Linear(in_features, out_features)
    if std is None:
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    else:
        nn.init.normal_(layer.weight, std=std)
    nn.init.zeros_(layer.bias)
    return layer


class FastRCNN(nn.Module):
    """The detector: images and RoIs in, class logits and box deltas out."""

    def __init__(self, architecture: Architecture, dropout: float = 0.5) -> None:
        super().__init__()
        self.architecture = architecture
        self.backbone = build_backbone(architecture.backbone, architecture.neck)
        self.roi_pool = RoIPool(architecture.roi_size, 1 / self.backbone.stride)
        self.head = Head(architecture, self.backbone.channels, dropout)

    def forward(self, images: Tensor, rois: Tensor) -> tuple[Tensor, Tensor]:
        """Score and refine RoIs.

        Args:
            images: Tensor[N, 3, H, W], normalised; smaller images of a batch are padded at the right and the bottom.
            rois: Tensor[K, 5], (image index, x1, y1, x2, y2) in pixels of `images`.

        Returns:
            Class logits Tensor[K, 1 + C] (class 0 is background) and box deltas Tensor[K, C, 4].
        """
        return self.head(self.roi_pool(self.backbone(images), rois))

    @torch.inference_mode()
    def score(self, image: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """Class probabilities and box deltas of one image's RoIs.

        Args:
            image: Tensor[3, H, W], normalised.
            boxes: Tensor[K, 4] in pixels of `image`.

        Returns:
            Tensor[K, 1 + C], rows sum to 1, and Tensor[K, C, 4].
        """
        return self.score_on(self.backbone(image[None]), boxes)

    @torch.inference_mode()
    def score_on(self, features: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """The same on an image's features that are there already, each set of feature cells computed once.

        RoIs whose corners round to the same cells see the same features; they share one pass through the head
        (the paper's code does so too) and differ again when the deltas are applied.

        Args:
            features: Tensor[1, channels, h, w], of the backbone.
            boxes: Tensor[K, 4] in pixels of the image.

        Returns:
            Tensor[K, 1 + C], rows sum to 1, and Tensor[K, C, 4].
        """
        # Half away from zero, as RoI pooling rounds; boxes are inside the image, so nothing is negative.
        stride = self.backbone.stride
        cells = torch.floor(boxes / stride + 0.5)
        unique, inverse = torch.unique(cells, dim=0, return_inverse=True)
        rois = torch.cat((unique.new_zeros(len(unique), 1), unique * stride), dim=1)
        logits, deltas = self.head(self.roi_pool(features, rois))
        return logits.softmax(dim=1)[inverse], deltas[inverse]


def fold_target_normalisation(layer: nn.Linear, mean: Tensor, std: Tensor) -> None:
    """Make a layer that predicts normalised targets, (v - mean) / std, predict v itself, in place.

    Args:
        layer: bbox_pred, 4 C outputs.
        mean: Tensor[4].
        std: Tensor[4].
    """
    with torch.no_grad():
        repeat = layer.out_features // 4
        layer.weight.mul_(std.repeat(repeat)[:, None])
        layer.bias.mul_(std.repeat(repeat)).add_(mean.repeat(repeat))


def unfold_target_normalisation(layer: nn.Linear, mean: Tensor, std: Tensor) -> None:
    """The inverse of `fold_target_normalisation`: what further training starts from."""
    with torch.no_grad():
        repeat = layer.out_features // 4
        layer.weight.div_(std.repeat(repeat)[:, None])
        layer.bias.sub_(mean.repeat(repeat)).div_(std.repeat(repeat))
