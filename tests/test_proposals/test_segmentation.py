"""The starting regions: scikit-image's partition, and a plain reading of the algorithm where edges weigh the same."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.ndimage import gaussian_filter
from skimage.data import astronaut
from skimage.measure import label as connected_components
from skimage.segmentation import felzenszwalb
from skimage.transform import downscale_local_mean

from proposals import segmentation
from proposals.colour import COLOUR_SPACES, convert
from proposals.segmentation import SIGMA, pixel_graph, segment_by_skimage, smooth

PHOTOGRAPHS = sorted((Path(__file__).parents[1] / "data/JPEGImages").glob("*.jpg"))


def planes_of(image: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(image.transpose(2, 0, 1), np.float32)


def segment(image: np.ndarray, k: float) -> np.ndarray:
    """Of a float image [H, W, C]."""
    return segmentation.segment(pixel_graph(smooth(planes_of(image))), k)


def photograph() -> np.ndarray:
    """float64 [128, 128, 3] in [0, 1]."""
    return downscale_local_mean(astronaut(), (4, 4, 1)) / 255


def noise(height: int, width: int, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).random((height, width, channels))


IMAGES = {
    "photograph": photograph(),
    "noise": noise(40, 60),
    "one channel": noise(30, 30, 1),
    "narrow": noise(2, 300),
    "tall": noise(300, 3),
    "tiny": noise(2, 2),
    "flat": np.full((20, 30, 3), 0.5),
}


@pytest.mark.parametrize("k", [50, 150])
@pytest.mark.parametrize("name", IMAGES)
def test_labels_are_contiguous_and_regions_connected_and_large_enough(name, k):
    image = IMAGES[name]
    labels = segment(image, k)
    assert labels.shape == image.shape[:2]
    assert labels.dtype == np.int32
    assert labels.flags.c_contiguous
    sizes = np.bincount(labels.ravel())
    assert labels.min() == 0
    assert (sizes > 0).all()
    for region in range(len(sizes)):
        _, parts = connected_components(labels == region, connectivity=2, return_num=True)
        assert parts == 1, region
    # k is the smallest size too; an image with fewer pixels is one region.
    assert sizes.min() >= min(k, labels.size)


def test_larger_k_gives_fewer_regions():
    counts = [segment(photograph(), k).max() + 1 for k in (50, 100, 300)]
    assert counts[0] > counts[1] > counts[2] > 1


def test_halves_of_two_colours_are_two_regions():
    image = np.zeros((40, 60, 3))
    image[:, 30:] = (1.0, 0.5, 0.0)
    labels = segment(image, 50)
    assert set(labels[:, :27].ravel().tolist()) == {labels[0, 0]}
    assert set(labels[:, 33:].ravel().tolist()) == {labels[0, -1]}
    assert labels[0, 0] != labels[0, -1]


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (50, 1)])
def test_a_line_is_one_region(shape):
    labels = segment(noise(*shape), 50)
    assert labels.shape == shape
    assert labels.dtype == np.int32
    assert (labels == 0).all()


def test_flat_image_is_one_region():
    assert segment(np.full((20, 30, 3), 0.5), 50).max() == 0


def test_same_on_every_run_and_the_image_is_not_changed():
    image = photograph()
    first = segment(image, 100)
    assert np.array_equal(first, segment(image, 100))
    assert np.array_equal(image, photograph())


# --- scikit-image's


@pytest.mark.parametrize("path", PHOTOGRAPHS, ids=lambda path: path.stem)
def test_photographs_have_scikit_images_partition(path):
    """Numbered alike, too, of the same smoothed image.

    Smoothed by scikit-image, in float64, it differs by 1e-7: enough to reverse two edges in one of 15 segmentations,
    and as much noise does the same to scikit-image's own.
    """
    with Image.open(path) as image:
        image.thumbnail((400, 400))
        rgb = np.asarray(image.convert("RGB"), np.float32) / 255
    for space in COLOUR_SPACES:
        smoothed = smooth(convert(rgb, space))
        graph = pixel_graph(smoothed)
        for k in (50, 100, 150):
            expected = felzenszwalb(smoothed.transpose(1, 2, 0).astype(float), k, 0, k, channel_axis=-1)
            assert np.array_equal(segmentation.segment(graph, k), expected), (space, k)


@pytest.mark.parametrize("shape", [(3, 50, 70), (1, 50, 70), (3, 2, 40), (3, 40, 1)])
def test_smoothing_equals_scipys(shape):
    """Borders included."""
    planes = np.random.default_rng(0).random(shape, dtype=np.float32)
    expected = [gaussian_filter(plane.astype(np.float64), SIGMA, mode="reflect") for plane in planes]
    np.testing.assert_allclose(smooth(planes), expected, atol=1e-6)


@settings(deadline=None)
@given(st.integers(2, 40), st.integers(2, 40), st.integers(1, 3), st.integers(2, 100), st.integers(0, 2**32 - 1))
def test_noise_has_scikit_images_partition(height, width, channels, k, seed):
    image = np.random.default_rng(seed).random((height, width, channels))
    expected = felzenszwalb(image, scale=k, sigma=SIGMA, min_size=k, channel_axis=-1)
    assert np.array_equal(segment(image, k), expected)
    assert np.array_equal(segment_by_skimage(planes_of(image), k), expected)


def test_by_hand():
    """A row at k = 1, so that a lone pixel joins along edges under 1 / 255 = 0.0039, and two joined ones along less."""

    def labels(*values: float) -> list[int]:
        return segmentation.segment(pixel_graph(np.float32(values).reshape(1, 1, -1)), 1)[0].tolist()

    assert labels(0, 0.0038, 0.5, 0.5041) == [0, 0, 1, 2]
    # A weight of exactly the limit is too much, on either side: of a lone pixel before a pair, and after one.
    limit = np.float32(1 / 255)
    assert labels(0, limit, limit + np.float32(0.003)) == [0, 1, 1]
    assert labels(limit + np.float32(0.003), limit, 0) == [0, 0, 1]
    # 0.002 + 0.0039 / 2 = 0.00396: the pair would take 0.00395, a lone pixel would not.
    assert labels(0, 0.002, 0.00595) == [0, 0, 1]
    # Two pairs of 0.003 hold 0.00496 each: 0.0049 joins them, 0.005 does not.
    assert labels(0, 0.003, 0.0079, 0.0109) == [0, 0, 0, 0]
    assert labels(0, 0.003, 0.0080, 0.0110) == [0, 0, 1, 1]


# --- ties


def slow_segment(image: np.ndarray, k: int) -> np.ndarray:
    """The paper's algorithm on an image that is not smoothed, edge after edge in the stated order, in float32."""
    height, width = image.shape[:2]
    edges = []
    for direction, (down, right) in enumerate(((0, 1), (1, 0), (1, 1), (-1, 1))):
        for y, x in product(range(height), range(width)):
            if 0 <= y + down < height and x + right < width:
                weight = np.sqrt(((image[y + down, x + right] - image[y, x]) ** 2).sum(dtype=np.float32))
                edges.append((weight, direction, y * width + x, (y + down) * width + x + right))
    region = list(range(height * width))
    heaviest = [np.float32(0)] * len(region)
    scale = np.float32(k / 255)

    def join(a: int, b: int, weight: np.float32) -> None:
        low, high = min(a, b), max(a, b)
        region[:] = [low if r == high else r for r in region]
        heaviest[low] = weight

    for weight, _, one, other in sorted(edges):
        a, b = region[one], region[other]
        if a != b and all(weight < heaviest[r] + scale / np.float32(region.count(r)) for r in (a, b)):
            join(a, b, weight)
    for weight, _, one, other in sorted(edges):
        a, b = region[one], region[other]
        if a != b and min(region.count(a), region.count(b)) < k:
            join(a, b, weight)
    return np.unique(region, return_inverse=True)[1].reshape(height, width)


@settings(deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(2, 4), st.integers(1, 12), st.integers(0, 2**32 - 1))
def test_equal_weights_are_taken_in_the_stated_order(height, width, levels, k, seed):
    """Few grey levels: nearly all edges are tied."""
    image = np.random.default_rng(seed).integers(0, levels, (height, width, 1)).astype(np.float32) / 64
    found = segmentation.segment(pixel_graph(planes_of(image)), k)
    assert np.array_equal(found, slow_segment(image, k))
