"""What a data set is once it has been read: classes, images and their objects. No file is opened here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from frcnn_cli.errors import DataError


@dataclass(frozen=True)
class Objects:
    """The annotated objects of one image.

    Attributes:
        boxes: float32 [N, 4], xyxy in pixels, continuous (width = x2 - x1).
        labels: int64 [N], 1 .. number of classes.
        difficult: bool [N], VOC's flag; never counted in evaluation.
    """

    boxes: np.ndarray
    labels: np.ndarray
    difficult: np.ndarray

    def __len__(self) -> int:
        return len(self.boxes)

    def without_difficult(self) -> Objects:
        """Those that count in evaluation."""
        easy = ~self.difficult
        return Objects(self.boxes[easy], self.labels[easy], self.difficult[easy])


@dataclass(frozen=True)
class ImageRecord:
    """One image of a data set: where it lies, its size in pixels as displayed (EXIF applied), its objects."""

    id: str
    path: Path
    width: int
    height: int
    objects: Objects


@dataclass(frozen=True)
class Dataset:
    """Images in the order of their list, and the class names in the order of their labels (background left out).

    Attributes:
        name: for messages, such as ``VOC2007 val``.
        classes: names of the labels 1, 2, ...
        records: one an image.
        skipped: the faults of what was left out because the caller asked to skip it, one line each.
        notes: what is no fault, but worth saying about how the set was read, one line each.
    """

    name: str
    classes: tuple[str, ...]
    records: tuple[ImageRecord, ...]
    skipped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.records)


def join(first: Dataset, second: Dataset) -> Dataset:
    """The images of two data sets as one, such as VOC2007's and VOC2012's ("07+12").

    Raises:
        DataError: their classes differ, or an image's id is in both.
    """
    name = f"{first.name} + {second.name}"
    if first.classes != second.classes:
        raise DataError(f"{name}: the classes differ")
    twice = {record.id for record in first.records} & {record.id for record in second.records}
    if twice:
        raise DataError(f"{name}: {len(twice)} ids are in both, such as {min(twice)}")
    return Dataset(
        name,
        first.classes,
        first.records + second.records,
        first.skipped + second.skipped,
        first.notes + second.notes,
    )
