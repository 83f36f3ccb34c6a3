"""Running a trained model over images: one image in, its detections out."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from frcnn_cli.core.backbones import Normalisation
from frcnn_cli.core.detection import select_detections
from frcnn_cli.core.model import FastRCNN
from frcnn_cli.core.pyramid import assign_levels, score_both_ways
from frcnn_cli.data.detections import Detections
from frcnn_cli.data.images import load_image
from frcnn_cli.data.proposals import Proposals
from frcnn_cli.data.transforms import resize, scale_to
from frcnn_cli.engine.checkpoint import Checkpoint, load_checkpoint
from proposals import selective_search

BUNDLED_MODEL = Path(__file__).parent.parent / "models" / "efficientnet_lite0_voc.safetensors"


@dataclass(frozen=True)
class DetectionConfig:
    """What counts as a detection, and how closely the image is looked at.

    Attributes:
        score_threshold: least probability.
        nms_threshold: IoU above which the lower-scored of two boxes of a class is dropped.
        max_detections: an image, over all classes.
        short_sides: pixels the image's shorter side is brought to; with several, each proposal is scored at the size
            that suits it (`assign_levels`). Empty: the checkpoint's.
        long_side: ... unless the longer would pass this. None: the checkpoint's, in proportion to the largest of
            `short_sides`; for 600 and 1000, and scales up to 1200, that is the paper's 2000.
        flip: average with the scores and boxes of the mirrored image.
        box_voting: see `core.detection.vote`.
        proposal_mode: of selective search, where no file has proposals.
    """

    score_threshold: float = 0.5
    nms_threshold: float = 0.3
    max_detections: int = 100
    short_sides: tuple[int, ...] = ()
    long_side: int | None = None
    flip: bool = False
    box_voting: bool = False
    proposal_mode: str = "fast"


@dataclass(frozen=True)
class Seconds:
    """Wall-clock time of one image; `proposals` is None where they came from a file."""

    proposals: float | None
    detection: float


class Detector:
    """A model with what it needs to read images: normalisation, scale, class names."""

    def __init__(
        self,
        model: FastRCNN,
        classes: tuple[str, ...],
        normalisation: Normalisation,
        short_side: int,
        long_side: int,
        device: torch.device | str = "cpu",
    ) -> None:
        self.model = model.to(device)
        self.classes = classes
        self.normalisation = normalisation
        self.short_side = short_side
        self.long_side = long_side
        self.device = torch.device(device)

    @classmethod
    def from_checkpoint(cls, checkpoint: Checkpoint, device: torch.device | str = "cpu") -> Detector:
        """The detector a checkpoint holds."""
        return cls(
            checkpoint.build(),
            checkpoint.classes,
            checkpoint.normalisation,
            checkpoint.short_side,
            checkpoint.long_side,
            device,
        )

    @classmethod
    def load(cls, path: str | Path | None = None, device: torch.device | str = "cpu") -> Detector:
        """The detector in a file; without one, the model that ships with the package.

        Raises:
            DataError: no such file, or not a checkpoint.
        """
        return cls.from_checkpoint(load_checkpoint(BUNDLED_MODEL if path is None else path), device)

    def detect(self, image: np.ndarray, proposals: np.ndarray, config: DetectionConfig) -> Detections:
        """Detect objects.

        Args:
            image: uint8 RGB [H, W, 3].
            proposals: float32 [K, 4], xyxy in pixels of the image.
            config: thresholds, and how closely to look.
        """
        if len(proposals) == 0:
            return Detections.empty()
        height, width = image.shape[:2]
        boxes = torch.from_numpy(proposals)
        probabilities, deltas = self._score(image, boxes, config)
        found = select_detections(
            probabilities,
            deltas,
            boxes,
            (width, height),
            config.score_threshold,
            config.nms_threshold,
            config.max_detections,
            config.box_voting,
        )
        return Detections(*(t.numpy() for t in found))

    def _score(self, image: np.ndarray, boxes: Tensor, config: DetectionConfig) -> tuple[Tensor, Tensor]:
        """Probabilities Tensor[K, 1 + C] and deltas Tensor[K, C, 4], on the CPU."""
        height, width = image.shape[:2]
        short_sides = sorted(config.short_sides or (self.short_side,))
        long_side = config.long_side or round(self.long_side * short_sides[-1] / self.short_side)
        factors = [scale_to(width, height, short_side, long_side) for short_side in short_sides]
        levels = assign_levels(boxes, torch.tensor(factors))
        probabilities = boxes.new_empty(len(boxes), 1 + len(self.classes))
        deltas = boxes.new_empty(len(boxes), len(self.classes), 4)
        for level in levels.unique().tolist():  # a level that no RoI is scored at costs nothing
            chosen = levels == level
            scored = self._score_at(factors[level], image, boxes[chosen], config.flip)
            probabilities[chosen], deltas[chosen] = (part.cpu() for part in scored)
        return probabilities, deltas

    def _score_at(self, factor: float, image: np.ndarray, boxes: Tensor, flip: bool) -> tuple[Tensor, Tensor]:
        """The same at one size of the image, on the device."""
        height, width = image.shape[:2]
        scaled = resize(image, factor)
        ratio = torch.tensor((scaled.shape[1] / width, scaled.shape[0] / height) * 2)
        tensor = self.normalisation(torch.from_numpy(scaled).permute(2, 0, 1)).to(self.device)
        rois = (boxes * ratio).to(self.device)
        self.model.eval()
        return score_both_ways(self.model, tensor, rois) if flip else self.model.score(tensor, rois)


@dataclass(frozen=True)
class ImageResult:
    """One image's detections, its size in pixels, and how long it took."""

    width: int
    height: int
    detections: Detections
    seconds: Seconds


def detect_file(
    detector: Detector, path: Path, image_id: str, proposals: Proposals | None, config: DetectionConfig
) -> ImageResult:
    """Detect objects in an image file; see `detect_image`.

    Raises:
        DataError: the image cannot be read, or the proposal file does not fit it.
    """
    return detect_image(detector, load_image(path), image_id, proposals, config)


def detect_image(
    detector: Detector, image: np.ndarray, image_id: str, proposals: Proposals | None, config: DetectionConfig
) -> ImageResult:
    """Propose boxes, unless there are some, and detect objects.

    Args:
        detector: the model.
        image: uint8 RGB [H, W, 3].
        image_id: its name in the proposal file.
        proposals: a proposal file; None to make proposals here.
        config: how.

    Raises:
        DataError: the proposal file does not fit the image.
    """
    height, width = image.shape[:2]
    start = time.perf_counter()
    made = proposals is None
    boxes = selective_search(image, config.proposal_mode) if made else proposals.get(image_id, width, height)
    proposed = time.perf_counter()
    found = detector.detect(image, boxes, config)
    seconds = Seconds(proposed - start if made else None, time.perf_counter() - proposed)
    return ImageResult(width, height, found, seconds)
