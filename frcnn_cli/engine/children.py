"""Processes that a command starts, which never outlast it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from multiprocessing.connection import wait

from frcnn_cli.edge import quieten

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


def begin_child() -> None:
    """In a child at its start: leave signals to the parent, end when it ends, and say nothing.

    A signal to the whole group reaches a child too, in the middle of its work.
    """
    quieten()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "SIGALRM"):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, lambda *_: signal.alarm(PATIENCE))
    end_with_parent()


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
