"""One way in for every format, and from one format to another."""

from __future__ import annotations

import os
import pickle

import numpy as np
import pytest

from frcnn_cli.data.proposals import has_proposals, open_proposals, write_images
from frcnn_cli.data.proposals.conversion import convert_proposals
from frcnn_cli.data.proposals.npz import ImageProposals, ProposalFile, write_proposals
from frcnn_cli.errors import DataError, UsageError

BOXES = {
    "a": np.array([[2, 1, 5, 4], [0, 0, 20, 9]], np.float32),
    "b/c": np.zeros((0, 4), np.float32),
}
SIZES = {"a": (20, 9), "b/c": (7, 7)}
SUFFIXES = [".npz", ".mat", ".pkl"]


@pytest.fixture
def npz(tmp_path):
    path = tmp_path / "own.npz"
    write_proposals(path, BOXES, {"mode": "fast", "seed": 3, "sizes": SIZES})
    return path


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_format_is_used_alike(tmp_path, suffix):
    path = tmp_path / f"p{suffix}"
    assert not has_proposals(path)
    write_images(path, [ImageProposals(name, BOXES[name], *SIZES[name]) for name in BOXES], {"seed": 3})
    assert has_proposals(path)
    file = pickle.loads(pickle.dumps(open_proposals(path)))  # as it reaches the processes that prepare batches
    assert file.path == path
    assert file.ids == ("a", "b/c")
    assert len(file) == 2
    assert "a" in file
    assert "c" not in file
    assert file.meta.get("seed") == (3 if suffix == ".npz" else None)
    for name, boxes in BOXES.items():
        found = file.get(name, *SIZES[name])
        assert found.dtype == np.float32
        assert found.tolist() == boxes.tolist()
    with pytest.raises(DataError, match="no proposals for image c"):
        file.get("c", 9, 9)
    with pytest.raises(DataError, match=r"image a: .*19 x 9"):
        file.get("a", 19, 9)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_missing_file(tmp_path, suffix):
    path = tmp_path / f"p{suffix}"
    with pytest.raises(DataError) as caught:
        open_proposals(path)
    assert str(caught.value) == f"{path}: no such file"


def test_an_unknown_suffix(tmp_path):
    for name in ("p.doc", "p", "p.NPZ", ".npz"):
        for use in (open_proposals, lambda path: write_images(path, [], {})):
            with pytest.raises(UsageError) as caught:
                use(tmp_path / name)
            assert str(caught.value) == f"{tmp_path / name}: proposals are in .npz, .mat or .pkl files"
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_there_and_back(npz, tmp_path, suffix):
    there, back = tmp_path / f"there{suffix}", tmp_path / "back.npz"
    assert convert_proposals(open_proposals(npz), there) == 2
    assert convert_proposals(open_proposals(there), back, SIZES) == 2
    file = ProposalFile(back)
    assert file.meta["sizes"] == {"a": [20, 9], "b/c": [7, 7]}
    assert {name: file.get(name, *SIZES[name]).tolist() for name in file.ids} == {
        name: boxes.tolist() for name, boxes in BOXES.items()
    }
    if suffix == ".npz":
        assert there.read_bytes() == back.read_bytes() == npz.read_bytes()
    else:
        assert file.meta["converted_from"] == there.name


def test_some_of_the_images(npz, tmp_path):
    assert convert_proposals(open_proposals(npz), tmp_path / "p.mat", {"b/c": (7, 7)}) == 0
    assert open_proposals(tmp_path / "p.mat").ids == ("b/c",)


def test_what_cannot_be_converted(npz, tmp_path):
    convert_proposals(open_proposals(npz), tmp_path / "p.mat")
    with pytest.raises(UsageError, match=r"p\.mat: holds no image sizes; name the images, or give a data set"):
        convert_proposals(open_proposals(tmp_path / "p.mat"), tmp_path / "p.pkl")
    with pytest.raises(DataError, match=r"own\.npz: no proposals for image d"):
        convert_proposals(open_proposals(npz), tmp_path / "p.pkl", {"d": (7, 7)})
    assert not (tmp_path / "p.pkl").exists()
