"""What all sections explain: one photograph, one model, what the model says of it, and the RoIs that stand for it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.ops import nms

from frcnn_cli.core.detection import select_detections
from frcnn_cli.core.model import FastRCNN
from frcnn_cli.data.detections import Detections
from frcnn_cli.data.images import load_image
from frcnn_cli.data.transforms import scale_image, scale_to
from frcnn_cli.engine.checkpoint import Checkpoint, load_checkpoint
from frcnn_cli.engine.detection_config import DetectionConfig
from frcnn_cli.engine.detectors import Scores
from frcnn_cli.engine.runtimes.torch_engine import TorchEngine
from frcnn_cli.engine.sources.search import ProposalConfig, SearchSource
from frcnn_cli.text import visible_line

PAPER = DetectionConfig(nms_threshold=0.3, box_voting=False, refine=0)
"""Detection as the paper has it: one look, suppression at IoU 0.3 (section 3; the authors' code)."""

ROIS = 20
DIFFERENT = 0.7
"""Of two RoIs that overlap by more than this IoU, the reader is shown the likelier one."""


@dataclass(frozen=True)
class Subject:
    """A photograph and a model.

    Attributes:
        name: of the photograph's file, as it is shown.
        image: uint8 RGB [H, W, 3].
        checkpoint: the model as it is stored, but for names of classes, which are as they are shown.
        engine: ... and as it runs, on the CPU.
        proposals: float32 [K, 4], of selective search, best first.
        scores: what the model says of them; of its own boxes, where it proposes them itself.
        found: detections as the paper selects them.
    """

    name: str
    image: np.ndarray
    checkpoint: Checkpoint
    engine: TorchEngine
    proposals: np.ndarray
    scores: Scores
    found: Detections

    @classmethod
    def of(cls, path: Path, weights: Path) -> Subject:
        """Look at a photograph.

        Raises:
            DataError: the photograph or the checkpoint cannot be read.
        """
        image = load_image(path)
        checkpoint = load_checkpoint(weights)
        checkpoint = replace(checkpoint, classes=tuple(map(visible_line, checkpoint.classes)))
        engine = TorchEngine.of(checkpoint)
        engine.model.eval()
        proposals = SearchSource(ProposalConfig()).boxes(image)
        scores = engine.kind.score(engine, image, proposals if engine.needs_proposals else None, PAPER)
        height, width = image.shape[:2]
        selection = (PAPER.score_threshold, PAPER.nms_threshold, PAPER.max_detections)
        found = select_detections(scores.probabilities, scores.deltas, scores.boxes, (width, height), *selection)
        detections = Detections(*(part.numpy() for part in found)).named(checkpoint.classes)
        return cls(visible_line(path.name), image, checkpoint, engine, proposals, scores, detections)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.image.shape[1], self.image.shape[0]

    @property
    def model(self) -> nn.Module:
        return self.engine.model

    @property
    def is_fast_rcnn(self) -> bool:
        """Whether RoIs are pooled from one map and go through a head learned with it, as in Faster R-CNN too."""
        return isinstance(self.model, FastRCNN)

    @property
    def backbone(self) -> nn.Module | None:
        """The convolutions, where the model calls them so."""
        return getattr(self.model, "backbone", None)

    @property
    def pool(self) -> tuple[int, float]:
        """P, and the cells of a pixel of the network's input; a kind without RoI pooling is shown the paper's 7 x 7."""
        if self.is_fast_rcnn:
            return self.model.roi_pool.output_size, self.model.roi_pool.spatial_scale
        return 7, 1 / self.backbone.stride

    @cached_property
    def input(self) -> tuple[Tensor, Tensor]:
        """The network's input Tensor[3, h, w], and the ratio Tensor[4] of its pixels to the photograph's."""
        scale = scale_to(*self.size, self.engine.short_side, self.engine.long_side)
        scaled, ratio = scale_image(self.image, scale)
        tensor = self.engine.normalisation(torch.from_numpy(scaled).permute(2, 0, 1))
        return tensor, torch.from_numpy(ratio)

    @cached_property
    def features(self) -> Tensor:
        """The feature map of the photograph, Tensor[1, channels, h, w]."""
        with torch.no_grad():
            return self.backbone(self.input[0][None]).contiguous()

    @cached_property
    def likeliest(self) -> Tensor:
        """Numbers of at most `ROIS` boxes of `scores`, likeliest first, no two of which overlap much."""
        likelihood = self.scores.probabilities[:, 1:].amax(dim=1)
        return nms(self.scores.boxes, likelihood, DIFFERENT)[:ROIS]

    @property
    def rois(self) -> Tensor:
        """Their boxes in the photograph, Tensor[R, 4]."""
        return self.scores.boxes[self.likeliest]

    @property
    def labels(self) -> Tensor:
        """The likeliest class of each, int64 Tensor[R], 1 .. C."""
        return self.scores.probabilities[self.likeliest, 1:].argmax(dim=1) + 1

    def input_rois(self, boxes: Tensor) -> Tensor:
        """Boxes of the photograph as RoIs of the network's input, Tensor[R, 5]."""
        return torch.cat((boxes.new_zeros(len(boxes), 1), boxes * self.input[1]), dim=1)

    @cached_property
    def objects(self) -> Detections:
        """What stands for the truth, as a photograph brings none: what was found, or else the likeliest RoI, moved."""
        if len(self.found):
            return self.found
        first = self.likeliest[:1]
        selection = (0.0, PAPER.nms_threshold, 1)
        only = select_detections(*(part[first] for part in (self.scores.probabilities, self.scores.deltas)),
                                 self.scores.boxes[first], self.size, *selection)  # fmt: skip
        return Detections(*(part.numpy() for part in only)).named(self.checkpoint.classes)
