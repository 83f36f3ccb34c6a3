"""JSON: a list with one object an image, the shape that `frcnn detect --json` prints."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from frcnn_cli.data.detections import ImageResult
from frcnn_cli.data.writers import Target
from frcnn_cli.files import atomic_write


def as_json(result: ImageResult) -> dict[str, Any]:
    """What JSON holds of one image: boxes are xyxy in continuous pixels, with two decimals, scores have four.

    Of a frame, ``image`` is its video; ``frame`` counts from 0, ``time`` is in seconds, and ``fps``, where a rate is
    kept, the frames a second that are looked at.
    """
    found, place = result.detections, {}
    if result.frame:
        place = {"frame": result.frame.number, "time": round(result.frame.seconds, 3)}
        if result.frame.rate is not None:
            place["fps"] = round(result.frame.rate, 2)
    return {
        "image": str(result.path),
        **place,
        "width": result.width,
        "height": result.height,
        "detections": [
            {"class": name, "score": round(score, 4), "box": [round(x, 2) for x in box]}
            for box, score, name in zip(found.boxes.tolist(), found.scores.tolist(), found.names, strict=True)
        ],
        "seconds": {"proposals": result.seconds.proposals, "detection": result.seconds.detection},
    }


@contextmanager
def write_json(target: Target) -> Iterator[Callable[[ImageResult], None]]:
    """A list, an image a line; see `Writer`."""
    with atomic_write(target.path) as temporary, temporary.open("w", encoding="utf-8") as file:
        before = "[\n"

        def add(result: ImageResult) -> None:
            nonlocal before
            file.write(before + json.dumps(as_json(result)))
            before = ",\n"

        yield add
        file.write("\n]\n" if before == ",\n" else "[]\n")
