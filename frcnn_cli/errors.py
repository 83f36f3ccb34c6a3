"""The exceptions the library raises for faults of its input; only `frcnn_cli.commands` turns them into exit codes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from frcnn_cli.text import one_line

ALIKE = 3
"""Faults of one kind that are all shown. Of more, the first stands for them."""


class FrcnnError(Exception):
    """A fault a user can act on.

    Args:
        lines: one that names the file and the fault, or several, a fault each. A name in them that has several lines
            itself makes no more of them.
    """

    def __init__(self, *lines: str) -> None:
        super().__init__(*lines)

    def __str__(self) -> str:
        return "\n".join(map(one_line, self.args))


class UsageError(FrcnnError):
    """What was asked for cannot be done as asked (exit code 2)."""


class DataError(FrcnnError):
    """A file is missing, unreadable or contradicts another one (exit code 1)."""


class MissingFile(DataError):
    """There is no such file."""


class LostProcess(DataError):
    """Another process of several that work together has ended."""


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
        super().__init__(f"{name}: {count}", *(f"  {line}" for line in lines))


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

    Args:
        message: a line.
        signal: that came.
        faults: of what was done until then, a line each, which are told before the message.

    Attributes:
        code: the exit code, 128 and the number of the signal: 130 for Ctrl-C, 143 for SIGTERM, 129 for SIGHUP.
    """

    def __init__(self, message: str, signal: int = 2, faults: Sequence[str] = ()) -> None:
        super().__init__(*faults, message)
        self.signal = signal
        self.code = 128 + signal


class Terminated(KeyboardInterrupt):
    """A signal that ends a program came, where nothing more is to be saved.

    Attributes:
        signal: which.
        why: what it came of, where that is known.
    """

    def __init__(self, signal: int, why: str = "") -> None:
        super().__init__(why)
        self.signal = signal
        self.why = why


def signal_of(stop: BaseException) -> int:
    """The signal that an interruption came of; a KeyboardInterrupt without one is of Ctrl-C."""
    return getattr(stop, "signal", 2)


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """An exception, and those that it came of."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


_NO_MEMORY = (
    "out of memory",  # CUDA
    "insufficient memory",  # OpenCV
    "not enough memory",  # PyTorch on a CPU: "can't allocate memory: you tried to allocate ..."
    "allocate memory",
    "unable to allocate",
    "bad_alloc",
    "map segment from shared object",  # a library that does not fit
    "start new thread",
)


def ran_out_of_memory(error: BaseException) -> bool:
    """Whether an exception is what a library makes of memory that is not to be had."""
    return any(
        isinstance(cause, MemoryError) or any(words in str(cause).lower() for words in _NO_MEMORY)
        for cause in causes(error)
    )
