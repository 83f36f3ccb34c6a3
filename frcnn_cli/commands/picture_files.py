"""Where the pictures of --save-dir and --crop go."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from frcnn_cli.data.detections import ImageResult
from frcnn_cli.errors import DataError
from frcnn_cli.files import inside
from frcnn_cli.replacing import check_replaced

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
"""Of images whose pictures have the same; others have .png."""


def picture_paths(
    paths: Sequence[Path], folder: Path, videos: Collection[Path] = (), force: bool = False
) -> dict[Path, Path]:
    """By the image's path, where its picture goes: the image's own name, numbered if another picture has it.

    Args:
        paths: of images and videos.
        folder: of the pictures.
        videos: those of the paths whose pictures are videos.
        force: replace pictures that are there and not ours.

    Raises:
        DataError: a picture would replace an image.
        UsageError: a picture would replace a file that this program did not write.
    """
    targets: dict[Path, Path] = {}
    taken: set[Path] = set()
    for path in paths:
        suffix = ".mp4" if path in videos else path.suffix.lower() if path.suffix.lower() in SUFFIXES else ".png"
        endings = (suffix, *(f"_{number}{suffix}" for number in range(2, len(paths) + 1)))
        names = (inside(folder, path.stem or "_", ending) for ending in endings)
        targets[path] = next(name for name in names if name not in taken)
        taken.add(targets[path])
    sources = {path.resolve() for path in paths}
    overwritten = [target for target in targets.values() if target.resolve() in sources]
    if overwritten:
        raise DataError(f"{overwritten[0]}: --save-dir would replace this image itself")
    check_replaced(targets.values(), force)
    return targets


def crop_path(folder: Path, picture: Path, class_name: str, number: int, result: ImageResult) -> Path:
    """Where a crop goes: FOLDER/CLASS/IMAGE_NUMBER.jpg; of a frame, FOLDER/CLASS/VIDEO/FRAME_NUMBER.jpg.

    Args:
        folder: of all crops.
        picture: what the image's picture is called among those of all images.
        class_name: of the detection.
        number: of the detection in its image, from 1 on.
        result: of the image.
    """
    name = class_name.replace("/", "_") or "_"
    if result.frame is not None:
        return inside(folder, f"{name}/{picture.stem}/{result.frame.number:06d}", f"_{number}.jpg")
    return inside(folder, f"{name}/{picture.stem}", f"_{number}{picture.suffix}")
