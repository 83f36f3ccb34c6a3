"""Telling of the kernels that numba compiles: once, for some seconds, when they are first used after installation."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from frcnn_cli.engine.runtimes import Engine
from frcnn_cli.engine.sources import ProposalSource


class Compilation:
    """What was compiled while it was watched.

    Attributes:
        seconds: how long that took; 0 where nothing was.
    """

    def __init__(self, tell: Callable[[str], object]) -> None:
        self.seconds = 0.0
        self._tell = tell
        self._began: list[float] = []

    def started(self) -> None:
        """A kernel's compilation begins, perhaps within another's."""
        if not self.seconds and not self._began:
            self._tell("compiling for this machine; it is done once, later runs find the result")
        self._began.append(time.perf_counter())

    def ended(self) -> None:
        """It is done."""
        began = self._began.pop()
        if not self._began:
            self.seconds += time.perf_counter() - began


@contextmanager
def watched(tell: Callable[[str], object]) -> Iterator[Compilation]:
    """Tell of the first kernel that is compiled in the block, and add up how long all took."""
    from numba.core import event

    class Listener(event.Listener):
        def on_start(self, event) -> None:
            compilation.started()

        def on_end(self, event) -> None:
            compilation.ended()

    compilation = Compilation(tell)
    with event.install_listener("numba:compile", Listener()):
        yield compilation


def warm_up(engine: Engine, source: ProposalSource | None, tell: Callable[[str], object]) -> Compilation:
    """Have everything compiled that a detection needs, and nothing else, before the first image is timed.

    Args:
        engine: of whose kernels those that it names itself (`warm_up`) are compiled.
        source: of proposals, which a small image is searched for; None where none are made.
        tell: is given a line, if anything has to be compiled.
    """
    with watched(tell) as compilation:
        if source is not None:
            image = np.zeros((8, 8, 3), np.uint8)
            image[:, 4:] = 255
            source.boxes(image, "")
        if hasattr(engine, "warm_up"):
            engine.warm_up()
    return compilation
