"""COCO's annotation file, its annotations with scores: a data set by itself, that needs no other file to be read.

Images of a COCO file keep their ids, others are numbered from 1; each is named by its path below the folder that all of
them share. Categories have the numbers of the labels. A bbox is (x, y, width, height) in continuous pixels. The list
``annotations`` is in COCO's format of results, which pycocotools' ``loadRes`` takes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from frcnn_cli.data.detections import ImageResult
from frcnn_cli.data.items import Item
from frcnn_cli.data.writers import Target
from frcnn_cli.files import atomic_write


@contextmanager
def write_coco(target: Target) -> Iterator[Callable[[ImageResult], None]]:
    """See `Writer`. Annotations are written as they come; the images, which are few beside them, at the end."""
    ids = _image_ids(target.images)
    shared = os.path.commonpath([path.absolute().parent for path in ids] or ["/"])
    images: list[dict[str, Any]] = []
    count = 0
    with atomic_write(target.path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write('{"annotations": [')

        def add(result: ImageResult) -> None:
            nonlocal count
            name = Path(os.path.relpath(result.path.absolute(), shared)).as_posix()
            size = {"width": result.width, "height": result.height}
            images.append({"id": ids[result.path], "file_name": name, **size})
            found = result.detections
            for box, score, label in zip(found.boxes.tolist(), found.scores.tolist(), found.labels, strict=True):
                x1, y1, x2, y2 = box
                annotation = {
                    "id": count + 1,
                    "image_id": ids[result.path],
                    "category_id": int(label),
                    "bbox": [round(number, 4) for number in (x1, y1, x2 - x1, y2 - y1)],
                    "area": round((x2 - x1) * (y2 - y1), 4),
                    "iscrowd": 0,
                    "score": round(score, 6),
                }
                file.write(("," if count else "") + "\n" + json.dumps(annotation))
                count += 1

        yield add
        categories = [{"id": label, "name": name} for label, name in enumerate(target.classes, start=1)]
        file.write(f'\n],\n"images": {json.dumps(images)},\n"categories": {json.dumps(categories)}}}\n')


def _image_ids(images: Sequence[Item]) -> dict[Path, Any]:
    """What a COCO file calls the images, where they are all of one; numbers otherwise."""
    known = [getattr(image, "coco_id", None) for image in images]
    ids = range(1, len(images) + 1) if None in known else known
    return dict(zip((image.path for image in images), ids, strict=True))
