"""Photographs that show a command what a model will see."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from frcnn_cli.commands.console import err
from frcnn_cli.data.images import evenly_spaced, find_images, left_out
from frcnn_cli.errors import UsageError
from frcnn_cli.settings import setting


def calibration_images(usual: int) -> Any:
    """The option --calibration-images of a command that looks at so many photographs where nobody says how many."""
    help_text = "How many of the photographs are looked at, evenly spaced."
    return setting(None, help_text, metavar="N", least=1, shown_default=str(usual))


def calibration_photographs(folder: Path | None, wanted: int | None, usual: int) -> list[Path]:
    """Some of a folder's photographs; none where there is no folder. What cannot be opened of them is said.

    Args:
        folder: --calibrate.
        wanted: --calibration-images, how many; None where nobody said it.
        usual: how many there are then.

    Raises:
        UsageError: a number of photographs, but no folder.
        DataError: there is no such folder, or no image in it.
    """
    if folder is None:
        if wanted is not None:
            raise UsageError(f"--calibration-images {wanted}: of which folder? give --calibrate too")
        return []
    paths = find_images([folder])
    for line in left_out([folder]):
        err.print(line)
    return evenly_spaced(paths, usual if wanted is None else wanted)
