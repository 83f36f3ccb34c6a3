"""R-CNN: the whole network looks at every proposal by itself, warped to a square."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from torch import Tensor

from frcnn_cli.core.boxes import flip_deltas
from frcnn_cli.core.rcnn import RCNN, RCNNArchitecture, warp
from frcnn_cli.core.refinement import look_again
from frcnn_cli.engine.detection_config import DetectionConfig
from frcnn_cli.engine.detectors import Kind, LoadedModel, Scores
from frcnn_cli.errors import UsageError

CROPS = 32
"""That go through the network at a time."""


def score(engine: LoadedModel, image: np.ndarray, proposals: np.ndarray, config: DetectionConfig) -> Scores:
    """Score each proposal, in the mirror too if wanted.

    Raises:
        UsageError: a size of the image is asked for, which a crop does not have.
    """
    for name in ("short_side", "scales", "long_side"):
        if getattr(config, name) is not None:
            raise UsageError(f"--{name.replace('_', '-')}: R-CNN looks at crops of one size, not at the image")
    boxes = torch.from_numpy(proposals)
    found = (boxes, *score_crops(engine, image, config.flip, boxes))
    if config.refine:
        height, width = image.shape[:2]
        again = partial(score_crops, engine, image, config.flip or config.refine_flip)
        found = look_again(again, *found, config.refine, (width, height))
    return Scores(*found)


@torch.inference_mode()
def score_crops(engine: LoadedModel, image: np.ndarray, mirrored: bool, boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Scores Tensor[K, 1 + C] and deltas Tensor[K, C, 4] of an image's regions, a few at a time, on the CPU."""
    model, parts = engine.model, []
    for some in boxes.split(CROPS):
        crops = warp(image, some, model.architecture, engine.normalisation).to(engine.device)
        scores, deltas = model.head.score(model.pooled(crops))
        if mirrored:
            other_scores, other_deltas = model.head.score(model.pooled(crops.flip(-1)))
            scores, deltas = (scores + other_scores) / 2, (deltas + flip_deltas(other_deltas)) / 2
        parts.append((scores.cpu(), deltas.cpu()))
    if not parts:
        classes = model.architecture.num_classes
        return torch.zeros(0, 1 + classes), torch.zeros(0, classes, 4)
    return tuple(torch.cat(part) for part in zip(*parts, strict=True))


KIND = Kind(
    title="R-CNN",
    architecture=RCNNArchitecture,
    build=RCNN,
    score=score,
    compressible=("fc6", "fc7"),
)
