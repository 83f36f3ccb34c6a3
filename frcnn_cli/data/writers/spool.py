"""Where formats of several files keep what they are to hold until all of it is there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import Any

from frcnn_cli.errors import DataError
from frcnn_cli.files import reason

_IN_MEMORY = 2**20
"""Bytes beyond which a file is used."""


class Spool:
    """A list of what JSON can hold, in a temporary file. Made by `open_spool`."""

    def __init__(self, path: Path, file: SpooledTemporaryFile) -> None:
        self._path = path
        self._file = file

    def add(self, entry: Any) -> None:
        """Add an entry.

        Raises:
            DataError: the disk of temporary files is full.
        """
        try:
            self._file.write(json.dumps(entry).encode() + b"\n")
        except OSError as error:
            raise DataError(f"{self._path}: cannot be written (a temporary file: {reason(error)})") from error

    def __iter__(self) -> Iterator[Any]:
        """The entries in their order; once they are read, no more are added."""
        self._file.seek(0)
        return map(json.loads, self._file)


@contextmanager
def open_spool(path: Path) -> Iterator[Spool]:
    """An empty spool, which is gone after the block.

    Args:
        path: what is to be written of it, for messages.
    """
    with SpooledTemporaryFile(_IN_MEMORY) as file:
        yield Spool(path, file)
