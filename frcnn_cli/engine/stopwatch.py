"""Where the time of detection goes: proposals, backbone, RoI pooling, head, selection."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

DECODING, PROPOSALS, BACKBONE, POOLING, HEAD, SELECTION = PARTS = (
    "decoding",
    "proposals",
    "backbone",
    "RoI pooling",
    "head",
    "selection",
)

PAPER = {BACKBONE: 0.463, POOLING: 0.054, HEAD: 0.449, SELECTION: 0.034}
"""Shares of the 0.32 s that the paper's VGG16 takes for an image with 2,000 RoIs on a K40 (figure 2): conv, RoI
pooling, fc6 and fc7 together, the rest. Proposals come on top, some 2 s by selective search."""


class PartTimes:
    """Seconds of each part, added up over images and threads; they may lie beside one another."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._lock = threading.Lock()

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Take the time of the block."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.add(name, time.perf_counter() - start)

    def add(self, name: str, seconds: float) -> None:
        """Add to a part."""
        with self._lock:
            self.seconds[name] = self.seconds.get(name, 0.0) + seconds
