"""What a data set is once it has been read: classes, images and their objects. No file is opened here."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from frcnn_cli.errors import DataError


@dataclass(frozen=True)
class Objects:
    """The annotated objects of one image.

    Attributes:
        boxes: float32 [N, 4], xyxy in pixels, continuous (width = x2 - x1).
        labels: int64 [N], 1 .. number of classes.
        difficult: bool [N], VOC's flag; never counted in evaluation. Training learns from them.
        crowd: bool [N], COCO's regions of many objects, which are difficult too; None where there are none. Training
            learns neither an object from them nor background within them.
    """

    boxes: np.ndarray
    labels: np.ndarray
    difficult: np.ndarray
    crowd: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.boxes)

    def without_difficult(self) -> Objects:
        """Those that count in evaluation."""
        easy = ~self.difficult
        return Objects(self.boxes[easy], self.labels[easy], self.difficult[easy])

    def without_crowds(self) -> Objects:
        """Those to learn from."""
        if self.crowd is None:
            return self
        single = ~self.crowd
        return Objects(self.boxes[single], self.labels[single], self.difficult[single])

    def crowds(self) -> np.ndarray:
        """Boxes of the crowds: float32 [M, 4]."""
        return self.boxes[:0] if self.crowd is None else self.boxes[self.crowd]


@dataclass(frozen=True)
class ImageRecord:
    """One image of a data set.

    Attributes:
        id: its name, unique in the set.
        path: of the file.
        width, height: in pixels as displayed (EXIF applied).
        objects: those annotated.
        coco_id: what a COCO file calls it, by which detectron2's proposals go; None in other formats.
    """

    id: str
    path: Path
    width: int
    height: int
    objects: Objects
    coco_id: int | str | None = None


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


def divide(dataset: Dataset, fraction: float, seed: int = 0) -> tuple[Dataset, Dataset]:
    """A data set to learn from and one to measure on: the images are drawn at random, each part keeps their order.

    Args:
        dataset: of two images or more.
        fraction: of the images that the second part gets, at least one and not all.
        seed: the same gives the same parts, in whatever order the images come.

    Raises:
        DataError: there is one image only.
    """
    if len(dataset) < 2:
        raise DataError(f"{dataset.name}: {len(dataset)} image cannot be divided")
    count = min(max(round(fraction * len(dataset)), 1), len(dataset) - 1)
    ids = sorted(record.id for record in dataset.records)
    drawn = {ids[place] for place in np.random.default_rng(seed).permutation(len(ids))[:count]}
    first = tuple(record for record in dataset.records if record.id not in drawn)
    second = tuple(record for record in dataset.records if record.id in drawn)
    return (
        replace(dataset, name=f"{dataset.name} (to learn from)", records=first),
        replace(dataset, name=f"{dataset.name} (to measure on)", records=second, skipped=(), notes=()),
    )


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
