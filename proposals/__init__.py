"""Region proposals by selective search (Uijlings et al., IJCV 2013): an image in, ranked boxes out.

>>> import numpy as np
>>> from proposals import selective_search
>>> image = np.zeros((60, 80, 3), np.uint8)  # RGB [H, W, 3]
>>> image[20:40, 30:50] = 255
>>> selective_search(image)[:2]  # float32 [N, 4], xyxy in pixels, best first
array([[ 0.,  0., 80., 60.],
       [30., 20., 50., 40.]], dtype=float32)

Data flows through one file after another: `colour` (spaces), `segmentation` (starting regions), `features`
(histograms), `grouping` (merging), `ranking` (order); `search` runs them for one of `modes`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from proposals.modes import METHODS, MODES, SEARCH_SIZE, SMALLEST

if TYPE_CHECKING:
    from proposals.search import VERSION, segments, selective_search

__all__ = ["METHODS", "MODES", "SEARCH_SIZE", "SMALLEST", "VERSION", "segments", "selective_search"]


def __getattr__(name: str) -> Any:
    """Import the search, and numba with it, when something of it is first asked for."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("proposals.search"), name)
