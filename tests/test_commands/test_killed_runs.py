"""`kill -9` at any moment costs nothing but time: --resume ends where the run would have ended, bit for bit."""

from __future__ import annotations

import csv
import random
import re
import signal
from pathlib import Path

import pytest
import torch

from frcnn_cli.commands.train_config import CONFIG_FILE
from frcnn_cli.engine.checkpoint import load_checkpoint

SMALL = (
    "--backbone", "alexnet", "--backbone-weights", "none", "--fc-width", 16, "--roi-size", 2, "--short-side", "64,80",
    "--long-side", 128, "--rois-per-batch", 16, "--lr", 0.002,
)  # fmt: skip
# Everything that has a memory or draws at random; rows, checkpoints and measurements that fall on the same iterations
# and on others.
FULL = (
    *SMALL, "--iterations", 12, "--optimizer", "adamw", "--schedule", "cosine", "--warmup", 2, "--ema", 0.9,
    "--colour-jitter", 0.3, "--balance", 0.9, "--dropout", 0.5, "--val-split", "val", "--eval-every", 4,
    "--checkpoint-every", 3, "--log-every", 2,
)  # fmt: skip


@pytest.fixture(scope="module")
def data(tiny_voc, tiny_proposals_path) -> tuple:
    return ("--voc", tiny_voc, "--proposals", tiny_proposals_path, "--val-proposals", tiny_proposals_path)


@pytest.fixture(scope="module")
def whole(killing, data, tmp_path_factory) -> Path:
    """A run that nobody kills."""
    run = tmp_path_factory.mktemp("whole") / "run"
    outcome = killing("train", *FULL, *data, "--loaders", 0, "--output", run, folder=run)
    assert outcome.code == 0, outcome.text
    return run


def again(killing, data, run: Path, loaders: int, kill: dict | None):
    """Begin a run, or go on with it."""
    if (run / CONFIG_FILE).exists():
        return killing("train", "--resume", run, folder=run, kill=kill)
    return killing("train", *FULL, *data, "--loaders", loaders, "--output", run, folder=run, kill=kill)


def rows(run: Path) -> list[dict[str, str]]:
    with (run / "log.csv").open(newline="") as file:
        return [
            {name: text for name, text in row.items() if not name.endswith("_per_second")}
            for row in csv.DictReader(file)
        ]


def events(run: Path) -> dict[str, list[tuple[int, float]]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    accumulator = EventAccumulator(str(run), size_guidance={"scalars": 0})
    accumulator.Reload()
    return {
        tag: [(event.step, event.value) for event in accumulator.Scalars(tag)] for tag in accumulator.Tags()["scalars"]
    }


def assert_same(a: object, b: object, path: str = "state") -> None:
    assert type(a) is type(b), path
    if isinstance(a, torch.Tensor):
        assert torch.equal(a, b), path
    elif isinstance(a, dict):
        assert a.keys() == b.keys(), path
        for key, value in a.items():
            assert_same(value, b[key], f"{path}.{key}")
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b), path
        for index, value in enumerate(a):
            assert_same(value, b[index], f"{path}.{index}")
    else:
        assert a == b, path


def assert_same_end(run: Path, whole: Path) -> None:
    assert rows(run) == rows(whole)
    assert_same(*(torch.load(folder / "training_state.pt", weights_only=True) for folder in (run, whole)))
    for name in ("model.safetensors", "best.safetensors"):
        assert (run / name).read_bytes() == (whole / name).read_bytes(), name
    assert {path.name for path in run.iterdir()} - {path.name for path in whole.iterdir()} == {
        path.name for path in run.iterdir() if path.name.startswith("events")
    }
    shown = events(run)
    for name, values in shown.items():
        if not name.endswith("_per_second"):
            logged = [(int(row["iteration"]), float(row[name])) for row in rows(run) if row[name]]
            assert [step for step, _ in values] == [step for step, _ in logged], name
            assert [value for _, value in values] == pytest.approx([value for _, value in logged], rel=1e-5)
    assert shown.keys() >= {"loss", "lr", "val_mAP"}


def test_the_whole_run_is_what_it_should_be(whole):
    iterations = [(int(row["iteration"]), bool(row["val_mAP"])) for row in rows(whole)]
    assert iterations == [
        (2, False), (4, False), (4, True), (6, False), (8, False), (8, True), (10, False), (12, False), (12, True),
    ]  # fmt: skip
    state = torch.load(whole / "training_state.pt", weights_only=True)
    assert state["average"]
    assert not any(
        torch.equal(value, state["model"][name]) for name, value in state["average"].items() if "head" in name
    )


def test_killed_when_it_is_about_to_write(killing, data, whole, tmp_path):
    """Opening, renaming and removing files is what can be left half done: killed before one of them, drawn at random,
    then before a later one, until the run is through."""
    run, moments = tmp_path / "run", random.Random(1)
    kills = 0
    while (outcome := again(killing, data, run, 0, {"write": moments.randint(1, 45)})).code != 0:
        assert outcome.code == -signal.SIGKILL, outcome.text
        kills += 1
        assert kills < 50
    assert kills >= 3
    assert_same_end(run, whole)


def test_killed_at_any_time_with_its_worker(killing, data, whole, tmp_path):
    run, moments = tmp_path / "run", random.Random(0)
    for lines in (2, 5, 8):  # of the log's ten
        kill = {"rows": lines, "later": moments.uniform(0, 0.2), "signal": signal.SIGKILL, "who": "group"}
        outcome = again(killing, data, run, 1, kill)
        assert outcome.code in (-signal.SIGKILL, 0), outcome.text
    outcome = again(killing, data, run, 1, None)
    assert outcome.code == 0, outcome.text
    assert not outcome.left
    assert_same_end(run, whole)


def test_a_worker_that_is_killed(killing, data, tmp_path):
    """What the system does when memory runs out: one line, all saved, nothing left behind."""
    run = tmp_path / "run"
    small = (*SMALL, *data, "--log-every", 1, "--iterations", 100_000)
    kill = {"rows": 3, "later": 0, "signal": signal.SIGKILL, "who": "worker"}
    outcome = killing("train", *small, "--loaders", 2, "--output", run, folder=run, kill=kill)
    assert outcome.code == 1, outcome.text
    assert not outcome.left
    assert "Traceback" not in outcome.text
    last = outcome.text.splitlines()[-1]
    found = re.fullmatch(
        r"frcnn: a process that prepares batches has ended by signal 9 \(was the memory full\?\); "
        rf"stopped after iteration (\d+), all is saved in {re.escape(str(run))}",
        last,
    )
    assert found, outcome.text
    done = int(found[1])
    assert load_checkpoint(run / "model.safetensors").training["iteration"] == done
    assert [int(row["iteration"]) for row in rows(run)] == list(range(1, done + 1))
    more = killing("train", "--resume", run, "--loaders", 0, "--iterations", done + 2, folder=run)
    assert more.code == 0, more.text
    assert [int(row["iteration"]) for row in rows(run)] == list(range(1, done + 3))
