"""Fast R-CNN: the image goes through the network once at each size it is looked at, and a small head sees each RoI."""

from __future__ import annotations

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
    height, width = image.shape[:2]
    boxes = torch.from_numpy(proposals)
    short_sides = sorted(config.short_sides or (engine.short_side,))
    long_side = config.long_side or round(engine.long_side * short_sides[-1] / engine.short_side)
    factors = [scale_to(width, height, short_side, long_side) for short_side in short_sides]
    levels = assign_levels(boxes, torch.tensor(factors))
    parts = []
    for level in levels.unique().tolist():  # a level that no RoI is scored at costs nothing
        parts.append(_score_at(factors[level], engine, image, boxes[levels == level], config))
    return Scores(*(torch.cat(part).cpu() for part in zip(*parts, strict=True)))


def _score_at(
    factor: float, engine: LoadedModel, image: np.ndarray, boxes: Tensor, config: DetectionConfig
) -> tuple[Tensor, Tensor, Tensor]:
    """Boxes, probabilities and deltas at one size of the image, on the device."""
    scaled, ratio = scale_image(image, factor)
    tensor = engine.normalisation(torch.from_numpy(scaled).permute(2, 0, 1)).to(engine.device)
    view = View(engine.model, tensor, config.flip)
    boxes, ratio = boxes.to(engine.device), torch.from_numpy(ratio).to(engine.device)

    def score(boxes: Tensor) -> tuple[Tensor, Tensor]:
        return view.score(boxes * ratio)

    found = (boxes, *score(boxes))
    height, width = image.shape[:2]
    return look_again(score, *found, config.refine, (width, height)) if config.refine else found


KIND = Kind(
    title="Fast R-CNN",
    architecture=Architecture,
    build=FastRCNN,
    score=score,
    compressible=("fc6", "fc7"),
)
