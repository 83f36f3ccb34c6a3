"""Selective search (Uijlings et al., IJCV 2013): many groupings of one image, their boxes ranked together."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from math import sqrt
from typing import TypeVar

import cv2
import numpy as np

from proposals.colour import convert
from proposals.cores import cores
from proposals.features import Regions, describe, pixel_codes
from proposals.grouping import group
from proposals.modes import METHODS, MODES, SEARCH_SIZE, SMALLEST, Mode
from proposals.ranking import rank
from proposals.segmentation import PixelGraph, pixel_graph, segment, segment_by_skimage, smooth

VERSION = 2
"""Raised whenever an image's boxes change; proposal files record it. 1 took its segments from scikit-image."""

WORKING_AREA = SEARCH_SIZE * SEARCH_SIZE * 3 // 4
"""Larger images are shrunk to this many pixels first, unless another size is asked for."""

MIN_SIDE = SMALLEST
"""Boxes with a shorter side, in pixels of an image of `WORKING_AREA`, are left out, unless others are asked for."""

T = TypeVar("T")
R = TypeVar("R")


def selective_search(
    image: np.ndarray,
    mode: str = "fast",
    max_proposals: int = 2000,
    seed: int = 0,
    *,
    search_size: int = SEARCH_SIZE,
    smallest: float = SMALLEST,
    method: str = "numba",
    threads: int | None = None,
) -> np.ndarray:
    """Propose boxes that may hold an object, of any class.

    Args:
        image: RGB [H, W, 3] or grey [H, W] or [H, W, 1]; uint8, uint16, or float in [0, 1].
        mode: ``single``, ``fast`` or ``quality`` (see `MODES`).
        max_proposals: the most boxes to return.
        seed: of the random part of the ranks; the same seed gives the same boxes, whatever the number of threads.
        search_size: images of more pixels than search_size x 3/4 search_size are shrunk to as many first, and none is
            enlarged. A larger one finds smaller objects; the time grows with its square and more.
        smallest: the shortest side of a box, in pixels of an image of that size; of a smaller image, in proportion.
        method: who makes the starting regions: ``numba`` is this package, ``skimage`` is scikit-image, several times
            slower, to compare.
        threads: how many to use; None for one a core that this process may run on.

    Returns:
        float32 [N, 4], 1 <= N <= max_proposals: xyxy in pixels of `image`, continuous, best first, no box twice.

    Raises:
        ValueError: an image of another shape, type or range, or an empty one; an unknown mode or method;
            max_proposals, search_size, smallest or threads < 1.

    Reference:
        Uijlings, van de Sande, Gevers, Smeulders: Selective Search for Object Recognition, IJCV 2013.
    """
    _check(image, mode)
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, got {method!r}")
    numbers = {"max_proposals": max_proposals, "search_size": search_size, "smallest": smallest, "threads": threads}
    for name, number in numbers.items():
        if number is not None and not number >= 1:
            raise ValueError(f"{name} must be at least 1, got {number}")

    height, width = image.shape[:2]
    area = search_size * search_size * 3 / 4
    rgb = working_image(image, area)
    min_side = smallest * sqrt(rgb.shape[0] * rgb.shape[1] / area)
    boxes = rank(hierarchies(rgb, MODES[mode], method, threads or cores()), min_side, seed)
    back = np.array([width / rgb.shape[1], height / rgb.shape[0]] * 2)
    # The product of 433 and 500 / 433 may end a hair above 500.
    return np.minimum(boxes[:max_proposals] * back, [width, height] * 2).astype(np.float32)


def segments(image: np.ndarray, mode: str = "fast") -> np.ndarray:
    """The starting regions of a mode's first colour space and k, to look at.

    Args:
        image: as `selective_search` takes it.
        mode: a key of `MODES`.

    Returns:
        int32 [H, W]: labels 0, 1, ...

    Raises:
        ValueError: as `selective_search`.
    """
    _check(image, mode)
    rgb = working_image(image)
    graph = _prepare(rgb, MODES[mode].colour_spaces[0]).graph
    labels = segment(graph, MODES[mode].ks[0])
    rows, columns = (np.arange(full) * part // full for full, part in zip(image.shape, labels.shape, strict=False))
    return labels[rows[:, None], columns]


def _check(image: np.ndarray, mode: str) -> None:
    shape = image.shape
    if not (len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3))) or image.size == 0:
        raise ValueError(f"image must be [H, W, 3], [H, W, 1] or [H, W] and not empty, got {list(shape)}")
    if image.dtype.kind == "f":
        if not (image.min() >= 0 and image.max() <= 1):
            raise ValueError("a float image must have values from 0 to 1")
    elif image.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"image must be uint8, uint16 or float, got {image.dtype}")
    if mode not in MODES:
        raise ValueError(f"mode must be one of {', '.join(MODES)}, got {mode!r}")


def working_image(image: np.ndarray, area: float = WORKING_AREA) -> np.ndarray:
    """float32 RGB [h, w, 3] in [0, 1] with h * w of about `area` or less."""
    height, width = image.shape[:2]
    if image.dtype.kind == "f" and image.dtype != np.float64:
        image = image.astype(np.float32, copy=False)  # float16 is not OpenCV's
    scale = sqrt(area / (height * width))
    if scale < 1:
        size = (max(round(width * scale), 1), max(round(height * scale), 1))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    full = 1 if image.dtype.kind == "f" else np.iinfo(image.dtype).max
    image = np.divide(image, np.float32(full), dtype=np.float32)
    if image.ndim == 2 or image.shape[2] == 1:
        image = np.repeat(image.reshape(*image.shape[:2], 1), 3, axis=2)
    return np.ascontiguousarray(image)


@dataclass(frozen=True)
class _Prepared:
    """An image in one colour space: what all its segmentations share."""

    planes: np.ndarray
    graph: PixelGraph
    codes: np.ndarray


def _prepare(rgb: np.ndarray, space: str) -> _Prepared:
    planes = convert(rgb, space)
    smoothed = smooth(planes)
    return _Prepared(planes, pixel_graph(smoothed), pixel_codes(planes, smoothed))


def _regions(prepared: _Prepared, k: int, method: str) -> Regions:
    labels = segment(prepared.graph, k) if method == "numba" else segment_by_skimage(prepared.planes, k)
    return describe(prepared.codes, labels)


def hierarchies(rgb: np.ndarray, mode: Mode, method: str = "numba", threads: int = 1) -> list[np.ndarray]:
    """Every grouping of a mode: int32 [2 R - 1, 4] each, starting regions first, the whole image last."""
    area = rgb.shape[0] * rgb.shape[1]

    def run(each: Callable[[Callable[[T], R], Iterable[T]], Iterable[R]]) -> list[np.ndarray]:
        prepared = list(each(partial(_prepare, rgb), mode.colour_spaces))
        cuts = [(space, k) for k in mode.ks for space in prepared]
        regions = list(each(lambda cut: _regions(*cut, method), cuts))
        return list(each(lambda pair: group(*pair, area), [(cut, by) for cut in regions for by in mode.similarities]))

    if threads == 1:
        return run(map)
    with ThreadPoolExecutor(threads) as pool:
        return run(pool.map)
