"""Pictures of detections: where pixels change, and where they must not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frcnn_cli.data.detections import Detections
from frcnn_cli.drawing.boxes import _pixels, _place, draw_detections
from frcnn_cli.drawing.colors import class_color, linear, oklab, text_color
from frcnn_cli.drawing.labels import Rect, fit_label

NAMES = ("cat", "dog")


def found(*boxes, scores=None, labels=None) -> Detections:
    scores = np.full(len(boxes), 0.5) if scores is None else np.array(scores)
    labels = np.ones(len(boxes), np.int64) if labels is None else np.array(labels)
    return Detections(np.array(boxes, np.float32).reshape(-1, 4), scores, labels)


def changed(image: np.ndarray, detections: Detections) -> np.ndarray:
    """bool [H, W], True where a pixel was drawn on."""
    return (draw_detections(image, detections, NAMES) != image).any(axis=-1)


def gray(height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), 128, np.uint8)


def has_color(picture: np.ndarray, label: int) -> np.ndarray:
    return (picture == class_color(label)).all(axis=-1)


def test_argument_stays_as_it_is():
    image = gray(60, 80)
    image.setflags(write=False)
    picture = draw_detections(image, found((10, 10, 50, 50)), NAMES)
    assert (image == 128).all()
    assert picture.flags.writeable
    assert not np.shares_memory(picture, image)
    assert (picture.dtype, picture.shape) == (np.uint8, image.shape)


def test_without_detections_the_picture_is_the_image():
    image = np.random.default_rng(0).integers(0, 256, (7, 5, 3), dtype=np.uint8)
    np.testing.assert_array_equal(draw_detections(image, Detections.empty(), NAMES), image)


def test_tiny_image_changes_only_around_the_line():
    """16 pixels are too few for a readable label, so only the frame is drawn."""
    expected = np.zeros((16, 16), bool)
    expected[3:13, 3:13] = True  # the dark hairline lies one pixel outside the box (4, 4, 12, 12)
    expected[7:9, 7:9] = False  # line of 2 and light hairline of 1 inside leave a free middle
    np.testing.assert_array_equal(changed(gray(16, 16), found((4, 4, 12, 12))), expected)


def test_line_has_the_colour_of_the_class():
    picture = draw_detections(gray(16, 16), found((4, 4, 12, 12), labels=[2]), NAMES)
    expected = np.zeros((16, 16), bool)
    expected[4:12, 4:12] = True
    expected[6:10, 6:10] = False
    np.testing.assert_array_equal(has_color(picture, 2), expected)


def test_one_pixel_image():
    picture = draw_detections(gray(1, 1), found((0, 0, 1, 1)), NAMES)
    assert tuple(picture[0, 0]) == class_color(1)


def test_box_partly_outside_is_cut_at_the_border():
    picture = draw_detections(gray(16, 16), found((-50, 4, 8, 90)), NAMES)
    line = has_color(picture, 1)
    assert line[4:16, 0].all()
    assert line[15, 0:8].all()
    assert not line[:, 8:].any()


@pytest.mark.parametrize("box", [(20, 0, 30, 10), (-9, 0, 0, 10), (5, 5, 5, 9), (9, 9, 3, 3)])
def test_boxes_outside_or_without_area_are_not_drawn(box):
    assert not changed(gray(16, 16), found(box)).any()


@given(st.integers(1, 400), st.integers(1, 400), st.lists(st.integers(-50, 450), min_size=4, max_size=4))
def test_label_lies_wholly_inside_the_image_or_is_left_out(width, height, corners):
    box = _pixels(
        np.array([*np.minimum(corners[:2], corners[2:]), *np.maximum(corners[:2], corners[2:])]), width, height
    )
    label = fit_label("dog 0.50", float(np.sqrt(width * height)), width, height)
    if box and label:
        plate = _place(label, box, [Rect(0, 0, width // 2, height)], width, height)
        assert 0 <= plate.left < plate.right <= width
        assert 0 <= plate.top < plate.bottom <= height
        assert (plate.right - plate.left, plate.bottom - plate.top) == (label.width, label.height)


def test_text_lies_wholly_on_its_plate():
    """Drawn black or white only within the plate, which stands on the box as there is room above."""
    picture = draw_detections(gray(200, 300), found((100, 100, 200, 150)), ["|gjpqy|ÅÉ|"])
    text = (picture == text_color(class_color(1))).all(axis=-1)
    plate_rows = np.flatnonzero(has_color(picture, 1)[:97].any(axis=1))
    assert text.any()
    assert np.flatnonzero(text.any(axis=1)).min() >= plate_rows.min()
    assert np.flatnonzero(text.any(axis=1)).max() < 100


def test_higher_score_is_drawn_on_top_whatever_the_order():
    boxes = ((4, 4, 12, 12), (4, 4, 12, 12))
    for scores, top in (([0.9, 0.1], 1), ([0.1, 0.9], 2)):
        picture = draw_detections(gray(16, 16), found(*boxes, scores=scores, labels=[1, 2]), NAMES)
        assert has_color(picture, top)[4, 4:12].all()


def test_labels_of_equal_boxes_do_not_hide_each_other():
    boxes = ((60, 80, 200, 160),) * 2
    picture = draw_detections(gray(240, 320), found(*boxes, scores=[0.9, 0.8], labels=[1, 2]), NAMES)
    alone = draw_detections(gray(240, 320), found(boxes[0], scores=[0.8], labels=[2]), NAMES)
    # The lower score's own line is covered, its plate is not.
    assert has_color(picture, 2).sum() > 0.5 * (has_color(alone, 2).sum() - 2 * 2 * (140 + 80))


def test_text_and_line_grow_with_the_image():
    small = changed(gray(150, 200), found((50, 50, 150, 100))).mean()
    large = changed(gray(3000, 4000), found((1000, 1000, 3000, 2000))).mean()
    assert 0.25 < large / small < 1.5


def test_label_without_a_name_and_a_name_too_long_for_the_image():
    draw_detections(gray(60, 200), found((5, 5, 100, 50), labels=[7]), NAMES)
    draw_detections(gray(60, 200), found((5, 5, 100, 50)), ["a very long name " * 20])


def test_colours_are_fixed_distinct_and_numbered_from_1():
    colors = np.array([class_color(label) for label in range(1, 21)])
    lab = oklab(colors)
    distances = np.linalg.norm(lab[:, None] - lab[None], axis=-1)[~np.eye(20, dtype=bool)]
    assert distances.min() > 0.08  # about 0.02 is just noticeable
    assert class_color(1) == class_color(97)
    with pytest.raises(ValueError, match="numbered from 1"):
        class_color(0)


def test_text_is_readable_on_every_colour():
    for label in range(1, 97):
        color = class_color(label)
        values = [float(linear(np.array(c)) @ (0.2126, 0.7152, 0.0722)) for c in (color, text_color(color))]
        assert (max(values) + 0.05) / (min(values) + 0.05) > 3


@pytest.mark.parametrize(
    "image",
    [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)],
)
def test_other_images_are_refused(image):
    with pytest.raises(ValueError, match="uint8"):
        draw_detections(image, Detections.empty(), NAMES)
