"""What proposal files of every format have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np


class StoredProposals(ABC):
    """Proposals of a file, which are a source of proposals (`frcnn_cli.engine.sources`) as a search is one."""

    made = False

    @abstractmethod
    def get(self, image_id: str, width: int, height: int) -> np.ndarray:
        """Return the boxes of one image of width x height pixels: float32 [N, 4], xyxy, best first.

        Raises:
            DataError: there are none for this image, or they are no valid boxes of such an image.
        """

    def boxes(self, image: np.ndarray, image_id: str) -> np.ndarray:
        """The same of an image that is there: [H, W, 3]."""
        height, width = image.shape[:2]
        return self.get(image_id, width, height)
