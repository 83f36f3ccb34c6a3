"""Hierarchical grouping: merge the two most similar neighbours until one region is left (IJCV 2013, algorithm 1)."""

from __future__ import annotations

import heapq
from typing import NamedTuple

import numpy as np
from numba import njit

from proposals.features import Regions


class Similarity(NamedTuple):
    """Which of the four similarities add up (IJCV 2013, equation 6), each weighted by 0 or 1."""

    colour: float = 1.0
    texture: float = 1.0
    size: float = 1.0
    fill: float = 1.0


def group(regions: Regions, similarity: Similarity, image_size: int) -> np.ndarray:
    """Merge neighbouring regions until none is left to merge, and keep the box of every region on the way.

    Equally similar pairs merge in the order of their numbers, so the result is the same on every run.

    Args:
        regions: R starting regions.
        similarity: the similarities that add up.
        image_size: pixels of the image.

    Returns:
        int32 [2 R - 1, 4] for a connected image: the starting regions' boxes, then one box a merge, in that order.
    """
    return _group(
        regions.colour,
        regions.texture,
        regions.size,
        regions.box,
        regions.edges,
        np.array(similarity, dtype=np.float32),
        float(image_size),
    )


@njit(cache=True, nogil=True)
def _similarity(a, b, colour, texture, size, box, weights, image_size):
    total = np.float32(0)
    if weights[0] > 0:
        for i in range(colour.shape[1]):
            total += min(colour[a, i], colour[b, i])
    if weights[1] > 0:
        for i in range(texture.shape[1]):
            total += min(texture[a, i], texture[b, i])
    both = size[a] + size[b]
    if weights[2] > 0:
        total += np.float32(1 - both / image_size)
    if weights[3] > 0:
        width = max(box[a, 2], box[b, 2]) - min(box[a, 0], box[b, 0])
        height = max(box[a, 3], box[b, 3]) - min(box[a, 1], box[b, 1])
        total += np.float32(1 - (width * height - both) / image_size)
    return total


@njit(cache=True, nogil=True)
def _group(colour0, texture0, size0, box0, edges, weights, image_size):
    count = len(size0)
    most = 2 * count - 1
    colour = np.empty((most, colour0.shape[1]), np.float32)
    texture = np.empty((most, texture0.shape[1]), np.float32)
    size = np.empty(most, np.int64)
    box = np.empty((most, 4), np.int32)
    colour[:count], texture[:count], size[:count], box[:count] = colour0, texture0, size0, box0

    alive = np.zeros(most, np.bool_)
    alive[:count] = True
    seen = np.full(most, -1, np.int64)

    # Each region's neighbours are a linked list in `neighbour` and `following`. Entries of merged regions stay behind
    # and are passed over; a list is walked once, when its own region merges, so all walks together are linear.
    head = np.full(most, -1, np.int64)
    capacity = max(4 * len(edges), 16)
    neighbour = np.empty(capacity, np.int64)
    following = np.empty(capacity, np.int64)
    used = 0

    queue = [(np.float32(0), np.int64(0), np.int64(0)) for _ in range(0)]
    for e in range(len(edges)):
        a, b = np.int64(edges[e, 0]), np.int64(edges[e, 1])
        for one, other in ((a, b), (b, a)):
            neighbour[used], following[used] = other, head[one]
            head[one] = used
            used += 1
        queue.append((-_similarity(a, b, colour, texture, size, box, weights, image_size), a, b))
    heapq.heapify(queue)

    new = count
    while len(queue) > 0:
        _, a, b = heapq.heappop(queue)
        if not (alive[a] and alive[b]):
            continue
        alive[a] = alive[b] = False
        alive[new] = True
        size[new] = size[a] + size[b]
        share = np.float32(size[a] / size[new])
        for i in range(colour.shape[1]):
            colour[new, i] = share * colour[a, i] + (1 - share) * colour[b, i]
        for i in range(texture.shape[1]):
            texture[new, i] = share * texture[a, i] + (1 - share) * texture[b, i]
        box[new, 0] = min(box[a, 0], box[b, 0])
        box[new, 1] = min(box[a, 1], box[b, 1])
        box[new, 2] = max(box[a, 2], box[b, 2])
        box[new, 3] = max(box[a, 3], box[b, 3])
        for old in (a, b):
            entry = head[old]
            while entry >= 0:
                other = neighbour[entry]
                entry = following[entry]
                if not alive[other] or seen[other] == new:
                    continue
                seen[other] = new
                if used + 2 > capacity:
                    capacity *= 2
                    longer_neighbour = np.empty(capacity, np.int64)
                    longer_following = np.empty(capacity, np.int64)
                    longer_neighbour[:used], longer_following[:used] = neighbour[:used], following[:used]
                    neighbour, following = longer_neighbour, longer_following
                for one, two in ((new, other), (other, new)):
                    neighbour[used], following[used] = two, head[one]
                    head[one] = used
                    used += 1
                value = _similarity(other, new, colour, texture, size, box, weights, image_size)
                heapq.heappush(queue, (-value, other, np.int64(new)))
        new += 1
    return box[:new]
