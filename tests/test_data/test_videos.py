"""Videos: what another reader sees of one that was written, and what is said of those that cannot be read."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import av
import moving
import numpy as np
import pytest

from frcnn_cli.data.items import Video
from frcnn_cli.data.video_writer import write_video
from frcnn_cli.data.videos import find_videos, is_video, open_video, parse_source
from frcnn_cli.errors import DataError


@pytest.fixture(scope="module")
def film(photographs, tmp_path_factory) -> Path:
    """Ten frames, 12.5 a second."""
    return moving.make_video(tmp_path_factory.mktemp("film") / "film.mp4", photographs)


def video(path: Path, **others) -> Video:
    return Video(path, path.name, str(path), **others)


def read(path: Path, every: int = 1) -> list:
    with open_video(video(path)) as opened:
        return list(opened.frames(every))


@pytest.fixture(params=["h264", "mpeg4"])
def codec(request, monkeypatch) -> str:
    """Each way to write; the second is taken where PyAV is not installed."""
    if request.param == "mpeg4":
        monkeypatch.setitem(sys.modules, "av", None)
    return request.param


@pytest.mark.parametrize(("width", "height"), [(64, 48), (63, 47)])
def test_another_reader_sees_frames_size_and_rate(tmp_path, codec, width, height):
    path = tmp_path / "new" / "out.mp4"
    with write_video(path, 12.5) as add:
        for number in range(7):
            add(np.full((height, width, 3), (30 * number, 90, 200), np.uint8), number / 12.5)
        assert not path.exists()
    with av.open(str(path)) as container:
        (stream,) = container.streams.video
        images = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
        assert stream.codec_context.name == codec
        assert float(stream.average_rate) == 12.5
    assert len(images) == 7
    for number, image in enumerate(images):
        assert image.shape == (48, 64, 3)  # odd sides have one pixel more
        assert np.abs(image.astype(int) - (30 * number, 90, 200)).max() <= 12
    assert [file.name for file in path.parent.iterdir()] == ["out.mp4"]


def test_without_frames_there_is_no_file(tmp_path, codec):
    with write_video(tmp_path / "out.mp4", 25):
        pass
    assert not list(tmp_path.iterdir())


def test_what_goes_wrong_leaves_the_old_file(tmp_path, codec, full_disk):
    path = tmp_path / "out.mp4"
    path.write_text("old")
    noise = np.random.default_rng(0).integers(0, 255, (20, 96, 128, 3), np.uint8)

    def write(fault: type[BaseException] | None = None) -> None:
        with write_video(path, 25) as add:
            for number in range(20):
                add(noise[number], number / 25)
            if fault:
                raise fault

    with pytest.raises(KeyboardInterrupt):
        write(KeyboardInterrupt)
    with full_disk(20_000), pytest.raises(DataError, match="cannot be written") as caught:
        write()
    assert str(caught.value).startswith(str(path))
    assert (path.read_text(), [file.name for file in tmp_path.iterdir()]) == ("old", ["out.mp4"])
    write()
    assert len(read(path)) == 20


def test_frames_are_what_was_written(film, photographs):
    frames = read(film)
    assert [frame.number for _, frame in frames] == list(range(10))
    np.testing.assert_allclose([frame.seconds for _, frame in frames], np.arange(10) / moving.FPS, atol=0.002)
    for image, frame in frames:
        assert (image.dtype, image.shape) == (np.uint8, (moving.HEIGHT, moving.WIDTH, 3))
        np.testing.assert_allclose(moving.find_light(image), moving.box(frame.number), atol=2)


def test_every_third_frame(film):
    frames = read(film, 3)
    assert [frame.number for _, frame in frames] == [0, 3, 6, 9]
    np.testing.assert_allclose(moving.find_light(frames[2][0]), moving.box(6), atol=2)


def test_what_is_live_gives_its_newest_frame(film):
    """A file is read faster than it is taken, so that not all of its frames are."""
    with open_video(video(film, live=True)) as opened:
        assert opened.count is None
        numbers: list[int] = []
        with pytest.raises(DataError, match=r"film\.mp4: gives no more frames after"):
            numbers.extend(frame.number for _, frame in opened.frames())
    with open_video(video(film, live=True)) as opened:
        frames = opened.frames()
        next(frames)
        frames.close()


def test_a_video_that_breaks_off(tmp_path):
    """Its index is at its beginning, so that its first frames can be read."""
    noise = np.random.default_rng(0).integers(0, 255, (16, 48, 64, 3), np.uint8)
    with write_video(tmp_path / "whole.mp4", 25) as add:
        for number, image in enumerate(noise):
            add(image, number / 25)
    cut = tmp_path / "cut.mp4"
    cut.write_bytes((tmp_path / "whole.mp4").read_bytes()[: (tmp_path / "whole.mp4").stat().st_size * 2 // 3])
    numbers: list[int] = []

    def take() -> None:
        with open_video(video(cut)) as opened:
            for _, frame in opened.frames():
                numbers.append(frame.number)

    with pytest.raises(DataError) as caught:
        take()
    count = int(re.fullmatch(rf"{cut}: breaks off after (\d+) of 16 frames", str(caught.value))[1])
    assert 0 < count < 14
    assert numbers == list(range(count))


def test_files_that_are_no_videos(film, tmp_path, fault_of):
    names = ("gone.mp4", "empty.mp4", "text.mp4", "head.mp4", "no frames.mkv")
    gone, empty, text, head, nothing = (tmp_path / name for name in names)
    empty.touch()
    text.write_text("a letter " * 100)
    head.write_bytes(film.read_bytes()[:100])
    with av.open(str(nothing), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        container.start_encoding()
    for path, fault in (
        (gone, "no such file"),
        (empty, "empty file"),
        (text, "not a video that can be read"),
        (head, "not a video that can be read"),
        (tmp_path, "cannot be read (a folder)"),
    ):
        assert fault_of(read, path) == f"{path}: {fault}"
    assert "video" in fault_of(read, nothing)
    odd = tmp_path / "undecodable-\udcff.mp4"
    odd.write_bytes(film.read_bytes())
    assert "rename it" in fault_of(read, odd)


def test_a_camera_that_is_not_there(fault_of):
    camera = parse_source("camera:63")
    assert (camera.id, camera.source, camera.live) == ("camera63", 63, True)

    def look() -> None:
        with open_video(camera):
            pytest.fail("opened")

    assert fault_of(look) == "camera:63: no such camera, or another program has it"


def test_streams_go_by_their_host_without_its_password():
    stream = parse_source("rtsp://me:secret@door.local:554/live/1")
    assert stream.source == "rtsp://me:secret@door.local:554/live/1"
    assert str(stream.path) == "door.local/live/1"
    assert stream.frame_id(7) == "door_local_live_1/000007"
    assert parse_source("/dev/video2").source == 2
    for other in ("camera:", "camera:front", "film.mp4", "C:/a.mp4", "camera:1.jpg"):
        assert parse_source(other) is None


def test_videos_are_known_by_suffix_or_content(film, tmp_path, photographs):
    for name in ("a.mp4", "b.MOV", "c", "d.film", ".hidden.mp4", "e.jpg"):
        (tmp_path / name).write_bytes(film.read_bytes())
    (tmp_path / "f.bin").write_bytes((photographs / "JPEGImages" / "cow.jpg").read_bytes())
    known = {path.name for path in tmp_path.iterdir() if is_video(path)}
    assert known == {"a.mp4", "b.MOV", "c", "d.film", ".hidden.mp4"}
    assert [path.name for path in find_videos(tmp_path)] == ["a.mp4", "b.MOV"]
