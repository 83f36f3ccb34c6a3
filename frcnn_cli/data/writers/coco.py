"""COCO's annotation file, its annotations with scores: a data set by itself, that needs no other file to be read.

Images of a COCO file keep their ids, others are numbered from 1; each is named by its path below the folder that all of
them share. A frame is named by its video's path and its number, and has ``video`` and ``frame_id``, from 0. Categories
have the numbers of the labels. A bbox is (x, y, width, height) in continuous pixels. The list ``annotations`` is in
COCO's format of results, which pycocotools' ``loadRes`` takes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from frcnn_cli.data.detections import ImageResult
from frcnn_cli.data.items import Item, Video
from frcnn_cli.data.writers import Target
from frcnn_cli.data.writers.spool import open_spool
from frcnn_cli.files import atomic_write


@contextmanager
def write_coco(target: Target) -> Iterator[Callable[[ImageResult], None]]:
    """See `Writer`. Annotations are written as they come, the images at the end."""
    ids = _image_ids([image for image in target.images if not isinstance(image, Video)])
    shared = os.path.commonpath([image.path.absolute().parent for image in target.images] or ["/"])
    count = frames = 0
    with (
        open_spool(target.path) as images,
        atomic_write(target.path) as temporary,
        temporary.open("w", encoding="utf-8") as file,
    ):
        file.write('{"annotations": [')

        def add(result: ImageResult) -> None:
            nonlocal count, frames
            name = Path(os.path.relpath(result.path.absolute(), shared)).as_posix()
            image_id = ids.get(result.path)
            described = {"file_name": name, "width": result.width, "height": result.height}
            if result.frame:
                frames += 1
                image_id = len(ids) + frames
                number = result.frame.number
                described |= {"file_name": f"{name}/{number:06d}.jpg", "video": name, "frame_id": number}
            images.add({"id": image_id, **described})
            found = result.detections
            for box, score, label in zip(found.boxes.tolist(), found.scores.tolist(), found.labels, strict=True):
                x1, y1, x2, y2 = box
                annotation = {
                    "id": count + 1,
                    "image_id": image_id,
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
        file.write('\n],\n"images": [')
        for number, image in enumerate(images):
            file.write((", " if number else "") + json.dumps(image))
        file.write(f'],\n"categories": {json.dumps(categories)}}}\n')


def _image_ids(images: Sequence[Item]) -> dict[Path, Any]:
    """What a COCO file calls the images, where they are all of one; numbers otherwise."""
    known = [getattr(image, "coco_id", None) for image in images]
    ids = range(1, len(images) + 1) if None in known else known
    return dict(zip((image.path for image in images), ids, strict=True))
