"""What `frcnn detect` takes for images and videos."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from frcnn_cli.commands.detect_inputs import find_inputs, read_list


@pytest.fixture
def folder(tmp_path, monkeypatch, noise_image) -> Path:
    """Images, videos by their suffixes, and what is neither; the tests run in it."""
    for name in ("a1.png", "a2.jpg", "a10.png", "deep/b.png", "[c].png"):
        noise_image(name, 8, 6)
    for name in ("film.mp4", "deep/film.avi", "letter.txt", "raw.dng", ".hidden.mp4"):
        (tmp_path / name).write_text("x")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(texts: list[str], stdin: bytes = b"") -> tuple[list[str], list[str], int]:
    """Of images, of videos; the number of faults."""
    found = find_inputs(texts, io.BytesIO(stdin))
    return [str(item.path) for item in found.images], [str(item.path) for item in found.videos], len(found.faults)


def test_a_folder_is_its_images_and_videos(folder):
    found = find_inputs(["."])
    assert [str(item.path) for item in found.images] == ["[c].png", "a1.png", "a2.jpg", "a10.png", "deep/b.png"]
    assert [(item.name, item.source) for item in found.videos] == [
        ("film.avi", "deep/film.avi"),
        ("film.mp4", "film.mp4"),
    ]
    assert found.faults == ()
    (note,) = found.notes  # of the raw file, and none of the videos
    assert "raw.dng" in note


def test_a_folder_of_videos_only_has_no_fault(folder):
    for path in (folder / "deep").glob("*.png"):
        path.unlink()
    assert names(["deep"]) == ([], ["deep/film.avi"], 0)


def test_patterns_find_what_a_shell_would(folder):
    assert names(["a*.png"]) == (["a1.png", "a10.png"], [], 0)
    assert names(["**/*.png"])[0] == ["[c].png", "a1.png", "a10.png", "deep/b.png"]
    assert names(["*.mp4"]) == ([], ["film.mp4"], 0)
    assert names(["[c].png"]) == (["[c].png"], [], 0)  # a file of that name is that file
    assert find_inputs(["*.bmp"]).faults == ("*.bmp: no such file",)


def test_each_is_done_once(folder):
    assert names(["a1.png", ".", "./a1.png", "film.mp4", "*.mp4"]) == (
        ["a1.png", "[c].png", "a2.jpg", "a10.png", "deep/b.png"],
        ["deep/film.avi", "film.mp4"],
        0,
    )


def test_a_list_on_standard_input(folder):
    assert names(["-"], b"a1.png\r\ndeep\n\ncamera:0\ngone.png\n") == (
        ["a1.png", "deep/b.png"],
        ["deep/film.avi", "camera:0"],
        1,
    )


def test_lists_in_other_encodings_and_with_nul():
    assert read_list("a.png\nä b.png\n".encode("utf-8-sig")) == ["a.png", "ä b.png"]
    assert read_list("a.png\nä.png".encode("utf-16")) == ["a.png", "ä.png"]
    assert read_list(b"a\nb.png\0c.png\0") == ["a\nb.png", "c.png"]
    assert read_list(b"") == []
    (odd,) = read_list(b"undecodable-\xff.png\n")
    assert odd == "undecodable-\udcff.png"


def test_names_of_missing_things_are_faults(folder):
    found = find_inputs(["gone.png", "gone.mp4", "nowhere/", "letter.txt"])
    assert found.faults == ("gone.png: no such file", "gone.mp4: no such file", "nowhere: no such file")
    assert [str(item.path) for item in found.images] == ["letter.txt"]  # whatever a file is called, it is tried
