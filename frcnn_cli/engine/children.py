"""Processes that a command starts, which never outlast it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import wait

from frcnn_cli.edge import debugging, quieten
from frcnn_cli.engine.interrupts import SIGNALS

PATIENCE = 10
"""Seconds that a child goes on after SIGTERM, in which its parent finishes what it does, saves, and ends it."""


def prepare_children() -> None:
    """In the parent before the first child: have the process that keeps account of semaphores outlast SIGHUP.

    Python has it outlast Ctrl-C and SIGTERM; ended by a signal to the whole group, it is begun anew and complains of
    semaphores that it does not know.
    """
    if not hasattr(signal, "SIGHUP") or threading.current_thread() is not threading.main_thread():
        return
    from multiprocessing import resource_tracker  # POSIX alone has it

    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # which a new program inherits
    try:
        resource_tracker.ensure_running()
    finally:
        signal.signal(signal.SIGHUP, before)


@contextmanager
def starting_children() -> Iterator[None]:
    """In the block, in which children are started, signals wait; a child hears of none before `begin_child`.

    It would meet Ctrl-C in the middle of its imports, which take seconds, and print where it was.
    """
    prepare_children()
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # which a child inherits, a fork or a new program
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def begin_child() -> None:
    """In a child at its start: leave signals to the parent, end when it ends, and say nothing.

    A signal to the whole group reaches a child too, in the middle of its work.
    """
    quieten()
    be_silent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "SIGALRM"):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, lambda *_: signal.alarm(PATIENCE))
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    end_with_parent()


def be_silent() -> None:
    """In a child: have Python print nothing on stderr, but with ``--debug``.

    A fault of its work goes to the parent, which tells it. What else there is to print is where the child was when its
    parent was killed: a queue that it wrote into, a semaphore that is there no more.
    """
    if not debugging():
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - open as long as the process


def end_with_parent() -> None:
    """Have this process end within moments of its parent, however that ends, `kill -9` included.

    The parent holds one end of a pipe and nobody writes into it, so the other end can be read when the parent is gone;
    Linux, macOS and Windows all do so. Linux could send a signal of its own (PR_SET_PDEATHSIG), alone of the three.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)  # from this thread, sys.exit would end the thread alone

    threading.Thread(target=watch, name="watches the parent", daemon=True).start()
