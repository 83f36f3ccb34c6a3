"""What is there already: replaced if this program wrote it, refused if not, and never written by two at once."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.io import savemat

from frcnn_cli.data.images import load_image, save_image
from frcnn_cli.data.video_writer import write_video
from frcnn_cli.errors import DataError
from frcnn_cli.files import writing_alone
from frcnn_cli.replacing import is_ours

REPOSITORY = Path(__file__).parent.parent


def write_other(path: Path) -> bytes:
    """A file of its suffix, such as other programs write."""
    if path.suffix == ".npz":
        np.savez(path, measurements=np.arange(5))
    elif path.suffix == ".mat":
        savemat(path, {"measurements": np.arange(5)})
    else:
        path.write_text(json.dumps({"thesis": "years of work"}))
    return path.read_bytes()


PROPOSE = ("propose", "IMAGE", "--mode", "single", "--workers", 1, "-o")
DETECT = ("detect", "IMAGE", "--weights", "MODEL", "--mode", "single", "--score", 0.9, "-o")


@pytest.mark.parametrize(
    ("command", "name"),
    [
        *((PROPOSE, f"out.{suffix}") for suffix in ("npz", "mat", "pkl")),
        *((DETECT, f"out.{suffix}") for suffix in ("json", "jsonl", "csv")),
        ((*DETECT[:-1], "--format", "coco", "-o"), "out.json"),
        (("compress-svd", "MODEL", "--fc6", 2, "-o"), "small.safetensors"),
    ],
)
def test_a_file_of_ours_is_replaced_and_another_s_is_not(run_frcnn, tiny_voc, tiny_checkpoint, tmp_path, command, name):
    names = {"IMAGE": tiny_voc / "JPEGImages" / "cow.jpg", "MODEL": tiny_checkpoint}
    path = tmp_path / name
    call = [*(names.get(word, word) for word in command), path]
    before = write_other(path)
    refused = run_frcnn(*call)
    assert (refused.code, refused.err) == (
        2,
        f"frcnn: {path}: there already, and not written by this program; --force replaces it\n",
    )
    assert path.read_bytes() == before
    forced = run_frcnn(*call, "--force")
    assert forced.code == 0, forced.err
    ours = path.read_bytes()
    assert ours != before
    again = run_frcnn(*call)
    assert again.code == 0, again.err
    path.write_bytes(b"")
    assert is_ours(path)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_a_picture_of_ours_is_known_and_another_is_not(noise_image, tmp_path, suffix):
    other = noise_image(f"other{suffix}", 40, 30)
    assert not is_ours(other)
    save_image(tmp_path / f"ours{suffix}", load_image(other))
    assert is_ours(tmp_path / f"ours{suffix}")


def test_a_video_of_ours_is_known_and_still_one(tmp_path):
    path = tmp_path / "film.mp4"
    with write_video(path, 5) as add:
        for number in range(3):
            add(np.full((32, 48, 3), 80 * number, np.uint8), number / 5)
    assert is_ours(path)
    frames = cv2.VideoCapture(str(path))
    assert [frames.read()[0] for _ in range(4)] == [True, True, True, False]
    frames.release()


def test_save_dir_replaces_no_photograph(run_frcnn, tiny_voc, tiny_checkpoint, noise_image, tmp_path):
    other = noise_image("album/cow.jpg", 40, 30)
    before = other.read_bytes()
    image = tiny_voc / "JPEGImages" / "cow.jpg"
    for call in (
        ("detect", image, "--weights", tiny_checkpoint, "--mode", "single", "--save-dir", other.parent),
        ("propose", image, "--mode", "single", "-o", tmp_path / "p.npz", "--save-dir", other.parent),
    ):
        refused = run_frcnn(*call)
        assert (refused.code, refused.out) == (2, "")
        assert f"{other}: there already, and not written by this program" in refused.err
        assert other.read_bytes() == before
        assert run_frcnn(*call, "--force").code == 0
        assert run_frcnn(*call).code == 0
        other.write_bytes(before)


def test_train_takes_no_folder_with_somebody_s_files(run_frcnn, tiny_voc, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "log.csv").write_text("day,kilometres\n")
    refused = run_frcnn("train", "--voc", tiny_voc, "--output", tmp_path / "run")
    assert refused.code == 2
    assert "log.csv is there, and of no run" in refused.err
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["log.csv"]


HOLD = """
import sys, time
from frcnn_cli.files import writing_alone
with writing_alone(sys.argv[1]):
    print("holds", flush=True)
    time.sleep(60)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs POSIX locks")
def test_one_writer_at_a_time_and_a_killed_one_holds_nothing(tmp_path):
    path = tmp_path / "p.npz"
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    holder = subprocess.Popen([sys.executable, "-c", HOLD, path], stdout=subprocess.PIPE, env=environment)
    with holder:
        assert holder.stdout.readline() == b"holds\n"
        held = rf"p\.npz: another process is writing it \(process {holder.pid} on .+\)"
        with pytest.raises(DataError, match=held), writing_alone(path):
            pass
        holder.send_signal(signal.SIGKILL)
    with writing_alone(path):
        assert (tmp_path / ".p.npz.lock").exists()
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs POSIX locks")
def test_the_second_of_two_that_propose_into_one_file_is_refused(run_frcnn, tiny_voc, tmp_path):
    path = tmp_path / "p.npz"
    call = ["propose", "--voc", tiny_voc, "--split", "test", "-o", path, "--workers", 1]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    first = subprocess.Popen(
        [sys.executable, "-m", "frcnn_cli", *map(str, call)], env=environment, stderr=subprocess.DEVNULL
    )
    with first:
        while not (tmp_path / "p.npz.partial").exists() and first.poll() is None:
            time.sleep(0.01)
        first.send_signal(signal.SIGSTOP)
        refused = run_frcnn(*call)
        first.send_signal(signal.SIGCONT)
    assert refused.code == 1
    assert (
        refused.err == f"frcnn: {path}: another process is writing it (process {first.pid} on {os.uname().nodename})\n"
    )
    assert first.returncode == 0
    assert [entry.name for entry in tmp_path.iterdir()] == ["p.npz"]


@pytest.mark.parametrize(
    "call",
    [
        ("compress-svd", "MODEL", "--fc6", 4, "-o", "MODEL"),
        ("export", "MODEL", "-o", "LINK.onnx"),
        ("explain", "IMAGE", "--weights", "MODEL", "-o", "IMAGE"),
        ("explain", "IMAGE", "--weights", "MODEL", "-o", "MODEL"),
        ("propose", "IMAGE", "--proposals", "BOXES", "-o", "BOXES"),
        ("propose", "IMAGE", "-o", "LINK.npz"),
        ("detect", "IMAGE", "--weights", "MODEL", "--format", "json", "-o", "MODEL"),
        ("detect", "IMAGE", "--weights", "MODEL", "--proposals", "BOXES", "--format", "json", "-o", "BOXES"),
        ("eval", "--voc", "VOC", "--weights", "MODEL", "--proposals", "BOXES", "--format", "json", "-o", "BOXES"),
    ],
    ids=lambda call: f"{call[0]} {call[-1]}",
)
def test_what_is_read_is_not_written_over(run_frcnn, tiny_checkpoint, tiny_proposals_path, tiny_voc, tmp_path, call):
    image = tmp_path / "cow.jpg"
    shutil.copy(tiny_voc / "JPEGImages" / "cow.jpg", image)
    files = {"MODEL": tmp_path / "model.safetensors", "BOXES": tmp_path / "boxes.npz", "IMAGE": image, "VOC": tiny_voc}
    shutil.copy(tiny_checkpoint, files["MODEL"])
    shutil.copy(tiny_proposals_path, files["BOXES"])
    for name, of in (("LINK.onnx", files["MODEL"]), ("LINK.npz", image)):
        files[name] = tmp_path / name
        files[name].symlink_to(of)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    for more in ((), ("--force",)):
        outcome = run_frcnn(*(files.get(word, word) for word in call), *more)
        assert outcome.code == 2, outcome.err
        assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert outcome.err == (
        f"frcnn: {files[call[-1]]}: is read, and would be written over; choose another name for what is written\n"
    )
