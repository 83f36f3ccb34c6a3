"""Images as they come to a command: by themselves, or as records of a data set."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


class Item(Protocol):
    """An image that has a name, such as an `ImageRecord`."""

    @property
    def id(self) -> str: ...

    @property
    def path(self) -> Path: ...


@dataclass(frozen=True)
class ImageFile:
    """An image that belongs to no data set; its id is its name without the suffix.

    Attributes:
        path: of the file.
        name: the file's own, if None; where others are called so too, one with folders.
    """

    path: Path
    name: str | None = None

    @property
    def id(self) -> str:
        return os.path.splitext(self.name or self.path.name)[0]


def coco_ids(images: Iterable[Item]) -> dict[str, int | str]:
    """What COCO's file calls images, by their ids; those of other formats, and single files, are left out."""
    found = ((image.id, getattr(image, "coco_id", None)) for image in images)
    return {image_id: coco_id for image_id, coco_id in found if coco_id is not None}
