"""What runs a model: torch, ONNX Runtime, and whatever else there is a line for in `RUNTIMES`.

To add one takes a module with a function that opens a checkpoint, and that line; its name is then a value of
``--runtime``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from frcnn_cli.data.detections import Detections
from frcnn_cli.engine.detection_config import DetectionConfig
from frcnn_cli.tables import Table


class Engine(Protocol):
    """A model that is ready to run.

    Attributes:
        classes: names of the labels 1, 2, ...
        needs_proposals: whether boxes have to be given to it; if not, the model proposes its own.
    """

    classes: tuple[str, ...]
    needs_proposals: bool

    def detect(self, image: np.ndarray, proposals: np.ndarray | None, config: DetectionConfig) -> Detections:
        """Detect objects.

        Args:
            image: uint8 RGB [H, W, 3].
            proposals: float32 [K, 4], xyxy in pixels of the image; None where the model needs none.
            config: thresholds, and how closely to look.

        Returns:
            By falling score, without names.
        """


@runtime_checkable
class EarlyEngine(Engine, Protocol):
    """One that looks at an image before there are proposals, so that both are made at a time.

    Attributes:
        at_once: how many images it looks at together best, each in a thread of its own.
    """

    at_once: int

    def sharing(self, images: int) -> EarlyEngine:
        """The same engine for one of so many images that are looked at together: it uses its share of the cores."""

    def look(self, image: np.ndarray, config: DetectionConfig) -> Look:
        """Begin to compute what needs no proposals, in threads of its own.

        Args:
            image: uint8 RGB [H, W, 3].
            config: how closely.
        """


class Look(Protocol):
    """An image that is looked at.

    Attributes:
        lasting: whether that takes about as long as a search of the image: then each is to have half of the cores, as
            threads that share a core hold one another up.
    """

    lasting: bool

    def detect(self, proposals: np.ndarray) -> Detections:
        """See `Engine.detect`."""


class Runtime(Protocol):
    """Opens a checkpoint."""

    def __call__(self, path: Path, device: str) -> Engine:
        """The model of a file, ready to run.

        Args:
            path: of a file that is there.
            device: auto, or whatever names one.

        Raises:
            UsageError: no such device here.
            DataError: the file is not a checkpoint that this runtime can run.
        """


RUNTIMES: Table[Runtime] = Table(
    "runtime",
    {
        "auto": "frcnn_cli.engine.runtimes.auto:open_checkpoint",
        "torch": "frcnn_cli.engine.runtimes.torch_engine:open_checkpoint",
        "onnx": "frcnn_cli.engine.runtimes.onnx_engine:open_checkpoint",
    },
)
"""By the name of ``--runtime``."""
