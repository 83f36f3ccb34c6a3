"""The proposal file: what is written is read, damage is named."""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import tempfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from frcnn_cli.data.proposals.npz import ProposalFile, write_proposals
from frcnn_cli.data.proposals.partial import PartialProposals
from frcnn_cli.errors import DataError

BOXES = np.array([[0, 0, 50, 40], [1.5, 2, 3, 4]], dtype=np.float32)
SETTINGS = {"mode": "fast", "seed": 0, "max_proposals": 2000}


@pytest.fixture
def path(tmp_path) -> Path:
    """A sound file of the images night/a (50 x 40) and b (9 x 9, no box)."""
    path = tmp_path / "p.npz"
    boxes = {"night/a": BOXES, "b": np.zeros((0, 4), np.float32)}
    write_proposals(path, boxes, {**SETTINGS, "sizes": {"night/a": (50, 40), "b": (9, 9)}})
    return path


def spoil(path: Path, member: str, array: np.ndarray, **options) -> None:
    """Write `array` in the place of a member."""
    with np.load(path) as before:
        members = {**before, member: array}
    with zipfile.ZipFile(path, "w") as archive:
        for name, value in members.items():
            with archive.open(f"{name}.npy", "w") as file:
                np.lib.format.write_array(file, value, **options)


def test_what_is_written_is_read(path):
    file = ProposalFile(path)
    assert file.ids == ("night/a", "b")
    assert len(file) == 2
    assert "b" in file
    assert "c" not in file
    assert "__meta__" not in file
    assert file.meta["mode"] == "fast"
    assert file.meta["sizes"] == {"night/a": [50, 40], "b": [9, 9]}
    assert file.get("night/a", 50, 40).tolist() == BOXES.tolist()
    assert file.get("b", 9, 9).shape == (0, 4)
    assert os.listdir(path.parent) == ["p.npz"]


def test_numpy_alone_reads_it(path):
    with np.load(path, allow_pickle=False) as file:
        assert file["night/a"].tolist() == BOXES.tolist()
        assert json.loads(file["__meta__"].tobytes())["version"] == 1


def test_same_content_same_bytes(path, tmp_path):
    boxes = {"night/a": BOXES.astype(np.float64), "b": np.zeros((0, 4))}
    write_proposals(tmp_path / "q.npz", boxes, {**SETTINGS, "sizes": {"night/a": (50, 40), "b": (9, 9)}})
    assert (tmp_path / "q.npz").read_bytes() == path.read_bytes()


def test_missing_image_and_other_size(path, fault_of):
    file = ProposalFile(path)
    assert fault_of(file.get, "c", 9, 9) == f"{path}: no proposals for image c"
    expected = f"{path}: image b: proposals made on 9 x 9 pixels, but the image is 9 x 10"
    assert fault_of(file.get, "b", 9, 10) == expected


def test_files_that_are_no_proposal_files(tmp_path, fault_of):
    path = tmp_path / "p.npz"
    assert fault_of(ProposalFile, path) == f"{path}: no such file"
    path.write_text("text")
    assert fault_of(ProposalFile, path).startswith(f"{path}: not a proposal file, or a damaged one (")
    np.savez(path, a=BOXES)
    assert fault_of(ProposalFile, path) == f"{path}: not a proposal file (no __meta__ in it)"
    np.savez(path, __meta__=np.frombuffer(b"{", np.uint8))
    assert fault_of(ProposalFile, path).startswith(f"{path}: __meta__ is not JSON (")
    np.savez(path, __meta__=np.frombuffer(b"{}", np.uint8))
    assert "not a proposal file (__meta__ does not say frcnn-proposals" in fault_of(ProposalFile, path)
    later = {"format": "frcnn-proposals", "version": 2, "sizes": {}}
    np.savez(path, __meta__=np.frombuffer(json.dumps(later).encode(), np.uint8))
    assert fault_of(ProposalFile, path) == f"{path}: version 2 of the format; this program reads 1"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("__meta__", "{}")
    assert fault_of(ProposalFile, path) == f"{path}: __meta__ is not an array of numbers"


def test_truncated_and_damaged_files(path, fault_of):
    data = path.read_bytes()
    path.write_bytes(data[:-30])
    assert fault_of(ProposalFile, path).startswith(f"{path}: not a proposal file, or a damaged one (")
    start = data.index(b"night/a.npy") + len("night/a.npy") + 12
    path.write_bytes(data[:start] + b"\xff" * 8 + data[start + 8 :])
    assert fault_of(ProposalFile(path).get, "night/a", 50, 40).startswith(f"{path}: night/a cannot be read (")


@pytest.mark.parametrize(
    ("array", "fault"),
    [
        (np.zeros((2, 5), np.float32), "proposals are float32 [2, 5], not floats [N, 4]"),
        (np.zeros(4, np.float32), "proposals are float32 [4], not floats [N, 4]"),
        (np.array([[0, 0, 1, 1]]), "proposals are int64 [1, 4], not floats [N, 4]"),
        (np.array([[0, 0, 1, np.nan]]), "box 0 (0, 0, 1, nan) has a coordinate that is not a finite number"),
        (np.array([[0.0, 0, 1, 1], [5, 0, 1, 1]]), "box 1 (5, 0, 1, 1) is inverted or has no area"),
        (np.array([[3.0, 0, 3, 1]]), "box 0 (3, 0, 3, 1) is inverted or has no area"),
        (np.array([[0, 0, 9.5, 1]]), "box 0 (0, 0, 9.5, 1) lies outside the image (9 x 9)"),
        (np.array([[-1.0, 0, 9, 1]]), "box 0 (-1, 0, 9, 1) lies outside the image (9 x 9)"),
    ],
)
def test_bad_boxes_are_named_when_read_and_refused_when_written(path, array, fault, fault_of):
    whole = f"{path}: image b: {fault}"
    before = path.read_bytes()
    assert fault_of(write_proposals, path, {"b": array}, {"sizes": {"b": (9, 9)}}) == whole
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == ["p.npz"]
    spoil(path, "b", array)
    assert fault_of(ProposalFile(path).get, "b", 9, 9) == whole


def test_a_pickle_is_never_opened(path, fault_of):
    spoil(path, "b", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    assert fault_of(ProposalFile(path).get, "b", 9, 9).startswith(f"{path}: b cannot be read (object arrays cannot")


def test_writing_without_a_size_or_with_a_reserved_id(tmp_path, fault_of):
    path = tmp_path / "p.npz"
    assert fault_of(write_proposals, path, {"b": BOXES}, {"sizes": {}}) == f"{path}: image b: no size"
    reserved = fault_of(write_proposals, path, {"__meta__": BOXES}, {"sizes": {"__meta__": (50, 40)}})
    assert reserved == f"{path}: image __meta__: a reserved name"
    assert not path.exists()


def boxes_total(file: ProposalFile) -> float:
    return float(file.get("night/a", 50, 40).sum())


def test_usable_in_spawned_processes(path):
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(boxes_total, [ProposalFile(path)]) == BOXES.sum()


def inherit(file: ProposalFile) -> None:
    inherit.file = file


def inherited_boxes(image_id: str) -> bool:
    return (inherit.file.get(image_id, 500, 500)[:, 3] == int(image_id)).all()


def test_forked_processes_do_not_disturb_each_other(tmp_path):
    boxes = {}
    for number in range(1, 100):
        boxes[str(number)] = np.zeros((3000, 4), np.float32)
        boxes[str(number)][:, 2] = np.random.default_rng(number).uniform(1, 500, 3000)
        boxes[str(number)][:, 3] = number
    write_proposals(tmp_path / "p.npz", boxes, {"sizes": dict.fromkeys(boxes, (500, 500))})
    file = ProposalFile(tmp_path / "p.npz")  # opened here, so that the children inherit the handle
    with multiprocessing.get_context("fork").Pool(3, inherit, (file,)) as pool:
        assert all(pool.map(inherited_boxes, boxes, chunksize=1))


def test_usable_in_threads_and_after_pickling(path):
    file = pickle.loads(pickle.dumps(ProposalFile(path)))
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(boxes_total, [file] * 200)) == {BOXES.sum()}


ids = st.text(st.characters(codec="utf-8", exclude_characters="\0\\"), min_size=1, max_size=20).filter(
    lambda name: name != "__meta__"
)
corners = hnp.arrays(np.float32, st.tuples(st.integers(0, 6), st.just(4)), elements=st.floats(0, 200, width=32))


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(ids, corners, max_size=4))
def test_round_trip_direct_and_in_parts(drawn):
    boxes = {}
    for image_id, array in drawn.items():
        low, high = np.minimum(array[:, :2], array[:, 2:]), np.maximum(array[:, :2], array[:, 2:])
        boxes[image_id] = np.hstack([low, high])[(low < high).all(axis=1)]
    with tempfile.TemporaryDirectory() as folder:
        direct, in_parts = Path(folder, "p.npz"), Path(folder, "q.npz")
        write_proposals(direct, boxes, {**SETTINGS, "sizes": dict.fromkeys(boxes, (200, 200))})
        partial = PartialProposals(in_parts, SETTINGS)
        for image_id, array in boxes.items():
            partial.add(image_id, array, 200, 200)
        assert partial.done_ids() == set(boxes)
        partial.finish()
        for path in (direct, in_parts):
            file = ProposalFile(path)
            assert set(file.ids) == set(boxes)
            for image_id, array in boxes.items():
                assert file.get(image_id, 200, 200).tobytes() == array.tobytes()


@pytest.mark.parametrize("members", [{}, {"__meta__.npy": b"no array"}], ids=["no meta", "damaged meta"])
def test_a_file_that_is_refused_is_closed(tmp_path, members):
    """Found by fuzzing: what was told of kept the file open."""
    path = tmp_path / "p.npz"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in {"a.npy": b"", **members}.items():
            archive.writestr(name, content)
    with pytest.raises(DataError) as told:
        ProposalFile(path)
    frames = [frame.frame.f_locals.get("self") for frame in told.traceback]
    (refused,) = {id(each): each for each in frames if isinstance(each, ProposalFile)}.values()
    assert refused._opened[1].fp is None
