"""What an earlier version wrote is read: `tests/data/earlier_run` is of frcnn 0.1.0, before options were fields."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pytest

from frcnn_cli.commands.train import train
from frcnn_cli.commands.train_call import TrainCall
from frcnn_cli.engine.checkpoint import load_checkpoint

LOSSES = ("loss", "loss_cls", "loss_bbox", "lr", "foreground")


@pytest.fixture
def earlier_run(photographs, tmp_path) -> Path:
    """A copy of the run, stopped after 8 iterations; its log of 12 without a stop is ``whole.csv``."""
    run = Path(shutil.copytree(photographs / "earlier_run", tmp_path / "run"))
    config = run / "config.toml"
    config.write_text(config.read_text().replace("DATA", photographs.as_posix()))
    return run


def losses(path: Path) -> list[list[float]]:
    with path.open(newline="") as file:
        return [[float(row[name]) for name in LOSSES] for row in csv.DictReader(file)]


def test_it_is_resumed_with_the_losses_that_it_would_have_had(run_frcnn, earlier_run):
    outcome = run_frcnn("train", "--resume", earlier_run, "--iterations", 12, "--loaders", 0)
    assert outcome.code == 0, outcome.err
    # Another processor may round otherwise.
    assert losses(earlier_run / "log.csv") == [
        pytest.approx(row, rel=1e-3) for row in losses(earlier_run / "whole.csv")
    ]


def test_its_model_detects(run_frcnn, earlier_run, photographs):
    image = photographs / "JPEGImages" / "cow.jpg"
    outcome = run_frcnn("detect", image, "--weights", earlier_run / "model.safetensors", "--score", 0.01)
    assert outcome.code == 0, outcome.err
    assert load_checkpoint(earlier_run / "model.safetensors").training["iteration"] == 8


def test_its_settings_begin_another_run_and_no_recipe_changes_them(earlier_run, tmp_path):
    with train.make_context("train", ["--config", str(earlier_run / "config.toml"), "--output", "again"]) as context:
        call = TrainCall.parse(context)
    assert (call.training.optimizer, call.training.lr, call.training.dropout) == ("adamw", 0.01, 0.3)
    assert (call.training.schedule.kind, call.training.schedule.steps, call.training.schedule.warmup) == (
        "step",
        (6,),
        3,
    )
    assert (call.training.iterations, call.length.epochs, call.training.checkpoint_every) == (8, None, 4)
    assert (call.training.scales.short_sides, call.training.scales.long_side) == ((64, 80), 160)
    assert (call.model.backbone, call.model.neck, call.model.init) == ("test_efficientnet", 16, None)
    assert call.lists.max_proposals == 150


def test_what_its_state_is_made_for_cannot_change(run_frcnn, earlier_run):
    for option, value, before in (("ema", 0.5, 0.9), ("optimizer", "sgd", "adamw"), ("neck", 8, 16)):
        outcome = run_frcnn("train", "--resume", earlier_run, f"--{option}", value)
        assert outcome.code == 2
        assert outcome.err == f"frcnn: --{option} {value}: the run in {earlier_run} was begun with {before}\n"
