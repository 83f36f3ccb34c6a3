"""`frcnn propose`: over images, folders and data sets."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest

from frcnn_cli.data.proposals import open_proposals
from frcnn_cli.data.proposals.npz import ProposalFile

QUICK = ("--mode", "single", "--max-proposals", 40, "--workers", 1)


def test_images_and_folders(run_frcnn, tiny_voc, tmp_path):
    folder = tiny_voc / "JPEGImages"
    outcome = run_frcnn("propose", folder / "cow.jpg", folder / "chair.jpg", "-o", tmp_path / "two.npz", *QUICK)
    assert (outcome.code, outcome.out) == (0, "")
    assert "boxes of 2 images" in outcome.err
    two = ProposalFile(tmp_path / "two.npz")
    assert set(two.ids) == {"cow", "chair"}
    assert run_frcnn("propose", folder, "-o", tmp_path / "all.npz", *QUICK).code == 0
    everything = ProposalFile(tmp_path / "all.npz")
    assert len(everything) == 10
    assert 0 < len(everything.get("cow", 128, 96)) <= 40
    assert everything.get("cow", 128, 96).tolist() == two.get("cow", 128, 96).tolist()
    assert (everything.meta["mode"], everything.meta["max_proposals"], everything.meta["seed"]) == ("single", 40, 0)


def test_a_split_of_a_data_set(run_frcnn, tiny_voc, tmp_path):
    path = tmp_path / "val.npz"
    outcome = run_frcnn("propose", "--voc", tiny_voc, "--split", "val", "-o", path, *QUICK, "--seed", 4)
    assert outcome.code == 0
    file = ProposalFile(path)
    assert file.ids == ("sheep", "wine")
    assert file.meta["seed"] == 4
    wrong = run_frcnn("propose", "--voc", tiny_voc, "--split", "minival", "-o", tmp_path / "no.npz")
    assert wrong.code == 1
    assert "splits there are: test, train, val" in wrong.err
    assert not (tmp_path / "no.npz").exists()


def test_bad_images(run_frcnn, tiny_voc, tmp_path):
    bad = tmp_path / "bad.jpg"
    bad.write_text("a letter")
    output = tmp_path / "out.npz"
    outcome = run_frcnn("propose", tiny_voc / "JPEGImages" / "cow.jpg", bad, "-o", output, *QUICK)
    assert outcome.code == 1
    assert f"{bad}: " in outcome.err
    assert "1 of 2 images" in outcome.err
    assert "Traceback" not in outcome.err
    assert not output.exists()
    assert run_frcnn("propose", tmp_path / "gone.jpg", "-o", output).code == 1
    (tmp_path / "empty").mkdir()
    empty = run_frcnn("propose", tmp_path / "empty", "-o", output)
    assert empty.code == 1
    assert "no image in this folder" in empty.err


def test_where_nothing_can_be_written(run_frcnn, tiny_voc, tmp_path):
    (tmp_path / "file").touch()
    output = tmp_path / "file" / "p.npz"
    outcome = run_frcnn("propose", tiny_voc / "JPEGImages" / "cow.jpg", "-o", output, *QUICK)
    assert outcome.code == 1
    assert len(outcome.err.splitlines()) == 1
    assert str(output) in outcome.err


@pytest.mark.parametrize("suffix", [".mat", ".pkl"])
def test_other_tools_files_are_made_and_converted(run_frcnn, tiny_voc, tmp_path, suffix):
    data = ("--voc", tiny_voc, "--split", "val")
    own, other, back = tmp_path / "own.npz", tmp_path / f"other{suffix}", tmp_path / "back.npz"
    assert run_frcnn("propose", *data, "-o", own, *QUICK).code == 0
    truth = ProposalFile(own)
    count = sum(len(truth.get(name, *truth.meta["sizes"][name])) for name in truth.ids)
    made = run_frcnn("propose", *data, "-o", other, *QUICK)
    assert (made.code, made.out) == (0, "")
    assert f"{other}: {count} boxes of 2 images" in made.err
    converted = run_frcnn("propose", "--proposals", own, "-o", tmp_path / f"converted{suffix}")
    assert (converted.code, converted.out) == (0, "")
    assert converted.err == f"{tmp_path}/converted{suffix}: {count} boxes of {own}\n"
    without = run_frcnn("propose", "--proposals", other, "-o", back)
    assert (without.code, without.err) == (
        2, f"frcnn: {other}: holds no image sizes; name the images, or give a data set\n",
    )  # fmt: skip
    assert not back.exists()
    images = [tiny_voc / "JPEGImages" / f"{name}.jpg" for name in ("sheep", "wine")]
    assert run_frcnn("propose", "--proposals", other, "-o", back, *images).code == 0
    assert run_frcnn("propose", "--proposals", other, "-o", tmp_path / "again.npz", *data).code == 0
    assert (tmp_path / "again.npz").read_bytes() == back.read_bytes()
    for path in (other, tmp_path / f"converted{suffix}", back):
        file = open_proposals(path)
        for name, (width, height) in truth.meta["sizes"].items():
            boxes, expected = file.get(name, width, height), truth.get(name, width, height)
            if suffix == ".mat":
                expected = np.hstack([np.floor(expected[:, :2]), np.ceil(expected[:, 2:])])
            assert boxes.tolist() == expected.tolist()


def test_an_image_that_is_not_in_the_file_to_convert(run_frcnn, tiny_voc, tmp_path):
    own, cow = tmp_path / "own.npz", tiny_voc / "JPEGImages" / "cow.jpg"
    assert run_frcnn("propose", cow, "-o", own, *QUICK).code == 0
    outcome = run_frcnn("propose", "--proposals", own, cow.with_name("wine.jpg"), "-o", tmp_path / "p.mat")
    assert (outcome.code, outcome.err) == (1, f"frcnn: {own}: no proposals for image wine\n")
    gone = run_frcnn("propose", "--proposals", tmp_path / "gone.pkl", "-o", tmp_path / "p.mat")
    assert (gone.code, gone.err) == (1, f"frcnn: {tmp_path / 'gone.pkl'}: no such file\n")
    assert [path.name for path in tmp_path.iterdir()] == ["own.npz"]


def test_a_log_file_is_not_filled_with_bars(run_process):
    code = (
        "import time; from frcnn_cli.commands.console import progress_bar\n"
        "for _ in progress_bar('bar')(range(20)): time.sleep(0.02)"
    )
    outcome = run_process("-c", code)
    assert outcome.code == 0, outcome.err
    assert outcome.err == ""  # nor does work of less than half a minute leave a line


def test_detectron2_s_proposals_of_a_coco_file(run_frcnn, tiny_voc, tmp_path):
    """COCO's ids are what is written, and what is read back; the other formats go by names."""
    images = [{"id": 101, "file_name": "sheep.jpg"}, {"id": 7, "file_name": "wine.jpg"}]
    boxes = [{"id": 5, "image_id": 101, "category_id": 1, "bbox": [1, 2, 30, 40]}]
    content = {"images": images, "annotations": boxes, "categories": [{"id": 1, "name": "sheep"}]}
    (tmp_path / "a.json").write_text(json.dumps(content))
    call = ("propose", "--coco", tmp_path / "a.json", "--images", tiny_voc / "JPEGImages")
    pickled, made, again = tmp_path / "p.pkl", tmp_path / "p.npz", tmp_path / "again.pkl"
    for command in (
        (*call, "-o", pickled, "--mode", "single", "--workers", 1),
        (*call, "--proposals", pickled, "-o", made),
        (*call, "--proposals", made, "-o", again),
        (*call, "--proposals", again, "--recall"),
        ("train", *call[1:], "--proposals", again, "--check"),
    ):
        outcome = run_frcnn(*command)
        assert outcome.code == 0, outcome.err
    assert sorted(pickle.loads(pickled.read_bytes())["ids"]) == [7, 101]
    assert again.read_bytes() == pickled.read_bytes()
    assert set(ProposalFile(made).ids) == {"sheep", "wine"}
