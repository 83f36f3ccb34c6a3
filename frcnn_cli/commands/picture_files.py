"""Where the pictures of --save-dir go."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from frcnn_cli.errors import DataError
from frcnn_cli.replacing import check_replaced


def picture_paths(paths: Sequence[Path], folder: Path, force: bool = False) -> dict[Path, Path]:
    """By the image's path, where its picture goes: the image's own name, numbered if another picture has it.

    Args:
        paths: of the images.
        folder: of the pictures.
        force: replace pictures that are there and not ours.

    Raises:
        DataError: a picture would replace an image.
        UsageError: a picture would replace a file that this program did not write.
    """
    targets: dict[Path, Path] = {}
    taken: set[Path] = set()
    for path in paths:
        suffix = path.suffix.lower() if path.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp") else ".png"
        numbers = ("", *(f"_{number}" for number in range(2, len(paths) + 1)))
        names = (folder / f"{path.stem}{number}{suffix}" for number in numbers)
        targets[path] = next(name for name in names if name not in taken)
        taken.add(targets[path])
    sources = {path.resolve() for path in paths}
    overwritten = [target for target in targets.values() if target.resolve() in sources]
    if overwritten:
        raise DataError(f"{overwritten[0]}: --save-dir would replace this image itself")
    check_replaced(targets.values(), force)
    return targets
