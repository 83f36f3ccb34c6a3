"""The starting regions: numbered without gaps, connected, not too small."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.data import astronaut
from skimage.measure import label as connected_components
from skimage.transform import downscale_local_mean

from proposals.segmentation import segment


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


def test_precision_of_the_image_does_not_matter():
    """Selective search hands float32 over."""
    image = photograph().astype(np.float32)
    assert np.array_equal(segment(image, 100), segment(image.astype(np.float64), 100))
