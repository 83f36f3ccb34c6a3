"""Detection in image files of every shape, with proposals of every number."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from frcnn_cli.data.detections import Detections, ImageResult
from frcnn_cli.data.images import load_image
from frcnn_cli.data.proposals.npz import ProposalFile, write_proposals
from frcnn_cli.data.transforms import mirror
from frcnn_cli.engine.detection_config import DetectionConfig
from frcnn_cli.engine.detector import Detector, detect_file
from frcnn_cli.errors import DataError
from proposals import selective_search

ONCE = {"box_voting": False, "refine": 0}
"""Each proposal is looked at once, and its box is its own."""

EVERYTHING = DetectionConfig(score_threshold=0.01, nms_threshold=0.3, max_detections=100, **ONCE)


@pytest.fixture(scope="module")
def detector(tiny_checkpoint) -> Detector:
    return Detector.load(tiny_checkpoint)


def assert_sound(result: ImageResult, config: DetectionConfig, classes: int = 20) -> None:
    found = result.detections
    assert len(found) <= config.max_detections
    assert (found.boxes[:, :2] >= 0).all()
    assert (found.boxes[:, 2] <= result.width).all()
    assert (found.boxes[:, 3] <= result.height).all()
    assert (found.boxes[:, 2:] > found.boxes[:, :2]).all()
    assert (found.scores >= config.score_threshold).all()
    assert (np.diff(found.scores) <= 0).all()
    assert found.labels.max(initial=0) <= classes


def test_with_proposals_from_a_file_and_without(detector, tiny_dataset, tiny_proposals):
    record = tiny_dataset.records[0]
    stored = detect_file(detector, record.path, record.id, tiny_proposals, EVERYTHING)
    made = detect_file(detector, record.path, record.id, None, EVERYTHING)
    assert (stored.width, stored.height) == (record.width, record.height)
    assert len(stored.detections) > 5
    np.testing.assert_array_equal(stored.detections.boxes, made.detections.boxes)
    np.testing.assert_array_equal(stored.detections.scores, made.detections.scores)
    assert stored.seconds.proposals is None
    assert made.seconds.proposals > 0
    assert stored.seconds.detection > 0
    assert_sound(stored, EVERYTHING)


def test_thresholds(detector, tiny_dataset, tiny_proposals):
    record = tiny_dataset.records[0]

    def found(*config):
        result = detect_file(detector, record.path, record.id, tiny_proposals, DetectionConfig(*config))
        assert_sound(result, DetectionConfig(*config))
        return result.detections

    everything = found(0.01, 0.3, 5000)
    sure = found(0.2, 0.3, 5000)
    assert 0 < len(sure) < len(everything)
    np.testing.assert_array_equal(found(0.01, 0.3, 3).scores, everything.scores[:3])
    assert len(found(0.01, 0.9, 5000)) > len(everything)
    assert len(found(1.0, 0.3, 5000)) == 0


def test_detections_answer_the_proposals(detector, tiny_dataset):
    """The proposals' order does not matter; one proposal is at most one object of each class."""
    image = load_image(tiny_dataset.records[0].path)
    boxes = selective_search(image)
    forward = detector.detect(image, boxes, EVERYTHING)
    backward = detector.detect(image, boxes[::-1].copy(), EVERYTHING)
    assert forward.scores.max() == pytest.approx(backward.scores.max(), abs=1e-5)
    one = detector.detect(image, boxes[:1], DetectionConfig(0.0, 0.3, 100, **ONCE))
    assert 0 < len(one) <= 20
    assert len(set(one.labels.tolist())) == len(one)
    assert one.scores.sum() <= 1 + 1e-5


def test_the_first_proposals_are_looked_at(detector, kitten, kitten_boxes, tmp_path):
    """Whether they are given, read or made."""
    few = replace(EVERYTHING, max_proposals=40)
    expected = detector.detect(kitten, kitten_boxes[:40], EVERYTHING)
    path = tmp_path / "kitten.png"
    Image.fromarray(kitten).save(path)
    ways = {
        "given": detector.detect(kitten, kitten_boxes, few),
        "made": detector.detect(kitten, config=few),
        "searched for": detect_file(detector, path, "kitten", None, few).detections,
    }
    assert len(detector.detect(kitten, kitten_boxes, EVERYTHING)) > len(expected) > 0
    for way, found in ways.items():
        np.testing.assert_allclose(found.boxes, expected.boxes, atol=1e-3, err_msg=way)


def test_no_proposals(detector, tmp_path, noise_image):
    path = noise_image("a.png", 50, 40)
    write_proposals(tmp_path / "p.npz", {"a": np.zeros((0, 4))}, {"sizes": {"a": (50, 40)}})
    result = detect_file(detector, path, "a", ProposalFile(tmp_path / "p.npz"), EVERYTHING)
    assert len(result.detections) == 0
    assert (result.width, result.height) == (50, 40)


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (1, 90), (3000, 20), (20, 3000)])
def test_odd_shapes(detector, noise_image, size):
    result = detect_file(detector, noise_image("odd.png", *size), "odd", None, EVERYTHING)
    assert (result.width, result.height) == size
    assert_sound(result, EVERYTHING)


def test_a_photograph_stored_sideways_gives_the_same_boxes(detector, tiny_dataset, tmp_path):
    upright = load_image(tiny_dataset.records[3].path)
    Image.fromarray(upright).save(tmp_path / "upright.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by a quarter when shown
    Image.fromarray(np.rot90(upright).copy()).save(tmp_path / "sideways.png", exif=exif)
    first, second = (
        detect_file(detector, tmp_path / f"{name}.png", name, None, EVERYTHING) for name in ("upright", "sideways")
    )
    assert (first.width, first.height) == (second.width, second.height) == upright.shape[1::-1]
    assert len(first.detections) > 0
    np.testing.assert_array_equal(first.detections.boxes, second.detections.boxes)
    np.testing.assert_array_equal(first.detections.scores, second.detections.scores)


def test_proposals_of_another_image(detector, tiny_dataset, tiny_proposals, noise_image):
    with pytest.raises(DataError, match="no proposals for image nobody"):
        detect_file(detector, tiny_dataset.records[0].path, "nobody", tiny_proposals, EVERYTHING)
    other = noise_image("other.png", 33, 44)
    with pytest.raises(DataError, match=r"proposals made on \d+ x \d+ pixels, but the image is 33 x 44"):
        detect_file(detector, other, tiny_dataset.records[0].id, tiny_proposals, EVERYTHING)


# --- several sizes, mirrored, voting: the checkpoint's own sides are 96 and 160


@contextmanager
def sizes_seen(detector: Detector):
    """A list that gets (width, height) of every image the backbone is given."""
    sizes: list[tuple[int, int]] = []
    hook = detector.engine.model.backbone.register_forward_pre_hook(
        lambda module, inputs: sizes.append((inputs[0].shape[-1], inputs[0].shape[-2]))
    )
    try:
        yield sizes
    finally:
        hook.remove()


def assert_equal(first: Detections, second: Detections) -> None:
    for name in ("boxes", "scores", "labels"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))


@pytest.fixture(scope="module")
def kitten(tiny_dataset) -> np.ndarray:
    """128 x 96 pixels."""
    (path,) = (record.path for record in tiny_dataset.records if record.id == "kitten")
    return load_image(path)


@pytest.fixture(scope="module")
def kitten_boxes(kitten) -> np.ndarray:
    return selective_search(kitten)


@pytest.mark.parametrize("looks", [{"short_side": 96}, {"scales": (96,)}, {"scales": (96, 96), "long_side": 160}])
def test_a_pyramid_of_one_scale_is_plain_detection(detector, kitten, kitten_boxes, looks):
    plain = detector.detect(kitten, kitten_boxes, EVERYTHING)
    assert len(plain) > 5
    assert_equal(detector.detect(kitten, kitten_boxes, replace(EVERYTHING, **looks)), plain)


@pytest.mark.parametrize(
    ("looks", "size"),
    [
        ({}, (128, 96)),
        ({"short_side": 48}, (64, 48)),
        ({"short_side": 192}, (256, 192)),
        ({"short_side": 192, "long_side": 200}, (200, 150)),
        ({"long_side": 64}, (64, 48)),
    ],
)
def test_the_size_an_image_is_looked_at(detector, kitten, kitten_boxes, looks, size):
    with sizes_seen(detector) as sizes:
        detector.detect(kitten, kitten_boxes, replace(EVERYTHING, **looks))
    assert sizes == [size]


@pytest.mark.parametrize(("scales", "limit"), [((48,), 80), ((192,), 320), ((192, 48, 96), 320)])
def test_the_long_side_grows_with_the_scales(detector, noise_image, scales, limit):
    """A checkpoint of 96 and 160, at 192, has a limit of 320; a picture of 400 x 10 would be wider at each scale."""
    image = load_image(noise_image("long.png", 400, 10))
    with sizes_seen(detector) as sizes:
        detector.detect(image, np.array([[0, 0, 200, 9]], np.float32), replace(EVERYTHING, scales=scales))
    assert [width for width, _ in sizes] == [limit]


def test_each_proposal_is_scored_where_it_is_nearest_to_224_square(detector, kitten):
    """Sides of 20, 60, 80 and 90 are 23, 68, 91 and 103 at scale 110/96, times 2 and 4 at 220 and 440."""
    boxes = np.array([[0, 0, 20, 20], [5, 5, 65, 65], [10, 10, 90, 90], [30, 2, 120, 92]], np.float32)
    config = DetectionConfig(0.0, 1.0, 10**6, scales=(440, 110, 220), long_side=1000, **ONCE)
    with sizes_seen(detector) as sizes:
        together = detector.detect(kitten, boxes, config)
    assert sizes == [(293, 220), (587, 440)]  # none is scored at 110
    scores = []
    for box, short_side in zip(boxes, (440, 440, 220, 220), strict=True):
        alone = detector.detect(kitten, box[None], config)
        assert len(alone) > 10  # of 20; the others' boxes are decoded to outside the image
        assert_equal(alone, detector.detect(kitten, box[None], replace(config, scales=(short_side,))))
        scores += alone.scores.tolist()
    np.testing.assert_allclose(together.scores, sorted(scores, reverse=True), atol=1e-5)


def test_a_mirrored_image_gives_mirrored_detections(detector, kitten):
    boxes = np.array([[0, 0, 40, 60], [30, 20, 128, 96], [64, 10, 100, 50]], np.float32)
    mirrored_boxes = np.stack((128 - boxes[:, 2], boxes[:, 1], 128 - boxes[:, 0], boxes[:, 3]), axis=1)
    config = DetectionConfig(0.0, 1.0, 10**6, flip=True, **ONCE)

    def by_class(image, proposals):
        found = detector.detect(image, proposals, config)
        order = np.lexsort((found.scores, found.labels))
        assert len(found) > 40
        return found.boxes[order], found.scores[order]

    (found, scores), (other, other_scores) = by_class(kitten, boxes), by_class(mirror(kitten), mirrored_boxes)
    np.testing.assert_allclose(other_scores, scores, atol=1e-5)
    np.testing.assert_allclose(128 - other[:, [2, 0]], found[:, [0, 2]], atol=1e-3)
    np.testing.assert_allclose(other[:, 1::2], found[:, 1::2], atol=1e-3)
    once = detector.detect(kitten, boxes, replace(config, flip=False))
    assert np.abs(once.scores[:20] - np.sort(scores)[::-1][:20]).max() > 1e-3


def test_voting_moves_boxes_and_nothing_else(detector, tiny_dataset, tiny_proposals):
    record = tiny_dataset.records[0]
    plain, voted = (
        detect_file(detector, record.path, record.id, tiny_proposals, replace(EVERYTHING, box_voting=voting))
        for voting in (False, True)
    )
    assert_sound(voted, EVERYTHING)
    np.testing.assert_array_equal(voted.detections.scores, plain.detections.scores)
    np.testing.assert_array_equal(voted.detections.labels, plain.detections.labels)
    assert np.abs(voted.detections.boxes - plain.detections.boxes).max() > 1


@pytest.mark.parametrize("size", [(1, 1), (3000, 20)])
def test_odd_shapes_at_several_sizes(detector, noise_image, size):
    config = replace(EVERYTHING, scales=(48, 96, 192), flip=True, box_voting=True)
    assert_sound(detect_file(detector, noise_image("odd.png", *size), "odd", None, config), config)
