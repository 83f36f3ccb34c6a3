"""`frcnn detect` on videos: a moving piece of a photograph, whose boxes are known, and a toy detector that finds it."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from pathlib import Path

import av
import moving
import numpy as np
import pytest

from frcnn_cli.data.images import load_image
from frcnn_cli.drawing import fonts
from frcnn_cli.engine.detectors import DETECTORS


@pytest.fixture(scope="module")
def film(photographs, tmp_path_factory) -> Path:
    """Ten frames, 12.5 a second."""
    return moving.make_video(tmp_path_factory.mktemp("film") / "film.mp4", photographs)


@pytest.fixture
def seen() -> list:
    """The image, proposals and options of each call of the detector."""
    return []


@pytest.fixture
def light(tmp_path_factory, monkeypatch, seen) -> Path:
    """A checkpoint of the toy kind, which proposes for itself."""
    monkeypatch.setitem(DETECTORS, "light", moving.light_kind(seen=lambda *call: seen.append(call)))
    return moving.save_light(tmp_path_factory.mktemp("light") / "light.safetensors")


@pytest.fixture
def detect(run_frcnn, light):
    return lambda *arguments: run_frcnn("detect", "--weights", light, *arguments)


def boxes(lines: str) -> dict[int, list[float]]:
    """The box of each frame in JSON lines."""
    found = map(json.loads, lines.splitlines())
    return {entry["frame"]: entry["detections"][0]["box"] for entry in found}


def decode(path: Path) -> tuple[list[np.ndarray], float]:
    """The frames and their rate, as PyAV sees them."""
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)], float(
            container.streams.video[0].average_rate
        )


@pytest.mark.parametrize("every", [1, 3])
def test_every_frame_s_box_is_where_the_piece_is(detect, film, every):
    outcome = detect(film, "--jsonl", "--every", every)
    assert outcome.code == 0, outcome.err
    found = boxes(outcome.out)
    assert list(found) == list(range(0, 10, every))
    for frame, box in found.items():
        np.testing.assert_allclose(box, moving.box(frame), atol=2)
    entry = json.loads(outcome.out.splitlines()[-1])
    assert (entry["image"], entry["width"], entry["height"], entry["frame"]) == (str(film), 96, 64, 9)
    assert entry["time"] == pytest.approx(9 / moving.FPS, abs=0.002)
    assert f"{film}: {len(found)} frames, " in outcome.err


def test_the_annotated_video_has_the_same_frames_at_the_same_rate(detect, film, tmp_path):
    outcome = detect(film, "--save-dir", tmp_path / "found", "--jsonl")
    assert outcome.code == 0, outcome.err
    assert [path.name for path in (tmp_path / "found").iterdir()] == ["film.mp4"]
    images, rate = decode(tmp_path / "found" / "film.mp4")
    before, _ = decode(film)
    assert (len(images), rate) == (10, moving.FPS)
    for number, (image, plain) in enumerate(zip(images, before, strict=True)):
        assert image.shape == plain.shape == (moving.HEIGHT, moving.WIDTH, 3)
        left, top, right, bottom = moving.box(number)
        changed = np.abs(image.astype(int) - plain).max(axis=2) > 60
        assert changed[top : bottom + 1, left].mean() > 0.5  # the line of the box
        assert not changed[top + 8 : bottom - 8, left + 8 : right - 8].any()


def test_one_in_every_four_keeps_the_time(detect, film, tmp_path):
    assert detect(film, "--every", 4, "--save-dir", tmp_path, "--jsonl").code == 0
    images, rate = decode(tmp_path / "film.mp4")
    assert (len(images), rate) == (3, pytest.approx(moving.FPS / 4))


def test_without_pyav_it_is_said_once_and_written_by_opencv(detect, film, tmp_path, monkeypatch):
    with monkeypatch.context() as context:
        context.setitem(sys.modules, "av", None)
        outcome = detect(film, "--save-dir", tmp_path, "--jsonl")
    assert outcome.code == 0
    assert outcome.err.count("pip install av") == 1
    assert len(decode(tmp_path / "film.mp4")[0]) == 10


def test_crops_are_the_pieces(detect, film, tmp_path):
    outcome = detect(film, "--crop", tmp_path / "pieces", "--every", 5, "--jsonl")
    assert f"2 crops in {tmp_path / 'pieces'}" in detect(film, "--crop", tmp_path / "pieces", "--every", 5).err
    assert outcome.code == 0
    files = sorted(path.relative_to(tmp_path / "pieces").as_posix() for path in tmp_path.rglob("*.jpg"))
    assert files == ["piece/film/000000_1.jpg", "piece/film/000005_1.jpg"]
    for name in files:
        piece = load_image(tmp_path / "pieces" / name)
        assert np.abs(np.array(piece.shape[:2]) - moving.SIDE).max() <= 3
        assert np.median(piece) > 80


def test_images_and_videos_together_and_the_faulty_at_the_end(detect, film, tmp_path, noise_image):
    image = noise_image("a.png", 40, 30)
    text, cut = tmp_path / "text.mp4", tmp_path / "cut.jpg"
    text.write_text("a letter")
    cut.write_bytes(image.read_bytes()[:200])
    outcome = detect(text, image, film, cut, tmp_path / "gone.avi", "-o", tmp_path / "found.csv")
    assert outcome.code == 1
    faults = outcome.err.split("frcnn: ")[1].splitlines()
    assert [fault.split(": ")[0] for fault in faults] == [str(tmp_path / "gone.avi"), str(cut), str(text)]
    assert "film.mp4 #9" in outcome.out
    assert "a.png" in outcome.out
    assert len((tmp_path / "found.csv").read_text().splitlines()) == 1 + 1 + 10
    assert f"detections of 1 image and 10 frames in {tmp_path / 'found.csv'}" in outcome.err


def test_what_was_done_before_a_video_broke_off_is_kept(detect, tmp_path):
    from frcnn_cli.data.video_writer import write_video

    noise = np.random.default_rng(0).integers(60, 255, (16, 48, 64, 3), np.uint8)
    whole, cut = tmp_path / "whole.mp4", tmp_path / "cut.mp4"
    with write_video(whole, 25) as add:
        for number, image in enumerate(noise):
            add(image, number / 25)
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])
    outcome = detect(cut, "--save-dir", tmp_path / "found", "-o", tmp_path / "found.jsonl", "--json")
    assert outcome.code == 1
    count = int(re.search(r"cut\.mp4: breaks off after (\d+) of 16 frames", outcome.err)[1])
    assert len(json.loads(outcome.out)) == count
    assert len((tmp_path / "found.jsonl").read_text().splitlines()) == count
    assert len(decode(tmp_path / "found" / "cut.mp4")[0]) == count


def test_a_camera_that_is_not_there(detect):
    outcome = detect("camera:63", "--jsonl")
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err == "frcnn: camera:63: no such camera, or another program has it\n"


def test_a_video_does_not_replace_itself(detect, film, tmp_path):
    copy = tmp_path / "film.mp4"
    copy.write_bytes(film.read_bytes())
    for options in (("--save-dir", tmp_path), ("-o", copy, "--format", "csv")):
        outcome = detect(copy, *options)
        assert outcome.code == 1
        assert "would replace this image itself" in outcome.err
        assert copy.read_bytes() == film.read_bytes()


def test_realtime_says_its_rate(detect, film, seen, tmp_path):
    outcome = detect(film, "--realtime", "--fps", 0.5, "--save-dir", tmp_path, "--jsonl")
    assert outcome.code == 0, outcome.err
    assert re.search(r"film\.mp4: 10 frames, [\d.]+ a second \(asked for 0\.5; last with mode \w+, ", outcome.err)
    rates = [json.loads(line).get("fps") for line in outcome.out.splitlines()]
    assert rates[0] is None
    assert min(rates[2:]) > 0
    sides = [config.short_side for _, _, config in seen]
    assert sides == sorted(sides)  # there is time, so that frames are looked at ever more closely
    assert sides[-1] > sides[0]


@pytest.mark.parametrize("name", ["new\nline", "[red]x:smile:", "日本 語", "a" * 251, "%03d"])
def test_any_name_of_a_video_and_an_image(detect, film, noise_image, tmp_path, name):
    """255 bytes with the suffix are the most that file systems allow."""
    video = tmp_path / "in" / f"{name}.mp4"
    image = noise_image(f"in/{name}.png", 40, 30)
    video.write_bytes(film.read_bytes())
    out = tmp_path / "out"
    writing = ("--save-dir", out, "--crop", out / "crops", "-o", out / "yolo", "--format", "yolo")
    outcome = detect(video, image, "--every", 9, *writing)
    assert outcome.code == 0, outcome.err
    pictures = [path.name for path in out.iterdir() if path.is_file()]
    assert sorted(pictures) == sorted([video.name, image.name])
    assert len(decode(out / video.name)[0]) == 2
    assert len(list((out / "crops" / "piece").rglob("*.*g"))) == 3
    assert len(list((out / "yolo" / "labels").rglob("*.txt"))) == 3
    assert {path.name for path in tmp_path.iterdir()} == {"in", "out"}


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_a_name_that_is_no_text(detect, noise_image, tmp_path):
    image = noise_image("in/undecodable-\udcff.png", 40, 30)
    outcome = detect(
        image, "--save-dir", tmp_path / "out", "--crop", tmp_path / "out", "-o", tmp_path / "out" / "a.csv"
    )
    assert outcome.code == 0, outcome.err
    assert (tmp_path / "out" / image.name).is_file()


def test_no_class_leads_out_of_the_folder_of_crops(run_frcnn, noise_image, tmp_path, monkeypatch):
    monkeypatch.setitem(DETECTORS, "light", moving.light_kind())
    for number, name in enumerate(("../../out", "/etc", "..", "a/b", "n" * 300)):
        weights = moving.save_light(tmp_path / f"{number}.safetensors", (name, "other"))
        crops = tmp_path / "deep" / "crops"
        outcome = run_frcnn("detect", noise_image("a.png", 40, 30), "--weights", weights, "--crop", crops / str(number))
        assert outcome.code == 0, outcome.err
        (piece,) = (crops / str(number)).rglob("*.png")
        assert piece.parent.parent == crops / str(number)
    assert {path.name for path in tmp_path.iterdir() if path.is_dir()} == {"deep"}


def test_characters_that_no_font_has_are_said_once(run_frcnn, noise_image, tmp_path, monkeypatch):
    monkeypatch.setitem(DETECTORS, "light", moving.light_kind())
    monkeypatch.setattr(fonts, "system_fonts", lambda: ())
    fonts._best.cache_clear()
    weights = moving.save_light(tmp_path / "light.safetensors", ("猫", "кот"))
    call = ("detect", noise_image("a.png", 40, 30), noise_image("b.png", 40, 30), "--weights", weights)
    drawn = run_frcnn(*call, "--save-dir", tmp_path / "out")
    assert drawn.err.count("no font here has 猫; --font FILE names one that does") == 1
    assert "猫" in drawn.out
    assert "no font" not in run_frcnn(*call).err
    fonts._best.cache_clear()
    gone = run_frcnn(*call, "--font", tmp_path / "gone.ttf")
    assert (gone.code, gone.err) == (1, f"frcnn: {tmp_path / 'gone.ttf'}: no such file\n")


def test_a_crop_does_not_replace_an_image(detect, noise_image):
    """Of crops of crops: a_1.png of a.png is where another image lies."""
    image = noise_image("piece/a.png", 40, 30)
    other = noise_image("piece/a_1.png", 40, 30)
    before = other.read_bytes()
    outcome = detect(image, other, "--crop", image.parent.parent)
    assert outcome.code == 1
    assert f"{other}: --crop would replace this image itself" in outcome.err
    assert other.read_bytes() == before


def test_ctrl_c_keeps_the_frames_that_are_done(run_frcnn, film, tmp_path, monkeypatch):
    """The signal comes while the fourth frame is looked at."""
    calls = []

    def press(*call: object) -> None:
        calls.append(call)
        if len(calls) == 4:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setitem(DETECTORS, "light", moving.light_kind(seen=press))
    weights = moving.save_light(tmp_path / "light.safetensors")
    writing = ("--save-dir", tmp_path, "-o", tmp_path / "found.json")
    outcome = run_frcnn("detect", film, "--weights", weights, *writing, "--json")
    assert outcome.code == 130
    assert outcome.err.endswith("frcnn: interrupted with 0 images and 4 frames done\n")
    assert len(json.loads(outcome.out)) == len(json.loads((tmp_path / "found.json").read_text())) == 4
    assert len(decode(tmp_path / "film.mp4")[0]) == 4


def test_a_full_disk_ends_the_work_and_leaves_whole_files(detect, film, full_disk, tmp_path):
    assert detect(film, "--every", 9, "-o", tmp_path / "found.jsonl").code == 0
    before = (tmp_path / "found.jsonl").read_bytes()
    with full_disk(1_000):
        outcome = detect(film, "-o", tmp_path / "found.jsonl")
    assert outcome.code == 1
    assert f"{tmp_path / 'found.jsonl'}: cannot be written" in outcome.err
    assert (tmp_path / "found.jsonl").read_bytes() == before
    with full_disk(2_000):  # stdout is a file, too, of less than that
        outcome = detect(film, "--every", 5, "--save-dir", tmp_path / "pictures", "-o", tmp_path / "found.csv")
    assert outcome.code == 1
    assert "film.mp4: cannot be written" in outcome.err
    assert len((tmp_path / "found.csv").read_text().splitlines()) == 3
    assert not list((tmp_path / "pictures").iterdir())


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        (("--realtime", "--mode", "fast"), "--mode: --realtime chooses that"),
        (("--realtime", "--short-side", "99"), "--short-side: --realtime chooses that"),
        (("--realtime", "--scales", "99,100"), "--scales: --realtime chooses that"),
        (("--fps", "9"), "--fps is the rate of --realtime"),
        (("--realtime", "--fps", "0"), "'--fps'"),
        (("--every", "0"), "'--every'"),
        (("--json", "--jsonl"), "--json prints one list, --jsonl a line an image"),
    ],
)
def test_wrong_calls(detect, film, options, fault):
    outcome = detect(film, *options)
    assert (outcome.code, outcome.out, len(outcome.err.splitlines())) == (2, "", 1)
    assert fault in outcome.err
