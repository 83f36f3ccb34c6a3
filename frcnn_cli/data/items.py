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


@dataclass(frozen=True)
class Video(ImageFile):
    """A video file, a camera, or a stream of a network; its frames are images, and their ids begin with its own.

    Attributes:
        source: what is opened: the file's path, a camera's number, or a stream's address.
        live: whether frames are lost that nobody takes in time.
    """

    source: str | int = ""
    live: bool = False

    def frame_id(self, number: int) -> str:
        """The id of a frame."""
        return f"{self.id}/{number:06d}"


def coco_ids(images: Iterable[Item]) -> dict[str, int | str]:
    """What COCO's file calls images, by their ids; those of other formats, and single files, are left out."""
    found = ((image.id, getattr(image, "coco_id", None)) for image in images)
    return {image_id: coco_id for image_id, coco_id in found if coco_id is not None}
