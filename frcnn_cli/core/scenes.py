"""What is on an image that a network learns from."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from frcnn_cli.core.boxes import clip


@dataclass(frozen=True)
class Scene:
    """An image of a batch, and what is on it, in pixels of the network's input.

    Attributes:
        place: of the image in the mini-batch, from 0.
        size: (width, height), without the padding.
        boxes: Tensor[G, 4] of the objects, G >= 0.
        labels: int64 Tensor[G], classes from 1.
        crowds: Tensor[M, 4], regions of objects that are not in `boxes`.
    """

    place: int
    size: tuple[int, int]
    boxes: Tensor
    labels: Tensor
    crowds: Tensor

    def resized(self, ratio: Tensor, size: tuple[int, int]) -> Scene:
        """The same on the image scaled by `ratio` (Tensor[4]: of x, y, x, y) to `size`; boxes are clipped to it."""
        boxes, crowds = (clip(part * ratio, *size) for part in (self.boxes, self.crowds))
        return replace(self, size=size, boxes=boxes, crowds=crowds)
