"""VOC's files of detection results: one text file a class, one line a detection.

``comp4_det_SPLIT_CLASS.txt`` holds lines ``IMAGE_ID SCORE X1 Y1 X2 Y2`` (VOCdevkit, section "Detection results file
format"). Its boxes are 1-based and include their last pixel; ours are continuous, so (x1, y1, x2, y2) is written as
(x1 + 1, y1 + 1, x2, y2). Scores have 6 decimals and corners 1, as is the custom: what is read back differs by at most
0.05 pixels, so an AP from files may differ a little from one of the unrounded boxes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np

from frcnn_cli.data.detections import Detections, ImageResult
from frcnn_cli.data.writers import Target, first_id
from frcnn_cli.data.writers.spool import open_spool
from frcnn_cli.errors import DataError
from frcnn_cli.files import atomic_write, check_writable, reason

_TO_VOC = np.array([1.0, 1.0, 0.0, 0.0])


def results_path(folder: Path, split: str, name: str) -> Path:
    """The file of one class. What is no letter, digit, dot, plus or minus in a name becomes ``_``."""
    safe_split, safe_name = (re.sub(r"[^\w.+-]", "_", text) for text in (split, name))
    return Path(folder) / f"comp4_det_{safe_split}_{safe_name}.txt"


@contextmanager
def write_voc(target: Target) -> Iterator[Callable[[ImageResult], None]]:
    """See `Writer`. The files hold the images class by class, so they are written when all images are there."""
    ids = [first_id(image) for image in target.images]
    _check_ids(target.path, ids)
    if len(set(ids)) < len(ids):
        twice = next(image_id for place, image_id in enumerate(ids) if image_id in ids[:place])
        raise DataError(f"{target.path}: two images have the id {twice!r}, which VOC results cannot tell apart")
    paths = _paths_of(target.path, target.split, target.classes)
    for path in paths:
        check_writable(path)
    with open_spool(target.path) as spool:
        yield lambda result: spool.add(_lines(result.id, result.detections))
        _write(paths, spool)


def write_voc_results(
    folder: Path, split: str, classes: Sequence[str], image_ids: Sequence[str], detections: Sequence[Detections]
) -> list[Path]:
    """Writes one file a class, an empty one too where nothing was found. A file is never seen half written.

    Args:
        folder: made if it is missing.
        split: such as ``val``.
        classes: names of the labels 1, 2, ...
        image_ids: one an image, without white space.
        detections: one an image, in the same order.

    Returns:
        The paths, in the order of the classes.

    Raises:
        DataError: two classes would share a file, an image id is empty or holds white space (the format has no quotes),
            or a file cannot be written.
        ValueError: not one `Detections` an image id, or a label without a name.
    """
    if len(image_ids) != len(detections):
        raise ValueError(f"{len(image_ids)} image ids, but {len(detections)} images with detections")
    _check_ids(folder, image_ids)
    for image_id, found in zip(image_ids, detections, strict=True):
        if found.labels.max(initial=0) > len(classes):
            raise ValueError(f"{image_id}: label {found.labels.max()}, but there are {len(classes)} classes")
    paths = _paths_of(folder, split, classes)
    _write(paths, [_lines(image_id, found) for image_id, found in zip(image_ids, detections, strict=True)])
    return paths


def _lines(image_id: str, found: Detections) -> list[tuple[int, str]]:
    """The label and the line of each detection of an image."""
    lines = []
    for label, score, box in zip(found.labels.tolist(), found.scores, found.boxes + _TO_VOC, strict=True):
        lines.append((label, f"{image_id} {score:.6f} " + " ".join(f"{corner:.1f}" for corner in box) + "\n"))
    return lines


def _write(paths: Sequence[Path], images: Iterable[Iterable[tuple[int, str]]]) -> None:
    """Write the lines of all images into the files of their labels."""
    with ExitStack() as files:
        temporaries = [files.enter_context(atomic_write(path)) for path in paths]
        for lines in images:
            texts: dict[int, str] = {}
            for label, line in lines:
                texts[label] = texts.get(label, "") + line
            for label, text in texts.items():  # opened anew, as there may be more classes than files can be open
                with temporaries[label - 1].open("a", encoding="utf-8", errors="surrogateescape") as file:
                    file.write(text)


def read_voc_results(folder: Path, split: str, classes: Sequence[str]) -> dict[str, Detections]:
    """Reads what `write_voc_results` or another tool has written.

    Args:
        folder, split, classes: as for `write_voc_results`.

    Returns:
        The detections of every image that has any, by image id. Within an image: by class, then as in the file.

    Raises:
        DataError: a file is missing or unreadable, or a line is not ``IMAGE_ID SCORE X1 Y1 X2 Y2`` with finite numbers
            and a score in [0, 1], or two classes would share a file.
    """
    rows: dict[str, list[tuple[int, list[float]]]] = {}
    for label, path in enumerate(_paths_of(folder, split, classes), start=1):
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{path}: cannot be read ({reason(error)})") from error
        for number, line in enumerate(text.splitlines(), start=1):
            if line.strip():
                image_id, values = _parse(line, f"{path}, line {number}")
                rows.setdefault(image_id, []).append((label, values))
    return {image_id: _to_detections(found) for image_id, found in rows.items()}


def _check_ids(folder: Path, image_ids: Sequence[str]) -> None:
    for image_id in image_ids:
        if image_id.split() != [image_id]:
            raise DataError(f"{folder}: image id {image_id!r} cannot stand in VOC results: empty or white space")


def _paths_of(folder: Path, split: str, classes: Sequence[str]) -> list[Path]:
    by_path: dict[Path, str] = {}
    for name in classes:
        path = results_path(folder, split, name)
        if path in by_path:
            raise DataError(f"{path}: the classes {by_path[path]!r} and {name!r} would share this file")
        by_path[path] = name
    return list(by_path)


def _parse(line: str, where: str) -> tuple[str, list[float]]:
    fields = line.split()
    try:
        values = [float(field) for field in fields[1:]]
    except ValueError:
        values = []
    if len(values) != 5 or not np.isfinite(values).all():
        raise DataError(f"{where}: not 'IMAGE_ID SCORE X1 Y1 X2 Y2': {line.strip()!r}")
    if not 0 <= values[0] <= 1:
        raise DataError(f"{where}: score {values[0]:g} is outside [0, 1]")
    return fields[0], values


def _to_detections(rows: list[tuple[int, list[float]]]) -> Detections:
    values = np.array([row for _, row in rows])
    return Detections(values[:, 1:] - _TO_VOC, values[:, 0], np.array([label for label, _ in rows]))
