"""The starting regions: graph segmentation (Felzenszwalb and Huttenlocher, IJCV 2004).

Pixels are joined along the edges between neighbours, lightest edge first, as long as an edge is lighter than what both
sides hold together already. Two observations make it fast on a grid of pixels and change nothing in the result:

- The lighter half of the edges is sorted once, for all k.
- When it has been worked off, most of the heavier half joins pixels that are together already. Those edges are left
  out before the rest is sorted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from proposals.compiled import compiled

SIGMA = 0.8
"""Gaussian smoothing before the segmentation, in pixels (IJCV 2013, section 3.1; the authors' code)."""

_RADIUS = 3  # of the smoothing: 4 sigma, as in scikit-image
_NO_EDGE = np.float32(8)  # heavier than any edge: colours differ by sqrt(3) at most
_NO_EDGE_BITS = int(_NO_EDGE.view(np.uint32))
_DIGIT = 10  # bits a pass of the radix sort; three passes hold all weights under 2


@dataclass(frozen=True)
class PixelGraph:
    """The edges between the neighbouring pixels of an image.

    Edges of a pixel p (counted along the rows) lead right, down, down right and up right. They are numbered
    4 p + direction. A weight that is not negative sorts as the integer of the same bits, which is how it is kept. A
    weighed edge is a number of 64 bits: the weight's, then the edge.

    Attributes:
        weights: uint32 [4, H, W], bits of the float32 distance of two smoothed colours; `_NO_EDGE` outside the image.
        pivot: bits of the weight that parts the lighter half of the edges from the heavier one.
        light: uint64 [E], the weighed edges under the pivot, by rising weight.
    """

    weights: np.ndarray
    pivot: int
    light: np.ndarray


def smooth(planes: np.ndarray) -> np.ndarray:
    """Blur an image, float32 [C, H, W], by a Gaussian of `SIGMA`."""
    size = (2 * _RADIUS + 1, 2 * _RADIUS + 1)
    return np.stack([cv2.GaussianBlur(plane, size, SIGMA, borderType=cv2.BORDER_REFLECT) for plane in planes])


def pixel_graph(smoothed: np.ndarray) -> PixelGraph:
    """Weigh the edges of a smoothed image, float32 [C, H, W] in [0, 1]."""
    weights = np.full((4, *smoothed.shape[1:]), _NO_EDGE)
    _weigh(smoothed, weights)
    known = weights[:, ::3, ::3]
    known = known[known < _NO_EDGE]
    pivot = int(np.median(known).astype(np.float32).view(np.uint32)) if known.size else 0
    bits = weights.view(np.uint32)
    flat = bits.reshape(4, -1)
    return PixelGraph(bits, pivot, _sorted(flat.size, _light_edges, flat, pivot))


def segment(graph: PixelGraph, k: float) -> np.ndarray:
    """Cut an image into small, even regions.

    The result is that of `skimage.segmentation.felzenszwalb` on the same smoothed image where no two edges weigh the
    same. Edges that do are taken in the order of their directions (right, down, down right, up right), then of their
    pixels along the rows.

    Args:
        graph: the image's edges.
        k: the scale of observation for values in 0-255, and the smallest region in pixels (the authors tie the two).

    Returns:
        int32 [H, W]: labels 0, 1, ... in the order of the regions' first pixels, each region connected.
    """
    flat, width = graph.weights.reshape(4, -1), graph.weights.shape[2]
    pixels, scale, offsets = flat.shape[1], np.float32(k / 255), np.array([1, width, width + 1, 1 - width])
    # Trees of pixels. A root is the first pixel of its region, and knows the region's size and the weight under
    # which an edge may still join it: its heaviest edge + k / size.
    trees = np.arange(pixels, dtype=np.int32), np.ones(pixels, np.int32), np.full(pixels, scale, np.float32)
    apart = np.empty(flat.size, np.uint32)
    count = _join_along(graph.light, scale, *trees, offsets, apart, 0)
    heavy = _sorted(flat.size - len(graph.light), _heavy_edges, flat, graph.pivot, trees[0], offsets)
    count = _join_along(heavy, scale, *trees, offsets, apart, count)
    labels = np.empty(graph.weights.shape[1:], np.int32)
    _label(apart[:count], int(k), *trees[:2], offsets, labels.reshape(-1))
    return labels


def _sorted(most: int, choose: Callable[..., int], *given: Any) -> np.ndarray:
    """The weighed edges that a kernel chooses, at most so many, by rising weight."""
    # Entries are written before it is known whether they stay: no branch, hence one entry too many.
    edges, spare = np.empty((2, most + 1), np.uint64)
    count = choose(*given, edges)
    _sort(edges, count, spare, np.zeros((3, 1 << _DIGIT), np.int64))
    return spare[:count]


def segment_by_skimage(planes: np.ndarray, k: float) -> np.ndarray:
    """Cut an image, float32 [C, H, W] in [0, 1] and not smoothed, as `segment` does, but by scikit-image."""
    if min(planes.shape[1:]) < 2:
        # scikit-image needs two rows and two columns.
        return segment(pixel_graph(smooth(planes)), k)
    from skimage.segmentation import felzenszwalb  # a second of import that the other method spares

    image = planes.transpose(1, 2, 0).astype(np.float64)
    labels = felzenszwalb(image, scale=k, sigma=SIGMA, min_size=int(k), channel_axis=-1)
    return np.ascontiguousarray(labels, dtype=np.int32)


@compiled
def _weigh(planes, weights):
    channels, height, width = planes.shape
    for y in range(height):
        for direction in range(4):
            # The neighbour's row, and how far right it is.
            other = y + (0, 1, 1, -1)[direction]
            right = (1, 0, 1, 1)[direction]
            if other < 0 or other == height:
                continue
            row = weights[direction, y, : width - right]
            for x in range(len(row)):
                row[x] = 0
            for c in range(channels):
                here, there = planes[c, y, : width - right], planes[c, other, right:]
                for x in range(len(row)):
                    difference = there[x] - here[x]
                    row[x] += difference * difference
            for x in range(len(row)):
                row[x] = np.sqrt(row[x])


@compiled
def _sort(edges, count, spare, starts):
    """Sort the first `count` weighed edges by their weights, all under 2**30: a stable radix sort, whose result is in
    the spare array. `starts` is [3, 2**_DIGIT] zeros."""
    buckets = 1 << _DIGIT
    for i in range(count):
        edge = edges[i]
        for digit in range(3):
            starts[digit, (edge >> np.uint64(32 + _DIGIT * digit)) & np.uint64(buckets - 1)] += 1
    for digit in range(3):
        start = 0
        for bucket in range(buckets):
            size = starts[digit, bucket]
            starts[digit, bucket] = start
            start += size
    for digit in range(3):
        shift = np.uint64(32 + _DIGIT * digit)
        for i in range(count):
            edge = edges[i]
            bucket = (edge >> shift) & np.uint64(buckets - 1)
            place = starts[digit, bucket]
            starts[digit, bucket] = place + 1
            spare[place] = edge
        edges, spare = spare, edges


@compiled
def _weighed(weight, pixel, direction):
    return (np.uint64(weight) << np.uint64(32)) | np.uint64((pixel << 2) | direction)


@compiled
def _light_edges(flat, pivot, edges):
    """Write the weighed edges under the pivot; how many there are."""
    count = 0
    for direction in range(4):
        for pixel in range(flat.shape[1]):
            weight = flat[direction, pixel]
            edges[count] = _weighed(weight, pixel, direction)
            count += weight < pivot
    return count


@compiled
def _heavy_edges(flat, pivot, parent, offsets, edges):
    """Likewise the others, but for those within a region."""
    pixels = len(parent)
    # A pixel's parent lies before it, so one pass in order leads all of them straight to their roots.
    for pixel in range(pixels):
        parent[pixel] = parent[parent[pixel]]
    count = 0
    for direction in range(4):
        offset = offsets[direction]
        for pixel in range(max(0, -offset), min(pixels, pixels - offset)):
            weight = flat[direction, pixel]
            edges[count] = _weighed(weight, pixel, direction)
            count += (weight >= pivot) & (weight < _NO_EDGE_BITS) & (parent[pixel] != parent[pixel + offset])
    return count


@compiled
def _find(parent, pixel):
    """The root of a pixel's tree; the way there is halved."""
    above = parent[pixel]
    while above != pixel:
        higher = parent[above]
        parent[pixel] = higher
        pixel = higher
        above = parent[pixel]
    return pixel


@compiled
def _join_along(edges, scale, parent, size, limit, offsets, kept_apart, apart):
    """Join what the weighed edges connect; the edges that may not join are added to `kept_apart`, whose new length is
    returned."""
    halves = edges.view(np.uint32)  # of each 64 bits the lower ones first, as on every processor that numba knows
    weights = edges.view(np.float32)
    for i in range(len(edges)):
        edge = halves[2 * i]
        pixel = np.int64(edge >> np.uint32(2))
        a = _find(parent, pixel)
        b = _find(parent, pixel + offsets[edge & np.uint32(3)])
        if a == b:
            continue
        weight = weights[2 * i + 1]
        if weight < limit[a] and weight < limit[b]:
            a, b = min(a, b), max(a, b)
            parent[b] = a
            size[a] += size[b]
            limit[a] = weight + scale / np.float32(size[a])
        else:
            kept_apart[apart] = edge
            apart += 1
    return apart


@compiled
def _label(apart, min_size, parent, size, offsets, labels):
    """Join what is too small along the edges that were kept apart, and number the regions."""
    for i in range(len(apart)):
        pixel = np.int64(apart[i] >> np.uint32(2))
        a = _find(parent, pixel)
        b = _find(parent, pixel + offsets[apart[i] & np.uint32(3)])
        if a != b and (size[a] < min_size or size[b] < min_size):
            a, b = min(a, b), max(a, b)
            parent[b] = a
            size[a] += size[b]
    regions = 0
    for pixel in range(len(parent)):
        if parent[pixel] == pixel:
            labels[pixel] = regions
            regions += 1
        else:
            labels[pixel] = labels[parent[pixel]]
