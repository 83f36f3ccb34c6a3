"""A region's features, counted by hand on tiny images."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from proposals.features import COLOUR_BINS, ORIENTATIONS, TEXTURE_BINS, Regions, describe, pixel_codes, touching
from proposals.segmentation import smooth

LABELS = np.array([[0, 0, 1, 1], [0, 2, 2, 1], [3, 3, 3, 3]], np.int32)


def random_image(height: int, width: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((height, width, channels), dtype=np.float32)


def regions_of(image: np.ndarray, labels: np.ndarray) -> Regions:
    """Describe a float image [H, W, C]."""
    planes = np.ascontiguousarray(image.transpose(2, 0, 1), np.float32)
    return describe(pixel_codes(planes, smooth(planes)), labels)


# --- size, box, colour


def test_sizes_and_boxes_by_hand():
    regions = regions_of(random_image(3, 4), LABELS)
    assert regions.size.tolist() == [3, 3, 2, 4]
    assert regions.box.tolist() == [[0, 0, 2, 2], [2, 0, 4, 2], [1, 1, 3, 2], [0, 2, 4, 3]]


def test_colours_of_a_two_coloured_image_by_hand():
    """Value v is in bin floor(25 v); 1.0 is in the last one."""
    image = np.zeros((2, 4, 3), np.float32)
    image[:, :2] = (0.0, 0.5, 1.0)  # bins 0, 12, 24
    image[:, 2:] = (0.99, 0.041, 0.039)  # bins 24, 1, 0
    labels = np.array([[0, 0, 0, 1], [0, 0, 1, 1]], np.int32)  # five pixels, four of them of the first colour
    colour = regions_of(image, labels).colour.reshape(2, 3, COLOUR_BINS)
    expected = np.zeros((2, 3, COLOUR_BINS))
    for channel, (first, second) in enumerate(((0, 24), (12, 1), (24, 0))):
        expected[0, channel, first] = 4 / 5 / 3
        expected[0, channel, second] = 1 / 5 / 3
        expected[1, channel, second] = 1 / 3
    np.testing.assert_allclose(colour, expected, rtol=1e-6)


@pytest.mark.parametrize("channels", [1, 3])
def test_histograms_sum_to_1(channels):
    labels = np.random.default_rng(1).integers(0, 7, (20, 30)).astype(np.int32)
    regions = regions_of(random_image(20, 30, channels), labels)
    assert regions.colour.shape == (7, channels * COLOUR_BINS)
    assert regions.texture.shape == (7, channels * ORIENTATIONS * TEXTURE_BINS)
    assert regions.colour.dtype == regions.texture.dtype == np.float32
    for histogram in (regions.colour, regions.texture):
        assert (histogram >= 0).all()
        np.testing.assert_allclose(histogram.sum(axis=1), 1, rtol=1e-5)
    # Each orientation of each channel has an equal share.
    shares = regions.texture.reshape(7, channels * ORIENTATIONS, TEXTURE_BINS).sum(axis=2)
    np.testing.assert_allclose(shares, 1 / (channels * ORIENTATIONS), rtol=1e-5)


@settings(deadline=None)
@given(arrays(np.int32, (6, 7), elements=st.integers(0, 4)))
def test_sizes_and_boxes_equal_numpy(labels):
    labels = np.unique(labels, return_inverse=True)[1].reshape(6, 7).astype(np.int32)
    regions = regions_of(random_image(6, 7), labels)
    assert regions.size.tolist() == np.bincount(labels.ravel()).tolist()
    for label, box in enumerate(regions.box.tolist()):
        ys, xs = np.nonzero(labels == label)
        assert box == [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]


def plain_histograms(planes: np.ndarray, smoothed: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Colour [R, C * 25] and texture [R, C * 8 * 10] in float64, a region, a channel and an orientation at a time."""
    padded = np.pad(smoothed.astype(np.float64), ((0, 0), (1, 1), (1, 1)), "edge")
    dx, dy = padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2], padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]
    steepest = np.hypot(dx, dy).max()
    colour, texture = [], []
    for mine in (labels == region for region in range(labels.max() + 1)):
        for c in range(len(planes)):
            levels = np.minimum(planes[c][mine] * COLOUR_BINS, COLOUR_BINS - 1).astype(int)
            colour.append(np.bincount(levels, minlength=COLOUR_BINS))
            for angle in np.arange(ORIENTATIONS) * 2 * np.pi / ORIENTATIONS:
                slope = (np.cos(angle) * dx[c] + np.sin(angle) * dy[c])[mine] / steepest
                levels = np.clip(slope * TEXTURE_BINS, 0, TEXTURE_BINS - 1).astype(int)
                texture.append(np.bincount(levels, minlength=TEXTURE_BINS))
    rows = [np.reshape(counts, (labels.max() + 1, -1)) for counts in (colour, texture)]
    return tuple(counts / counts.sum(axis=1, keepdims=True) for counts in rows)


@pytest.mark.parametrize("shape", [(3, 17, 23), (1, 17, 23), (3, 1, 40), (3, 40, 1), (1, 2, 2)])
def test_histograms_equal_a_plain_count(shape):
    """Borders included; the first pixels are black and white."""
    rng = np.random.default_rng(3)
    planes, labels = rng.random(shape, dtype=np.float32), rng.integers(0, 3, shape[1:]).astype(np.int32)
    planes[:, 0, 0], planes[:, -1, -1] = 0, 1
    labels.flat[:3] = (0, 1, 2)
    smoothed = smooth(planes)
    regions = describe(pixel_codes(planes, smoothed), labels)
    colour, texture = plain_histograms(planes, smoothed, labels)
    np.testing.assert_allclose(regions.colour, colour, atol=1e-6)
    np.testing.assert_allclose(regions.texture, texture, atol=1e-6)


# --- texture


def test_codes_of_a_ramp():
    """Brighter by 0.02 a column: the gradient leads right everywhere, and is the largest there is."""
    ramp = np.ascontiguousarray(np.broadcast_to(np.arange(20, dtype=np.float32) * 0.02, (1, 12, 20)))
    codes = pixel_codes(ramp, ramp)
    assert codes.shape == (12, 5, 20)
    assert codes[3, 0].tolist() == [int(np.float32(x) * np.float32(0.02) * np.float32(25)) for x in range(20)]
    # Halfway to the next bin is as far as the last one goes: 9 of 10 to the right, 7 along the diagonals, 0 down.
    assert codes[3, 1, 1:-1].tolist() == [19] * 18
    assert codes[3, 2, 1:-1].tolist() == [17] * 18
    assert codes[3, 3].tolist() == [10] * 20
    assert codes[3, 4, 1:-1].tolist() == [2] * 18 or codes[3, 4, 1:-1].tolist() == [3] * 18


def texture_of(image: np.ndarray) -> np.ndarray:
    """[orientation, bin] of the middle of an image, where borders do not matter."""
    labels = np.zeros(image.shape[:2], np.int32)
    labels[8:-8, 8:-8] = 1
    return regions_of(image.astype(np.float32)[..., None], labels).texture[1].reshape(ORIENTATIONS, TEXTURE_BINS)


@pytest.mark.parametrize("orientation", range(ORIENTATIONS))
def test_a_ramp_answers_in_its_orientation(orientation):
    """Brightness that rises towards 45 degrees x orientation: that one is the strongest, its opposite is empty."""
    angle = 2 * np.pi * orientation / ORIENTATIONS
    y, x = np.mgrid[:32, :32] - 15.5
    bins = np.arange(TEXTURE_BINS)
    strength = (texture_of(0.5 + (np.cos(angle) * x + np.sin(angle) * y) / 100) * bins).sum(axis=1)
    assert strength.argmax() == orientation
    assert strength[(orientation + 4) % 8] == 0
    np.testing.assert_allclose(strength[(orientation + 3) % 8], 0, atol=1e-7)
    assert strength[(orientation + 1) % 8] == pytest.approx(strength[(orientation - 1) % 8])


def test_flat_image_has_no_texture():
    """All of it is in the lowest bins; nothing is divided by 0."""
    texture = texture_of(np.full((32, 32), 0.37))
    np.testing.assert_allclose(texture[:, 0], 1 / ORIENTATIONS, rtol=1e-6)
    assert (texture[:, 1:] == 0).all()


def test_texture_does_not_depend_on_contrast():
    image = random_image(24, 24, 1)[..., 0].astype(np.float64)
    np.testing.assert_allclose(texture_of(image), texture_of(image * 0.5), atol=0.02)


# --- neighbours


def test_touching_by_hand():
    """3 and 5 meet in a corner only, as do 0 and 4, 1 and 3, 1 and 5, and so on; 0 and 2 do not meet."""
    labels = np.array([[0, 1, 2], [3, 4, 5], [6, 7, 8]], np.int32)
    pairs = {tuple(pair) for pair in touching(labels).tolist()}
    sides = {(0, 1), (1, 2), (3, 4), (4, 5), (6, 7), (7, 8), (0, 3), (3, 6), (1, 4), (4, 7), (2, 5), (5, 8)}
    corners = {(0, 4), (1, 5), (3, 7), (4, 8), (1, 3), (2, 4), (4, 6), (5, 7)}
    assert pairs == sides | corners


def test_touching_in_one_corner():
    assert touching(np.array([[0, 1, 1], [1, 0, 1], [1, 1, 2]], np.int32)).tolist() == [[0, 1], [0, 2], [1, 2]]
    assert touching(np.array([[1, 0, 0], [0, 0, 0], [0, 0, 2]], np.int32)).tolist() == [[0, 1], [0, 2]]
    assert touching(np.array([[0, 0, 1], [0, 2, 0], [0, 0, 0]], np.int32)).tolist() == [[0, 1], [0, 2], [1, 2]]


def test_one_region_touches_nothing():
    for shape in ((3, 3), (1, 1), (1, 5)):
        assert touching(np.zeros(shape, np.int32)).shape == (0, 2)


@settings(deadline=None)
@given(arrays(np.int32, (5, 4), elements=st.integers(0, 5)))
def test_touching_equals_a_walk_over_all_pixels(labels):
    expected = set()
    for y in range(5):
        for x in range(4):
            for v in range(max(y - 1, 0), min(y + 2, 5)):
                for u in range(max(x - 1, 0), min(x + 2, 4)):
                    if labels[y, x] < labels[v, u]:
                        expected.add((int(labels[y, x]), int(labels[v, u])))
    assert touching(labels).tolist() == [list(pair) for pair in sorted(expected)]


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_merged_labels_have_the_weighted_mean_of_the_features(seed):
    """What grouping relies on when it never looks at a pixel again."""
    rng = np.random.default_rng(seed)
    image, labels = rng.random((9, 11, 3)), rng.integers(0, 3, (9, 11)).astype(np.int32)
    labels.flat[:3] = (0, 1, 2)
    apart = regions_of(image, labels)
    merged = regions_of(image, np.minimum(labels, 1))
    share = (apart.size[1:] / apart.size[1:].sum())[:, None]
    for name in ("colour", "texture"):
        mixed = (getattr(apart, name)[1:] * share).sum(axis=0)
        np.testing.assert_allclose(getattr(merged, name)[1], mixed, atol=1e-6)
