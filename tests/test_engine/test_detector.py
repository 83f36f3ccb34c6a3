"""Detection in image files of every shape, with proposals of every number."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from frcnn_cli.data.images import load_image
from frcnn_cli.data.proposal_files import ProposalFile, write_proposals
from frcnn_cli.engine.detector import DetectionConfig, Detector, ImageResult, detect_file
from frcnn_cli.errors import DataError
from proposals import selective_search

EVERYTHING = DetectionConfig(score_threshold=0.01, nms_threshold=0.3, max_detections=100)


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
    one = detector.detect(image, boxes[:1], DetectionConfig(0.0, 0.3, 100))
    assert 0 < len(one) <= 20
    assert len(set(one.labels.tolist())) == len(one)
    assert one.scores.sum() <= 1 + 1e-5


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
