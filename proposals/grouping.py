"""Hierarchical grouping: merge the two most similar neighbours until one region is left (IJCV 2013, algorithm 1).

The similarities of all pairs of neighbours wait in a heap. A merge makes two regions one, adds that one's similarities
to its neighbours, and leaves the two regions' old pairs to be passed over when they come up. So a merge costs its
neighbours times the logarithm of the heap, and nothing is sorted again.
"""

from __future__ import annotations

import numpy as np

from proposals.compiled import NONE, compiled
from proposals.features import Regions
from proposals.modes import Similarity

MOST_REGIONS = 1 << 15  # a pair's numbers share an integer with its similarity


def group(regions: Regions, similarity: Similarity, image_size: int) -> np.ndarray:
    """Merge neighbouring regions until none is left to merge, and keep the box of every region on the way.

    Equally similar pairs merge in the order of their numbers, so the result is the same on every run.

    Args:
        regions: R starting regions.
        similarity: the similarities that add up.
        image_size: pixels of the image.

    Returns:
        int32 [2 R - 1, 4] for a connected image: the starting regions' boxes, then one box a merge, in that order.

    Raises:
        ValueError: more than `MOST_REGIONS` regions.
    """
    if len(regions.size) > MOST_REGIONS:
        raise ValueError(f"{len(regions.size)} regions, {MOST_REGIONS} at most")
    histograms = [
        np.float32(weight) * histogram
        for weight, histogram in ((similarity.colour, regions.colour), (similarity.texture, regions.texture))
        if weight
    ]
    count, edges = len(regions.size), len(regions.edges)
    most = max(2 * count - 1, 0)
    size, box = np.empty(most, np.int64), np.empty((most, 4), np.int32)
    size[:count], box[:count] = regions.size, regions.box
    # A merged region keeps its histograms in the row of one of the two: what is alive stays close together.
    row = np.arange(most)
    alive = np.arange(most) < count
    seen, head = np.full((2, most), -1, np.int64)
    neighbour, following = np.empty((2, max(4 * edges, 16)), np.int64)
    end = _group(
        np.concatenate(histograms or [np.empty((count, 0), np.float32)], axis=1),
        count,
        regions.edges,
        np.float32(similarity.size),
        np.float32(similarity.fill),
        image_size,
        *(size, box, row, alive, seen, head, neighbour, following, np.empty(len(neighbour), np.uint64)),
    )
    return box[:end]


@compiled
def _push(heap, count, key):
    """Add a key to the first `count` of a binary heap, smallest first."""
    place = count
    while place > 0:
        above = (place - 1) >> 1
        if heap[above] <= key:
            break
        heap[place] = heap[above]
        place = above
    heap[place] = key


@compiled
def _pop(heap, count):
    """Take the smallest of `count` keys."""
    smallest = heap[0]
    key = heap[count - 1]
    count -= 1
    place = 0
    below = 1
    while below < count:
        if below + 1 < count and heap[below + 1] < heap[below]:
            below += 1
        if heap[below] >= key:
            break
        heap[place] = heap[below]
        place = below
        below = 2 * place + 1
    heap[place] = key
    return smallest


@compiled
def _key(one, other, a, b, histograms, size, box, by_size, by_fill, image_size):
    """A pair's place in the heap: the more similar the smaller, then by its numbers."""
    similarity = np.float32(0)
    for i in range(histograms.shape[1]):
        similarity += min(histograms[one, i], histograms[other, i])
    both = size[a] + size[b]
    width = max(box[a, 2], box[b, 2]) - min(box[a, 0], box[b, 0])
    height = max(box[a, 3], box[b, 3]) - min(box[a, 1], box[b, 1])
    similarity += by_size * np.float32(1 - both / image_size)
    similarity += by_fill * np.float32(1 - (width * height - both) / image_size)
    # A similarity is at most 4, so this fits into 32 bits, with steps as fine as float32 has near 4.
    distance = np.uint64((np.float32(4.5) - similarity) * np.float32(1 << 22))
    return (distance << np.uint64(32)) | np.uint64(a << 16) | np.uint64(b)


# Arrays are copied by loops: numba compiles four seconds for two assignments of slices, most of it their messages.


@compiled
def _longer(array, count):
    grown = np.empty(2 * len(array), array.dtype)
    for i in range(count):
        grown[i] = array[i]
    return grown


@compiled
def _group(
    histograms,
    count,
    edges,
    by_size,
    by_fill,
    image_size,
    size,
    box,
    row,
    alive,
    seen,
    head,
    neighbour,
    following,
    heap,
):
    """Merge until nothing is left to merge; how many regions there are then, `count` of them from the beginning."""
    # Each region's neighbours are a linked list in `neighbour` and `following`. Entries of merged regions stay behind
    # and are passed over; a list is walked once, when its own region merges, so all walks together are linear.
    used = NONE
    waiting = NONE

    for e in range(len(edges)):
        a, b = np.int64(edges[e, 0]), np.int64(edges[e, 1])
        for one, other in ((a, b), (b, a)):
            neighbour[used], following[used] = other, head[one]
            head[one] = used
            used += 1
        _push(heap, waiting, _key(a, b, a, b, histograms, size, box, by_size, by_fill, image_size))
        waiting += 1

    new = count
    while waiting > 0:
        pair = _pop(heap, waiting)
        waiting -= 1
        a, b = np.int64(pair >> np.uint64(16)) & 0xFFFF, np.int64(pair) & 0xFFFF
        if not (alive[a] and alive[b]):
            continue
        alive[a] = alive[b] = False
        alive[new] = True
        size[new] = size[a] + size[b]
        mine, merged = row[a], row[b]
        row[new] = mine
        share = np.float32(size[a] / size[new])
        for i in range(histograms.shape[1]):
            histograms[mine, i] = share * histograms[mine, i] + (1 - share) * histograms[merged, i]
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
                if used + 2 > len(neighbour):
                    neighbour, following = _longer(neighbour, used), _longer(following, used)
                for one, two in ((new, other), (other, new)):
                    neighbour[used], following[used] = two, head[one]
                    head[one] = used
                    used += 1
                if waiting == len(heap):
                    heap = _longer(heap, waiting)
                key = _key(row[other], mine, other, new, histograms, size, box, by_size, by_fill, image_size)
                _push(heap, waiting, key)
                waiting += 1
        new += 1
    return new
