"""Names in lists and annotations, and the files they stand for."""

from __future__ import annotations

import os
import tempfile
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from frcnn_cli.data.formats.finder import FileIndex
from frcnn_cli.data.images import IMAGE_SUFFIXES
from frcnn_cli.errors import DataError

NFC, NFD = unicodedata.normalize("NFC", "café"), unicodedata.normalize("NFD", "café")


def index_of(folder: Path, *names: str) -> FileIndex:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return FileIndex(folder, IMAGE_SUFFIXES)


@pytest.mark.parametrize(
    ("files", "name", "found"),
    [
        # a path below the folder, with the suffix or without
        (["a1.jpg"], "a1", ["a1.jpg"]),
        (["a1.jpg"], "a1.jpg", ["a1.jpg"]),
        (["a1.BMP"], "a1", ["a1.BMP"]),
        (["a1.jfif"], "a1", ["a1.jfif"]),
        (["photo 1.jpg", "photo.jpg"], "photo 1", ["photo 1.jpg"]),
        (["v1.2.final.png"], "v1.2.final", ["v1.2.final.png"]),
        (['it\'s "it".png'], 'it\'s "it"', ['it\'s "it".png']),
        (["[x] (1) {y}*.png"], "[x] (1) {y}*", ["[x] (1) {y}*.png"]),
        (["night/b.png", "b.png"], "night/b", ["night/b.png"]),
        (["camA/0001.jpg", "camB/0001.jpg"], "camB/0001.jpg", ["camB/0001.jpg"]),
        (["a1.jpg.png", "a1.jpg"], "a1.jpg", ["a1.jpg"]),
        (["a1.jpg.png"], "a1.jpg", ["a1.jpg.png"]),
        # other signs for the same
        (["sub/a0.jpg"], "sub\\a0.jpg", ["sub/a0.jpg"]),
        (["sub/a0.jpg"], "./sub//a0", ["sub/a0.jpg"]),
        (["a1.jpg"], "A1.JPG", ["a1.jpg"]),
        (["Straße.jpg"], "STRASSE", ["Straße.jpg"]),
        ([f"{NFD}.jpg"], NFC, [f"{NFD}.jpg"]),
        ([f"{NFC}.jpg"], f"{NFD}.jpg", [f"{NFC}.jpg"]),
        (["日本.jpg"], "日本", ["日本.jpg"]),
        (["a1.jpg", "A1.jpg"], "A1", ["A1.jpg"]),
        # written elsewhere
        (["a1.jpg"], "/data/old/set3/JPEGImages/a1.jpg", ["a1.jpg"]),
        (["a1.jpg"], "C:\\Users\\me\\a1.jpg", ["a1.jpg"]),
        (["a1.jpg"], "\\\\server\\share\\a1.jpg", ["a1.jpg"]),
        (["a1.jpg"], "../images/a1.jpg", ["a1.jpg"]),
        (["a1.jpg"], "data/obj/a1.jpg", ["a1.jpg"]),
        (["camA/1.jpg", "1.jpg"], "/mnt/x/camA/1.jpg", ["camA/1.jpg"]),
        # in a sub-folder that the name leaves out
        (["deep/down/a1.jpg", "deep/a2.jpg"], "a1.jpg", ["deep/down/a1.jpg"]),
        # in another format
        (["a1.png"], "a1.jpg", ["a1.png"]),
        # as an address
        (["a b.jpg"], "a%20b.jpg", ["a b.jpg"]),
        (["a%20b.jpg", "a b.jpg"], "a%20b.jpg", ["a%20b.jpg"]),
        (["日本.jpg"], "x/%E6%97%A5%E6%9C%AC.jpg", ["日本.jpg"]),
        # not the same
        (["camA/0001.jpg", "camB/0001.jpg"], "0001.jpg", []),
        (["camA/0001.jpg"], "camB/0001.jpg", []),
        (["night/a.jpg", "b.jpg"], "night/b", []),
        (["photo.jpg"], "photo 1", []),
        (["a1.jpg"], "a11", []),
        (["a1.txt", ".a2.jpg", ".hidden/a3.jpg"], "a1", []),
        ([".a2.jpg"], ".a2", []),
        ([".hidden/a3.jpg"], "a3", []),
        (["a.jpg"], "", []),
        (["a.jpg"], "/", []),
        # two files of a name
        (["a1.jpg", "a1.png", "a2.png"], "a1", ["a1.jpg", "a1.png"]),
        (["a1.jpg", "a1.png"], "a1.png", ["a1.png"]),
        (["x/a1.jpg", "x/a1.png"], "a1", ["x/a1.jpg", "x/a1.png"]),
    ],
)
def test_a_name_and_its_files(tmp_path, files, name, found):
    assert index_of(tmp_path, *files).find(name) == found


def test_links_that_lead_back_are_followed_once(tmp_path):
    index = index_of(tmp_path / "images", "real/a.jpg")
    (tmp_path / "images" / "real" / "loop").symlink_to(tmp_path / "images")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "b.jpg").touch()
    (tmp_path / "images" / "link").symlink_to(tmp_path / "elsewhere")
    assert list(index.paths) == ["link/b.jpg", "real/a.jpg"]


def test_a_folder_that_is_not_there_has_no_files(tmp_path):
    assert index_of(tmp_path / "gone").find("a") == []


def test_a_folder_that_cannot_be_read_is_named():
    before = os.geteuid()
    with tempfile.TemporaryDirectory() as name:  # tmp_path lies below folders of the user's own
        index = index_of(Path(name), "closed/a.jpg")
        Path(name).chmod(0o755)
        (Path(name) / "closed").chmod(0)
        try:
            if before == 0:
                os.seteuid(65534)
            with pytest.raises(DataError, match=r"closed: cannot be read \(permission denied\)"):
                index.find("a")
        finally:
            os.seteuid(before)
            (Path(name) / "closed").chmod(0o755)


PART = st.text(
    st.characters(exclude_characters="/\\\0", exclude_categories=("Cs", "Cc")), min_size=1, max_size=12
).filter(lambda part: not part.startswith(".") and part.strip())


@given(st.lists(PART, min_size=1, max_size=3), st.sampled_from(sorted(IMAGE_SUFFIXES)))
def test_every_file_is_found_by_its_own_name(tmp_path_factory, parts, suffix):
    folder = tmp_path_factory.mktemp("any")
    name = "/".join(parts) + suffix
    index = index_of(folder, name)
    for written in (name, name.removesuffix(suffix), name.replace("/", "\\"), f"/another/machine/{name}"):
        assert index.find(written) == [name]
