"""Two processes do what one does; a fault of either stops both with one message."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from frcnn_cli.cli import main
from frcnn_cli.data.proposals.npz import ProposalFile, write_proposals
from frcnn_cli.engine import distributed
from frcnn_cli.engine.checkpoint import load_checkpoint
from frcnn_cli.engine.distributed import Processes

REPOSITORY = Path(__file__).parent.parent
PAPERS = ("--nms", 0.3, "--no-box-voting", "--refine", 0)
"""How the paper selects detections. The untrained model of these tests is so wrong that others bring its mAP to 0."""
TRAIN = (
    "train", "--backbone", "alexnet", "--backbone-weights", "none", "--fc-width", 16, "--roi-size", 2, "--short-side",
    "64,96", "--long-side", 160, "--rois-per-batch", 32, "--log-every", 1, "--loaders", 0, "--lr", 0.01, "--seed", 4,
)  # fmt: skip
CALLS = """
import json, os, sys
from frcnn_cli.cli import main
for port, call in json.loads(sys.argv[1]):
    os.environ["MASTER_PORT"] = port
    code = main(call)
    for stream in sys.stdout, sys.stderr:
        print(f"<{code}>", file=stream, flush=True)
"""


class Ended(NamedTuple):
    """What a call was in one of the processes."""

    code: int
    out: str
    err: str


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def start(calls: list[list[str]], folder: Path) -> list[subprocess.Popen]:
    """Two processes that make the same calls, one after another."""
    told = json.dumps([(free_port(), call) for call in calls])
    processes = []
    for rank in range(2):
        environment = {
            **os.environ, "RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": "set for each call", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY),
            "PYTHONWARNINGS": "ignore",
        }  # fmt: skip
        out, err = (folder / f"{rank}.{name}" for name in ("out", "err"))
        with out.open("w") as out_file, err.open("w") as err_file:
            processes.append(
                subprocess.Popen(
                    [sys.executable, "-c", CALLS, told], stdout=out_file, stderr=err_file, env=environment, cwd=folder
                )
            )
    return processes


def results(folder: Path, rank: int) -> list[Ended]:
    """Of each call that has ended."""
    out, err = (re.split(r"<(\d+)>\n", (folder / f"{rank}.{name}").read_text()) for name in ("out", "err"))
    return [Ended(int(out[i + 1]), out[i], err[i]) for i in range(0, len(out) - 1, 2)]


def rows_of(run: Path) -> list[dict[str, float]]:
    with (run / "log.csv").open(newline="") as file:
        return [
            {name: float(value) for name, value in row.items() if value and not name.endswith("_per_second")}
            for row in csv.DictReader(file)
        ]


def assert_close(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    assert a.keys() == b.keys()
    for name in a:
        torch.testing.assert_close(a[name], b[name], atol=1e-5, rtol=1e-5, msg=name)


@pytest.fixture(scope="module")
def seven(tiny_voc, tmp_path_factory) -> Path:
    """The small data set with a list of seven images more, and proposals that lack the second of them."""
    root = tmp_path_factory.mktemp("seven")
    for name in ("JPEGImages", "Annotations"):
        (root / name).symlink_to(tiny_voc / name)
    (root / "ImageSets" / "Main").mkdir(parents=True)
    ids = (tiny_voc / "ImageSets" / "Main" / "test.txt").read_text().split()
    (root / "ImageSets" / "Main" / "seven.txt").write_text("\n".join(ids[:7]) + "\n")
    return root


@pytest.fixture(scope="module")
def calls(seven, tiny_voc, tiny_dataset, tiny_proposals, tiny_checkpoint, tmp_path_factory):
    """All that two processes are asked for here, in one go, as starting them takes longer than the rest."""
    folder = tmp_path_factory.mktemp("two")
    lacking = tiny_dataset.records[1].id
    write_proposals(
        folder / "lacking.npz",
        {r.id: tiny_proposals.get(r.id, r.width, r.height) for r in tiny_dataset.records if r.id != lacking},
        {name: value for name, value in tiny_proposals.meta.items() if name not in ("format", "version")},
    )
    train = (*TRAIN, "--voc", tiny_voc, "--proposals", tiny_proposals.path)
    evaluate = ("eval", "--voc", seven, "--split", "seven", "--weights", tiny_checkpoint, "--device", "cpu")
    several = {
        "usage": (*train, "--output", "usage", "--images-per-batch", 3),
        "parse": (*train, "--output", "parse", "--images-per-batch", "three"),
        "propose": ("propose", "--voc", tiny_voc, "--split", "test", "-o", "two.npz", "--mode", "single"),
        "eval": (*evaluate, "--proposals", tiny_proposals.path, "--json", *PAPERS),
        "lacking": (*evaluate, "--proposals", "lacking.npz"),
        "equal": (*train, "--output", "equal", "--iterations", 6, "--dropout", 0, "--ema", 0.5, "--val-split", "val",
                  "--val-proposals", tiny_proposals.path),
        "whole": (*train, "--output", "whole", "--iterations", 4, "--optimizer", "adamw"),
        "half": (*train, "--output", "half", "--iterations", 2, "--optimizer", "adamw"),
        "resumed": ("train", "--resume", "half", "--iterations", 4),
        "not finite": (*train, "--output", "nan", "--iterations", 4, "--lr", 1e30),
        "unwritable": (*train, "--output", "unwritable", "--iterations", 4),
        "stopped": (*train, "--output", "stopped", "--iterations", 100_000),
        "killed": (*train, "--output", "killed", "--iterations", 100_000, "--loaders", 1),
    }  # fmt: skip
    (folder / "unwritable" / "log.csv").mkdir(parents=True)
    processes = start([[str(word) for word in call] for call in several.values()], folder)
    deadline = time.monotonic() + 600
    try:
        for running, stop in ((folder / "stopped", signal.SIGINT), (folder / "killed", signal.SIGKILL)):
            while all(process.poll() is None for process in processes) and time.monotonic() < deadline:
                if (running / "log.csv").exists() and len(rows_of(running)) >= 2:
                    processes[1].send_signal(stop)
                    break
                time.sleep(0.05)
        for process in processes:
            process.wait(timeout=120)
    finally:
        for process in processes:
            process.kill()
    ended = [dict(zip(several, results(folder, rank), strict=False)) for rank in range(2)]
    assert len(ended[0]) == len(several), (folder / "0.err").read_text()
    ended[1].setdefault("killed", Ended(-signal.SIGKILL, "", ""))
    return folder, {name: (ended[0][name], ended[1][name]) for name in several}


@pytest.fixture
def one_thread():
    """As each of the two processes has: sums over several threads may differ in the last bit."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def one(*arguments: object) -> None:
    assert main([str(argument) for argument in arguments]) == 0


def test_two_processes_of_an_image_learn_what_one_of_two_learns(calls, tiny_voc, tiny_proposals_path, tmp_path):
    folder, ended = calls
    assert [process.code for process in ended["equal"]] == [0, 0], ended["equal"]
    one(
        *TRAIN, "--voc", tiny_voc, "--proposals", tiny_proposals_path, "--output", tmp_path / "one", "--iterations", 6,
        "--dropout", 0, "--ema", 0.5, "--val-split", "val", "--val-proposals", tiny_proposals_path,
    )  # fmt: skip
    rows, ours = rows_of(tmp_path / "one"), rows_of(folder / "equal")
    assert len(rows) == len(ours) == 7
    for row, our in zip(rows, ours, strict=True):
        assert our == pytest.approx(row, rel=1e-5, abs=1e-5)
    assert rows[-1]["val_mAP"] == ours[-1]["val_mAP"]
    states = [torch.load(run / "training_state.pt") for run in (tmp_path / "one", folder / "equal")]
    for part in ("model", "average"):
        assert_close(*(state[part] for state in states))
    assert states[0]["model"]["head.cls_score.bias"].abs().max() > 1e-3  # it began at 0: 1e-5 is close


def test_the_first_process_alone_is_heard(calls):
    first, second = calls[1]["equal"]
    assert "iteration 6/6  loss" in first.err
    assert len(re.findall(r"iteration 6: mAP 0\.\d+ on tiny val \(2 images", first.err)) == 1
    assert (second.out, second.err) == ("", "")


def test_a_resumed_run_of_two_is_the_uninterrupted_one(calls):
    """Bit for bit, dropout of both processes included."""
    folder, ended = calls
    for name in ("whole", "half", "resumed"):
        assert [process.code for process in ended[name]] == [0, 0], ended[name]
    assert rows_of(folder / "whole") == rows_of(folder / "half")
    whole, half = (load_checkpoint(folder / name / "model.safetensors").state for name in ("whole", "half"))
    assert all(torch.equal(value, half[name]) for name, value in whole.items())


@pytest.mark.usefixtures("one_thread")
def test_seven_images_between_two_score_as_with_one(calls, seven, tiny_checkpoint, tiny_proposals_path, run_frcnn):
    first, second = calls[1]["eval"]
    assert (second.code, second.out, second.err) == (0, "", "")
    alone = run_frcnn(
        "eval", "--voc", seven, "--split", "seven", "--weights", tiny_checkpoint, "--proposals", tiny_proposals_path,
        "--json", *PAPERS,
    )  # fmt: skip
    ours, theirs = json.loads(first.out), json.loads(alone.out)
    assert ours.pop("images") == theirs.pop("images") == 7
    assert ours.pop("seconds_per_image").keys() == theirs.pop("seconds_per_image").keys()
    assert ours == theirs
    assert ours["mAP"] > 0


def test_two_propose_what_one_proposes(calls, tiny_voc, tmp_path):
    folder, ended = calls
    first, second = ended["propose"]
    assert (first.code, second.code, second.err) == (0, 0, "")
    one("propose", "--voc", tiny_voc, "--split", "test", "-o", tmp_path / "one.npz", "--mode", "single")
    assert (folder / "two.npz").read_bytes() == (tmp_path / "one.npz").read_bytes()
    boxes = sum(len(ProposalFile(folder / "two.npz").get(i, *size)) for i, size in
                ProposalFile(folder / "two.npz").meta["sizes"].items())  # fmt: skip
    assert f"two.npz: {boxes} boxes of 10 images" in first.err
    assert not (folder / "two.npz.partial").exists()


@pytest.mark.parametrize(
    ("name", "code", "fault"),
    [
        ("usage", 2, "--images-per-batch 3: not a multiple of the number of processes, which is 2"),
        ("parse", 2, "Invalid value for '--images-per-batch'"),
        ("lacking", 1, "lacking.npz: no proposals for image chair"),
        ("not finite", 1, "the loss is not finite in iteration"),
        ("unwritable", 1, "log.csv: cannot be written"),
        ("stopped", 130, "of 100000; all is saved in stopped; go on with: frcnn train --resume stopped"),
        ("killed", 1, "process 0: another process of this run has ended"),
    ],
)
def test_a_fault_of_one_stops_both_and_is_told_once(calls, name, code, fault):
    folder, ended = calls
    told = [line for process in ended[name] for line in process.err.splitlines() if line.startswith("frcnn: ")]
    assert len(told) == 1, ended[name]
    assert fault in told[0]
    assert "Traceback" not in ended[name][0].err + ended[name][1].err
    assert ended[name][0].code == code
    assert ended[name][1].code in (1, code, -signal.SIGKILL)
    assert not list(folder.glob("**/.*.tmp"))


def test_ctrl_c_under_torchrun(tiny_voc, tiny_proposals_path, tmp_path, run_process):
    run = tmp_path / "run"
    stopped = run_process(
        "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", 2, "-m", "frcnn_cli", *TRAIN, "--voc",
        tiny_voc, "--proposals", tiny_proposals_path, "--output", run, "--iterations", 100_000,
        interrupt=lambda: (run / "log.csv").exists() and len(rows_of(run)) >= 2,
    )  # fmt: skip
    told = re.findall(r"^frcnn: .*$", stopped.err, flags=re.MULTILINE)
    assert len(told) == 1, stopped.err
    said = re.fullmatch(
        rf"frcnn: stopped after iteration (\d+) of 100000; all is saved in {run}; go on with: .*", told[0]
    )
    assert said, told
    assert load_checkpoint(run / "model.safetensors").training["iteration"] == int(said[1]) == len(rows_of(run))
    assert not list(run.glob(".*"))
    left = [path for path in Path("/proc").glob("[0-9]*/cmdline") if str(run).encode() in path.read_bytes()]
    assert not left


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finds the process by its environment")
def test_a_process_that_is_killed_under_torchrun_is_named(tiny_voc, tiny_proposals_path, tmp_path, run_process):
    run, ended = tmp_path / "run", []

    def kill_the_second() -> bool:
        if not (run / "log.csv").exists() or len(rows_of(run)) < 2:
            return False
        for path in Path("/proc").glob("[0-9]*"):
            try:
                mine = str(run).encode() in (path / "cmdline").read_bytes()
                if mine and b"\0RANK=1\0" in (path / "environ").read_bytes():
                    os.kill(int(path.name), signal.SIGKILL)
                    ended.append(time.monotonic())
                    return True
            except OSError:  # gone meanwhile, or another user's
                continue
        return False

    outcome = run_process(
        "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", 2, "-m", "frcnn_cli", *TRAIN, "--voc",
        tiny_voc, "--proposals", tiny_proposals_path, "--output", run, "--iterations", 100_000,
        interrupt=kill_the_second, sent=0,
    )  # fmt: skip
    assert ended
    told = re.findall(r"^frcnn: .*$", outcome.err, flags=re.MULTILINE)
    assert len(told) == 1, outcome.err
    said = (
        r"frcnn: process 0: another process of this run has ended \(process 1; killed, or was the memory full\?\); .*"
    )
    assert re.fullmatch(said + rf"go on with: frcnn train --resume {run}", told[0]), told
    left = [path for path in Path("/proc").glob("[0-9]*/cmdline") if str(run).encode() in path.read_bytes()]
    assert not left
    assert not list(run.glob(".*"))


@settings(deadline=None)
@given(sizes=st.lists(st.integers(1, 12), min_size=1, max_size=20))
def test_buckets_hold_every_gradient_once(sizes):
    gradients = [torch.zeros(size) for size in sizes]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distributed, "BUCKET", 10)
        buckets = list(distributed._buckets(gradients))
    assert [id(gradient) for bucket in buckets for gradient in bucket] == [id(gradient) for gradient in gradients]
    assert all(len(bucket) == 1 or sum(g.numel() for g in bucket) <= 10 for bucket in buckets)


@settings(deadline=None)
@given(count=st.integers(0, 20), world_size=st.integers(1, 5))
def test_shares_are_even_and_hold_every_item_once(count, world_size):
    shares = [Processes(rank, world_size).share(range(count)) for rank in range(world_size)]
    assert sorted(item for share in shares for item in share) == list(range(count))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_processes_that_cannot_meet(run_frcnn, monkeypatch):
    for name, value in (("RANK", "0"), ("WORLD_SIZE", "2"), ("MASTER_ADDR", "127.0.0.1"), ("MASTER_PORT", "70000")):
        monkeypatch.setenv(name, value)
    outcome = run_frcnn("propose", "a.jpg", "-o", "p.npz")
    assert outcome.code == 2
    assert outcome.err.startswith("frcnn: the other processes cannot be met at 127.0.0.1:70000 (")
    assert len(outcome.err.splitlines()) == 1
