"""What every reader of annotations asks of a box, whatever the file format."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from frcnn_cli.data.images import ImageHeader, read_header
from frcnn_cli.data.samples import Objects
from frcnn_cli.errors import DataError, DatasetFaults

Box = tuple[float, float, float, float]

OVERSHOOT = 1.0
"""Pixels by which a box may leave its image and is clipped in silence: files that count from 0 where the
format counts from 1 (or the other way) are that far off. More than that is a fault."""


class BoxFault(ValueError):
    """A box that cannot be used; the message completes the sentence "box (...) ..."."""


@dataclass(frozen=True)
class Frame:
    """The image that boxes are drawn on.

    Attributes:
        width, height: the image's size in pixels as displayed (EXIF applied).
        turned: EXIF orientation (5 .. 8) to apply to the boxes, which were drawn on the stored, sideways
            pixels; 1 where they were drawn on the image as displayed.
    """

    width: int
    height: int
    turned: int = 1

    def place(self, box: Sequence[float]) -> Box:
        """Check one xyxy box (continuous pixels of the annotated image); return it within the displayed image.

        Raises:
            BoxFault: not finite, inverted, without area, or outside the image by more than `OVERSHOOT`.
        """
        x1, y1, x2, y2 = box
        if not all(map(math.isfinite, box)):
            raise BoxFault("has a coordinate that is not a finite number")
        if x2 < x1 or y2 < y1:
            raise BoxFault("is inverted")
        if x2 == x1 or y2 == y1:
            raise BoxFault("has no area")
        x1, y1, x2, y2 = _turn_box((x1, y1, x2, y2), self.width, self.height, self.turned)
        overshoot = max(-x1, -y1, x2 - self.width, y2 - self.height)
        x1, y1, x2, y2 = max(x1, 0.0), max(y1, 0.0), min(x2, self.width), min(y2, self.height)
        if overshoot > OVERSHOOT or x2 <= x1 or y2 <= y1:
            wholly = "" if x2 > x1 and y2 > y1 else "wholly "
            raise BoxFault(f"lies {wholly}outside the image ({self.width} x {self.height})")
        return x1, y1, x2, y2


def open_frame(image: Path, stated_size: tuple[int, int] | None) -> Frame:
    """Read an image's header and hold it against the (width, height) that its annotation states, if it does.

    Raises:
        DataError: the image cannot be read, or its size is another one.
    """
    header: ImageHeader = read_header(image)
    size = (header.width, header.height)
    if stated_size is None or stated_size == size:
        return Frame(*size)
    if header.sideways and stated_size == size[::-1]:
        # The annotating tool ignored EXIF: its size and its boxes are those of the stored pixels.
        return Frame(*size, turned=header.orientation)
    raise DataError(f"{image}: image is {size[0]} x {size[1]}, its annotation says {stated_size[0]} x {stated_size[1]}")


def pack_objects(boxes: Sequence[Box], labels: Sequence[int], difficult: Sequence[bool]) -> Objects:
    """Make arrays of lists, with the right shapes for no object at all."""
    return Objects(
        boxes=np.array(boxes, dtype=np.float32).reshape(-1, 4),
        labels=np.array(labels, dtype=np.int64),
        difficult=np.array(difficult, dtype=bool),
    )


def check_class_names(classes: Sequence[str]) -> tuple[str, ...]:
    """Return the names as a tuple.

    Raises:
        DataError: a name is there twice.
    """
    twice = sorted({name for name in classes if list(classes).count(name) > 1})
    if twice:
        raise DataError(f"class {twice[0]!r} is listed twice")
    return tuple(classes)


def settle_faults(name: str, faults: Sequence[str], images_left: int, skip_faulty: bool) -> tuple[str, ...]:
    """Return the faults as what was skipped, or raise them all at once.

    Raises:
        DatasetFaults: there are faults and the caller did not ask to skip them, or no image is left.
    """
    if faults and not (skip_faulty and images_left):
        raise DatasetFaults(name if images_left else f"{name}: no usable image", faults)
    return tuple(faults)


def _turn_box(box: Box, width: int, height: int, orientation: int) -> Box:
    """Carry a box from stored pixels to the displayed image of width x height (EXIF 2.3, tag 0x0112)."""
    x1, y1, x2, y2 = box
    if orientation == 5:  # transposed
        return y1, x1, y2, x2
    if orientation == 6:  # a quarter turn clockwise
        return width - y2, x1, width - y1, x2
    if orientation == 7:  # transposed along the other diagonal
        return width - y2, height - x2, width - y1, height - x1
    if orientation == 8:  # a quarter turn anticlockwise
        return y1, height - x2, y2, height - x1
    return box
