"""When a run is saved: by iterations, or by the clock."""

from __future__ import annotations

from pathlib import Path

import pytest
import tomlkit
import torch

from frcnn_cli.commands.train import train
from frcnn_cli.commands.train_call import TrainCall
from frcnn_cli.commands.train_config import write_config
from frcnn_cli.core.model import Architecture, FastRCNN
from frcnn_cli.core.normalisation import NORMALISATIONS
from frcnn_cli.core.sampling_config import SamplingConfig
from frcnn_cli.engine.distributed import ALONE
from frcnn_cli.engine.interrupts import Interruption
from frcnn_cli.engine.run_folder import Silent
from frcnn_cli.engine.run_state import Run, start_run
from frcnn_cli.engine.trainer import Trainer
from frcnn_cli.engine.training_config import Scales, TrainingConfig, save_interval


@pytest.mark.parametrize(
    ("every", "interval"), [(1, (1, 0)), (250, (250, 0)), ("250", (250, 0)), ("10min", (0, 600)), ("0.5min", (0, 30))]
)
def test_iterations_or_minutes(every, interval):
    assert save_interval(every) == interval


@pytest.mark.parametrize(
    "every", [0, -1, "0", "", "min", "0min", "-1min", "nanmin", "infmin", "1e999min", "10m", "1.5"]
)
def test_what_is_neither(every):
    with pytest.raises(ValueError):  # noqa: PT011 - whatever the number is no number of
        save_interval(every)


class Counting(Silent):
    """Keeps nothing but the iterations after which the run would have been saved."""

    def __init__(self) -> None:
        self.saved: list[int] = []

    def save(self, run: Run) -> None:
        self.saved.append(run.iteration)


@pytest.mark.parametrize(
    ("every", "saved"),
    [(2, [0, 2, 4, 5]), (100, [0, 5]), ("0.0000001min", [0, 1, 2, 3, 4, 5]), ("1000min", [0])],
)
def test_a_run_is_saved_as_often_as_that_and_at_its_end(tiny_dataset, tiny_proposals, every, saved):
    config = TrainingConfig(
        SamplingConfig(rois_per_batch=8), Scales((48,), 64), iterations=5, checkpoint_every=every, eval_every=0
    )
    model = FastRCNN(Architecture("alexnet", len(tiny_dataset.classes), roi_size=2, fc_width=8))
    run = start_run(model, NORMALISATIONS["imagenet"], tiny_dataset, tiny_proposals, config)
    folder = Counting()
    Trainer(run, tiny_dataset, tiny_proposals, folder, None, torch.device("cpu"), ALONE).train(Interruption(), 0)
    assert folder.saved == ([*saved, 5] if saved[-1] != 5 else saved)


def parse(*words: str) -> TrainCall:
    with train.make_context("train", list(words)) as context:
        return TrainCall.parse(context)


def test_on_the_command_line_and_in_the_file(tmp_path):
    for word, value in (("250", 250), ("10min", "10min")):
        call = parse("--output", str(tmp_path / "run"), "--checkpoint-every", word, "--iterations", "10")
        assert call.training.checkpoint_every == value
        path = Path(tmp_path / "config.toml")
        write_config(path, train.params, call.values())
        assert tomlkit.parse(path.read_text())["run"]["checkpoint-every"] == value
        again = parse("--output", str(tmp_path / "run"), "--config", str(path))
        assert again.training.checkpoint_every == value


@pytest.mark.parametrize("word", ["0", "10m", "min", "1.5", "nanmin"])
def test_a_wrong_one_is_refused(run_frcnn, tmp_path, word):
    outcome = run_frcnn("train", "--output", tmp_path / "run", "--checkpoint-every", word)
    assert outcome.code == 2
    assert f"{word!r} is not a number of iterations, 1 or more, or of minutes, as 10min" in outcome.err
    (tmp_path / "config.toml").write_text(f"[run]\ncheckpoint-every = '{word}'\n")
    outcome = run_frcnn("train", "--output", tmp_path / "run", "--config", tmp_path / "config.toml")
    assert outcome.code == 2
    assert "run.checkpoint-every: " in outcome.err
