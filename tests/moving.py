"""A video whose boxes are known: a piece of a photograph that moves over black, and a detector that finds it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from frcnn_cli.core.normalisation import NORMALISATIONS
from frcnn_cli.data.images import load_image
from frcnn_cli.data.video_writer import write_video
from frcnn_cli.engine.checkpoint import Checkpoint, save_checkpoint
from frcnn_cli.engine.detectors import Kind, Scores

WIDTH, HEIGHT, SIDE, STEP = 96, 64, 24, 4
FPS = 12.5
CLASSES = ("piece", "other")


def box(frame: int) -> tuple[int, int, int, int]:
    """Where the piece is."""
    left, top = 8 + STEP * frame, 20
    return left, top, left + SIDE, top + SIDE


def frame_image(photograph: np.ndarray, frame: int) -> np.ndarray:
    """A frame: the middle of the photograph, nowhere dark, on black."""
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    y, x = photograph.shape[0] // 2, photograph.shape[1] // 2
    left, top, right, bottom = box(frame)
    image[top:bottom, left:right] = np.maximum(photograph[y : y + SIDE, x : x + SIDE], 100)
    return image


def make_video(path: Path, photographs: Path, frames: int = 10) -> Path:
    """A video of the moving piece."""
    photograph = load_image(photographs / "JPEGImages" / "kingfisher.jpg")
    with write_video(path, FPS) as add:
        for frame in range(frames):
            add(frame_image(photograph, frame), frame / FPS)
    return path


@dataclass(frozen=True)
class LightArchitecture:
    num_classes: int


class LightModel(nn.Module):
    """Nothing to learn: a detector of what is not black."""

    def __init__(self, architecture: LightArchitecture) -> None:
        super().__init__()
        self.register_buffer("nothing", torch.zeros(1))


def find_light(image: np.ndarray) -> list[float]:
    """The box around all that is not black."""
    rows, columns = np.nonzero(image.max(axis=2) > 50)
    return [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


def light_kind(needs_proposals: bool = False, seen: Callable[..., object] = lambda *seen: None) -> Kind:
    """A kind of detector that finds what is not black, and tells what it was given."""

    def score(engine, image, proposals, config) -> Scores:
        seen(image, proposals, config)
        boxes = torch.tensor([find_light(image)], dtype=torch.float32)
        return Scores(boxes, torch.tensor([[0.1, 0.9, 0.0]]), torch.zeros(1, 2, 4))

    return Kind("finder of light", LightArchitecture, LightModel, score, needs_proposals)


def save_light(path: Path, classes: tuple[str, str] = CLASSES) -> Path:
    """A checkpoint of the kind ``light``; it finds the first class."""
    state = {"nothing": torch.zeros(1)}
    save_checkpoint(
        path, Checkpoint(LightArchitecture(2), classes, NORMALISATIONS["half"], 96, 160, {}, state, kind="light")
    )
    return path
