"""COCO's annotation file, its annotations with scores: a data set by itself, that needs no other file to be read.

Images are numbered from 1, and named by their path below the folder that all of them share; categories have the numbers
of the labels. A bbox is (x, y, width, height) in continuous pixels. For pycocotools' ``loadRes``, the list
``annotations`` is in COCO's format of results.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from frcnn_cli.data.detections import ImageResult
from frcnn_cli.data.writers import Target
from frcnn_cli.files import atomic_write


@contextmanager
def write_coco(target: Target) -> Iterator[Callable[[ImageResult], None]]:
    """See `Writer`. Annotations are written as they come; the images, which are few beside them, at the end."""
    shared = os.path.commonpath([path.absolute().parent for _, path in target.images] or ["/"])
    images: list[dict[str, Any]] = []
    count = 0
    with atomic_write(target.path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write('{"annotations": [')

        def add(result: ImageResult) -> None:
            nonlocal count
            images.append(
                {
                    "id": len(images) + 1,
                    "file_name": Path(os.path.relpath(result.path.absolute(), shared)).as_posix(),
                    "width": result.width,
                    "height": result.height,
                }
            )
            found = result.detections
            for box, score, label in zip(found.boxes.tolist(), found.scores.tolist(), found.labels, strict=True):
                x1, y1, x2, y2 = box
                annotation = {
                    "id": count + 1,
                    "image_id": len(images),
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
