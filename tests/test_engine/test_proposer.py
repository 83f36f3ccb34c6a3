"""Selective search over many images: any number of processes, any interruption, the same file."""

from __future__ import annotations

import multiprocessing
import os
import signal
from dataclasses import dataclass
from pathlib import Path

import pytest

from frcnn_cli.data.items import ImageFile
from frcnn_cli.data.proposals import open_proposals
from frcnn_cli.data.proposals.npz import ProposalFile
from frcnn_cli.engine.proposer import propose_images
from frcnn_cli.engine.sources.search import ProposalConfig
from frcnn_cli.errors import DataError
from proposals import selective_search

QUICK = ProposalConfig("single", 50, 3)


@pytest.fixture
def items(tiny_voc) -> list[ImageFile]:
    return [ImageFile(path) for path in sorted((tiny_voc / "JPEGImages").iterdir())]


def test_boxes_are_those_of_selective_search(items, tmp_path):
    from frcnn_cli.data.images import load_image

    boxes = propose_images(items[:2], tmp_path / "p.npz", QUICK)
    file = ProposalFile(tmp_path / "p.npz")
    assert file.ids == tuple(item.id for item in items[:2])
    total = 0
    for item in items[:2]:
        image = load_image(item.path)
        stored = file.get(item.id, image.shape[1], image.shape[0])
        assert stored.tolist() == selective_search(image, "single", 50, 3).tolist()
        total += len(stored)
    assert boxes == total
    assert {name: file.meta[name] for name in ("mode", "max_proposals", "seed")} == {
        "mode": "single", "max_proposals": 50, "seed": 3,
    }  # fmt: skip


def test_any_number_of_processes_writes_the_same_file(items, tmp_path):
    propose_images(items[:3], tmp_path / "one.npz", QUICK, workers=1)
    propose_images(items[:3], tmp_path / "two.npz", QUICK, workers=2)
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.npz", "two.npz"]


def test_progress_is_told(items, tmp_path):
    told = []

    def track(results, total, initial):
        for result in results:
            told.append((result, total, initial))
            yield result

    boxes = propose_images(items[:3], tmp_path / "p.npz", QUICK, track=track)
    assert [entry[1:] for entry in told] == [(3, 0)] * 3
    assert sum(entry[0] for entry in told) == boxes


def test_a_corrupt_image_among_good_ones(items, tmp_path):
    bad, gone = tmp_path / "bad.jpg", tmp_path / "gone.jpg"
    bad.write_bytes(items[0].path.read_bytes()[:700])
    mixed = [items[0], ImageFile(bad), items[1], ImageFile(gone)]
    output = tmp_path / "out" / "p.npz"
    with pytest.raises(DataError) as caught:
        propose_images(mixed, output, QUICK)
    first, *lines = str(caught.value).splitlines()
    assert first == "2 of 4 images could not be read:"
    assert [line.split(": ")[0] for line in lines] == [str(bad), str(gone)]
    assert not output.exists()

    begun = []

    def track(results, total, initial):
        begun.append(initial)
        yield from results

    propose_images(items[:2], output, QUICK, track=track)
    assert begun == [2]
    assert set(ProposalFile(output).ids) == {items[0].id, items[1].id}


def test_other_settings_do_not_go_on_with_the_old_ones(items, tmp_path):
    bad = tmp_path / "bad.jpg"
    bad.write_text("no picture")
    with pytest.raises(DataError):
        propose_images([items[0], ImageFile(bad)], tmp_path / "p.npz", QUICK)
    with pytest.raises(DataError, match="begun with other settings"):
        propose_images(items[:1], tmp_path / "p.npz", ProposalConfig("single", 50, 4))


def test_two_images_of_one_name(items, tmp_path):
    (tmp_path / "other").mkdir()
    twin = tmp_path / "other" / items[0].path.name
    twin.write_bytes(items[1].path.read_bytes())
    with pytest.raises(DataError, match="same name") as caught:
        propose_images([items[0], ImageFile(twin)], tmp_path / "p.npz", QUICK)
    assert str(twin) in str(caught.value)
    assert str(items[0].path) in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other"]


@pytest.mark.parametrize(
    ("workers", "sent"), [(1, signal.SIGINT), (2, signal.SIGINT), (1, signal.SIGTERM), (2, signal.SIGTERM)]
)
def test_a_signal_and_the_same_command_again(tiny_voc, tmp_path, run_process, workers, sent):
    command = (
        "-m", "frcnn_cli", "propose", tiny_voc / "JPEGImages", "--mode", "quality", "--workers", workers, "-o",
    )  # fmt: skip
    partial = tmp_path / "cut.npz.partial"

    def begun() -> bool:
        return partial.is_dir() and any(path.suffix == ".npz" and path.name[0] != "." for path in partial.iterdir())

    stopped = run_process(*command, tmp_path / "cut.npz", interrupt=begun, sent=sent)
    assert stopped.code == 128 + sent
    assert "Traceback" not in stopped.err
    assert "of 10 images done; the same command goes on from there" in stopped.err
    assert not (tmp_path / "cut.npz").exists()
    kept = {path: path.stat().st_mtime_ns for path in partial.glob("*.npz")}
    assert 1 <= len(kept) < 10
    for path in kept:
        ProposalFile(path)  # a whole one

    finished = run_process(*command, tmp_path / "cut.npz")
    assert finished.code == 0, finished.err
    assert not partial.exists()
    if workers == 1:
        whole = run_process(*command, tmp_path / "whole.npz")
        assert whole.code == 0
        assert (tmp_path / "cut.npz").read_bytes() == (tmp_path / "whole.npz").read_bytes()


def test_what_another_run_left_behind_stays_out_of_the_file(items, tmp_path):
    output = tmp_path / "p.npz"
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"no image")
    with pytest.raises(DataError):
        propose_images([items[0], ImageFile(bad)], output, QUICK)
    propose_images([items[1]], output, QUICK)
    assert ProposalFile(output).ids == (items[1].id,)


@dataclass(frozen=True)
class Fatal:
    """An image that kills the process which is to read it."""

    id: str
    file: Path

    @property
    def path(self) -> Path:
        if multiprocessing.parent_process() is not None:
            os._exit(9)
        return self.file


def test_a_worker_that_is_killed_is_no_endless_wait(items, tmp_path):
    output = tmp_path / "p.npz"
    with pytest.raises(DataError, match="a worker process was killed, perhaps for want of memory; the same command"):
        propose_images([Fatal("fatal", items[0].path), items[1]], output, QUICK, workers=2)
    assert not output.exists()
    assert propose_images([ImageFile(items[0].path), items[1]], output, QUICK) > 0


@pytest.mark.parametrize("suffix", [".mat", ".pkl"])
def test_other_formats_go_on_where_they_were(items, tmp_path, suffix):
    output, bad = tmp_path / f"p{suffix}", tmp_path / "bad.jpg"
    bad.write_bytes(b"no image")
    with pytest.raises(DataError):
        propose_images([*items[:2], ImageFile(bad)], output, QUICK)
    begun = []

    def track(results, total, initial):
        begun.append(initial)
        yield from results

    boxes = propose_images(items[:3], output, QUICK, track=track)
    assert begun == [2]
    assert set(open_proposals(output).ids) == {item.id for item in items[:3]}
    assert boxes == propose_images(items[:3], tmp_path / "p.npz", QUICK)
    assert not (tmp_path / f"p{suffix}.partial").exists()
