"""Reading files, and asking beforehand whether one can be written."""

from __future__ import annotations

import os

import pytest

from frcnn_cli.data.formats.coco import load_coco
from frcnn_cli.data.images import load_image
from frcnn_cli.data.proposals.detectron2 import Detectron2Proposals
from frcnn_cli.data.proposals.fast_rcnn import FastRCNNProposals
from frcnn_cli.data.proposals.npz import ProposalFile
from frcnn_cli.errors import DataError
from frcnn_cli.files import atomic_write, check_writable, inside, read_bytes, read_text


@pytest.mark.parametrize("name", ["new.txt", "old.txt", "made/on/the/way.txt", "link.txt"])
def test_what_can_be_written_leaves_no_trace(tmp_path, name):
    (tmp_path / "old.txt").write_text("old")
    (tmp_path / "link.txt").symlink_to(tmp_path / "old.txt")
    check_writable(tmp_path / name)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.txt", "old.txt"]
    assert (tmp_path / "old.txt").read_text() == "old"
    with atomic_write(tmp_path / name) as temporary:
        temporary.write_text("new")
    assert (tmp_path / name).read_text() == "new"


@pytest.mark.parametrize("name", ["folder", "file/below.txt", "file/far/below.txt", "/dev/null"])
def test_what_cannot_be_written_is_said_by_both(tmp_path, name):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot be written") as asked:
        check_writable(tmp_path / name)
    assert str(asked.value).startswith(f"{tmp_path / name}: ")
    with pytest.raises(DataError, match="cannot be written"), atomic_write(tmp_path / name):
        pass


READERS = [
    read_bytes,
    read_text,
    load_image,
    ProposalFile,
    FastRCNNProposals,
    Detectron2Proposals,
    lambda path: load_coco(path, path.parent),
]


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("gone", "no such file"),
        ("folder", "a folder"),
        ("pipe", "cannot be read (not a regular file)"),
        ("file/below", "cannot be read (not a directory)"),
        ("n" * 300, "cannot be read (file name too long)"),
        ("a\0b", "cannot be read (embedded null "),
        ("loop", "cannot be read (too many levels of symbolic links)"),
    ],
)
def test_what_cannot_be_read_is_one_line_in_every_reader(tmp_path, reader, name, fault):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError) as caught:
        reader(tmp_path / name)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / name}: ")
    assert fault in message
    assert "\n" not in message


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_text_is_decoded_by_its_byte_order_mark(tmp_path, encoding):
    (tmp_path / "a.txt").write_bytes("日本 é\r\nsecond\u2028line\r".encode(encoding))
    assert read_text(tmp_path / "a.txt") == "日本 é\nsecond\u2028line\n"


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
def test_text_is_decoded_without_a_mark_where_it_begins_in_ascii(tmp_path, encoding):
    (tmp_path / "a.txt").write_bytes("a1 日本\n".encode(encoding))
    assert read_text(tmp_path / "a.txt") == "a1 日本\n"


def test_what_is_no_text(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"caf\xe9")
    with pytest.raises(DataError, match=r"a\.txt: cannot be read \(no text in UTF-8: 'utf-8' codec can't decode"):
        read_text(tmp_path / "a.txt")


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("a", "a.txt"),
        ("a/b c", "a/b c.txt"),
        ("../a", "_/a.txt"),
        ("/etc/a", "etc/a.txt"),
        ("a/../../b", "a/_/_/b.txt"),
        ("..", "_.txt"),
        ("", "_.txt"),
        ("a\0b", "a_b.txt"),
        ("日" * 100, "日" * 83 + ".txt"),
    ],
)
def test_a_name_that_others_chose_stays_inside(tmp_path, name, path):
    assert inside(tmp_path, name, ".txt") == tmp_path / path


def test_a_reader_that_has_gone_is_no_fault_of_the_file(tmp_path):
    with pytest.raises(BrokenPipeError), atomic_write(tmp_path / "a.txt"):
        raise BrokenPipeError
    assert not list(tmp_path.iterdir())
