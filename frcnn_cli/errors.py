"""The exceptions the library raises for faults of its input; only `frcnn_cli.commands` turns them into exit codes."""

from __future__ import annotations

from collections.abc import Sequence


class FrcnnError(Exception):
    """A fault a user can act on. The message is one line that names the file and the fault."""


class UsageError(FrcnnError):
    """What was asked for cannot be done as asked (exit code 2)."""


class DataError(FrcnnError):
    """A file is missing, unreadable or contradicts another one (exit code 1)."""


class MissingFile(DataError):
    """There is no such file."""


class DatasetFaults(DataError):
    """Every fault of a data set, found in one pass.

    Attributes:
        faults: one line each, naming the file, the object where there is one, and the fault.
    """

    def __init__(self, name: str, faults: Sequence[str]) -> None:
        self.faults = tuple(faults)
        count = f"{len(self.faults)} fault{'s' if len(self.faults) != 1 else ''}"
        super().__init__("\n".join((f"{name}: {count}", *(f"  {fault}" for fault in self.faults))))


class Interrupted(FrcnnError):
    """Ctrl-C or another signal came, and what was done is saved; the message says how to go on.

    Attributes:
        code: the exit code, 128 and the number of the signal: 130 for Ctrl-C, 143 for SIGTERM, 129 for SIGHUP.
    """

    def __init__(self, message: str, signal: int = 2) -> None:
        super().__init__(message)
        self.signal = signal
        self.code = 128 + signal
