"""Photographs that show a command what a model will see."""

from __future__ import annotations

from pathlib import Path

from frcnn_cli.commands.console import err
from frcnn_cli.data.images import find_images, left_out


def evenly_spaced(folder: Path | None, count: int) -> list[Path]:
    """At most so many of a folder's photographs, evenly spaced among all; none where there is no folder.

    What a folder has that cannot be opened is said.

    Raises:
        DataError: there is no such folder, or no image in it.
    """
    if folder is None:
        return []
    paths = find_images([folder])
    for line in left_out([folder]):
        err.print(line)
    count = min(count, len(paths))
    return [paths[i * len(paths) // count] for i in range(count)]
