"""JSON lines: an object an image as in JSON, each on a line of its own."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from frcnn_cli.data.detections import ImageResult
from frcnn_cli.data.writers import Target
from frcnn_cli.data.writers.json_file import as_json
from frcnn_cli.files import atomic_write


@contextmanager
def write_json_lines(target: Target) -> Iterator[Callable[[ImageResult], None]]:
    """See `Writer`."""
    with atomic_write(target.path) as temporary, temporary.open("w", encoding="utf-8") as file:
        yield lambda result: file.write(json.dumps(as_json(result)) + "\n")
