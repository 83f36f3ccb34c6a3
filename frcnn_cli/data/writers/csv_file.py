"""CSV: a row a detection, for spreadsheets and pandas; an image without detections has none.

Boxes are xyxy in continuous pixels. Where there are videos, frames have their number, from 0, and their time in
seconds. Text is UTF-8; a name that is none, on systems that allow it, keeps its bytes.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from frcnn_cli.data.detections import ImageResult
from frcnn_cli.data.items import Video
from frcnn_cli.data.writers import Target
from frcnn_cli.files import atomic_write

FRAME_COLUMNS = ("frame", "time")
COLUMNS = ("image", "width", "height", "class", "score", "x1", "y1", "x2", "y2")


@contextmanager
def write_csv(target: Target) -> Iterator[Callable[[ImageResult], None]]:
    """See `Writer`."""
    videos = any(isinstance(item, Video) for item in target.images)
    with (
        atomic_write(target.path) as temporary,
        temporary.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file,
    ):
        rows = csv.writer(file)
        rows.writerow((*COLUMNS, *(FRAME_COLUMNS if videos else ())))

        def add(result: ImageResult) -> None:
            found, frame = result.detections, result.frame
            place = ((frame.number, f"{frame.seconds:.3f}") if frame else ("", "")) if videos else ()
            for box, score, name in zip(found.boxes.tolist(), found.scores.tolist(), found.names, strict=True):
                numbers = (f"{score:.4f}", *(f"{x:.2f}" for x in box))
                rows.writerow((result.path, result.width, result.height, name, *numbers, *place))

        yield add
