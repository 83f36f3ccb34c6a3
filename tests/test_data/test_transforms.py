"""Scaling: what takes boxes along. Colour jitter: each of its three factors alone is what its name says."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frcnn_cli.data.images import load_image
from frcnn_cli.data.transforms import jitter_colours, resize, scale_image

LUMA = np.array((0.299, 0.587, 0.114))


@pytest.fixture(scope="module")
def photograph(photographs) -> np.ndarray:
    """In half its range, so that moderate factors clip nothing."""
    return load_image(photographs / "JPEGImages" / "kitten.jpg")[::2, ::2] // 2 + 32


@pytest.fixture(scope="module")
def noise() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("scale", "size"), [(1, (20, 30)), (0.5, (10, 15)), (1.7, (34, 51)), (0.33, (7, 10)), (0.01, (1, 1))]
)
def test_scaling_takes_boxes_along(noise, scale, size):
    """The whole image as a box stays the whole image, whatever its sides are rounded to."""
    scaled, ratio = scale_image(noise, scale)
    assert scaled.shape == (*size, 3)
    assert np.array_equal(scaled, resize(noise, scale))
    assert (ratio.dtype, ratio.shape) == (np.float32, (4,))
    np.testing.assert_allclose(np.array([0, 0, 30, 20]) * ratio, [0, 0, size[1], size[0]], rtol=1e-6)


def test_factors_of_one_change_nothing(noise):
    assert np.array_equal(jitter_colours(noise, 1, 1, 1), noise)


@pytest.mark.parametrize("factor", [0.0, 0.6, 1.3, 2.0])
def test_brightness_multiplies_and_clips(noise, factor):
    found = jitter_colours(noise, factor, 1, 1)
    assert found.dtype == np.uint8
    expected = np.clip(noise * factor, 0, 255)
    assert np.abs(found - expected).max() <= 0.51
    assert (found == 255).any() == (factor > 1)


def test_saturation_of_zero_is_grey(noise):
    found = jitter_colours(noise, 1, 1, 0)
    assert np.array_equal(found[..., 0], found[..., 1])
    assert np.array_equal(found[..., 0], found[..., 2])
    assert np.abs(found[..., 0].astype(int) - cv2.cvtColor(noise, cv2.COLOR_RGB2GRAY)).max() <= 1


def test_saturation_keeps_each_pixels_grey(photograph):
    for factor in (0.5, 1.4):
        found = jitter_colours(photograph, 1, 1, factor)
        assert np.abs(found @ LUMA - photograph @ LUMA).max() < 1
        spread = (np.ptp(image.astype(int), axis=2).mean() for image in (found, photograph))
        assert next(spread) == pytest.approx(factor * next(spread), rel=0.05)


def test_contrast_keeps_the_mean_grey(photograph):
    for factor in (0.5, 1.4):
        found = jitter_colours(photograph, 1, factor, 1)
        assert (found @ LUMA).mean() == pytest.approx((photograph @ LUMA).mean(), abs=0.6)
        assert found.astype(float).std() == pytest.approx(factor * photograph.astype(float).std(), rel=0.03)
    flat = jitter_colours(photograph, 1, 0, 1)
    assert np.abs(flat - (photograph @ LUMA).mean()).max() < 1.1


@settings(max_examples=30, deadline=None)
@given(st.floats(0.5, 1.5), st.floats(0.5, 1.5), st.floats(0.5, 1.5))
def test_all_three_one_after_another(brightness, contrast, saturation):
    """In this order, in floating point, clipped at the end."""
    image = np.random.default_rng(1).integers(0, 256, (9, 11, 3), dtype=np.uint8)
    bright = image * brightness
    contrasted = (bright - (bright @ LUMA).mean()) * contrast + (bright @ LUMA).mean()
    grey = (contrasted @ LUMA)[..., None]
    expected = np.clip((contrasted - grey) * saturation + grey, 0, 255)
    found = jitter_colours(image, brightness, contrast, saturation)
    assert np.abs(found - expected).max() < 1.6  # the mean grey is that of rounded greys
