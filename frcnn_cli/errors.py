"""The exceptions the library raises for faults of its input; only `frcnn_cli.commands` turns them into exit codes."""

from __future__ import annotations

import re
from collections.abc import Sequence

ALIKE = 3
"""Faults of one kind that are all shown. Of more, the first stands for them."""


class FrcnnError(Exception):
    """A fault a user can act on. The message is one line that names the file and the fault."""


class UsageError(FrcnnError):
    """What was asked for cannot be done as asked (exit code 2)."""


class DataError(FrcnnError):
    """A file is missing, unreadable or contradicts another one (exit code 1)."""


class MissingFile(DataError):
    """There is no such file."""


class DatasetFaults(DataError):
    """Every fault of a data set, found in one pass; of many that are alike, the message shows the first and the count.

    Args:
        name: of the data set.
        faults: see below.
        everything: show all of them.

    Attributes:
        name: of the data set.
        faults: one line each, naming the file, the object where there is one, and the fault.
    """

    def __init__(self, name: str, faults: Sequence[str], everything: bool = False) -> None:
        self.name = name
        self.faults = tuple(faults)
        count = f"{len(self.faults)} fault{'s' if len(self.faults) != 1 else ''}"
        lines = self.faults if everything else group_faults(self.faults)
        super().__init__("\n".join((f"{name}: {count}", *(f"  {line}" for line in lines))))


def group_faults(faults: Sequence[str]) -> list[str]:
    """The lines to show of faults: of those that differ in the file, the object or a number only, the first if many."""
    groups: dict[str, list[str]] = {}
    for fault in faults:
        what = fault.rpartition(": ")[2]
        kind = re.sub(r"('[^']*')|[-+]?\d[\d.]*(?:e[-+]?\d+)?|nan|inf", lambda match: match[1] or "#", what)
        groups.setdefault(kind, []).append(fault)
    lines: list[str] = []
    for alike in groups.values():
        if len(alike) <= ALIKE:
            lines += alike
        else:
            lines.append(f"{alike[0]} (the first of {len(alike)} like it; --all-faults lists them)")
    return lines


class Interrupted(FrcnnError):
    """Ctrl-C or another signal came, and what was done is saved; the message says how to go on.

    Attributes:
        code: the exit code, 128 and the number of the signal: 130 for Ctrl-C, 143 for SIGTERM, 129 for SIGHUP.
    """

    def __init__(self, message: str, signal: int = 2) -> None:
        super().__init__(message)
        self.signal = signal
        self.code = 128 + signal
