"""Images as they come to a command: by themselves, or as records of a data set."""

from __future__ import annotations

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
    """An image that belongs to no data set; its id is the file's name without the suffix."""

    path: Path

    @property
    def id(self) -> str:
        return self.path.stem
