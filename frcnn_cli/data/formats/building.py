"""What the readers of all formats have in common: images and objects come in, a `Dataset` and all faults come out."""

from __future__ import annotations

import math
import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from frcnn_cli.data.formats import Reading
from frcnn_cli.data.images import ImageHeader, read_header
from frcnn_cli.data.samples import Dataset, ImageRecord, Objects
from frcnn_cli.errors import DataError, DatasetFaults

Box = tuple[float, float, float, float]

OVERSHOOT = 1.0
"""Pixels by which a box may leave its image and is clipped in silence: files that count from 0 where the
format counts from 1 (or the other way) are that far off."""

INSIDE = 0.9
"""The least share of a box that must lie inside its image. Those that leave it by less are clipped and counted."""

BACKGROUNDS = frozenset({"__background__", "_background_"})
"""What some tools call that which is no object, in lists of classes."""


class ObjectFault(ValueError):
    """An object that cannot be used; the message is put behind where it stands."""


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

    def place(self, box: Sequence[float], strict: bool = False) -> tuple[Box, bool]:
        """Check one xyxy box (continuous pixels of the annotated image).

        Args:
            box: to be checked.
            strict: refuse whatever leaves the image by more than `OVERSHOOT`.

        Returns:
            The box within the displayed image, and whether more than `OVERSHOOT` of it was cut off.

        Raises:
            ObjectFault: not finite, inverted, without area, or too much of it lies outside; the message completes the
                sentence "box (...) ...".
        """
        x1, y1, x2, y2 = box
        if not all(map(math.isfinite, box)):
            raise ObjectFault("has a coordinate that is not a finite number")
        if x2 < x1 or y2 < y1:
            raise ObjectFault("is inverted")
        if x2 == x1 or y2 == y1:
            raise ObjectFault("has no area")
        x1, y1, x2, y2 = _turn_box((x1, y1, x2, y2), self.width, self.height, self.turned)
        area = (x2 - x1) * (y2 - y1)
        overshoot = max(-x1, -y1, x2 - self.width, y2 - self.height)
        x1, y1, x2, y2 = max(x1, 0.0), max(y1, 0.0), min(x2, self.width), min(y2, self.height)
        if x2 <= x1 or y2 <= y1:
            raise ObjectFault(f"lies wholly outside the image ({self.width} x {self.height})")
        if overshoot > OVERSHOOT and (strict or (x2 - x1) * (y2 - y1) < INSIDE * area):
            raise ObjectFault(f"lies outside the image ({self.width} x {self.height})")
        return (x1, y1, x2, y2), overshoot > OVERSHOOT


@dataclass
class ImageDraft:
    """An image, and its objects as they are found: classes by name."""

    id: str
    path: Path
    frame: Frame
    coco_id: int | str | None = None
    boxes: list[Box] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    difficult: list[bool] = field(default_factory=list)
    crowd: list[bool] = field(default_factory=list)


class Draft:
    """A data set while it is read.

    Args:
        name: for messages, as `Dataset.name`.
        reading: what is wanted of it.
        faults: what was wrong before.

    Attributes:
        faults: one line each, in the order in which they were met.
        notes: what is no fault, but worth saying; likewise.

    Raises:
        DataError: the classes that are wanted are no sound list.
    """

    def __init__(self, name: str, reading: Reading, faults: Iterable[str] = ()) -> None:
        self.name = name
        self.reading = reading
        self.faults = list(faults)
        self.notes: list[str] = []
        self._images: list[ImageDraft] = []
        self._paths: set[Path] = set()
        self._clipped = 0
        self._allowed: set[str] = set()
        wanted = reading.classes if reading.only is None else reading.only
        self._known = None if wanted is None else check_class_names(wanted)
        self._passed_over: Counter[str] = Counter()

    def add_image(
        self,
        image_id: str,
        path: Path,
        stated_size: tuple[int, int] | None = None,
        coco_id: int | str | None = None,
    ) -> ImageDraft:
        """Read an image's header and hold it against the (width, height) that its annotation states, if it does.

        Args:
            image_id: its path without the suffix, which is added where another image is called so.
            path: the file.
            stated_size: as the annotation has it.
            coco_id: see `ImageRecord`.

        Raises:
            DataError: the image cannot be read, its size is another one, or the file is an image of the set already.
        """
        if path in self._paths:
            raise DataError(f"{path}: is there twice")
        image = ImageDraft(image_id, path, open_frame(path, stated_size), coco_id)
        self._images.append(image)
        self._paths.add(path)
        return image

    def wants(self, name: str) -> bool:
        """Whether objects of a class are to be read; if not, they are counted as passed over.

        Raises:
            ObjectFault: it is none of the classes that there should be, or it is the background.
        """
        if name in self._allowed:
            return True
        name = plain(name)
        if self.reading.only is not None and name not in self._known:
            self._passed_over[name] += 1
            return False
        if name.casefold() in BACKGROUNDS:
            raise ObjectFault(f"class {name!r}: the background is no class of objects")
        if self._known is not None and name not in self._known:
            like = next((known for known in self._known if known.casefold() == name.casefold()), None)
            raise ObjectFault(f"unknown class {name!r}" + (f" (there is {like!r})" if like else ""))
        self._allowed.add(name)
        return True

    def add_object(
        self,
        image: ImageDraft,
        name: str,
        box: Sequence[float],
        written: Sequence[float],
        difficult: bool = False,
        crowd: bool = False,
        fractions: bool = False,
    ) -> None:
        """Add an object of a class that is wanted.

        Args:
            image: as `add_image` has returned it.
            name: of the class.
            box: xyxy in continuous pixels of the annotated image.
            written: the numbers as the file has them, for messages.
            difficult: VOC's flag.
            crowd: whether it is a region of many objects, which is difficult too.
            fractions: whether the numbers that are written are parts of the image's size.

        Raises:
            ObjectFault: the box cannot be used.
        """
        try:
            if not fractions and _look_like_fractions(written):
                raise ObjectFault("looks like fractions of the image's size; pixels are wanted")
            placed, clipped = image.frame.place(box, self.reading.strict)
        except ObjectFault as fault:
            raise ObjectFault(f"box ({', '.join(f'{value:g}' for value in written)}) {fault}") from None
        self._clipped += clipped
        image.boxes.append(placed)
        image.names.append(plain(name))
        image.difficult.append(difficult or crowd)
        image.crowd.append(crowd)

    def note_outside(self, folders: Sequence[Path]) -> None:
        """Add to the notes how many images lie outside of all of these folders, if that is allowed."""
        if not self.reading.follow_outside:
            return  # there are none
        bases = [os.path.abspath(folder) + os.sep for folder in folders]
        paths = [image.path for image in self._images if not os.path.abspath(image.path).startswith(tuple(bases))]
        if paths:
            self.notes.append(f"images outside of {folders[0]}, which are read too: {len(paths)}, such as {paths[0]}")

    @property
    def names(self) -> set[str]:
        """The classes of the objects."""
        return {name for image in self._images for name in image.names}

    def finish(self, classes: Iterable[str]) -> Dataset:
        """Make the data set.

        Args:
            classes: the names in the order of their labels, where others are not wanted.

        Raises:
            DatasetFaults: faults, all of them, unless they are to be skipped; or no image is left.
        """
        known = self._known
        if known is None:
            known = check_class_names([name for name in map(plain, classes) if name.casefold() not in BACKGROUNDS])
            self._check_case()
        skipped = settle_faults(self.name, self.faults, len(self._images), self.reading.skip_faulty)
        if self._clipped:
            boxes = "1 box leaves its" if self._clipped == 1 else f"{self._clipped} boxes leave their"
            self.notes.append(f"{boxes} image by a little and {'is' if self._clipped == 1 else 'are'} clipped")
        if self._passed_over:
            names = ", ".join(sorted(self._passed_over))
            self.notes.append(f"objects of other classes that are passed over: {self._passed_over.total()} ({names})")
        labels = {name: label for label, name in enumerate(known, start=1)}
        self._tell_apart()
        records = tuple(_record(image, labels) for image in self._images)
        return Dataset(self.name, known, records, skipped, tuple(self.notes))

    def _tell_apart(self) -> None:
        """Give images of the same name but for the suffix (a1.jpg, a1.png) the suffix as a part of their ids."""
        counts = Counter(image.id for image in self._images)
        for image in self._images:
            if counts[image.id] > 1:
                image.id += image.path.suffix

    def _check_case(self) -> None:
        counts = Counter(name for image in self._images for name in image.names)
        alike: dict[str, list[str]] = {}
        for name in sorted(counts):
            alike.setdefault(name.casefold(), []).append(name)
        for names in alike.values():
            if len(names) > 1:
                shown = " and ".join(f"{name!r} ({counts[name]} objects)" for name in names)
                self.faults.append(f"classes that differ in case only: {shown}; if they are several, name --classes")


@lru_cache(maxsize=10_000)
def plain(name: str) -> str:
    """A class name in the one way (NFC) that Unicode has several of to write an accent."""
    return unicodedata.normalize("NFC", name)


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


def stated_size(width: Any, height: Any) -> tuple[int, int] | None:
    """Read the size that an annotation states, numbers or texts; None for none, which tools also write as 0.

    Raises:
        ValueError: they are no whole numbers.
    """
    texts = ("" if value is None else value.strip() if isinstance(value, str) else value for value in (width, height))
    numbers = [0.0 if text == "" else float(text) for text in texts]
    if not all(number.is_integer() for number in numbers):
        raise ValueError("not whole numbers")
    return (int(numbers[0]), int(numbers[1])) if min(numbers) > 0 else None


def check_class_names(classes: Iterable[str]) -> tuple[str, ...]:
    """Return the names as a tuple.

    Raises:
        DataError: a name is there twice, or it is the background's.
    """
    names = tuple(map(plain, classes))
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"class {twice[0]!r} is listed twice")
    background = next((name for name in names if name.casefold() in BACKGROUNDS), None)
    if background is not None:
        raise DataError(f"class {background!r} is no class of objects: leave it out of the list")
    return names


def settle_faults(name: str, faults: Sequence[str], images_left: int, skip_faulty: bool) -> tuple[str, ...]:
    """Return the faults as what was skipped, or raise them all at once.

    Raises:
        DatasetFaults: there are faults and the caller did not ask to skip them, or no image is left.
    """
    if faults and not (skip_faulty and images_left):
        raise DatasetFaults(name if images_left else f"{name}: no usable image", faults)
    return tuple(faults)


def _record(image: ImageDraft, labels: dict[str, int]) -> ImageRecord:
    objects = Objects(
        boxes=np.array(image.boxes, dtype=np.float32).reshape(-1, 4),
        labels=np.array([labels[name] for name in image.names], dtype=np.int64),
        difficult=np.array(image.difficult, dtype=bool),
        crowd=np.array(image.crowd, dtype=bool) if any(image.crowd) else None,
    )
    return ImageRecord(image.id, image.path, image.frame.width, image.frame.height, objects, image.coco_id)


def _look_like_fractions(written: Sequence[float]) -> bool:
    """Whether all numbers lie in [0, 1] and are not whole: a box of pixels is never that small."""
    return all(0 <= value <= 1 for value in written) and not all(float(value).is_integer() for value in written)


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
