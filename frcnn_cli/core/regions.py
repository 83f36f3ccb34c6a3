"""What R-CNN and SPPnet share: features of a region, fc6 and fc7, then classifiers and boxes that are fitted apart."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor, nn

from frcnn_cli.core.model import FullyConnected

SHARPNESS = math.log(99) / 1.1
"""What turns the margin of an SVM into a score from 0 to 1, by the logistic function. A margin of 0 is a score of 0.5,
and one of -1.1, below which R-CNN's code keeps no detection, is 0.01."""


@dataclass(frozen=True)
class RegionArchitecture:
    """All that is needed to build an R-CNN or an SPPnet, beside what each has of its own.

    Attributes:
        backbone: a name of `core.backbones`.
        num_classes: C, without the background.
        fc_width: units of fc6 and of fc7.
        fc6_rank: t of a compressed fc6, or None.
        fc7_rank: likewise.
        neck: channels of the backbone's neck, 0 for none.
        classifier: ``softmax``, or ``svm``: one a class, whose rows of `cls_score` give margins; row 0 is not used.
    """

    backbone: str
    num_classes: int
    fc_width: int
    fc6_rank: int | None = None
    fc7_rank: int | None = None
    neck: int = 0
    classifier: str = "softmax"

    def __post_init__(self) -> None:
        if self.classifier not in ("softmax", "svm"):
            raise ValueError(f"no classifier {self.classifier!r}")


class RegionHead(FullyConnected):
    """From a region's pooled features to a score a class, through fc6 and fc7, and straight to a box a class.

    Args:
        architecture: see there.
        channels: of the feature map.
        cells: of a region.
        dropout: after fc6 and fc7.
    """

    def __init__(self, architecture: RegionArchitecture, channels: int, cells: int, dropout: float) -> None:
        super().__init__(channels, cells, architecture, dropout)
        self.classifier = architecture.classifier
        self.cls_score = nn.Linear(architecture.fc_width, 1 + architecture.num_classes)
        self.bbox_pred = nn.Linear(channels * cells, 4 * architecture.num_classes)
        nn.init.normal_(self.cls_score.weight, std=0.01)
        nn.init.zeros_(self.cls_score.bias)
        nn.init.zeros_(self.bbox_pred.weight)  # until it is fitted, boxes stay where they are
        nn.init.zeros_(self.bbox_pred.bias)

    def forward(self, pooled: Tensor) -> Tensor:
        """Class logits Tensor[K, 1 + C] of pooled features Tensor[K, cells * channels]."""
        return self.cls_score(self.fc7_of(pooled))

    def score(self, pooled: Tensor) -> tuple[Tensor, Tensor]:
        """Scores Tensor[K, 1 + C] from 0 to 1, and box deltas Tensor[K, C, 4], of the same."""
        logits = self(pooled)
        scores = logits.softmax(dim=1) if self.classifier == "softmax" else (SHARPNESS * logits).sigmoid()
        return scores, self.bbox_pred(pooled).unflatten(1, (-1, 4))
