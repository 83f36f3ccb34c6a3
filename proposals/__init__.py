"""Region proposals by selective search (Uijlings et al., IJCV 2013): an image in, ranked boxes out.

>>> from proposals import selective_search
>>> boxes = selective_search(image)  # uint8 RGB [H, W, 3] -> float32 [N, 4], best first

Data flows through one file after another: `colour` (spaces), `segmentation` (starting regions), `features`
(histograms), `grouping` (merging), `ranking` (order); `selective_search` runs them for a mode.
"""

from proposals.selective_search import METHODS, MODES, VERSION, segments, selective_search

__all__ = ["METHODS", "MODES", "VERSION", "segments", "selective_search"]
