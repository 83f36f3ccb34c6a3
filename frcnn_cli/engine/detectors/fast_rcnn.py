"""Fast R-CNN: the image goes through the network once at each size it is looked at, and a small head sees each RoI."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from frcnn_cli.core.model import Architecture, FastRCNN
from frcnn_cli.core.pyramid import assign_levels, score_both_ways
from frcnn_cli.data.transforms import scale_image, scale_to
from frcnn_cli.engine.detection_config import DetectionConfig
from frcnn_cli.engine.detectors import Kind, Scores

if TYPE_CHECKING:
    from frcnn_cli.engine.runtimes.torch_engine import TorchEngine


def score(engine: TorchEngine, image: np.ndarray, proposals: np.ndarray, config: DetectionConfig) -> Scores:
    """Score each proposal at the size of the image that suits it."""
    height, width = image.shape[:2]
    boxes = torch.from_numpy(proposals)
    short_sides = sorted(config.short_sides or (engine.short_side,))
    long_side = config.long_side or round(engine.long_side * short_sides[-1] / engine.short_side)
    factors = [scale_to(width, height, short_side, long_side) for short_side in short_sides]
    levels = assign_levels(boxes, torch.tensor(factors))
    probabilities = boxes.new_empty(len(boxes), 1 + len(engine.classes))
    deltas = boxes.new_empty(len(boxes), len(engine.classes), 4)
    for level in levels.unique().tolist():  # a level that no RoI is scored at costs nothing
        chosen = levels == level
        scored = _score_at(factors[level], engine, image, boxes[chosen], config.flip)
        probabilities[chosen], deltas[chosen] = (part.cpu() for part in scored)
    return Scores(boxes, probabilities, deltas)


def _score_at(
    factor: float, engine: TorchEngine, image: np.ndarray, boxes: Tensor, flip: bool
) -> tuple[Tensor, Tensor]:
    """Probabilities Tensor[K, 1 + C] and deltas Tensor[K, C, 4] at one size of the image, on the device."""
    scaled, ratio = scale_image(image, factor)
    tensor = engine.normalisation(torch.from_numpy(scaled).permute(2, 0, 1)).to(engine.device)
    rois = (boxes * torch.from_numpy(ratio)).to(engine.device)
    return score_both_ways(engine.model, tensor, rois) if flip else engine.model.score(tensor, rois)


KIND = Kind(
    title="Fast R-CNN",
    architecture=Architecture,
    build=FastRCNN,
    score=score,
    compressible=("fc6", "fc7"),
)
