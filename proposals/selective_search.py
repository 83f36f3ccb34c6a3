"""Selective search (Uijlings et al., IJCV 2013): many groupings of one image, their boxes ranked together."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import cv2
import numpy as np

from proposals.colour import convert
from proposals.features import describe
from proposals.grouping import Similarity, group
from proposals.segmentation import segment

WORKING_AREA = 500 * 375
"""Larger images are shrunk to this many pixels first; the authors work at a width of 500."""

MIN_SIDE = 20
"""Boxes with a shorter side, in pixels of an image of `WORKING_AREA`, are left out (the R-CNN authors' filter)."""

ALL = Similarity()
NO_COLOUR = Similarity(colour=0)
FILL = Similarity(colour=0, texture=0, size=0)
SIZE = Similarity(colour=0, texture=0, fill=0)


@dataclass(frozen=True)
class Mode:
    """How far to diversify: every colour space with every k with every set of similarities is one grouping."""

    colour_spaces: tuple[str, ...]
    ks: tuple[int, ...]
    similarities: tuple[Similarity, ...]


MODES = {
    "single": Mode(("hsv",), (100,), (ALL,)),
    "fast": Mode(("hsv", "lab"), (50, 100), (ALL, NO_COLOUR)),
    "quality": Mode(("hsv", "lab", "rgi", "hue", "intensity"), (50, 100, 150, 300), (ALL, NO_COLOUR, FILL, SIZE)),
}


def selective_search(image: np.ndarray, mode: str = "fast", max_proposals: int = 2000, seed: int = 0) -> np.ndarray:
    """Propose boxes that may hold an object, of any class.

    Args:
        image: uint8 RGB [H, W, 3]. Images above `WORKING_AREA` pixels are worked on at a smaller size.
        mode: ``single``, ``fast`` or ``quality`` (see `MODES`).
        max_proposals: the most boxes to return.
        seed: of the random part of the ranks; the same seed gives the same boxes.

    Returns:
        float32 [N, 4], 1 <= N <= max_proposals: xyxy in pixels of `image`, continuous, best first, no box twice.

    Raises:
        ValueError: an image that is not uint8 [H, W, 3] or is empty, an unknown mode, max_proposals < 1.

    Reference:
        Uijlings, van de Sande, Gevers, Smeulders: Selective Search for Object Recognition, IJCV 2013.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
        raise ValueError(f"image must be uint8 [H, W, 3] and not empty, got {image.dtype} {list(image.shape)}")
    if mode not in MODES:
        raise ValueError(f"mode must be one of {', '.join(MODES)}, got {mode!r}")
    if max_proposals < 1:
        raise ValueError(f"max_proposals must be at least 1, got {max_proposals}")

    height, width = image.shape[:2]
    working = _working_image(image)
    hierarchies = _hierarchies(working, MODES[mode])
    boxes = _rank(hierarchies, np.random.default_rng(seed))
    boxes = _large_enough(boxes, MIN_SIDE * sqrt(working.shape[0] * working.shape[1] / WORKING_AREA))
    back = np.array([width / working.shape[1], height / working.shape[0]] * 2)
    # The product of 433 and 500 / 433 may end a hair above 500.
    return np.minimum(boxes[:max_proposals] * back, [width, height] * 2).astype(np.float32)


def _working_image(image: np.ndarray) -> np.ndarray:
    """float64 RGB [h, w, 3] in [0, 1] with h * w of about `WORKING_AREA` or less."""
    height, width = image.shape[:2]
    scale = sqrt(WORKING_AREA / (height * width))
    if scale < 1:
        size = (max(round(width * scale), 1), max(round(height * scale), 1))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return image / 255.0


def _hierarchies(rgb: np.ndarray, mode: Mode) -> list[np.ndarray]:
    """Every grouping of a mode: int32 [2 R - 1, 4] each, starting regions first, the whole image last."""
    boxes = []
    for space in mode.colour_spaces:
        image = convert(rgb, space)
        for k in mode.ks:
            regions = describe(image, segment(image, k))
            boxes += [group(regions, similarity, image.shape[0] * image.shape[1]) for similarity in mode.similarities]
    return boxes


def _rank(hierarchies: list[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """Order the boxes of all groupings, best first, each box once at its best rank (IJCV 2013, section 4.3).

    A box's rank is its place in its hierarchy (1 for the last merge) times a random number, so that large regions
    tend to come first without pushing all small ones back.
    """
    places = np.concatenate([np.arange(len(boxes), 0, -1) for boxes in hierarchies])
    boxes = np.concatenate(hierarchies)
    boxes = boxes[np.argsort(places * rng.random(len(places)), kind="stable")]
    _, first = np.unique(boxes, axis=0, return_index=True)
    return boxes[np.sort(first)]


def _large_enough(boxes: np.ndarray, min_side: float) -> np.ndarray:
    """Leave out boxes with a side under min_side, but never all of them: a sliver of an image is its own proposal."""
    sides = boxes[:, 2:] - boxes[:, :2]
    keep = (sides >= min_side).all(axis=1)
    if not keep.any():
        keep[np.argmax(sides.prod(axis=1))] = True
    return boxes[keep]
