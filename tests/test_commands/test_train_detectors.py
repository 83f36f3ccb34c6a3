"""A kind of detector brings its own training: a toy beside those of the tables, reached from the command line."""

from __future__ import annotations

import csv
from dataclasses import dataclass

import pytest
import tomlkit

from frcnn_cli.core.model import Architecture, FastRCNN
from frcnn_cli.engine.checkpoint import load_checkpoint
from frcnn_cli.engine.detectors import DETECTORS, Kind
from frcnn_cli.engine.detectors.fast_rcnn import score
from frcnn_cli.engine.learners import LEARNERS
from frcnn_cli.engine.learners.fast_rcnn import FastRCNNLearner
from frcnn_cli.settings import setting


@dataclass(frozen=True)
class ToyOptions:
    pull: float = setting(0.5, "What the square of each class's bias costs.", table="detector", least=0, lasting=True)


class ToyLearner(FastRCNNLearner):
    """Fast R-CNN's, with a third term of the loss."""

    options = ToyOptions
    defaults = {"rois_per_batch": 16}  # noqa: RUF012
    unused = {"balance": "a toy shows every image as often"}  # noqa: RUF012
    losses = ("cls", "bbox", "pull")

    def step_losses(self, run, part, device, count):
        own = run.options.pull * (1 + run.model.head.cls_score.bias).square().sum()
        return {**super().step_losses(run, part, device, count), "pull": own}


@pytest.fixture
def toy(monkeypatch) -> None:
    monkeypatch.setitem(DETECTORS, "toy", Kind("toy", Architecture, FastRCNN, score))
    monkeypatch.setitem(LEARNERS, "toy", ToyLearner())


@pytest.fixture
def train(run_frcnn, tiny_voc, tiny_proposals_path, tmp_path):
    """Begin a run of the toy at its smallest."""

    def begin(*words: object, detector: str = "toy"):
        return run_frcnn(
            "train", "--voc", tiny_voc, "--output", tmp_path / "run", "--detector", detector, "--backbone", "alexnet",
            "--backbone-weights", "none", "--fc-width", 16, "--roi-size", 2, "--short-side", 64, "--iterations", 2,
            "--log-every", 1, "--loaders", 0, "--proposals", tiny_proposals_path, *words,
        )  # fmt: skip

    return begin


def test_its_options_losses_and_kind_are_those_of_the_run(toy, train, run_frcnn, tmp_path):
    outcome = train("--pull", 2)
    assert outcome.code == 0, outcome.err
    run = tmp_path / "run"
    config = tomlkit.parse((run / "config.toml").read_text()).unwrap()
    assert config["detector"] == {"pull": 2.0}
    assert (config["model"]["detector"], config["sampling"]["rois-per-batch"]) == ("toy", 16)
    checkpoint = load_checkpoint(run / "model.safetensors")
    assert (checkpoint.kind, checkpoint.training["pull"]) == ("toy", 2.0)
    with (run / "log.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        terms = [float(row[f"loss_{name}"]) for name in ("cls", "bbox", "pull")]
        assert sum(terms) == pytest.approx(float(row["loss"]), rel=1e-4)
    assert float(rows[0]["loss_pull"]) == pytest.approx(2 * 21)  # 21 biases of 0
    assert ", pull 42.0000)" in outcome.err
    more = run_frcnn("train", "--resume", run, "--iterations", 3, "--loaders", 0)
    assert more.code == 0, more.err
    other = run_frcnn("train", "--resume", run, "--pull", 1)
    assert (other.code, other.err) == (2, f"frcnn: --pull 1.0: the run in {run} was begun with 2.0\n")


@pytest.mark.parametrize(
    ("detector", "words", "fault"),
    [
        ("fast-rcnn", ("--pull", 1), "--pull: belongs to --detector toy"),
        ("toy", ("--balance", 0.1), "--balance: a toy shows every image as often"),
        ("toy", ("--pull", -1), "'--pull': -1.0 is not in the range"),
    ],
)
def test_options_that_mean_nothing(toy, train, detector, words, fault):
    outcome = train(*words, detector=detector)
    assert outcome.code == 2
    assert fault in outcome.err


def test_one_that_proposes_for_itself_learns_without(toy, run_frcnn, tiny_voc, tmp_path, monkeypatch):
    class Alone(ToyLearner):
        needs_proposals = False

    monkeypatch.setitem(LEARNERS, "toy", Alone())
    words = ("train", "--voc", tiny_voc, "--detector", "toy", "--output", tmp_path / "run")
    outcome = run_frcnn(*words, "--proposals", tmp_path / "gone.npz")
    assert outcome.code == 2
    assert outcome.err == "frcnn: --proposals: --detector toy proposes its own boxes\n"
    assert "gone" not in run_frcnn(*words, "--check").err
