"""Looking at an image more than once: at several sizes (paper, sections 3 and 5.2), and in the mirror."""

from __future__ import annotations

import torch
from torch import Tensor

from frcnn_cli.core.boxes import area, flip, flip_deltas
from frcnn_cli.core.model import FastRCNN

USUAL_AREA = 224**2
"""Square pixels: the size of the images that a backbone learned from on ImageNet."""


def assign_levels(boxes: Tensor, factors: Tensor) -> Tensor:
    """Which level of an image pyramid each RoI is scored at: where its area comes nearest to 224 x 224 pixels.

    As in SPPnet (He et al., ECCV 2014, section 4.1), nearness is the difference of the areas, not of the sides. Of two
    levels that are equally near, it is the one named first.

    Args:
        boxes: Tensor[K, 4] in pixels of the image.
        factors: Tensor[L], what the image's sides are multiplied with at each level; rising, so that the first is the
            coarser and the cheaper one.

    Returns:
        int64 Tensor[K], numbers of levels.
    """
    return (area(boxes)[:, None] * factors.square() - USUAL_AREA).abs().argmin(dim=1)


class View:
    """An image at one size, and in the mirror if wanted, whose features are computed once for all RoIs.

    Args:
        model: in evaluation mode.
        image: Tensor[3, H, W], normalised.
        mirrored: whether to look at the mirrored image too.
    """

    @torch.inference_mode()
    def __init__(self, model: FastRCNN, image: Tensor, mirrored: bool = False) -> None:
        self.model = model
        self.width = image.shape[-1]
        self.features = model.backbone(image[None])
        self.mirrored = model.backbone(image.flip(-1)[None]) if mirrored else None

    def score(self, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """As `FastRCNN.score`, averaged with what the mirrored image gives."""
        probabilities, deltas = self.model.score_on(self.features, boxes)
        if self.mirrored is None:
            return probabilities, deltas
        mirrored_probabilities, mirrored_deltas = self.model.score_on(self.mirrored, flip(boxes, self.width))
        return (probabilities + mirrored_probabilities) / 2, (deltas + flip_deltas(mirrored_deltas)) / 2
