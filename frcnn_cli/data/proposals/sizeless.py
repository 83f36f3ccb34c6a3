"""What formats without image sizes have in common: all boxes in memory, each image's checked when its size is known."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from frcnn_cli.data.proposals.npz import MOST_BOXES, checked_proposals
from frcnn_cli.data.proposals.stored import StoredProposals
from frcnn_cli.errors import DataError

ROUNDING = 0.01
"""Pixels by which a box may leave its image and is clipped in silence: sums of float32 numbers end that far off."""


class SizelessProposals(StoredProposals):
    """Another tool's proposals, opened for reading: used as a `ProposalFile` is.

    Attributes:
        path: the file.
        meta: empty, as the format holds no settings.
        ids: the image ids, in the file's order.

    Args:
        path: the file.
        ids: as the file gives them.

    Raises:
        DataError: two images share an id.
    """

    convention = ""
    """How the numbers are read, for messages."""

    def __init__(self, path: Path, ids: Iterable[str]) -> None:
        self.path = path
        self.meta: dict[str, Any] = {}
        self.ids = tuple(ids)
        self._places = {image_id: place for place, image_id in enumerate(self.ids)}
        if len(self._places) < len(self.ids):
            twice = next(name for place, name in enumerate(self.ids) if self._places[name] != place)
            raise DataError(f"{path}: image {twice} is there twice")

    def __contains__(self, image_id: object) -> bool:
        return self._place(image_id) is not None

    def __len__(self) -> int:
        return len(self.ids)

    def get(self, image_id: str, width: int, height: int) -> np.ndarray:
        """Return the boxes of one image of width x height pixels: float32 [N, 4], xyxy, best first.

        Raises:
            DataError: there are none for this image, or they are no valid boxes of such an image.
        """
        place = self._place(image_id)
        if place is None:
            raise DataError(f"{self.path}: no proposals for image {image_id}")
        try:
            with np.errstate(invalid="ignore", over="ignore"):  # what is not finite is found below
                boxes = self._xyxy(place)
                clipped = np.clip(boxes, 0, (width, height) * 2)
                return checked_proposals(np.where(np.abs(clipped - boxes) <= ROUNDING, clipped, boxes), width, height)
        except ValueError as fault:
            raise DataError(f"{self.path}: image {image_id}: {fault}; read as {self.convention}") from fault

    def _place(self, image_id: object) -> int | None:
        return self._places.get(image_id)

    @abstractmethod
    def _xyxy(self, place: int) -> np.ndarray:
        """The boxes of the image in a place: float64 [N, 4], xyxy in continuous pixels, best first.

        Raises:
            ValueError: one line saying what is wrong with them.
        """


def as_boxes(array: object) -> np.ndarray:
    """Return an array of numbers [N, 4] as float64, in which uint8 and uint16 cannot wrap around.

    Raises:
        ValueError: it is not one.
    """
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "iuf":
        kind = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
        raise ValueError(f"boxes are {kind}, not numbers [N, 4]")
    if array.size == 0:
        return np.zeros((0, 4))  # tools write "no boxes" as [0, 0], [0] or [0, 4]
    if array.ndim != 2 or array.shape[1] != 4:
        raise ValueError(f"boxes are {array.dtype} {list(array.shape)}, not numbers [N, 4]")
    if len(array) > MOST_BOXES:
        raise ValueError(f"{len(array):,} boxes; at most {MOST_BOXES:,} are read")
    return array.astype(np.float64)
