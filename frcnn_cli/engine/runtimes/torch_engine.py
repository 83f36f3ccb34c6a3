"""Running a model by torch."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

from frcnn_cli.core.detection import select_detections
from frcnn_cli.core.normalisation import Normalisation
from frcnn_cli.core.roi_pool import RoIPool
from frcnn_cli.data.detections import Detections
from frcnn_cli.engine.allocator import EVERY, give_back_freed_memory
from frcnn_cli.engine.checkpoint import Checkpoint, load_checkpoint
from frcnn_cli.engine.detection_config import DetectionConfig
from frcnn_cli.engine.detectors import DETECTORS, FAST_RCNN
from frcnn_cli.engine.devices import pick_device
from frcnn_cli.engine.stopwatch import BACKBONE, HEAD, POOLING, PartTimes


def open_checkpoint(path: Path, device: str) -> TorchEngine:
    """The model of a checkpoint on a device; see `Runtime`."""
    device = pick_device(device)
    return TorchEngine.of(load_checkpoint(path), device)


class TorchEngine:
    """A model on its device, and what it needs to read images; an `Engine`.

    Args:
        model: of the kind; it is moved.
        classes: names of the labels 1, 2, ...
        normalisation: of the input.
        short_side: pixels that an image's shorter side is brought to ...
        long_side: ... unless the longer would pass this.
        device: to compute on.
        kind: a name of `DETECTORS`.
    """

    def __init__(
        self,
        model: nn.Module,
        classes: tuple[str, ...],
        normalisation: Normalisation,
        short_side: int,
        long_side: int,
        device: torch.device | str = "cpu",
        kind: str = FAST_RCNN,
    ) -> None:
        self.model = model.to(device)
        self.classes = classes
        self.normalisation = normalisation
        self.short_side = short_side
        self.long_side = long_side
        self.device = torch.device(device)
        self.kind = DETECTORS[kind]
        self.needs_proposals = self.kind.needs_proposals
        self._images = 0

    @classmethod
    def of(cls, checkpoint: Checkpoint, device: torch.device | str = "cpu") -> TorchEngine:
        """The engine that runs a checkpoint's model."""
        return cls(
            checkpoint.build(),
            checkpoint.classes,
            checkpoint.normalisation,
            checkpoint.short_side,
            checkpoint.long_side,
            device,
            checkpoint.kind,
        )

    def measure(self, times: PartTimes) -> None:
        """Add the seconds of the network's parts to `times` from now on."""
        for name, part in ((BACKBONE, "backbone"), (POOLING, "roi_pool"), (HEAD, "head")):
            if isinstance(module := getattr(self.model, part, None), nn.Module):
                _time(module, name, times)

    def warm_up(self) -> None:
        """Have numba compile what it has to."""
        pooling = getattr(self.model, "roi_pool", None)
        if isinstance(pooling, RoIPool) and self.device.type == "cpu":
            with torch.inference_mode():
                pooling(torch.zeros(1, 16, 8, 8).to(memory_format=torch.channels_last), torch.zeros(1, 5))

    def detect(self, image: np.ndarray, proposals: np.ndarray | None, config: DetectionConfig) -> Detections:
        """See `Engine.detect`."""
        if proposals is not None and len(proposals) == 0:
            return Detections.empty()
        self.model.eval()
        self._images += 1
        if self._images % EVERY == 0 and self.device.type == "cpu":
            give_back_freed_memory()
        scores = self.kind.score(self, image, proposals, config)
        height, width = image.shape[:2]
        found = select_detections(
            scores.probabilities,
            scores.deltas,
            scores.boxes,
            (width, height),
            config.score_threshold,
            config.nms_threshold,
            config.max_detections,
            config.box_voting,
        )
        return Detections(*(part.numpy() for part in found))


def _time(module: nn.Module, name: str, times: PartTimes) -> None:
    """Take the time of a module's forward passes."""
    began: list[float] = []
    module.register_forward_pre_hook(lambda *_: began.append(time.perf_counter()))
    module.register_forward_hook(lambda *_: times.add(name, time.perf_counter() - began.pop()))
