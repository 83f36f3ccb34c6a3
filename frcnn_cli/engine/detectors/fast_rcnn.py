"""Fast R-CNN: the image goes through the network once at each size it is looked at, and a small head sees each RoI."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from torch import Tensor

from frcnn_cli.core.model import Architecture, FastRCNN
from frcnn_cli.core.pyramid import View, assign_levels
from frcnn_cli.core.refinement import look_again
from frcnn_cli.data.transforms import scale_image, scale_to
from frcnn_cli.engine.detection_config import DetectionConfig
from frcnn_cli.engine.detectors import Kind, LoadedModel, Scores


def score(engine: LoadedModel, image: np.ndarray, proposals: np.ndarray, config: DetectionConfig) -> Scores:
    """Score each proposal at the size of the image that suits it."""
    boxes = torch.from_numpy(proposals)
    factors = scale_factors(engine, image, config)
    levels = assign_levels(boxes, torch.tensor(factors))
    parts = []
    for level in levels.unique().tolist():  # a level that no RoI is scored at costs nothing
        parts.append(Look(engine, image, factors[level]).score(boxes[levels == level], config))
    return Scores(*(torch.cat(part).cpu() for part in zip(*parts, strict=True)))


def scale_factors(engine: LoadedModel, image: np.ndarray, config: DetectionConfig) -> list[float]:
    """What the image's sides are multiplied with at each size it is looked at, rising."""
    height, width = image.shape[:2]
    short_sides = sorted(config.short_sides or (engine.short_side,))
    long_side = config.long_side or round(engine.long_side * short_sides[-1] / engine.short_side)
    return [scale_to(width, height, short_side, long_side) for short_side in short_sides]


class Look:
    """An image at one size, whose features are there.

    Args:
        engine: the model.
        image: uint8 RGB [H, W, 3].
        factor: what its sides are multiplied with.

    Attributes:
        view: what the model sees.
        ratio: Tensor[4]; boxes in pixels of the image times this are boxes in pixels of the network's input.
    """

    def __init__(self, engine: LoadedModel, image: np.ndarray, factor: float) -> None:
        scaled, ratio = scale_image(image, factor)
        tensor = engine.normalisation(torch.from_numpy(scaled).permute(2, 0, 1)).to(engine.device)
        self.view = View(engine.model, tensor)
        self.ratio = torch.from_numpy(ratio).to(engine.device)
        self.image_size = (image.shape[1], image.shape[0])
        self.input_size = (scaled.shape[1], scaled.shape[0])

    def score(self, boxes: Tensor, config: DetectionConfig) -> tuple[Tensor, Tensor, Tensor]:
        """Boxes, in the place of some those of a second look, with their probabilities and deltas, on the device.

        Args:
            boxes: Tensor[K, 4] in pixels of the image.
            config: how closely to look.
        """
        boxes = boxes.to(self.ratio.device)
        found = (boxes, *self._score(config.flip, boxes))
        if not config.refine:
            return found
        again = partial(self._score, config.flip or config.refine_flip)
        return look_again(again, *found, config.refine, self.image_size)

    def _score(self, mirrored: bool, boxes: Tensor) -> tuple[Tensor, Tensor]:
        return self.view.score(boxes * self.ratio, mirrored)


KIND = Kind(
    title="Fast R-CNN",
    architecture=Architecture,
    build=FastRCNN,
    score=score,
    compressible=("fc6", "fc7"),
)
