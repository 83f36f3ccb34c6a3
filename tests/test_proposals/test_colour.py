"""The colour spaces, against scikit-image and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from skimage.color import rgb2hsv, rgb2lab

from proposals.colour import COLOUR_SPACES, convert


def grid(steps: int = 12) -> np.ndarray:
    """All colours of a grid: float32 [1, steps ** 3, 3]."""
    levels = np.linspace(0, 1, steps, dtype=np.float32)
    return np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(1, -1, 3)


def pixels_of(rgb: np.ndarray, space: str) -> np.ndarray:
    """Channels last, as scikit-image has them."""
    return convert(rgb, space).transpose(1, 2, 0)


@pytest.mark.parametrize("space", COLOUR_SPACES)
def test_planes_in_0_1(space):
    planes = convert(grid(), space)
    assert planes.dtype == np.float32
    assert planes.flags.c_contiguous
    assert planes.shape[0] in (1, 3)
    assert planes.shape[1:] == (1, 12**3)
    assert np.isfinite(planes).all()
    assert planes.min() >= 0
    assert planes.max() <= 1


@given(arrays(np.float32, (2, 3, 3), elements=st.floats(0, 1, width=32)))
def test_any_colour_is_in_0_1(rgb):
    """The histograms' bins rely on it. The smallest floats there are among them."""
    for space in COLOUR_SPACES:
        planes = convert(rgb, space)
        assert ((planes >= 0) & (planes <= 1)).all(), space


def test_hsv_equals_scikit_images():
    rgb = grid()
    difference = np.abs(pixels_of(rgb, "hsv") - rgb2hsv(rgb))
    difference[..., 0] = np.minimum(difference[..., 0], 1 - difference[..., 0])  # hue is an angle
    assert difference.max() < 1e-5


def test_lab_equals_scikit_images():
    """Within half a step of the authors' 8-bit Lab: OpenCV interpolates a table."""
    rgb = grid()
    expected = (rgb2lab(rgb) * (2.55, 1, 1) + (0, 128, 128)) / 255
    np.testing.assert_allclose(pixels_of(rgb, "lab"), expected, atol=0.5 / 255)


def test_by_hand():
    rgb = np.array([[[1, 0, 0], [0, 0, 0], [0.2, 0.4, 0.4]]], np.float32)
    np.testing.assert_allclose(pixels_of(rgb, "hue")[0, :, 0], [0, 0, 0.5], atol=1e-6)
    np.testing.assert_allclose(pixels_of(rgb, "intensity")[0, :, 0], [1 / 3, 0, 1 / 3], atol=1e-6)
    # Black has no chromaticity: neutral.
    rgi = [[1, 0, 1 / 3], [1 / 3, 1 / 3, 0], [0.2, 0.4, 1 / 3]]
    np.testing.assert_allclose(pixels_of(rgb, "rgi")[0], rgi, atol=1e-6)
