"""Kinds of detector: what a checkpoint's ``kind`` stands for.

To add a kind takes a module that makes a `Kind` and a line in `DETECTORS`. A checkpoint of that kind is then one that
`frcnn detect` and `frcnn eval` take, and `frcnn compress-svd` where the kind has layers to compress.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from frcnn_cli.engine.detection_config import DetectionConfig
from frcnn_cli.tables import Table

if TYPE_CHECKING:  # the names of the kinds do not wait for torch
    import torch
    from torch import Tensor, nn

    from frcnn_cli.core.normalisation import Normalisation

FAST_RCNN = "fast-rcnn"
"""The kind of a checkpoint that does not name one, as no earlier version did."""


class Architecture(Protocol):
    """All that is needed to build a model of a kind: a frozen dataclass of what JSON can hold.

    Attributes:
        num_classes: without the background.
    """

    num_classes: int


class LoadedModel(Protocol):
    """A model on its device, and what it needs to read images; a `TorchEngine` is one.

    Attributes:
        model: in evaluation mode.
        classes: names of the labels 1, 2, ...
        normalisation: of the input.
        short_side: pixels that an image's shorter side is brought to ...
        long_side: ... unless the longer would pass this.
        device: to compute on.
    """

    model: nn.Module
    classes: tuple[str, ...]
    normalisation: Normalisation
    short_side: int
    long_side: int
    device: torch.device


class Scores(NamedTuple):
    """What a model says about an image's regions of interest, on the CPU.

    Attributes:
        boxes: Tensor[K, 4], xyxy in pixels of the image: the proposals, or the model's own.
        probabilities: Tensor[K, 1 + C].
        deltas: Tensor[K, C, 4], from the boxes to each class's own.
    """

    boxes: Tensor
    probabilities: Tensor
    deltas: Tensor


@dataclass(frozen=True)
class Kind:
    """A kind of detector.

    Attributes:
        title: what messages call it, such as ``Fast R-CNN``.
        architecture: makes the architecture of the keywords that a checkpoint holds; a TypeError or ValueError means
            that they are not those of this kind.
        build: a model of an architecture, with random weights.
        score: looks at an image: uint8 RGB [H, W, 3], proposals float32 [K, 4] with K > 0 (None where `needs_proposals`
            is False), and how closely. It may raise a UsageError for a way to look that this kind does not have.
        needs_proposals: whether boxes are given to it; a network that proposes its own needs none.
        compressible: names of the fully connected layers of ``model.head`` that can be replaced by two smaller ones;
            the architecture has a rank for each, ``NAME_rank``.
        propose: of a kind with a network that proposes, the boxes that it would take of an image, at most so many:
            float32 [N, 4], xyxy in pixels of the image, best first; None for another kind.
    """

    title: str
    architecture: Callable[..., Architecture]
    build: Callable[[Any], nn.Module]
    score: Callable[[LoadedModel, np.ndarray, np.ndarray | None, DetectionConfig], Scores]
    needs_proposals: bool = True
    compressible: tuple[str, ...] = ()
    propose: Callable[[LoadedModel, np.ndarray, int], np.ndarray] | None = None


DETECTORS: Table[Kind] = Table(
    "kind of detector",
    {
        "rcnn": "frcnn_cli.engine.detectors.rcnn:KIND",
        "sppnet": "frcnn_cli.engine.detectors.sppnet:KIND",
        FAST_RCNN: "frcnn_cli.engine.detectors.fast_rcnn:KIND",
        "faster-rcnn": "frcnn_cli.engine.detectors.faster_rcnn:KIND",
    },
)
"""By what checkpoints call them."""
