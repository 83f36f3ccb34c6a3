"""What a detector says about one image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np


@dataclass(frozen=True, eq=False)
class Detections:
    """The detected objects of one image.

    Attributes:
        boxes: float32 [N, 4], xyxy in pixels, continuous (width = x2 - x1).
        scores: float32 [N], in [0, 1].
        labels: int64 [N], 1 .. number of classes (0 is the background, which is never detected).
        names: of the classes, one a detection; empty where nobody has named them (`named`).

    Other numeric types are converted. Two objects are equal only if they are the same object, as arrays have no single
    truth value.

    Raises:
        ValueError: wrong shapes or lengths, a number that is not finite, a score outside [0, 1], a label below 1 or
            not an integer, or names that are not one a detection.
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        boxes = np.asarray(self.boxes, dtype=np.float32)
        scores = np.asarray(self.scores, dtype=np.float32)
        labels = np.asarray(self.labels)
        if boxes.ndim != 2 or boxes.shape[1] != 4:
            raise ValueError(f"boxes must have the shape [N, 4], not {list(boxes.shape)}")
        for name, array in (("scores", scores), ("labels", labels)):
            if array.shape != (len(boxes),):
                raise ValueError(f"{name} must have the shape [{len(boxes)}] (one a box), not {list(array.shape)}")
        if labels.size and not np.issubdtype(labels.dtype, np.integer):
            raise ValueError(f"labels must be integers, not {labels.dtype}")
        if not np.isfinite(boxes).all():
            raise ValueError("boxes must be finite")
        if not ((scores >= 0) & (scores <= 1)).all():  # also catches nan
            raise ValueError("scores must lie in [0, 1]")
        if (labels < 1).any():
            raise ValueError("labels must be 1 or more (0 is the background)")
        if self.names and len(self.names) != len(boxes):
            raise ValueError(f"{len(self.names)} names, but {len(boxes)} detections")
        # The only way to set a field of a frozen dataclass, and only here, before anybody has seen the object.
        object.__setattr__(self, "boxes", boxes)
        object.__setattr__(self, "scores", scores)
        object.__setattr__(self, "labels", labels.astype(np.int64, copy=False))

    def __len__(self) -> int:
        return len(self.boxes)

    def named(self, classes: Sequence[str]) -> Detections:
        """The same, each with the name of its class.

        Args:
            classes: names of the labels 1, 2, ...
        """
        return replace(self, names=tuple(classes[label - 1] for label in self.labels.tolist()))

    @classmethod
    def empty(cls) -> Detections:
        """An image where nothing was found."""
        return cls(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))


@dataclass(frozen=True)
class Seconds:
    """Wall-clock time of one image; `proposals` is None where none were made for it."""

    proposals: float | None
    detection: float


@dataclass(frozen=True)
class Frame:
    """Where in a video an image is.

    Attributes:
        number: from 0 on.
        seconds: from the beginning of the video.
        rate: frames a second that are looked at, where a rate is kept.
    """

    number: int
    seconds: float
    rate: float | None = None


@dataclass(frozen=True)
class ImageResult:
    """What was found in one image, or in one frame of a video.

    Attributes:
        id: of the image in its data set and in files of proposals.
        path: of its file; of a frame, its video's.
        width: in pixels.
        height: likewise.
        detections: with the names of their classes.
        seconds: how long they took.
        frame: None for an image that is none.
    """

    id: str
    path: Path
    width: int
    height: int
    detections: Detections
    seconds: Seconds
    frame: Frame | None = None
