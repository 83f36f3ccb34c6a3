"""Ctrl-C, and what schedulers and closed terminals send, at a moment that suits."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from frcnn_cli.engine.distributed import Processes

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


def signals_for(processes: Processes) -> tuple[int, ...]:
    """What stops a run at a moment that suits: of several processes Ctrl-C alone, as torchrun ends them by SIGTERM."""
    return SIGNALS if processes.world_size == 1 else (signal.SIGINT,)


class Interruption(threading.Event):
    """Set when the run is to stop.

    Attributes:
        signal: what asked for it.
    """

    signal: int = signal.SIGINT


@contextmanager
def delayed_interrupt(signals: tuple[int, ...] = SIGNALS) -> Iterator[Interruption]:
    """A signal sets a flag, so that an update is finished before the run stops; a second one stops at once."""
    interruption = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield interruption  # signals reach the main thread only
        return

    def handle(number: int, frame: object) -> None:
        interruption.signal = number
        interruption.set()
        restore()

    def restore() -> None:
        for number, handler in previous.items():
            signal.signal(number, handler)

    # What nohup has ignored stays ignored. A shell ignores Ctrl-C for what it runs in the background, but a kill -INT
    # is meant for it all the same.
    ignored = [number for number in signals if signal.getsignal(number) is signal.SIG_IGN and number != signal.SIGINT]
    chosen = [number for number in signals if number not in ignored]
    previous = {number: signal.signal(number, handle) for number in chosen}
    try:
        yield interruption
    finally:
        restore()
