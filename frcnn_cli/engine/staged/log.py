"""What a run has spent on each stage, in ``stages.json``."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from frcnn_cli.errors import DataError
from frcnn_cli.files import atomic_write, read_text, reason

STAGES_FILE = "stages.json"


MOST = 1e15
"""Of seconds and bytes, that can be meant."""


def check_amounts(**amounts: object) -> None:
    """Refuse what is no number of seconds or bytes.

    Raises:
        ValueError: it is not.
    """
    for name, value in amounts.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= MOST:
            raise ValueError(f"{name} is {str(value)[:40]!r}")


class StageLog:
    """Seconds by stage, over all calls that worked on it, and the bytes of the features.

    Args:
        folder: of the run.

    Attributes:
        stages: {name: {"seconds": by the clock, "cpu": of this process on all its threads, "done": ..., ...}}.

    Raises:
        DataError: the file is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / STAGES_FILE
        self.stages: dict[str, dict[str, Any]] = {}
        if self.path.is_file():
            try:
                self.stages = dict(json.loads(read_text(self.path)))
                for stage in self.stages.values():
                    check_amounts(seconds=stage["seconds"], cpu=stage["cpu"], bytes=stage.get("bytes", 0))
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
                raise DataError(f"{self.path}: not the stages of a run ({reason(error)})") from error

    @contextmanager
    def timed(self, name: str) -> Iterator[dict[str, Any]]:
        """Count the block's time for a stage, even where it is interrupted; what it puts into the record is kept."""
        record = self.stages.setdefault(name, {"seconds": 0.0, "cpu": 0.0, "done": False})
        start, cpu = time.perf_counter(), time.process_time()
        try:
            yield record
        finally:
            record["seconds"] += time.perf_counter() - start
            record["cpu"] += time.process_time() - cpu
            self._write()

    def _write(self) -> None:
        with atomic_write(self.path) as temporary:
            temporary.write_text(json.dumps(self.stages, indent=2) + "\n", encoding="utf-8")
