"""Grouping against a slow reference that looks at every pair again before each merge."""

from __future__ import annotations

import heapq
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.measure import label as connected_components

from proposals.features import Regions, describe, pixel_codes, touching
from proposals.grouping import MOST_REGIONS, _pop, _push, group
from proposals.modes import MODES, Similarity
from proposals.segmentation import smooth

SIMILARITIES = sorted({s for mode in MODES.values() for s in mode.similarities} | {Similarity(1, 0, 0, 0)})


def regions_of(image: np.ndarray, labels: np.ndarray) -> Regions:
    """Describe a float image [H, W, C]."""
    planes = np.ascontiguousarray(image.transpose(2, 0, 1), np.float32)
    return describe(pixel_codes(planes, smooth(planes)), labels)


def random_regions(seed: int, shape: tuple[int, int] = (10, 12)) -> tuple[Regions, int]:
    """Cut where a random map changes, with random histograms: no two similarities of them are nearly equal."""
    rng = np.random.default_rng(seed)
    labels = connected_components(rng.integers(0, 4, shape), connectivity=1, background=-1) - 1
    regions = regions_of(np.zeros((*shape, 1)), labels.astype(np.int32))
    count = len(regions.size)
    colour, texture = (rng.dirichlet(np.full(bins, 0.3), count).astype(np.float32) for bins in (75, 240))
    return replace(regions, colour=colour, texture=texture), shape[0] * shape[1]


def slow_group(regions: Regions, similarity: Similarity, image_size: int) -> list[list[int]]:
    """Algorithm 1 of the paper as it reads. Similarities that differ by less than 2**-22 count as equal."""
    colour, texture = list(regions.colour), list(regions.texture)
    size, box = regions.size.tolist(), regions.box.tolist()
    alive = set(range(len(size)))
    neighbours = {tuple(pair) for pair in regions.edges.tolist()}

    def distance(a: int, b: int) -> int:
        total = np.float32(0)
        if similarity.colour:
            total += np.minimum(colour[a], colour[b]).sum()
        if similarity.texture:
            total += np.minimum(texture[a], texture[b]).sum()
        both = size[a] + size[b]
        if similarity.size:
            total += np.float32(1 - both / image_size)
        if similarity.fill:
            x1, y1, x2, y2 = union(box[a], box[b])
            total += np.float32(1 - ((x2 - x1) * (y2 - y1) - both) / image_size)
        return int((np.float32(4.5) - total) * np.float32(1 << 22))

    def mixed(a: int, b: int, histograms: list[np.ndarray]) -> np.ndarray:
        share = np.float32(size[a] / (size[a] + size[b]))
        return (share * histograms[a] + (1 - np.float64(share)) * histograms[b].astype(np.float64)).astype(np.float32)

    while neighbours:
        a, b = min(neighbours, key=lambda pair: (distance(*pair), pair))  # ties: the lower numbers first
        new = len(size)
        colour.append(mixed(a, b, colour))
        texture.append(mixed(a, b, texture))
        size.append(size[a] + size[b])
        box.append(union(box[a], box[b]))
        alive -= {a, b}
        renamed = {tuple(sorted(new if r in (a, b) else r for r in pair)) for pair in neighbours}
        neighbours = {pair for pair in renamed if pair[0] != pair[1]}
        alive.add(new)
    assert len(alive) == 1
    return box


def union(a: list[int], b: list[int]) -> list[int]:
    return [min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3])]


@pytest.mark.parametrize("similarity", SIMILARITIES, ids=str)
@pytest.mark.parametrize("seed", range(3))
def test_equals_the_slow_reference(similarity, seed):
    regions, image_size = random_regions(seed)
    assert len(regions.size) > 20
    boxes = group(regions, similarity, image_size)
    assert boxes.tolist() == slow_group(regions, similarity, image_size)


def test_equals_the_slow_reference_on_many_equal_regions():
    """One colour and square regions: nearly every similarity is tied. Sizes are powers of 2, so sums are exact."""
    labels = np.arange(16, dtype=np.int32).reshape(4, 4).repeat(4, axis=0).repeat(4, axis=1)
    regions = regions_of(np.full((16, 16, 1), 0.5), np.ascontiguousarray(labels))
    for similarity in SIMILARITIES:
        assert group(regions, similarity, 256).tolist() == slow_group(regions, similarity, 256)


@pytest.mark.parametrize("similarity", SIMILARITIES, ids=str)
def test_2r_minus_1_boxes_and_the_last_is_the_image(similarity):
    regions, image_size = random_regions(9, (30, 40))
    boxes = group(regions, similarity, image_size)
    count = len(regions.size)
    assert boxes.shape == (2 * count - 1, 4)
    assert boxes.dtype == np.int32
    assert np.array_equal(boxes[:count], regions.box)
    assert boxes[-1].tolist() == [0, 0, 40, 30]


def test_one_region():
    regions = regions_of(np.zeros((2, 3, 1)), np.zeros((2, 3), np.int32))
    assert group(regions, Similarity(), 6).tolist() == [[0, 0, 3, 2]]


def test_regions_that_do_not_touch_stay_apart():
    """0 and 1 meet, 2 is an island: one merge."""
    regions = replace(strip(0.0, 0.5, 1.0), edges=np.array([[0, 1]], np.int32))
    assert group(regions, Similarity(), 6)[3:].tolist() == [[0, 0, 2, 2]]
    alone = replace(regions, edges=np.empty((0, 2), np.int32))
    assert np.array_equal(group(alone, Similarity(), 6), regions.box)


def strip(*colours: float, width: int = 1) -> Regions:
    """Regions side by side, each of one grey."""
    image = np.repeat(np.float32(colours), width)[None, :, None].repeat(2, axis=0)
    labels = np.repeat(np.arange(len(colours), dtype=np.int32), width)[None].repeat(2, axis=0)
    return regions_of(image, np.ascontiguousarray(labels))


def test_like_colours_merge_first():
    """Dark, dark, bright, bright: the pairs of equal colour, then both; only neighbours merge."""
    boxes = group(strip(0.0, 0.0, 1.0, 1.0), Similarity(1, 0, 0, 0), 8)
    assert boxes[4:].tolist() == [[0, 0, 2, 2], [2, 0, 4, 2], [0, 0, 4, 2]]
    # Equal ones that do not touch wait for what lies between them.
    boxes = group(strip(0.0, 1.0, 0.0, 0.0), Similarity(1, 0, 0, 0), 8)
    assert boxes[4].tolist() == [2, 0, 4, 2]


def test_small_regions_merge_first():
    labels = np.array([[0, 0, 0, 0, 1, 1, 2]], np.int32)
    regions = regions_of(np.zeros((1, 7, 1)), labels)
    assert group(regions, Similarity(0, 0, 1, 0), 7)[3:].tolist() == [[4, 0, 7, 1], [0, 0, 7, 1]]


def test_regions_that_fill_their_box_merge_first():
    """0 and 2 fill their common box; 0 and 3, or 2 and 1, would leave a hole."""
    labels = np.array([[0, 0, 2], [0, 0, 2], [3, 3, 1]], np.int32)
    regions = regions_of(np.zeros((3, 3, 1)), labels)
    assert group(regions, Similarity(0, 0, 0, 1), 9)[4].tolist() == [0, 0, 3, 2]


def test_histograms_merge_by_size():
    """(1, 0) of 3 pixels with (0.6, 0.4) of one is (0.9, 0.1); halfway between the two would be (0.8, 0.2)."""
    colour = np.float32([(1, 0), (0.6, 0.4), (0.95, 0.05), (0.75, 0.25)])
    size = np.array([3, 1, 40, 40])
    box = np.array([[0, 0, 3, 1], [3, 0, 4, 1], [0, 1, 4, 11], [0, -10, 4, 0]], np.int32)
    edges = np.array([[0, 1], [1, 2], [1, 3]], np.int32)
    boxes = group(Regions(colour, np.zeros((4, 1), np.float32), size, box, edges), Similarity(texture=0, fill=0), 84)
    # The two small ones join. (0.9, 0.1) shares 0.95 with region 2 and 0.85 with region 3; halfway, the reverse.
    assert boxes[4:6].tolist() == [[0, 0, 4, 1], [0, 0, 4, 11]]


def test_equal_pairs_merge_in_the_order_of_their_numbers():
    boxes = group(strip(0.5, 0.5, 0.5, 0.5, 0.5), Similarity(1, 0, 0, 0), 10)
    # (0, 1) first; then (2, 3), whose numbers are lower than those of (2, 5); then (4, 6); then (5, 7).
    assert boxes[5:].tolist() == [[0, 0, 2, 2], [2, 0, 4, 2], [2, 0, 5, 2], [0, 0, 5, 2]]


def test_same_on_every_run_and_inputs_are_not_changed():
    regions, image_size = random_regions(4, (30, 40))
    before = [getattr(regions, name).copy() for name in ("colour", "texture", "size", "box", "edges")]
    first = group(regions, Similarity(), image_size)
    assert np.array_equal(first, group(regions, Similarity(), image_size))
    for name, value in zip(("colour", "texture", "size", "box", "edges"), before, strict=True):
        assert np.array_equal(getattr(regions, name), value)


def test_many_neighbours():
    """One background that touches 400 islands: its list of neighbours outgrows what was set aside at the start."""
    labels = np.zeros((41, 41), np.int32)
    labels[1::2, 1::2] = np.arange(1, 401).reshape(20, 20)
    regions = regions_of(np.random.default_rng(0).random((41, 41, 1)), labels)
    assert len(touching(labels)) == 400
    boxes = group(regions, Similarity(), 41 * 41)
    assert boxes.shape == (801, 4)
    assert boxes[-1].tolist() == [0, 0, 41, 41]
    assert (boxes[401:] == (0, 0, 41, 41)).all()


def test_more_regions_than_a_pair_can_number():
    count = MOST_REGIONS + 1
    labels = np.arange(count, dtype=np.int32)[None]
    with pytest.raises(ValueError, match=f"{count} regions, {MOST_REGIONS} at most"):
        group(regions_of(np.zeros((1, count, 1)), labels), Similarity(), count)


@settings(deadline=None)
@given(st.lists(st.one_of(st.none(), st.integers(0, 2**64 - 1)), max_size=200))
def test_heap_equals_pythons(steps):
    """None takes the smallest, a number is put in."""
    heap, expected = np.empty(200, np.uint64), []
    for step in steps:
        if step is not None:
            _push(heap, len(expected), np.uint64(step))
            heapq.heappush(expected, step)
        elif expected:
            assert _pop(heap, len(expected)) == heapq.heappop(expected)
    while expected:
        assert _pop(heap, len(expected)) == heapq.heappop(expected)
