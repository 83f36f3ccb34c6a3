"""Layouts of annotated data sets: one module a format, files in, a `Dataset` out.

To add a format takes a module that makes a `Format` and a line in `FORMATS`; its options follow from these: ``--NAME``,
and ``--val-NAME`` where each split is a place of its own.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from frcnn_cli.data.samples import Dataset
from frcnn_cli.tables import Table


@dataclass(frozen=True)
class Reading:
    """What is wanted of a data set, whatever its format.

    Attributes:
        split: the name of a list; without meaning where a place is a single list.
        images: the folder of the images, for formats that do not say where it is.
        classes: names in the order of their labels; None for those of the annotations.
        only: names in the order of their labels, like `classes`, but objects of others are passed over, not faults.
        skip_faulty: leave faulty objects and images out, and list them in `Dataset.skipped`.
        strict: take boxes that leave their image by more than a rounding error for faults, however little it is.
        unannotated_empty: take images without an annotation for images without objects, where the format does not.
        follow_outside: read images that names of the data set lead to outside of its folder.
    """

    split: str
    images: Path | None = None
    classes: tuple[str, ...] | None = None
    only: tuple[str, ...] | None = None
    skip_faulty: bool = False
    strict: bool = False
    unannotated_empty: bool = False
    follow_outside: bool = False


@dataclass(frozen=True)
class DefaultPlace:
    """Where a data set lies if nobody says: in the folder that an environment variable names, or else in another."""

    variable: str
    folder: str

    def __str__(self) -> str:
        return f"${self.variable} or ./{self.folder}"

    def find(self) -> Path:
        """The place, as the environment is now."""
        return Path(os.environ.get(self.variable, self.folder))


@dataclass(frozen=True)
class Format:
    """A layout of data sets on the disk.

    Attributes:
        metavar: what the option takes, such as ``ROOT``.
        help: of the option, a full phrase.
        load: reads what is wanted from a place, as `load_voc` does; raises `DataError` or `DatasetFaults`.
        lists: whether a place holds several lists of images, which ``--split`` chooses from; if not, each split is a
            place of its own.
        needs_images: whether the folder of the images has to be named beside the place.
        default_place: what the option means without a value; None where it needs one.
    """

    metavar: str
    help: str
    load: Callable[[Path, Reading], Dataset]
    lists: bool
    needs_images: bool = False
    default_place: DefaultPlace | None = None


FORMATS: Table[Format] = Table(
    "data set format",
    {
        "voc": "frcnn_cli.data.formats.voc:VOC",
        "coco": "frcnn_cli.data.formats.coco:COCO",
        "yolo": "frcnn_cli.data.formats.yolo:YOLO",
    },
)
"""By the name of the option. Where a place is missing, they are offered in this order."""
