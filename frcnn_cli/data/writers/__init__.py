"""Files of detections: one module a format, written image by image, as results come.

To add a format takes a module with a function that opens a file, and a line in `WRITERS`; its name is then a value of
``--format``, and a suffix that it has by default.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from frcnn_cli.data.detections import ImageResult
from frcnn_cli.data.items import Item, Video
from frcnn_cli.errors import DataError
from frcnn_cli.files import inside
from frcnn_cli.tables import Table


@dataclass(frozen=True)
class Target:
    """What is to be written.

    Attributes:
        path: a file, or the folder of several.
        classes: names of the labels 1, 2, ...
        images: those that results may come of, and videos whose frames they may come of.
        split: the list that the images are from, such as ``test``.
    """

    path: Path
    classes: tuple[str, ...]
    images: Sequence[Item]
    split: str = "test"


class Writer(Protocol):
    """Opens a file of detections."""

    def __call__(self, target: Target) -> AbstractContextManager[Callable[[ImageResult], None]]:
        """A context that gives a function, which writes what was found in one image.

        The file is there when the block has ended, whole, and not before; on a fault or Ctrl-C, an older one stays.

        Raises:
            DataError: on entering the block, which is before the long work: the file cannot be written, or the name of
                an image or of a class cannot stand in it. Later: the disk is full.
        """


WRITERS: Table[Writer] = Table(
    "format",
    {
        "json": "frcnn_cli.data.writers.json_file:write_json",
        "jsonl": "frcnn_cli.data.writers.json_lines:write_json_lines",
        "csv": "frcnn_cli.data.writers.csv_file:write_csv",
        "coco": "frcnn_cli.data.writers.coco:write_coco",
        "voc": "frcnn_cli.data.writers.voc_results:write_voc",
        "voc-xml": "frcnn_cli.data.writers.voc_xml:write_voc_xml",
        "yolo": "frcnn_cli.data.writers.yolo:write_yolo",
        "yolo-conf": "frcnn_cli.data.writers.yolo:write_yolo_scores",
    },
)
"""By the name of ``--format``."""


def check_distinct(target: Target) -> None:
    """Refuse images that would share a file, for formats of one file an image.

    Raises:
        DataError: two have one id, or ids that are one as names of files.
    """
    owners: dict[Path, Path] = {}
    for image in target.images:
        name = inside(Path(), first_id(image))
        if name in owners:
            raise DataError(f"{target.path}: {owners[name]} and {image.path} would share the file of {name}")
        owners[name] = image.path


def first_id(item: Item) -> str:
    """The id of an image, or of a video's first frame."""
    return item.frame_id(0) if isinstance(item, Video) else item.id
