"""Where the package is added to: a toy in each table of detection, reached from the command line."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from frcnn_cli.core.normalisation import NORMALISATIONS
from frcnn_cli.data.detections import Detections, ImageResult
from frcnn_cli.data.proposals import open_proposals
from frcnn_cli.data.writers import WRITERS, Target
from frcnn_cli.engine.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from frcnn_cli.engine.detection_config import DetectionConfig
from frcnn_cli.engine.detector import Detector
from frcnn_cli.engine.detectors import DETECTORS, Kind, Scores
from frcnn_cli.engine.runtimes import RUNTIMES
from frcnn_cli.engine.sources import SEARCHES
from frcnn_cli.errors import UsageError

CLASSES = ("cat", "dog")


@pytest.fixture
def image(tiny_voc) -> Path:
    """128 x 96 pixels."""
    return tiny_voc / "JPEGImages" / "kitten.jpg"


# --- a kind of detector: it sees a dog, always in the same place


@dataclass(frozen=True)
class ToyArchitecture:
    num_classes: int
    boxes: int


class ToyModel(nn.Module):
    def __init__(self, architecture: ToyArchitecture) -> None:
        super().__init__()
        self.register_buffer("place", torch.zeros(architecture.boxes, 4))


def toy_score(engine, image: np.ndarray, proposals: np.ndarray | None, config: DetectionConfig) -> Scores:
    place = engine.model.place
    probabilities = torch.tensor([[0.1, 0.0, 0.9]]).expand(len(place), -1)
    return Scores(place, probabilities, torch.zeros(len(place), 2, 4))


def toy_kind(**changes) -> Kind:
    return Kind(**{"title": "toy", "architecture": ToyArchitecture, "build": ToyModel, "score": toy_score, **changes})


@pytest.fixture
def toy(tmp_path, monkeypatch) -> Path:
    """A checkpoint of the kind `toy`, which is known while the test runs and proposes for itself."""
    monkeypatch.setitem(DETECTORS, "toy", toy_kind(needs_proposals=False))
    path = tmp_path / "toy.safetensors"
    state = {"place": torch.tensor([[8.0, 16, 64, 80]])}
    normalisation = NORMALISATIONS["half"]
    save_checkpoint(path, Checkpoint(ToyArchitecture(2, 1), CLASSES, normalisation, 96, 160, {}, state, kind="toy"))
    return path


def test_a_checkpoint_s_kind_says_what_is_found(run_frcnn, toy, image):
    outcome = run_frcnn("detect", image, "--weights", toy, "--json")
    assert outcome.code == 0, outcome.err
    (found,) = json.loads(outcome.out)
    assert found["detections"] == [{"class": "dog", "score": 0.9, "box": [8, 16, 64, 80]}]
    assert found["seconds"]["proposals"] is None


def test_it_is_evaluated(run_frcnn, toy, tiny_voc):
    outcome = run_frcnn("eval", "--voc", tiny_voc, "--classes", "cat,dog", "--skip-faulty", "--weights", toy, "--json")
    assert outcome.code == 0, outcome.err
    result = json.loads(outcome.out)
    assert list(result["AP"]) == ["cat", "dog"]
    assert result["AP"]["cat"] == 0
    assert result["seconds_per_image"]["proposals"] is None


@pytest.mark.parametrize("option", ["--mode", "--proposals"])
def test_one_that_proposes_for_itself_takes_no_proposals(run_frcnn, toy, image, tiny_proposals_path, option):
    value = "fast" if option == "--mode" else tiny_proposals_path
    outcome = run_frcnn("detect", image, "--weights", toy, option, value)
    assert outcome.code == 2
    assert outcome.err == f"frcnn: {option} {value}: the model proposes its own boxes, and takes no others\n"


def test_nor_does_it_from_python(toy, image):
    detector = Detector.load(toy)
    assert detector.detect(image).names == ("dog",)
    with pytest.raises(UsageError, match="proposes its own boxes"):
        detector.detect(image, [[0, 0, 9, 9]])


def test_a_way_to_look_that_a_kind_does_not_have_is_a_wrong_call(run_frcnn, toy, image, monkeypatch):
    def score(engine, image, proposals, config) -> Scores:
        raise UsageError("--scales: a toy looks once")

    monkeypatch.setitem(DETECTORS, "toy", toy_kind(score=score, needs_proposals=False))
    outcome = run_frcnn("detect", image, image.with_name("cow.jpg"), "--weights", toy, "--scales", "64,96")
    assert (outcome.code, outcome.err) == (2, "frcnn: --scales: a toy looks once\n")


def test_one_that_needs_proposals_gets_them(run_frcnn, toy, image, monkeypatch, tiny_proposals_path):
    given = []

    def score(engine, image, proposals, config) -> Scores:
        given.append(proposals)
        return toy_score(engine, image, proposals, config)

    monkeypatch.setitem(DETECTORS, "toy", toy_kind(score=score))
    assert run_frcnn("detect", image, "--weights", toy, "--proposals", tiny_proposals_path).code == 0
    (boxes,) = given
    assert boxes.tolist() == open_proposals(tiny_proposals_path).get("kitten", 128, 96).tolist()


def test_one_without_fully_connected_layers_is_not_compressed(run_frcnn, toy, tmp_path):
    outcome = run_frcnn("compress-svd", toy, "-o", tmp_path / "small.safetensors", "--fc6", 3)
    assert outcome.code == 2
    assert outcome.err == f"frcnn: {toy}: a toy has no layers to compress\n"


def test_a_kind_that_nobody_knows(run_frcnn, toy, image, monkeypatch):
    monkeypatch.delitem(DETECTORS, "toy")
    outcome = run_frcnn("detect", image, "--weights", toy)
    assert outcome.code == 1
    known = ", ".join(DETECTORS)
    assert outcome.err == f"frcnn: {toy}: a detector of the kind 'toy'; this program knows {known}\n"


def test_tensors_that_are_not_the_kind_s(toy, fault_of):
    save_checkpoint(toy, Checkpoint(ToyArchitecture(2, 3), CLASSES, NORMALISATIONS["half"], 96, 160, {},
                                    load_checkpoint(toy).state, kind="toy"))  # fmt: skip
    assert fault_of(load_checkpoint, toy) == f"{toy}: the tensors are not those of the toy that it describes"


# --- a runtime: it does not even read the file


@dataclass(frozen=True)
class ToyEngine:
    device: str
    classes: tuple[str, ...] = CLASSES
    needs_proposals: bool = True

    def detect(self, image: np.ndarray, proposals: np.ndarray | None, config: DetectionConfig) -> Detections:
        return Detections(proposals[:1], np.array([config.score_threshold]), np.array([1]))


def test_a_runtime_is_chosen_by_its_name(run_frcnn, image, tiny_proposals_path, tmp_path, monkeypatch):
    opened = []

    def open_toy(path: Path, device: str) -> ToyEngine:
        opened.append((path, device))
        return ToyEngine(device)

    monkeypatch.setitem(RUNTIMES, "toy", open_toy)
    weights = tmp_path / "any file"
    weights.touch()
    arguments = ("--weights", weights, "--runtime", "toy", "--device", "abacus", "--proposals", tiny_proposals_path)
    outcome = run_frcnn("detect", image, *arguments, "--score", 0.25, "--json")
    assert outcome.code == 0, outcome.err
    assert opened == [(weights, "abacus")]
    (detection,) = json.loads(outcome.out)[0]["detections"]
    first = open_proposals(tiny_proposals_path).get("kitten", 128, 96)[0]
    assert (detection["class"], detection["score"]) == ("cat", 0.25)
    assert detection["box"] == pytest.approx(first.tolist(), abs=0.01)
    assert "--runtime [auto|torch|onnx|toy]" in run_frcnn("eval", "--help").out


def test_a_runtime_that_is_none(run_frcnn, image):
    outcome = run_frcnn("detect", image, "--runtime", "toy")
    assert outcome.code == 2
    assert "'--runtime': 'toy' is not" in outcome.err


# --- a search: one box, as large as it is told to make


class ToySearch:
    version = 7

    def __call__(self, image: np.ndarray, max_proposals: int, seed: int, *, threads: int | None = None) -> np.ndarray:
        return np.array([[0, 0, image.shape[1], 1 + seed]], np.float32)


@pytest.fixture
def toy_search(monkeypatch) -> None:
    monkeypatch.setitem(SEARCHES, "toy", ToySearch())


def test_a_search_is_a_mode_of_propose(run_frcnn, toy_search, image, tmp_path):
    path = tmp_path / "p.npz"
    call = ("propose", image, "--mode", "toy", "--seed", 4, "-o", path, "--save-dir", tmp_path / "pictures")
    assert run_frcnn(*call).code == 0
    file = open_proposals(path)
    assert file.get("kitten", 128, 96).tolist() == [[0, 0, 128, 5]]
    assert (file.meta["mode"], file.meta["search"]) == ("toy", 7)
    assert (tmp_path / "pictures" / "kitten.jpg").is_file()


def test_and_of_detect(run_frcnn, toy_search, image, monkeypatch, tmp_path):
    monkeypatch.setitem(RUNTIMES, "toy", lambda path, device: ToyEngine(device))
    outcome = run_frcnn("detect", image, "--runtime", "toy", "--mode", "toy", "--json")
    assert outcome.code == 0, outcome.err
    (found,) = json.loads(outcome.out)
    assert found["detections"][0]["box"] == [0, 0, 128, 1]
    assert found["seconds"]["proposals"] >= 0
    for command in ("detect", "eval", "propose", "train"):
        assert "--mode [single|fast|quality|toy]" in " ".join(run_frcnn(command, "--help").out.split())


@pytest.mark.parametrize(("options", "expected"), [((), 1000), (("--max-proposals", 1700), 1700)])
def test_a_search_makes_as_many_as_are_looked_at(run_frcnn, image, tiny_voc, monkeypatch, options, expected):
    asked = []

    class Counting(ToySearch):
        def __call__(self, image: np.ndarray, max_proposals: int, seed: int, **how: int | None) -> np.ndarray:
            if image.size > 64 * 64 * 3:  # what is searched to compile is smaller
                asked.append(max_proposals)
            return super().__call__(image, max_proposals, seed)

    monkeypatch.setitem(SEARCHES, "toy", Counting())
    assert run_frcnn("detect", image, "--mode", "toy", *options).code == 0
    assert asked == [expected]
    asked.clear()
    outcome = run_frcnn("eval", "--voc", tiny_voc, "--split", "val", "--mode", "toy", *options)
    assert outcome.code == 0, outcome.err
    assert asked == [expected] * 2


# --- a writer: a line an image


@contextmanager
def write_toy(target: Target) -> Iterator[Callable[[ImageResult], None]]:
    lines = [f"{target.split}: {', '.join(target.classes)}"]
    yield lambda result: lines.append(f"{result.id}: {len(result.detections)} of {len(target.images)}")
    target.path.write_text("\n".join(lines))


@pytest.mark.parametrize("name", ["found.toy", "found.txt"])
def test_a_writer_is_a_format_and_a_suffix(run_frcnn, toy, image, tmp_path, monkeypatch, name):
    monkeypatch.setitem(WRITERS, "toy", write_toy)
    path = tmp_path / name
    form = () if path.suffix == ".toy" else ("--format", "toy")
    other = image.with_name("cow.jpg")
    outcome = run_frcnn("detect", image, other, "--weights", toy, "-o", path, *form)
    assert outcome.code == 0, outcome.err
    assert path.read_text() == "test: cat, dog\nkitten: 1 of 2\ncow: 1 of 2"
    assert f"detections of 2 images in {path}" in outcome.err


def test_eval_writes_by_it_too(run_frcnn, toy, tiny_voc, tmp_path, monkeypatch):
    monkeypatch.setitem(WRITERS, "toy", write_toy)
    path = tmp_path / "found.toy"
    data = ("--voc", tiny_voc, "--split", "val", "--classes", "cat,dog", "--skip-faulty")
    outcome = run_frcnn("eval", *data, "--weights", toy, "--output", path)
    assert outcome.code == 0, outcome.err
    assert path.read_text() == "val: cat, dog\nsheep: 1 of 2\nwine: 1 of 2"
