"""The signal that told this process to stop, remembered until its command has ended.

What a signal's handler raises may never arrive: in a finalizer, or in a Python function that C calls, an exception is
dropped (Python says "Exception ignored in ..."), and a library may take it for a fault of its own and go on, or raise
another in its place. So the signal is written down here. What was dropped is raised again, loops ask between two images
(`check`), and `frcnn_cli.edge` asks when a command ends, in whatever way.
"""

from __future__ import annotations

import _thread
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

from frcnn_cli.errors import Terminated, causes

AGAIN = 0.05
"""Seconds until an exception that was dropped is raised again, in which whatever dropped it comes to its end."""

_noted: int | None = None
_raised = False


def note(number: int) -> None:
    """Remember a signal that something has been told of, and will act on."""
    global _noted
    _noted = number


def noted() -> int | None:
    """The signal that has come; None where none has."""
    return _noted


def stop(number: int, why: str = "") -> NoReturn:
    """Stop because of a signal, and remember it.

    Raises:
        Terminated: always.
    """
    global _raised
    note(number)
    _raised = True
    raise Terminated(number, why)


def check() -> None:
    """Stop if a signal has been raised before, and the exception has not arrived.

    Raises:
        Terminated: it has.
    """
    if _raised and _noted is not None:
        raise Terminated(_noted)


@contextmanager
def remembering(debug: bool = False) -> Iterator[None]:
    """In the block, signals are remembered, dropped exceptions raised again, and consequences of a stop kept quiet.

    What is stopped half-way leaves half-made objects and threads without work, whose complaints tell nobody anything.

    Args:
        debug: say what is kept quiet.
    """
    global _noted, _raised
    unraisable, in_thread = sys.unraisablehook, threading.excepthook

    def dropped(what: Any) -> None:
        if _raised and any(isinstance(cause, KeyboardInterrupt) for cause in causes(what.exc_value)):
            with suppress(RuntimeError):  # no thread can be started: `check` remains
                again = threading.Timer(AGAIN, _raise_again, (_noted,))
                again.daemon = True
                again.start()
        if debug or _noted is None:
            unraisable(what)

    def failed(what: Any) -> None:
        if debug or _noted is None:
            in_thread(what)

    sys.unraisablehook, threading.excepthook = dropped, failed
    try:
        yield
    finally:
        sys.unraisablehook, threading.excepthook = unraisable, in_thread
        _noted, _raised = None, False


def _raise_again(number: int) -> None:
    if _raised:  # the command has not ended yet
        _thread.interrupt_main(number)
