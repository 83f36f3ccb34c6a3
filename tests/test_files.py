"""Asking beforehand whether a file can be written."""

from __future__ import annotations

import pytest

from frcnn_cli.errors import DataError
from frcnn_cli.files import atomic_write, check_writable


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
