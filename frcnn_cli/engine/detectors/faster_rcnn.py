"""Faster R-CNN: the network that the image goes through proposes the RoIs as well."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from frcnn_cli.core.boxes import clip, solid
from frcnn_cli.core.faster_rcnn import FasterArchitecture, FasterRCNN
from frcnn_cli.core.pyramid import assign_levels
from frcnn_cli.core.rpn.config import DETECTION, ProposalSelection
from frcnn_cli.core.rpn.selection import best_apart
from frcnn_cli.engine.detection_config import DetectionConfig
from frcnn_cli.engine.detectors import Kind, LoadedModel, Scores
from frcnn_cli.engine.detectors.fast_rcnn import Look, scale_factors


def score(engine: LoadedModel, image: np.ndarray, proposals: None, config: DetectionConfig) -> Scores:
    """Propose at each size that the image is looked at, and score each proposal at the size that suits it."""
    factors = scale_factors(engine, image, config)
    looks = [Look(engine, image, factor) for factor in factors]
    boxes = _proposals(looks, DETECTION)
    levels = assign_levels(boxes, torch.tensor(factors, device=boxes.device))
    parts = [looks[level].score(boxes[levels == level], config) for level in levels.unique().tolist()]
    if not parts:  # a network that has learned nonsense proposes nothing
        classes = len(engine.classes)
        return Scores(boxes.cpu(), torch.zeros(0, 1 + classes), torch.zeros(0, classes, 4))
    return Scores(*(torch.cat(part).cpu() for part in zip(*parts, strict=True)))


def propose(engine: LoadedModel, image: np.ndarray, count: int) -> np.ndarray:
    """See `Kind.propose`; the image is looked at in the checkpoint's own size."""
    looks = [Look(engine, image, factor) for factor in scale_factors(engine, image, DetectionConfig())]
    return _proposals(looks, DETECTION.of(count)).cpu().numpy()


def _proposals(looks: list[Look], selection: ProposalSelection) -> Tensor:
    """Tensor[N, 4] in pixels of the image, best first: those of all sizes that it is looked at."""
    found = []
    for look in looks:
        boxes, scores = look.view.model.rpn.propose(look.view.features, look.input_size, selection)
        boxes = clip(boxes / look.ratio, *look.image_size)
        kept = solid(boxes)  # rounding may leave nothing at an image's border
        found.append((boxes[kept], scores[kept]))
    if len(found) == 1:
        return found[0][0]
    boxes, scores = (torch.cat(part) for part in zip(*found, strict=True))
    order = scores.argsort(descending=True, stable=True)
    return best_apart(boxes[order], scores[order], selection.nms_iou, selection.count)[0]


KIND = Kind(
    title="Faster R-CNN",
    architecture=FasterArchitecture,
    build=FasterRCNN,
    score=score,
    needs_proposals=False,
    compressible=("fc6", "fc7"),
    propose=propose,
)
