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
        int64 [N].
    """
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1).astype(np.float32)
    order = np.argsort(-areas, kind="stable")
    found = np.empty(len(boxes), np.int64)
    found[order] = _agreement(np.ascontiguousarray(boxes[order].T, np.float32), areas[order], sources[order], AGREEMENT)
    return found


def varied(boxes: np.ndarray) -> np.ndarray:
    """Pick the first boxes so that they keep to `VARIETY`; those that were passed over follow."""
    counts, overlaps = zip(*VARIETY, strict=True)
    return boxes[_varied(boxes.astype(np.float32), np.array(counts), np.array(overlaps, np.float32))]


def each_once(boxes: np.ndarray) -> np.ndarray:
    """Leave out boxes that came before."""
    order = np.lexsort(boxes.T)  # stable: of equal boxes the earliest comes first
    new = np.append(True, (boxes[order[1:]] != boxes[order[:-1]]).any(axis=1))
    return boxes[np.sort(order[new])]


@compiled
def _agreement(sides, areas, sources, least):
    x1, y1, x2, y2 = sides
    count = len(areas)
    found = np.zeros(count, np.int64)
    end = 0
    for i in range(count):
        # By falling area: a box under `least` of this one's area cannot overlap it by `least`.
        end = max(end, i + 1)
        while end < count and areas[end] >= least * areas[i]:
            end += 1
        agreeing = 0
        for j in range(i + 1, end):
            width = max(min(x2[i], x2[j]) - max(x1[i], x1[j]), np.float32(0))
            height = max(min(y2[i], y2[j]) - max(y1[i], y1[j]), np.float32(0))
            both = width * height
            agrees = (both >= np.float32(least) * (areas[i] + areas[j] - both)) & (sources[i] != sources[j])
            agreeing += agrees
            found[j] += agrees
        found[i] += agreeing
    return found


@compiled
def _varied(boxes, counts, overlaps):
    """The order of the boxes after picking counts[0] that overlap by less than overlaps[0], and so on."""
    left = np.arange(len(boxes))
    picked = np.empty(len(boxes), np.int64)
    done = 0
    x1, y1, x2, y2, area = np.empty((5, counts[-1]), np.float32)
    for level in range(len(counts)):
        overlap = overlaps[level]
        behind = 0
        for i in left:
            box = boxes[i]
            size = (box[2] - box[0]) * (box[3] - box[1])
            free = done < counts[level]
            first = 0
            while free and first < done:
                # In blocks: within one there is no branch, so that it becomes vector instructions.
                near = 0
                for j in range(first, min(first + 64, done)):
                    width = max(min(box[2], x2[j]) - max(box[0], x1[j]), np.float32(0))
                    height = max(min(box[3], y2[j]) - max(box[1], y1[j]), np.float32(0))
                    both = width * height
                    near += both >= overlap * (size + area[j] - both)
                free = near == 0
                first += 64
            if free:
                x1[done], y1[done], x2[done], y2[done], area[done] = box[0], box[1], box[2], box[3], size
                picked[done] = i
                done += 1
            else:
                left[behind] = i
                behind += 1
        left = left[:behind]
    for i in range(len(left)):  # numba compiles longer for an assignment of slices than for all before it
        picked[done + i] = left[i]
    return picked
