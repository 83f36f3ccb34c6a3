"""`frcnn detect`: JSON, table, pictures, and files that are no pictures."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from frcnn_cli.core.boxes import iou
from frcnn_cli.data.formats.voc import VOC_CLASSES, load_voc
from frcnn_cli.data.images import load_image
from frcnn_cli.data.proposals import write_images
from frcnn_cli.data.proposals.npz import ImageProposals, ProposalFile, write_proposals
from frcnn_cli.data.writers.voc_results import read_voc_results


@pytest.fixture
def detect(run_frcnn, tiny_checkpoint):
    """Run the command with the small model; everything it makes out is reported."""

    def run(*arguments, score=0.01):
        return run_frcnn("detect", "--weights", tiny_checkpoint, "--score", score, *arguments)

    return run


@pytest.fixture
def image(tiny_voc) -> Path:
    return tiny_voc / "JPEGImages" / "kitten.jpg"


def test_json(detect, image, tiny_voc):
    outcome = detect(image, tiny_voc / "JPEGImages" / "chair.jpg", "--json")
    assert outcome.code == 0
    found = json.loads(outcome.out)
    assert [entry["image"] for entry in found] == [str(image), str(tiny_voc / "JPEGImages" / "chair.jpg")]
    for entry in found:
        assert list(entry) == ["image", "width", "height", "detections", "seconds"]
        height, width = load_image(entry["image"]).shape[:2]
        assert (entry["width"], entry["height"]) == (width, height)
        assert list(entry["seconds"]) == ["proposals", "detection"]
        assert min(entry["seconds"].values()) > 0
        assert 0 < len(entry["detections"]) <= 100
        for detection in entry["detections"]:
            assert list(detection) == ["class", "score", "box"]
            assert detection["class"] in VOC_CLASSES
            assert 0.01 <= detection["score"] <= 1
            x1, y1, x2, y2 = detection["box"]
            assert 0 <= x1 < x2 <= width
            assert 0 <= y1 < y2 <= height
        scores = [detection["score"] for detection in entry["detections"]]
        assert scores == sorted(scores, reverse=True)


def test_options_reach_the_detector(detect, image):
    few = json.loads(detect(image, "--json", "--max-detections", 2).out)[0]["detections"]
    assert len(few) == 2
    loose = json.loads(detect(image, "--json", "--nms", "0.9", "--max-detections", 5000).out)[0]["detections"]
    tight = json.loads(detect(image, "--json", "--nms", "0.1", "--max-detections", 5000).out)[0]["detections"]
    assert len(tight) < len(loose)
    nothing = json.loads(detect(image, "--json", score=1).out)
    assert nothing[0]["detections"] == []


LOOKS = [("--short-side", 64), ("--scales", "64,144"), ("--long-side", 100), ("--flip-test",), ("--no-box-voting",)]


@pytest.mark.parametrize("look", LOOKS, ids=lambda look: look[0])
def test_ways_to_look_at_an_image(detect, image, tiny_proposals_path, look):
    plain, other = (
        json.loads(detect(image, "--json", "--proposals", tiny_proposals_path, *options).out)[0]["detections"]
        for options in ((), look)
    )
    assert len(other) > 5
    assert other != plain


def test_the_model_s_own_scale_may_be_named(detect, image, tiny_proposals_path):
    plain, named, pyramid = (
        json.loads(detect(image, "--json", "--proposals", tiny_proposals_path, *options).out)[0]["detections"]
        for options in ((), ("--short-side", 96, "--no-flip-test", "--box-voting"), ("--scales", "96"))
    )
    assert plain == named == pyramid


def test_a_photograph_by_the_bundled_model_at_several_scales(run_frcnn, photographs):
    """The surest find is an animal of the annotation."""
    path = photographs / "JPEGImages" / "cow.jpg"
    outcome = run_frcnn("detect", path, "--scales", "384,480,576", "--flip-test", "--box-voting", "--json")
    assert outcome.code == 0
    best = json.loads(outcome.out)[0]["detections"][0]
    assert best["class"] == "cow"
    (record,) = (record for record in load_voc(photographs, "test").records if record.id == "cow")
    assert iou(torch.tensor([best["box"]]), torch.from_numpy(record.objects.boxes)).max() > 0.5


def test_table(detect, image):
    outcome = detect(image, "--max-detections", 3)
    assert outcome.code == 0
    assert "score" in outcome.out
    lines = [line for line in outcome.out.splitlines() if any(name in line for name in VOC_CLASSES)]
    assert len(lines) == 3
    assert "kitten.jpg" in outcome.out
    assert "s an image" in outcome.err
    nothing = detect(image, score=1)
    assert nothing.code == 0
    assert "kitten.jpg" in nothing.out
    assert not any(name in nothing.out for name in VOC_CLASSES)


def test_proposals_from_a_file(detect, image, tiny_proposals_path):
    stored = json.loads(detect(image, "--json", "--proposals", tiny_proposals_path).out)[0]
    made = json.loads(detect(image, "--json").out)[0]
    assert stored["seconds"]["proposals"] is None
    assert stored["detections"] == made["detections"]


@pytest.mark.parametrize("mode", ["single", "quality"])
def test_mode_of_the_proposals(detect, run_frcnn, image, tmp_path, mode):
    """As with a file of that mode, and not as with the default."""
    path = tmp_path / "p.npz"
    assert run_frcnn("propose", image, "--mode", mode, "-o", path).code == 0
    of_file, made, by_default = (
        json.loads(detect(image, "--json", *options).out)[0]["detections"]
        for options in (("--proposals", path), ("--mode", mode), ())
    )
    assert made == of_file
    assert made != by_default
    both = detect(image, "--proposals", path, "--mode", mode)
    assert both.code == 2
    assert both.err == f"frcnn: --mode {mode}: --proposals has them, so none are made; give one of the two\n"


@pytest.mark.parametrize("suffix", [".mat", ".pkl"])
def test_proposals_from_another_tool_s_file(detect, image, tmp_path, suffix):
    path = tmp_path / f"p{suffix}"
    boxes = np.array([[10, 8, 90, 70], [0, 0, 128, 96], [30, 20, 60, 80]], np.float32)
    write_images(path, [ImageProposals(image.stem, boxes, 128, 96)], {})
    write_images(tmp_path / "p.npz", [ImageProposals(image.stem, boxes, 128, 96)], {})
    theirs, ours = (
        json.loads(detect(image, "--json", "--proposals", file).out)[0]["detections"]
        for file in (path, tmp_path / "p.npz")
    )
    assert theirs == ours != []


def test_a_folder_and_its_pictures(detect, tiny_voc, tiny_proposals_path, tmp_path):
    folder = tiny_voc / "JPEGImages"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    outcome = detect(folder, "--proposals", tiny_proposals_path, "--save-dir", tmp_path / "found", "--json")
    assert outcome.code == 0
    assert len(json.loads(outcome.out)) == 10
    assert {path.name for path in (tmp_path / "found").iterdir()} == set(before)
    for name in before:
        drawn, source = load_image(tmp_path / "found" / name), load_image(folder / name)
        assert drawn.shape == source.shape
        assert np.abs(drawn.astype(int) - source).max() > 60  # something is drawn
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert str(tmp_path / "found") in outcome.err


def test_sources_are_not_overwritten(detect, voc_copy):
    folder = voc_copy / "JPEGImages"
    before = (folder / "kitten.jpg").read_bytes()
    outcome = detect(folder / "kitten.jpg", "--save-dir", folder)
    assert outcome.code == 1
    assert len(outcome.err.splitlines()) == 1
    assert "kitten.jpg" in outcome.err
    assert (folder / "kitten.jpg").read_bytes() == before


def test_images_of_one_name_give_as_many_pictures(detect, noise_image, tmp_path):
    images = [noise_image(name, 40, 30) for name in ("x/a.png", "y/a.png", "z/a_2.png", "x/a.jpg")]
    outcome = detect(*images, "--save-dir", tmp_path / "found", "--json")
    assert outcome.code == 0
    assert len(list((tmp_path / "found").iterdir())) == 4


def test_bad_files_are_named_and_the_others_done(detect, image, tmp_path, noise_image):
    text, cut, gone, empty = (tmp_path / name for name in ("text.jpg", "cut.jpg", "gone.jpg", "empty.jpg"))
    text.write_text("a letter")
    cut.write_bytes(image.read_bytes()[:2000])
    empty.touch()
    dot = noise_image("dot.png", 1, 1)
    narrow = noise_image("narrow.png", 3000, 20)
    outcome = detect(text, image, cut, gone, empty, dot, narrow, tmp_path / "nowhere", "--json")
    assert outcome.code == 1
    assert [entry["image"] for entry in json.loads(outcome.out)] == [str(image), str(dot), str(narrow)]
    lines = [line.removeprefix("frcnn: ") for line in outcome.err.splitlines() if ": " in line]
    faults = dict(line.split(": ", 1) for line in lines if line.startswith(str(tmp_path)))
    assert set(faults) == {str(path) for path in (text, cut, gone, empty, tmp_path / "nowhere")}
    assert "unknown format" in faults[str(text)]
    assert "truncated" in faults[str(cut)]
    assert "no such file" in faults[str(gone)]
    assert "Traceback" not in outcome.err


def test_proposals_that_do_not_fit(detect, image, tmp_path):
    path = tmp_path / "p.npz"
    box = np.array([[0, 0, 9, 9.0]])
    write_proposals(path, {"chair": box}, {"sizes": {"chair": (96, 128)}})
    missing = detect(image, image.with_name("chair.jpg"), "--json", "--proposals", path)
    assert missing.code == 1
    assert f"{path}: no proposals for image kitten" in missing.err
    assert [Path(entry["image"]).stem for entry in json.loads(missing.out)] == ["chair"]

    write_proposals(path, {"kitten": box}, {"sizes": {"kitten": (1280, 960)}})
    other = detect(image, "--json", "--proposals", path)
    assert other.code == 1
    assert json.loads(other.out) == []
    assert "proposals made on 1280 x 960 pixels, but the image is 128 x 96" in other.err


def test_detections_go_into_a_file_too(detect, image, tiny_proposals_path, tmp_path):
    """Whatever is printed; its ending says the format, and a name without one is a folder of VOC's files."""
    arguments = (image, image.with_name("chair.jpg"), "--proposals", tiny_proposals_path)
    printed = json.loads(detect(*arguments, "--json", "-o", tmp_path / "a.json").out)
    written = json.loads((tmp_path / "a.json").read_text())
    for entry in (*printed, *written):
        assert entry.pop("seconds")["detection"] > 0
    assert written == printed
    table = detect(*arguments, "--output", tmp_path / "a.jsonl")
    assert "kitten.jpg" in table.out
    assert f"detections of 2 images in {tmp_path / 'a.jsonl'}" in table.err
    lines = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert [line["detections"] for line in lines] == [entry["detections"] for entry in printed]
    assert detect(*arguments, "-o", tmp_path / "voc").code == 0
    found = read_voc_results(tmp_path / "voc", "test", VOC_CLASSES)
    assert {name: len(boxes) for name, boxes in found.items()} == {
        Path(entry["image"]).stem: len(entry["detections"]) for entry in printed
    }
    assert detect(*arguments, "-o", tmp_path / "a.txt", "--format", "csv").code == 0
    assert len((tmp_path / "a.txt").read_text().splitlines()) == 1 + sum(len(entry["detections"]) for entry in printed)


def test_good_images_are_written_where_others_are_faulty(detect, image, tmp_path):
    cut = tmp_path / "cut.jpg"
    cut.write_bytes(image.read_bytes()[:2000])
    outcome = detect(cut, image, "-o", tmp_path / "found.jsonl")
    assert outcome.code == 1
    assert "truncated" in outcome.err
    (line,) = (tmp_path / "found.jsonl").read_text().splitlines()
    assert json.loads(line)["image"] == str(image)


@pytest.mark.parametrize(
    ("output", "fault"),
    [("file/found.csv", "cannot be written"), ("folder.json", "cannot be written (a folder)"), ("voc", "id 'a b'")],
)
def test_what_cannot_be_written_is_found_before_the_work(detect, noise_image, tmp_path, output, fault):
    """Nothing is detected, as there are no pictures."""
    (tmp_path / "file").touch()
    (tmp_path / "folder.json").mkdir()
    image = noise_image("a b.png", 40, 30)
    outcome = detect(image, "-o", tmp_path / output, "--save-dir", tmp_path / "pictures")
    assert outcome.code == 1
    assert len(outcome.err.splitlines()) == 1
    assert fault in outcome.err
    assert str(tmp_path / output) in outcome.err
    assert not (tmp_path / "pictures").exists()


def test_ctrl_c_keeps_what_is_done(run_process, tiny_voc, tiny_checkpoint, tmp_path):
    pictures, output = tmp_path / "pictures", tmp_path / "found.jsonl"
    many = tmp_path / "many"
    shutil.copytree(tiny_voc / "JPEGImages", many)
    for number in range(40):
        shutil.copy(many / "cow.jpg", many / f"z{number}.jpg")
    outcome = run_process(
        *("-m", "frcnn_cli", "detect", many, "--weights", tiny_checkpoint, "--mode", "quality"),
        *("--save-dir", pictures, "-o", output),
        interrupt=lambda: pictures.exists() and len(list(pictures.glob("[a-z]*.jpg"))) >= 2,
    )
    assert outcome.code == 130, outcome.err
    done = int(re.search(r"interrupted with (\d+) of 50 images done", outcome.err)[1])
    assert 2 <= done < 50
    assert len(output.read_text().splitlines()) == done
    assert "Traceback" not in outcome.err
    assert not list(tmp_path.glob(".*"))


def test_names_are_printed_as_they_are(detect, noise_image, tmp_path):
    """Not as rich's markup, nor as its codes for emoji."""
    image = noise_image("[red]a:smile:[/].png", 40, 30)
    outcome = detect(image, "--save-dir", tmp_path / "[bold]b", "-o", tmp_path / "[link]c.csv", score=1)
    assert outcome.code == 0, outcome.err
    assert image.name in outcome.out
    assert str(tmp_path / "[bold]b") in outcome.err
    assert str(tmp_path / "[link]c.csv") in outcome.err


@pytest.mark.parametrize("option", ["--weights", "--proposals"])
def test_files_that_are_something_else(run_frcnn, image, option, tmp_path, tiny_checkpoint):
    wrong = tmp_path / "wrong.npz"
    wrong.write_text("a letter")
    others = [] if option == "--weights" else ["--weights", tiny_checkpoint]
    for path in (wrong, tmp_path / "gone.npz"):
        outcome = run_frcnn("detect", image, option, path, *others)
        assert outcome.code == 1
        assert outcome.out == ""
        assert len(outcome.err.splitlines()) == 1
        assert outcome.err.startswith(f"frcnn: {path}: ")


def test_files_of_one_name_are_told_apart(run_frcnn, tiny_voc, tiny_checkpoint, tmp_path):
    for camera, photo in (("camA", "cow"), ("camB", "chair")):
        (tmp_path / camera).mkdir()
        shutil.copy(tiny_voc / "JPEGImages" / f"{photo}.jpg", tmp_path / camera / "0001.jpg")
    shutil.copy(tiny_voc / "JPEGImages" / "wine.jpg", tmp_path / "camA" / "0002.jpg")
    made = tmp_path / "p.npz"
    outcome = run_frcnn("propose", tmp_path, "-o", made, "--mode", "single", "--workers", 1)
    assert outcome.code == 0, outcome.err
    assert set(ProposalFile(made).ids) == {"camA/0001", "camB/0001", "0002"}
    outcome = run_frcnn("detect", tmp_path, "--weights", tiny_checkpoint, "--proposals", made)
    assert outcome.code == 0, outcome.err
    assert all(name in outcome.out for name in ("camA/0001.jpg", "camB/0001.jpg", " 0002.jpg"))
