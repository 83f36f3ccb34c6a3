"""Shards: even parts, each image in one of them, read together as the file they are parts of."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frcnn_cli.data.proposals import has_proposals, open_proposals
from frcnn_cli.data.proposals.npz import write_proposals
from frcnn_cli.data.proposals.shards import Shard, ShardedProposals, find_shards
from frcnn_cli.errors import DataError


class Image(NamedTuple):
    id: str


def write_shard(whole: Path, number: int, of: int, ids: str, **settings) -> Path:
    """A shard of images of one letter each, whose box is as wide as the letter's place in the alphabet."""
    boxes = {name: np.array([[0, 0, ord(name) - 96, 1]], np.float32) for name in ids}
    path = Shard(number, of).path(whole)
    write_proposals(path, boxes, {"mode": "fast", "seed": 0, **settings, "sizes": dict.fromkeys(ids, (30, 2))})
    return path


def fault(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        open_proposals(path)
    message = str(caught.value)
    assert "\n" not in message
    return message


@given(st.sets(st.text(max_size=3), max_size=40), st.integers(1, 50), st.randoms())
def test_parts_are_even_disjoint_complete_and_do_not_depend_on_the_order(names, of, random):
    images = [Image(name) for name in names]
    shuffled = random.sample(images, len(images))
    parts = [Shard(number, of).part(images) for number in range(1, of + 1)]
    assert [image.id for part in parts for image in part] == sorted(names)
    lengths = {len(part) for part in parts}
    assert max(lengths) - min(lengths) <= 1
    assert parts == [Shard(number, of).part(shuffled) for number in range(1, of + 1)]


def test_names_of_shards():
    assert Shard.parse("2/4") == Shard(2, 4)
    assert Shard(2, 4).path(Path("out/val.npz")) == Path("out/val-00002-of-00004.npz")
    for text in ("0/4", "5/4", "a/b", "1", "1/", "/1", "1/4/2", "-1/4", "1.5/4", "", "1/0", "٣/4", "1/100000", " 1/4"):
        with pytest.raises(ValueError, match="is not I/N with 1 <= I <= N, such as 2/4"):
            Shard.parse(text)


def test_together_they_are_one_file(tmp_path):
    whole = tmp_path / "val[1].npz"
    assert not has_proposals(whole)
    for number, ids in ((2, "c"), (1, "ab"), (3, "")):
        write_shard(whole, number, 3, ids)
    (tmp_path / "val[1]-00004-of-00003.npz").touch()  # no shard's name
    (tmp_path / "val[1]-1-of-3.npz").touch()
    (tmp_path / "val1-00001-of-00002.npz").touch()  # another file's
    (tmp_path / "val[1]-00003-of-00004.npz.partial").mkdir()  # one that is being made
    assert has_proposals(whole)
    assert not has_proposals(whole.with_suffix(".mat"))
    file = pickle.loads(pickle.dumps(open_proposals(whole)))
    assert isinstance(file, ShardedProposals)
    assert file.path == whole
    assert file.ids == ("a", "b", "c")
    assert len(file) == 3
    assert "c" in file
    assert "d" not in file
    assert file.meta["mode"] == "fast"
    assert file.meta["sizes"] == {"a": [30, 2], "b": [30, 2], "c": [30, 2]}
    assert [file.get(name, 30, 2)[0, 2] for name in "abc"] == [1, 2, 3]
    with pytest.raises(DataError) as caught:
        file.get("d", 30, 2)
    assert str(caught.value) == f"{whole}: no proposals for image d"
    with pytest.raises(DataError, match=r"00002-of-00003.npz: image c: proposals made on 30 x 2 pixels"):
        file.get("c", 30, 3)


def test_the_whole_file_comes_first(tmp_path):
    whole = tmp_path / "val.npz"
    write_shard(whole, 1, 2, "a")
    write_shard(whole, 1, 1, "b").rename(whole)
    assert open_proposals(whole).ids == ("b",)


def test_missing_shards_are_named_in_one_line(tmp_path):
    whole = tmp_path / "val.npz"
    write_shard(whole, 3, 4, "c")
    write_shard(whole, 1, 4, "a")
    assert fault(whole) == f"{whole}: 2 of 4 shards are missing: val-00002-of-00004.npz, val-00004-of-00004.npz"
    big = tmp_path / "big.npz"
    write_shard(big, 1, 100, "a")
    names = ", ".join(f"big-{number:05d}-of-00100.npz" for number in range(2, 7))
    assert fault(big) == f"{big}: 99 of 100 shards are missing: {names}, ..."


def test_shards_that_do_not_fit_together(tmp_path):
    whole = tmp_path / "val.npz"
    first, second = write_shard(whole, 1, 2, "a"), write_shard(whole, 2, 2, "b", seed=1, note="x")
    assert fault(whole) == f"{second}: made otherwise than {first} (note, seed differ)"
    write_shard(whole, 2, 2, "ba")
    assert fault(whole) == f"{second}: image a is in {first} too"
    write_shard(whole, 2, 2, "b")
    write_shard(whole, 2, 3, "b")
    assert fault(whole) == f"{whole}: shards of different runs, of 2 and of 3; delete one's"
    Shard(2, 3).path(whole).unlink()
    second.write_bytes(second.read_bytes()[:-30])
    assert fault(whole).startswith(f"{second}: not a proposal file, or a damaged one (")


def test_where_there_is_no_folder(tmp_path):
    (tmp_path / "file").touch()
    for whole in (tmp_path / "gone" / "val.npz", tmp_path / "file" / "val.npz"):
        assert find_shards(whole) == {}
        assert str(whole) in fault(whole)
        with pytest.raises(DataError, match="no such file"):
            ShardedProposals(whole)
