"""Which proposals come first.

The authors rank a box by its place in its hierarchy (1 for the last merge) times a random number. Here two things that
an image itself tells take the random number's part, as ``scripts/rank_proposals.py`` found on training images:

- Agreement: a box that other groupings found too is more likely an object's.
- Variety: a box that is nearly an earlier one adds little, so it is put behind. How near is too near depends on how
  many boxes are wanted: a few have to lie far apart to meet every object, many may lie close to fit it well.
"""

from __future__ import annotations

import numpy as np

from proposals.compiled import compiled

AGREEMENT = 0.7
"""The IoU from which boxes of two groupings count as the same find."""

VARIETY = ((100, 0.65), (400, 0.75), (1000, 0.85), (2000, 0.9))
"""The first n boxes overlap one another by less than this IoU, as long as there are boxes that do."""


def rank(hierarchies: list[np.ndarray], min_side: float, seed: int = 0) -> np.ndarray:
    """Order the boxes of all groupings, best first, each box once.

    A box's rank is its place in its hierarchy over the root of 1 + the boxes of other groupings that agree with it.
    Then the boxes of `VARIETY` are picked from the front.

    Args:
        hierarchies: of each grouping the boxes int32 [M, 4], starting regions first, the whole image last.
        min_side: boxes with a shorter side are left out; if that is all of them, the largest one stays.
        seed: of the order of boxes in the same place.

    Returns:
        int32 [N, 4].
    """
    boxes = np.concatenate(hierarchies)
    places = np.concatenate([np.arange(len(found), 0, -1) for found in hierarchies])
    sources = np.repeat(np.arange(len(hierarchies)), [len(found) for found in hierarchies])
    sides = boxes[:, 2:] - boxes[:, :2]
    keep = (sides >= min_side).all(axis=1)
    if not keep.any():
        keep[np.argmax(sides.prod(axis=1))] = True
    boxes, places, sources = boxes[keep], places[keep], sources[keep]

    chance = np.random.default_rng(seed).random(len(boxes))
    order = np.argsort((places + chance) / np.sqrt(1 + agreement(boxes, sources)), kind="stable")
    return varied(each_once(boxes[order]))


def agreement(boxes: np.ndarray, sources: np.ndarray) -> np.ndarray:
    """Count the boxes of other groupings that overlap a box by `AGREEMENT`.

    Args:
        boxes: int32 [N, 4].
        sources: int [N], each box's grouping.

    Returns:
        int32 [N].
    """
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1).astype(np.float32)
    order = np.argsort(-areas, kind="stable")
    found = np.empty(len(boxes), np.int32)
    sides = np.ascontiguousarray(boxes[order].T, np.float32)
    # Numbers of 32 bits throughout: those of 64 bits halve what a vector holds.
    _agreement(sides, areas[order], sources[order].astype(np.int32), np.float32(AGREEMENT), found)
    agreeing = np.empty_like(found)
    agreeing[order] = found
    return agreeing


def varied(boxes: np.ndarray) -> np.ndarray:
    """Pick the first boxes so that they keep to `VARIETY`; those that were passed over follow."""
    counts, overlaps = zip(*VARIETY, strict=True)
    waiting, picked = np.arange(len(boxes)), np.empty(len(boxes), np.int64)
    numbers = np.array(counts), np.array(overlaps, np.float32)
    _varied(boxes.astype(np.float32), *numbers, waiting, picked, *np.empty((5, counts[-1]), np.float32))
    return boxes[picked]


def each_once(boxes: np.ndarray) -> np.ndarray:
    """Leave out boxes that came before."""
    order = np.lexsort(boxes.T)  # stable: of equal boxes the earliest comes first
    new = np.append(True, (boxes[order[1:]] != boxes[order[:-1]]).any(axis=1))
    return boxes[np.sort(order[new])]


# Loops over slices become vector instructions. Over a range that begins anywhere they do not: numba takes an index for
# one that may be negative, and asks at every turn.


@compiled
def _agreement(sides, areas, sources, least, found):
    count = len(areas)
    first, end = 0, 0
    for i in range(count):
        # By falling area: of two boxes that overlap by `least`, the smaller has at least that share of the larger.
        while least * areas[first] > areas[i]:
            first += 1
        while end < count and areas[end] >= least * areas[i]:
            end += 1
        left, top, right, bottom = sides[0, i], sides[1, i], sides[2, i], sides[3, i]
        x1, y1, x2, y2 = sides[0, first:end], sides[1, first:end], sides[2, first:end], sides[3, first:end]
        near, origin = areas[first:end], sources[first:end]
        agreeing = np.int32(0)
        for j in range(len(near)):
            width = max(min(right, x2[j]) - max(left, x1[j]), np.float32(0))
            height = max(min(bottom, y2[j]) - max(top, y1[j]), np.float32(0))
            both = width * height
            agreeing += np.int32((both >= least * (areas[i] + near[j] - both)) & (origin[j] != sources[i]))
        found[i] = agreeing


@compiled
def _varied(boxes, counts, overlaps, waiting, picked, x1, y1, x2, y2, area):
    """Write the order of the boxes after picking counts[0] that overlap by less than overlaps[0], and so on."""
    done = 0
    for level in range(len(counts)):
        overlap = overlaps[level]
        behind = 0
        for i in waiting:
            left, top, right, bottom = boxes[i, 0], boxes[i, 1], boxes[i, 2], boxes[i, 3]
            size = (right - left) * (bottom - top)
            free = done < counts[level]
            first = 0
            while free and first < done:
                # In blocks: within one there is no branch.
                last = min(first + 64, done)
                lefts, tops, rights, bottoms = x1[first:last], y1[first:last], x2[first:last], y2[first:last]
                sizes = area[first:last]
                near = np.int32(0)
                for j in range(len(sizes)):
                    width = max(min(right, rights[j]) - max(left, lefts[j]), np.float32(0))
                    height = max(min(bottom, bottoms[j]) - max(top, tops[j]), np.float32(0))
                    both = width * height
                    near += np.int32(both >= overlap * (size + sizes[j] - both))
                free = near == 0
                first = last
            if free:
                x1[done], y1[done], x2[done], y2[done], area[done] = left, top, right, bottom, size
                picked[done] = i
                done += 1
            else:
                waiting[behind] = i
                behind += 1
        waiting = waiting[:behind]
    for i in range(len(waiting)):  # numba compiles longer for an assignment of slices than for all before it
        picked[done + i] = waiting[i]
