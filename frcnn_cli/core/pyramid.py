"""Looking at an image more than once: at several sizes (paper, sections 3 and 5.2), and in the mirror."""

from __future__ import annotations

from functools import cached_property

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
    """An image at one size, and in the mirror where that is asked for; its features are computed once for all RoIs.

    Args:
        model: in evaluation mode.
        image: Tensor[3, H, W], normalised.
    """

    @torch.inference_mode()
    def __init__(self, model: FastRCNN, image: Tensor) -> None:
        self.model = model
        self.image = image
        self.features = model.backbone(image[None])

    @cached_property
    @torch.inference_mode()
    def mirrored(self) -> Tensor:
        """The features of the mirrored image."""
        return self.model.backbone(self.image.flip(-1)[None])

    def score(self, boxes: Tensor, mirrored: bool = False) -> tuple[Tensor, Tensor]:
        """As `FastRCNN.score`, averaged with what the mirrored image gives if wanted."""
        probabilities, deltas = self.model.score_on(self.features, boxes)
        if not mirrored:
            return probabilities, deltas
        others, other_deltas = self.model.score_on(self.mirrored, flip(boxes, self.image.shape[-1]))
        return (probabilities + others) / 2, (deltas + flip_deltas(other_deltas)) / 2
