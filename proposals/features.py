"""What selective search knows of a region: its colours, its texture, its size and its box (IJCV 2013, section 3.2)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from proposals.compiled import compiled

COLOUR_BINS = 25
TEXTURE_BINS = 10
ORIENTATIONS = 8

# Opposite orientations share one projection of the gradient: its positive part belongs to one of them, its negative
# part to the other, and the one that gets nothing is in its lowest bin.
_PROJECTIONS = ORIENTATIONS // 2
_FLAT = TEXTURE_BINS  # the code of a projection too small for any but the lowest bin
_RECENT = 1 << 12  # pairs that are remembered, so that few are written twice; 32 kB stay in the fastest cache


@dataclass(frozen=True)
class Regions:
    """The features of R regions and which of them touch.

    Attributes:
        colour: float32 [R, C * 25], histogram that sums to 1.
        texture: float32 [R, C * 8 * 10], histogram that sums to 1.
        size: int64 [R], pixels.
        box: int32 [R, 4], x1 y1 x2 y2 with the ends exclusive.
        edges: int32 [E, 2], pairs (a, b), a < b, of regions that share a side or a corner.
    """

    colour: np.ndarray
    texture: np.ndarray
    size: np.ndarray
    box: np.ndarray
    edges: np.ndarray


def pixel_codes(planes: np.ndarray, smoothed: np.ndarray) -> np.ndarray:
    """Find the histogram bins of every pixel, once for all segmentations of an image.

    Texture is the gradient of the smoothed image, by central differences, over the largest one of the image.

    Args:
        planes: float32 [C, H, W] in [0, 1].
        smoothed: the same image, smoothed.

    Returns:
        uint8 [H, 5 C, W]: for each row and channel first the colours' bins, then those of the gradient's projections
        on 0, 45, 90 and 135 degrees, -9 to 9 around 10.
    """
    channels, height, width = planes.shape
    codes = np.empty((height, (1 + _PROJECTIONS) * channels, width), np.uint8)
    steepest = np.sqrt(_steepest(smoothed))
    _pixel_codes(planes, smoothed, np.float32(TEXTURE_BINS / max(steepest, 1e-12)), np.sqrt(np.float32(0.5)), codes)
    return codes


def describe(codes: np.ndarray, labels: np.ndarray) -> Regions:
    """Measure every region of a segmentation.

    Args:
        codes: the image's `pixel_codes`.
        labels: int32 [H, W], labels 0 .. R - 1.
    """
    height, width = labels.shape
    regions, kinds = int(labels.max()) + 1, codes.shape[1]
    channels = kinds // (1 + _PROJECTIONS)
    counts, size = np.zeros((regions, kinds, 32), np.uint32), np.zeros(regions, np.int64)
    box = np.tile(np.array([width, height, 0, 0], np.int32), (regions, 1))
    _count(codes, labels, counts, size, box)
    colour = np.empty((regions, channels * COLOUR_BINS), np.float32)
    texture = np.empty((regions, channels * ORIENTATIONS * TEXTURE_BINS), np.float32)
    _histograms(counts, size, colour, texture)
    return Regions(colour, texture, size, box, touching(labels))


def touching(labels: np.ndarray) -> np.ndarray:
    """The pairs of labels that meet in an 8-neighbourhood: int32 [E, 2], sorted, each pair once."""
    count = int(labels.max()) + 1
    pairs = np.empty(4 * labels.size, np.int64)
    pairs = np.unique(pairs[: _meetings(labels, count, np.full(_RECENT, -1, np.int64), pairs)])
    return np.stack((pairs // count, pairs % count), axis=1).astype(np.int32)


@compiled
def _gradient(planes, c, y, x):
    """Twice the gradient; pixels beyond the border are like those on it."""
    height, width = planes.shape[1:]
    dx = planes[c, y, min(x + 1, width - 1)] - planes[c, y, max(x - 1, 0)]
    dy = planes[c, min(y + 1, height - 1), x] - planes[c, max(y - 1, 0), x]
    return dx, dy


@compiled
def _steepest(planes):
    channels, height, width = planes.shape
    largest = np.float32(0)
    for c in range(channels):
        for y in range(height):
            for x in range(width):
                dx, dy = _gradient(planes, c, y, x)
                largest = max(largest, dx * dx + dy * dy)
    return largest


@compiled
def _pixel_codes(planes, smoothed, scale, diagonal, codes):
    channels, height, width = planes.shape
    top = np.float32(TEXTURE_BINS - 0.5)
    for y in range(height):
        for c in range(channels):
            colour = codes[y, c]
            for x in range(width):
                colour[x] = np.uint8(min(planes[c, y, x] * np.float32(COLOUR_BINS), np.float32(COLOUR_BINS - 1)))
            texture = codes[y, channels + _PROJECTIONS * c :]
            for x in range(width):
                dx, dy = _gradient(smoothed, c, y, x)
                dx, dy = dx * scale, dy * scale
                for i, slope in enumerate((dx, (dx + dy) * diagonal, dy, (dy - dx) * diagonal)):
                    texture[i, x] = np.int32(min(max(slope, -top), top)) + _FLAT  # towards 0


@compiled
def _count(codes, labels, counts, size, box):
    height, width = labels.shape
    kinds = codes.shape[1]
    for y in range(height):
        row = codes[y]
        x = 0
        while x < width:
            region = labels[y, x]
            first = x
            mine = counts[region]
            while x < width and labels[y, x] == region:
                for kind in range(kinds):
                    mine[kind, row[kind, x]] += np.uint32(1)
                x += 1
            size[region] += x - first
            box[region, 0] = min(box[region, 0], first)
            box[region, 1] = min(box[region, 1], y)
            box[region, 2] = max(box[region, 2], x)
            box[region, 3] = y + 1


@compiled
def _histograms(counts, size, colour, texture):
    channels = counts.shape[1] // (1 + _PROJECTIONS)
    for region in range(len(counts)):
        share = np.float32(1 / (size[region] * channels))
        for c in range(channels):
            for level in range(COLOUR_BINS):
                colour[region, c * COLOUR_BINS + level] = counts[region, c, level] * share
        share /= ORIENTATIONS
        for c in range(channels):
            for i in range(_PROJECTIONS):
                found = counts[region, channels + c * _PROJECTIONS + i]
                first = (c * ORIENTATIONS + i) * TEXTURE_BINS
                opposite = first + _PROJECTIONS * TEXTURE_BINS
                up, down = 0, 0
                for level in range(1, TEXTURE_BINS):
                    up += found[_FLAT + level]
                    down += found[_FLAT - level]
                    texture[region, first + level] = found[_FLAT + level] * share
                    texture[region, opposite + level] = found[_FLAT - level] * share
                texture[region, first] = (size[region] - up) * share
                texture[region, opposite] = (size[region] - down) * share


@compiled
def _meetings(labels, count, recent, pairs):
    """Write the pairs of neighbouring pixels' labels as numbers, a * count + b, most pairs once; how many.

    `recent` is [_RECENT], -1 each: pairs that were written, by their last bits.
    """
    height, width = labels.shape
    found = 0
    for y in range(height):
        below = min(y + 1, height - 1)
        for direction in range(4):
            other = y if direction == 0 else below
            step = (1, 0, 1, -1)[direction]
            for x in range(max(0, -step), min(width, width - step)):
                a, b = np.int64(labels[y, x]), np.int64(labels[other, x + step])
                if a != b:
                    pair = min(a, b) * count + max(a, b)
                    place = pair & (_RECENT - 1)
                    if recent[place] != pair:
                        pairs[found] = recent[place] = pair
                        found += 1
    return found
