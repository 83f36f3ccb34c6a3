"""R-CNN's crops, on images whose pixels can be counted."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from frcnn_cli.core.normalisation import Normalisation
from frcnn_cli.core.rcnn import RCNN, RCNNArchitecture, warp

PLAIN = Normalisation("RGB", 1.0, (100.0, 110.0, 120.0), (1.0, 1.0, 1.0))


def architecture(crop: int, context: int) -> RCNNArchitecture:
    return RCNNArchitecture("alexnet", 2, fc_width=4, roi_size=2, crop=crop, context=context)


def pixels(image: np.ndarray, box: tuple[float, ...], crop: int, context: int) -> np.ndarray:
    """The crop as an image again, [S, S, 3]."""
    warped = warp(image, torch.tensor([box]), architecture(crop, context), PLAIN)
    return warped[0].permute(1, 2, 0).numpy() + PLAIN.mean


@pytest.fixture
def ramp() -> np.ndarray:
    """40 x 60 pixels, 4 more in each column: a pixel's value is 4 times its centre, less 2."""
    return np.broadcast_to((4 * np.arange(60))[None, :, None], (40, 60, 3)).astype(np.uint8)


def test_a_region_of_the_crop_s_own_size_is_cut_out(ramp):
    assert np.array_equal(pixels(ramp, (5, 3, 37, 35), 32, 0), ramp[3:35, 5:37])


def test_around_it_is_context(ramp):
    assert np.array_equal(pixels(ramp, (9, 7, 33, 31), 32, 4), ramp[3:35, 5:37])


def test_a_region_is_stretched_whatever_its_shape(ramp):
    """8 x 20 pixels to 32 x 32: a quarter of a pixel a column, from the centre 10 + 1/8 on."""
    found = pixels(ramp, (10, 10, 18, 30), 32, 0)
    centres = 10 + (np.arange(32) + 0.5) / 4
    assert np.abs(found[16, :, 0] - (4 * centres - 2)).max() <= 0.6  # rounded to a whole value


def test_context_is_in_pixels_of_the_crop(ramp):
    """Of 48 pixels, 8 at each side: 16 pixels of the image make 32, so 8 make 4 of the image."""
    assert (
        np.abs(pixels(ramp, (20, 12, 36, 28), 48, 8)[24, [7, 8], 1] - (4 * np.array([19.75, 20.25]) - 2)).max() <= 0.6
    )


def test_beyond_the_image_is_the_mean_colour(ramp):
    found = pixels(ramp, (0, 0, 24, 24), 32, 4)
    assert (found[:4] == PLAIN.mean).all()
    assert (found[:, :4] == PLAIN.mean).all()
    assert np.array_equal(found[4:, 4:], ramp[:28, :28])


def test_the_mean_colour_of_a_network_in_bgr():
    caffe = Normalisation("BGR", 1.0, (10.0, 20.0, 30.0), (1.0, 1.0, 1.0))
    crop = warp(np.full((8, 8, 3), 77, np.uint8), torch.tensor([[0.0, 0, 8, 8]]), architecture(32, 8), caffe)
    assert (crop[0, :, 0] == 0).all()
    assert crop[0, :, 16, 16].tolist() == [67, 57, 47]


def test_no_room_for_context():
    with pytest.raises(ValueError, match="no room for 16"):
        architecture(32, 16)


def test_pooled_features_are_those_of_the_whole_crop():
    """Cell by cell, the maximum of a quarter of the map each."""
    torch.manual_seed(0)
    model = RCNN(architecture(96, 0)).eval()
    crops = torch.randn(2, 3, 96, 96)
    features = model.backbone(crops)
    rows, columns = features.shape[-2] // 2, features.shape[-1] // 2
    first = features[:, :, : -(-features.shape[-2] // 2), : -(-features.shape[-1] // 2)].amax(dim=(2, 3))
    last = features[:, :, rows:, columns:].amax(dim=(2, 3))
    pooled = model.pooled(crops).unflatten(1, (4, -1))
    assert torch.equal(pooled[:, 0], first)
    assert torch.equal(pooled[:, 3], last)
