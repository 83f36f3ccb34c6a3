"""How far selective search diversifies, mode by mode; nothing is compiled here, so that naming the modes is free."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Similarity(NamedTuple):
    """Which of the four similarities add up (IJCV 2013, equation 6), each weighted by 0 or 1."""

    colour: float = 1.0
    texture: float = 1.0
    size: float = 1.0
    fill: float = 1.0


ALL = Similarity()
NO_COLOUR = Similarity(colour=0)
FILL = Similarity(colour=0, texture=0, size=0)
SIZE = Similarity(colour=0, texture=0, fill=0)


@dataclass(frozen=True)
class Mode:
    """Every colour space with every k with every set of similarities is one grouping."""

    colour_spaces: tuple[str, ...]
    ks: tuple[int, ...]
    similarities: tuple[Similarity, ...]


MODES = {
    "single": Mode(("lab",), (50,), (ALL, FILL)),
    "fast": Mode(("hsv", "lab"), (50, 100), (ALL, NO_COLOUR, FILL)),
    "quality": Mode(("hsv", "lab", "rgi", "intensity"), (50, 100, 150), (ALL, NO_COLOUR, FILL, SIZE)),
}

SEARCH_SIZE = 400
"""Images are searched with the pixels of one of this width and 3/4 of it in height, unless they have fewer. The authors
work at a width of 500; on training images this size covers as many objects at IoU 0.5 as that one, in two thirds of the
time."""

SMALLEST = 16
"""The shortest side of a box, in pixels of such an image: 20 at the authors' size (the R-CNN authors' filter)."""

METHODS = ("numba", "skimage")
"""Who makes the starting regions; see `selective_search`."""
