"""Proposals that are used again: of pictures that changed since, and made otherwise than is asked for."""

from __future__ import annotations

import json
import zipfile

import numpy as np
import pytest

from frcnn_cli.data.items import ImageFile
from frcnn_cli.data.proposals import open_proposals
from frcnn_cli.data.proposals.conversion import convert_proposals
from frcnn_cli.data.proposals.npz import ProposalFile, write_npz
from frcnn_cli.data.proposals.partial import PartialProposals
from frcnn_cli.data.proposals.reuse import changed_pictures, check_made_as, told_of_changes
from frcnn_cli.engine.proposer import propose_images
from frcnn_cli.engine.sources.search import ProposalConfig
from frcnn_cli.errors import DataError, UsageError
from frcnn_cli.files import fingerprint

QUICK = ProposalConfig("single", 20)


@pytest.fixture
def items(noise_image) -> list[ImageFile]:
    return [ImageFile(noise_image(f"{name}.png", 40, 30)) for name in ("a", "b")]


def test_a_picture_that_changed_is_noticed(items, tmp_path, noise_image):
    path = tmp_path / "p.npz"
    propose_images(items, path, QUICK)
    file = ProposalFile(path)
    assert file.meta["pictures"] == {item.id: list(fingerprint(item.path)) for item in items}
    assert changed_pictures(file, items) == []
    data = bytearray(items[1].path.read_bytes())
    data[-20] ^= 1  # as many bytes as before
    items[1].path.write_bytes(data)
    assert changed_pictures(file, items) == ["b"]
    assert told_of_changes(file, items) == [
        f"{path}: 1 picture has changed since the proposals were made, such as b; make them anew"
    ]
    items[0].path.unlink()  # another fault, and not this one's
    assert changed_pictures(file, items) == ["b"]


def test_fingerprints_outlast_conversion_and_shards(items, tmp_path):
    for number, item in enumerate(items, start=1):
        propose_images([item], tmp_path / f"p-0000{number}-of-00002.npz", QUICK)
    whole = open_proposals(tmp_path / "p.npz")
    assert set(whole.meta["pictures"]) == {"a", "b"}
    convert_proposals(whole, tmp_path / "q.npz")
    assert ProposalFile(tmp_path / "q.npz").meta["pictures"] == whole.meta["pictures"]


def test_a_picture_that_changed_while_a_run_was_interrupted_is_done_again(items, tmp_path, noise_image):
    path = tmp_path / "p.npz"
    partial = PartialProposals(path, QUICK.settings())
    nonsense = np.array([[0, 0, 1, 1]], np.float32)
    for item in items:
        partial.add(item.id, nonsense, 40, 30, fingerprint(item.path))
    noise_image("b.png", 48, 30)
    propose_images(items, path, QUICK)
    file = ProposalFile(path)
    assert file.get("a", 40, 30).tolist() == nonsense.tolist()
    assert file.get("b", 48, 30).tolist() != nonsense.tolist()
    assert changed_pictures(file, items) == []


def test_files_of_earlier_versions_are_read(items, tmp_path):
    """Without fingerprints, and without the sizes that there was no choice of."""
    settings = {"mode": "single", "max_proposals": 20, "seed": 0, "search": 2}
    path = tmp_path / "p.npz"
    partial = PartialProposals(path, settings)
    partial.add("a", np.array([[0, 0, 9, 9]], np.float32), 40, 30)
    propose_images(items[:1], path, QUICK)  # goes on
    file = ProposalFile(path)
    assert file.get("a", 40, 30).tolist() == [[0, 0, 9, 9]]
    assert changed_pictures(file, items) == []
    write = [(1, settings), (2, QUICK.settings())]
    for number, own in write:
        write_npz(tmp_path / f"s-0000{number}-of-00002.npz", [], own)
    assert open_proposals(tmp_path / "s.npz").meta["search_size"] == 400
    check_made_as(open_proposals(tmp_path / "s.npz"), {"search_size": 400})
    del settings["search"]
    write_npz(tmp_path / "other.npz", [], settings)  # another program's, which had no such size
    check_made_as(ProposalFile(tmp_path / "other.npz"), {"search_size": 800})


def test_what_was_made_otherwise_than_is_asked_for_is_refused(items, tmp_path, fault_of):
    path = tmp_path / "p.npz"
    propose_images(items, path, ProposalConfig("single", 20, search_size=600, smallest=9))
    file = ProposalFile(path)
    assert (file.meta["search_size"], file.meta["smallest"]) == (600, 9)
    check_made_as(file, {"smallest": 9})
    assert fault_of(check_made_as, file, {"search_size": 800}) == (
        f"{path}: made with --search-size 600, not 800; leave the option out, or name another file"
    )


def test_an_interrupted_run_of_another_size_is_not_gone_on_with(items, tmp_path):
    PartialProposals(tmp_path / "p.npz", QUICK.settings())
    with pytest.raises(DataError, match=r"begun with other settings \(smallest 16, now 8\)"):
        propose_images(items, tmp_path / "p.npz", ProposalConfig("single", 20, smallest=8))


def test_sizes_of_a_search_that_has_its_own(items, tmp_path, monkeypatch):
    from frcnn_cli.engine.sources import SEARCHES

    class Toy:
        version = 1

        def __call__(self, image, max_proposals, seed, *, threads=None):
            return np.array([[0, 0, 9, 9]], np.float32)

    monkeypatch.setitem(SEARCHES, "toy", Toy())
    with pytest.raises(UsageError, match="--smallest 8: not for --mode toy, which has its own"):
        propose_images(items, tmp_path / "p.npz", ProposalConfig("toy", smallest=8))
    assert propose_images(items, tmp_path / "p.npz", ProposalConfig("toy")) == 2


def meta_of(path, text: bytes) -> None:
    """A proposal file with other metadata."""
    with zipfile.ZipFile(path, "w") as archive, archive.open("__meta__.npy", "w") as member:
        np.lib.format.write_array(member, np.frombuffer(text, np.uint8))


SOUND = {"format": "frcnn-proposals", "version": 1, "sizes": {"a": [9, 9]}}


@pytest.mark.parametrize(
    "text",
    [
        b"[" * 100_000,
        b'{"a":' * 100_000,
        *(json.dumps({**SOUND, **change}).encode() for change in (
            {"sizes": []}, {"sizes": {"a": "x"}}, {"sizes": {"a": [9]}}, {"sizes": {"a": {"b": 1}}}, {"version": [1]},
            {"pictures": [1]}, {"pictures": {"a": {}}}, {"format": {}},
        )),
    ],
    ids=lambda text: text[:40].decode(),
)  # fmt: skip
def test_metadata_that_make_no_sense_are_one_line(tmp_path, text, fault_of):
    path = tmp_path / "p.npz"
    meta_of(path, text)

    def use() -> None:
        file = ProposalFile(path)
        changed_pictures(file, [ImageFile(tmp_path / "a.jpg")])
        file.get("a", 9, 9)

    assert fault_of(use).startswith(f"{path}: ")
