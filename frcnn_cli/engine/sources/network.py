"""Proposals of a network that has learned to make them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from frcnn_cli.core.rpn.config import DETECTION
from frcnn_cli.engine.checkpoint import load_checkpoint
from frcnn_cli.engine.detectors import DETECTORS
from frcnn_cli.engine.devices import pick_device
from frcnn_cli.engine.runtimes.torch_engine import TorchEngine
from frcnn_cli.errors import UsageError
from frcnn_cli.files import reading


@dataclass(frozen=True)
class NetworkConfig:
    """How proposals are made, in the place of a `ProposalConfig`.

    Attributes:
        path: a checkpoint of a kind of detector with a network that proposes.
        max_proposals: of an image.
        device: auto, cpu, cuda or cuda:N.
    """

    path: Path
    max_proposals: int = DETECTION.count
    device: str = "auto"
    mode: ClassVar[str] = "network"
    """What proposal files call it."""

    @property
    def summary(self) -> str:
        """See `ProposalConfig.summary`."""
        return f"network {self.path.name}"

    def settings(self) -> dict[str, Any]:
        """See `ProposalConfig.settings`. The network is known by its content, wherever it lies."""
        with reading(self.path):
            digest = hashlib.sha256(self.path.read_bytes()).hexdigest()
        return {
            "mode": self.mode,
            "network": self.path.name,
            "max_proposals": self.max_proposals,
            "checkpoint": digest,
        }

    def search(self) -> Callable[..., np.ndarray]:
        """See `ProposalConfig.search`.

        Raises:
            UsageError: no such device, or a detector without a network that proposes.
            DataError: no such file, or not a checkpoint.
        """
        device = pick_device(self.device)
        _engine(self.path, device)
        return partial(_propose, path=self.path, device=device, count=self.max_proposals)


class NetworkSource:
    """Asks the network about each image; a `ProposalSource`. Arguments and exceptions are `NetworkConfig`'s."""

    made = True

    def __init__(self, config: NetworkConfig) -> None:
        self.search = config.search()

    def boxes(self, image: np.ndarray, image_id: str = "") -> np.ndarray:
        """See `ProposalSource.boxes`."""
        return self.search(image)


def _propose(image: np.ndarray, *, path: Path, device: str, count: int, threads: int | None = None) -> np.ndarray:
    if threads is not None:
        torch.set_num_threads(threads)
    engine = _engine(path, device)
    return engine.kind.propose(engine, image, count)


@lru_cache(maxsize=1)
def _engine(path: Path, device: str) -> TorchEngine:
    """The detector of a file, read once in each process."""
    checkpoint = load_checkpoint(path)
    kind = DETECTORS[checkpoint.kind]
    if kind.propose is None:
        raise UsageError(f"{path}: {kind.title} has no network that proposes")
    engine = TorchEngine.of(checkpoint, device)
    engine.model.eval()
    return engine
