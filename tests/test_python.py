"""The package from Python: what it exports, and that every example in a docstring does as it says."""

from __future__ import annotations

import doctest
import json
import re
import shutil
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

import frcnn_cli
import proposals
from frcnn_cli import Detector
from frcnn_cli.data.images import load_image
from frcnn_cli.engine.detection_config import DetectionConfig
from frcnn_cli.errors import DataError, UsageError
from proposals import selective_search

REPOSITORY = Path(__file__).parent.parent


def modules_with_examples() -> list[str]:
    sources = [path for package in (frcnn_cli, proposals) for path in Path(package.__file__).parent.rglob("*.py")]
    found = [path.relative_to(REPOSITORY) for path in sources if ">>> " in path.read_text(encoding="utf-8")]
    return sorted(".".join(path.with_suffix("").parts).removesuffix(".__init__") for path in found)


@pytest.mark.parametrize("name", modules_with_examples())
def test_examples(name, monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    result = doctest.testmod(import_module(name), optionflags=doctest.IGNORE_EXCEPTION_DETAIL)
    assert result.attempted > 0
    assert result.failed == 0


def test_what_the_package_exports():
    assert frcnn_cli.Detector is Detector
    assert frcnn_cli.train is import_module("frcnn_cli.commands.train_api").train
    assert {"Detector", "train", "__version__"} <= {*dir(frcnn_cli), *frcnn_cli.__all__}
    with pytest.raises(AttributeError, match="no attribute 'detector'"):
        frcnn_cli.detector  # noqa: B018
    with pytest.raises(ImportError):
        from frcnn_cli import nonsense  # noqa: F401


@pytest.fixture(scope="module")
def detector(tiny_checkpoint) -> Detector:
    return Detector.load(tiny_checkpoint)


@pytest.fixture(scope="module")
def path(tiny_voc) -> Path:
    """128 x 96 pixels."""
    return tiny_voc / "JPEGImages" / "kitten.jpg"


def assert_equal(first, second) -> None:
    for name in ("boxes", "scores", "labels"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
    assert first.names == second.names


def test_a_path_a_text_and_an_array_are_the_same_image(detector, path):
    image = load_image(path)
    found = detector.detect(path, score=0.1)
    assert len(found) > 3
    assert_equal(detector.detect(str(path), score=0.1), found)
    assert_equal(detector.detect(image, score=0.1), found)
    assert_equal(detector.detect(image, selective_search(image), score=0.1), found)
    assert found.names == tuple(detector.classes[label - 1] for label in found.labels)


def test_it_finds_what_the_command_finds(detector, path, tiny_checkpoint, run_frcnn):
    options = {
        "score": 0.1,
        "nms": 0.5,
        "max_detections": 7,
        "scales": (64, 144),
        "flip_test": True,
        "box_voting": True,
    }
    words = ("--score", 0.1, "--nms", 0.5, "--max-detections", 7, "--scales", "64,144", "--flip-test", "--box-voting")
    outcome = run_frcnn("detect", path, "--weights", tiny_checkpoint, "--mode", "single", *words, "--json")
    expected = json.loads(outcome.out)[0]["detections"]
    found = detector.detect(path, mode="single", **options)
    assert [entry["class"] for entry in expected] == list(found.names)
    np.testing.assert_allclose([entry["box"] for entry in expected], found.boxes, atol=0.006)
    assert len(found) == 7


def test_options_change_a_configuration(detector, path):
    config = DetectionConfig(score_threshold=0.1, max_detections=5)
    assert_equal(
        detector.detect(path, None, config, nms=0.6), detector.detect(path, score=0.1, max_detections=5, nms=0.6)
    )
    assert len(detector.detect(path, config=config)) == 5


def test_proposals_may_be_lists_of_whole_numbers_and_none(detector, path):
    boxes = [[0, 0, 60, 60], [10, 10, 128, 96]]
    found = detector.detect(path, boxes, score=0.01)
    assert_equal(found, detector.detect(path, np.array(boxes, np.float32), score=0.01))
    nothing = detector.detect(path, np.zeros((0, 4)))
    assert (len(nothing), nothing.names) == (0, ())


@pytest.mark.parametrize(
    ("arguments", "options", "error", "fault"),
    [
        ((), {"threshold": 0.5}, TypeError, "no option 'threshold' of detection; there are score, nms, max_detections"),
        ((), {"score_threshold": 0.5}, TypeError, "no option 'score_threshold'"),
        ((), {"scales": (64, 96), "short_side": 64}, UsageError, "give one of the two"),
        ((), {"scales": ()}, UsageError, "--scales needs a number"),
        ((), {"mode": "slow"}, UsageError, "unknown mode 'slow'; there are single, fast, quality"),
        (([[0, 0, 129, 5]],), {}, ValueError, r"box 0 \(0, 0, 129, 5\) lies outside the image \(128 x 96\)"),
        (([[5, 5, 5, 9]],), {}, ValueError, "is inverted or has no area"),
        (([0, 0, 9, 9],), {}, ValueError, r"proposals are float32 \[4\], not floats \[N, 4\]"),
    ],
)
def test_wrong_calls(detector, path, arguments, options, error, fault):
    with pytest.raises(error, match=fault):
        detector.detect(path, *arguments, **options)


@pytest.mark.parametrize(
    "image",
    [np.zeros((5, 5), np.uint8), np.zeros((5, 5, 4), np.uint8), np.zeros((5, 5, 3)), np.zeros((0, 5, 3), np.uint8)],
    ids=lambda image: f"{image.dtype} {image.shape}",
)
def test_arrays_that_are_no_image(detector, image):
    with pytest.raises(ValueError, match="image must be uint8 RGB"):
        detector.detect(image)


def test_files_that_are_missing_and_runtimes_that_are_none(detector, tmp_path, fault_of):
    gone = tmp_path / "gone"
    assert fault_of(Detector.load, gone) == fault_of(detector.detect, gone) == f"{gone}: no such file"
    with pytest.raises(UsageError, match="unknown runtime 'abacus'; there are auto, torch, onnx"):
        Detector.load(runtime="abacus")
    with pytest.raises(UsageError, match="--device abacus: not a device"):
        Detector.load(device="abacus")
    with pytest.raises(DataError):
        Detector.load(__file__)


def test_the_readme_in_python(tiny_voc, photographs, tmp_path, monkeypatch, capfd):
    """Its two examples, on a photograph and a data set of these names; training is made short."""
    examples = re.findall(r"```python\n(.*?)```", (photographs.parents[1] / "README.md").read_text(), flags=re.DOTALL)
    assert len(examples) == 2
    monkeypatch.chdir(tmp_path)
    shutil.copy(photographs / "JPEGImages" / "dog_bicycle.jpg", "photo.jpg")
    exec(examples[0], {})
    assert {"dog", "bicycle"} <= {line.split()[0] for line in capfd.readouterr().out.splitlines()}
    shutil.copytree(tiny_voc, "mydata")
    named = 'output="run"'
    assert named in examples[1]
    names: dict = {}
    exec(examples[1].replace(named, f"{named}, iterations=1, short_side=64, rois_per_batch=16, loaders=0"), names)
    assert names["detector"].classes == Detector.load(tmp_path / "run" / "model.safetensors").classes
