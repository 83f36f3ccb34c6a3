"""YOLO's label files: one text file an image, one line a detection, and data.yaml with the names of the classes.

``labels/ID.txt`` holds lines ``CLASS X Y WIDTH HEIGHT``: the class counts from 0, centre and size of the box are parts
of the image's width and height. An image without detections has an empty file. With the images in the folder
``images``, the whole is a data set. Readers of data sets take no sixth number, so scores are left out; ``yolo-conf``
has them at the end of each line, as Ultralytics' ``save_conf``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from frcnn_cli.data.detections import ImageResult
from frcnn_cli.data.writers import Target, check_distinct
from frcnn_cli.data.writers.spool import open_spool
from frcnn_cli.files import atomic_write, check_writable, inside


@contextmanager
def write_yolo(target: Target, scores: bool = False) -> Iterator[Callable[[ImageResult], None]]:
    """See `Writer`. The files are written when all images are there."""
    check_distinct(target)
    names = target.path / "data.yaml"
    check_writable(names)
    with open_spool(target.path) as spool:
        yield lambda result: spool.add((result.id, _lines(result, scores)))
        for image_id, text in spool:
            with atomic_write(inside(target.path / "labels", image_id, ".txt")) as temporary:
                temporary.write_text(text, encoding="ascii")
        with atomic_write(names) as temporary:
            temporary.write_text(_data_yaml(target), encoding="utf-8")


write_yolo_scores = partial(write_yolo, scores=True)


def _lines(result: ImageResult, scores: bool) -> str:
    found = result.detections
    lines = []
    for (x1, y1, x2, y2), score, label in zip(found.boxes.tolist(), found.scores.tolist(), found.labels, strict=True):
        centre = ((x1 + x2) / 2 / result.width, (y1 + y2) / 2 / result.height)
        size = ((x2 - x1) / result.width, (y2 - y1) / result.height)
        numbers = " ".join(f"{number:.6f}" for number in (*centre, *size, *([score] if scores else ())))
        lines.append(f"{label - 1} {numbers}\n")
    return "".join(lines)


def _data_yaml(target: Target) -> str:
    """Every JSON string is one of YAML's."""
    names = "".join(f"  {number}: {json.dumps(name)}\n" for number, name in enumerate(target.classes))
    return f"path: .\ntrain: images\nval: images\n{target.split}: images\nnames:\n{names}"
