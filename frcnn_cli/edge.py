"""What stands around every command: its streams, the signals that end it, and what its faults look like from outside.

A fault is one line on stderr and an exit code, whatever it is; ``--debug`` shows where it came from.
"""

from __future__ import annotations

import errno
import io
import logging
import os
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import NoReturn

import click

from frcnn_cli import stopping
from frcnn_cli.errors import (
    DataError,
    FrcnnError,
    Interrupted,
    LostProcess,
    UsageError,
    causes,
    ran_out_of_memory,
    signal_of,
)
from frcnn_cli.files import reason
from frcnn_cli.text import one_line

DEBUG = "FRCNN_DEBUG"
"""The environment variable that stands for ``--debug``."""

ENDING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))

REFUSALS = frozenset(
    getattr(errno, name)
    for name in ("EACCES", "EPERM", "EROFS", "ENOSPC", "EDQUOT", "EIO", "EMFILE", "ENFILE", "ESTALE", "ENAMETOOLONG")
    if hasattr(errno, name)
)
"""What the machine may say in a place where only a library writes: a full disk, a folder of somebody else, ..."""

_QUIET = {"PYTHONWARNINGS": "ignore", "TORCH_CPP_LOG_LEVEL": "ERROR", "OPENCV_LOG_LEVEL": "ERROR"}


def quieten() -> None:
    """Keep to themselves what libraries write of their own accord, in this process and those that it starts."""
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    logging.getLogger().addHandler(logging.NullHandler())  # or Python would print what nobody handles


class Output(io.FileIO):
    """Stdout, whose faults are told as those of a file. What cannot be written once goes nowhere afterwards."""

    def write(self, data: bytes) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            raise
        except OSError as error:
            discard_output()
            why = "it is closed" if error.errno == errno.EBADF else reason(error)
            raise DataError(f"stdout: cannot be written ({why})") from error


def open_streams() -> None:
    """Have faults of stdout told, put something in the place of closed streams, and let no name be one that a stream
    cannot write.

    A file opened later would get the number of a closed one, and whatever a library prints. Writing to a closed stdout
    stays an error; a closed stderr is nobody's concern.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_WRONLY if number == 2 else os.O_RDONLY)  # takes the lowest number, this one
    if sys.stderr is None:
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115 - open as long as the program
    sys.stderr.reconfigure(errors="backslashreplace")
    unbuffered = sys.stdout is not None and sys.stdout.write_through
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(Output(1, "w", closefd=False)),
        encoding=sys.stdout.encoding if sys.stdout else None,
        errors="backslashreplace",
        line_buffering=os.isatty(1),
        write_through=unbuffered,
    )


@contextmanager
def ending_signals(debug: bool = False) -> Iterator[Callable[[], None]]:
    """In the block, Ctrl-C, SIGTERM and SIGHUP raise `Terminated` (a KeyboardInterrupt): all is tidied up.

    What is ignored, as by nohup, stays ignored.

    Args:
        debug: see `stopping.remembering`.

    Yields:
        What puts the signals back to what they were, for a command that has been tidied up.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None  # signals reach the main thread only
        return

    def end(number: int, frame: object) -> None:
        stopping.stop(number)

    ours = (signal.SIG_DFL, signal.default_int_handler)
    before = {number: signal.getsignal(number) for number in ENDING if signal.getsignal(number) in ours}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    with stopping.remembering(debug):
        for number in before:
            signal.signal(number, end)
        try:
            yield restore
        finally:
            restore()


def take_debug(words: Sequence[str]) -> tuple[list[str], bool]:
    """The words of a call without ``--debug``, which may stand anywhere, and whether it is there or in the environment.

    Of what follows ``--``, nothing is an option.
    """
    end = words.index("--") if "--" in words else len(words)
    rest = [word for word in words[:end] if word != "--debug"] + list(words[end:])
    return rest, len(rest) < len(words) or debugging()


def debugging() -> bool:
    """Whether the environment asks for what ``--debug`` shows."""
    return os.environ.get(DEBUG, "") not in ("", "0")


def outcome(error: BaseException, noted: int | None = None) -> tuple[str, int]:
    """What a fault is told as, and the exit code; an empty text is not told at all.

    Args:
        error: anything but SystemExit.
        noted: a signal that has come before, of which the fault is a consequence, whatever it looks like: a library
            may have made something else of the exception that the signal raised, or a worker may have ended of it.
    """
    if isinstance(error, Interrupted):
        return str(error), error.code
    # Raised in a compiled kernel, an interruption comes out as the cause of another exception.
    stop = next((cause for cause in causes(error) if isinstance(cause, KeyboardInterrupt)), None)
    told = isinstance(error, (FrcnnError, click.ClickException))  # not to be told as something else without need
    # When a process of several has ended, torchrun sends a signal to the others: what they say is of the first cause.
    first_cause = any(isinstance(cause, LostProcess) for cause in causes(error))
    if (noted is not None and not first_cause) or (stop is not None and not told):
        number = signal_of(stop) if stop is not None else noted
        return getattr(stop, "why", "") or "interrupted", 128 + number
    if isinstance(error, click.UsageError):
        where = error.ctx.command_path if error.ctx else "frcnn"
        return f"{one_line(error.format_message())} (see '{where} --help')", 2
    if isinstance(error, click.ClickException):
        return one_line(error.format_message()), error.exit_code
    if isinstance(error, UsageError):
        return str(error), 2
    if isinstance(error, FrcnnError):
        return str(error), 1
    if isinstance(error, BrokenPipeError):
        discard_output()  # the reader has gone, as `head` does; Python would complain once more when it closes stdout
        return "", 1
    if ran_out_of_memory(error):
        return (
            f"out of memory ({reason(error)}); smaller images and scales, and fewer --workers and --loaders, need less",
            1,
        )
    refused = next((cause for cause in causes(error) if isinstance(cause, OSError) and cause.errno in REFUSALS), None)
    if refused is not None:
        where = f" ({os.fsdecode(refused.filename)})" if isinstance(refused.filename, (str, bytes)) else ""
        return f"the system refuses what a library wants to do: {reason(refused)}{where}", 1
    place = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{os.path.basename(place.filename)}:{place.lineno}"
    what = " ".join(str(error).split())[:200]
    return (
        f"a fault of the program ({type(error).__name__}: {what}, in {where}); please report it, "
        "with what the same command shows with --debug",
        1,
    )


def discard_output() -> None:
    """Let what is left of stdout go nowhere, so that its end is no second fault."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def end_at_once(code: int) -> NoReturn:
    """End this process without what Python and the libraries do at their end, which takes seconds with torch.

    Its children notice by themselves (`frcnn_cli.engine.children`).
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()
    os._exit(code)
