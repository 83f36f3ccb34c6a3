"""Ctrl-C, and what schedulers and closed terminals send, at a moment that suits."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from frcnn_cli import stopping
from frcnn_cli.engine import distributed
from frcnn_cli.errors import Interrupted
from frcnn_cli.progress import Track

T = TypeVar("T")

FORWARDING = 5.0
"""Seconds; see `delayed_interrupt`."""

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


class Interruption(threading.Event):
    """Set when the run is to stop.

    Attributes:
        signal: what asked for it.
    """

    signal: int = signal.SIGINT


@contextmanager
def delayed_interrupt(signals: tuple[int, ...] = SIGNALS) -> Iterator[Interruption]:
    """A signal sets a flag, so that an update is finished before the run stops; a second one stops at once.

    Of several processes each has the signal to the whole group, and once more from torchrun, which passes it on: there
    a second one counts when `FORWARDING` seconds have passed.
    """
    interruption = Interruption()
    several = distributed.current().world_size > 1
    if threading.current_thread() is not threading.main_thread():
        yield interruption  # signals reach the main thread only
        return

    def handle(number: int, frame: object) -> None:
        stopping.note(number)
        distributed.end_with_others(number)
        if interruption.is_set():
            if time.monotonic() - first[0] > FORWARDING:
                restore()
                signal.raise_signal(number)
            return
        first[0] = time.monotonic()
        interruption.signal = number
        interruption.set()
        if not several:
            restore()

    first = [0.0]

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


def stoppable(track: Track, interruption: Interruption, how_to_go_on: str) -> Track:
    """A `Track` that ends a loop before its next item when the flag is set.

    Args:
        track: what it passes the items through.
        interruption: the flag.
        how_to_go_on: what follows "interrupted with 3 of 10 images done; " in the message.

    Raises:
        Interrupted: in the loop, when the flag is set.
    """

    def until_set(items: Iterable[T], total: int | None = None, initial: int = 0) -> Iterator[T]:
        items = list(items)
        for number, item in enumerate(track(items, total, initial)):
            if interruption.is_set():
                where = f"interrupted with {number} of {len(items)} images done"
                raise Interrupted(f"{where}; {how_to_go_on}", interruption.signal)
            yield item

    return until_set
