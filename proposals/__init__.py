"""Region proposals by selective search (Uijlings et al., IJCV 2013): an image in, ranked boxes out.

>>> from proposals import selective_search
>>> boxes = selective_search(image)  # uint8 RGB [H, W, 3] -> float32 [N, 4], best first
"""

from proposals.selective_search import MODES, selective_search

__all__ = ["MODES", "selective_search"]
