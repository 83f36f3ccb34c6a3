"""What a detector says about one image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Detections:
    """The detected objects of one image.

    Attributes:
        boxes: float32 [N, 4], xyxy in pixels, continuous (width = x2 - x1).
        scores: float32 [N], in [0, 1].
        labels: int64 [N], 1 .. number of classes (0 is the background, which is never detected).

    Other numeric types are converted. Two objects are equal only if they are the same object, as arrays have no single
    truth value.

    Raises:
        ValueError: wrong shapes or lengths, a number that is not finite, a score outside [0, 1], a label below 1 or
            not an integer.
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray

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
        # The only way to set a field of a frozen dataclass, and only here, before anybody has seen the object.
        object.__setattr__(self, "boxes", boxes)
        object.__setattr__(self, "scores", scores)
        object.__setattr__(self, "labels", labels.astype(np.int64, copy=False))

    def __len__(self) -> int:
        return len(self.boxes)

    @classmethod
    def empty(cls) -> Detections:
        """An image where nothing was found."""
        return cls(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))
