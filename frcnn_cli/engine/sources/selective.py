"""The modes of selective search."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from proposals import VERSION, selective_search


@dataclass(frozen=True)
class SelectiveSearch:
    """A mode of `proposals.selective_search`; a `Search`."""

    mode: str
    version: ClassVar[int] = VERSION
    sizes: ClassVar[bool] = True

    def __call__(
        self, image: np.ndarray, max_proposals: int, seed: int, *, threads: int | None = None, **sizes: int
    ) -> np.ndarray:
        return selective_search(image, self.mode, max_proposals, seed, threads=threads, **sizes)


SINGLE = SelectiveSearch("single")
FAST = SelectiveSearch("fast")
QUALITY = SelectiveSearch("quality")
