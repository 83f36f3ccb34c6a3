"""`frcnn train --check`: every fault of images, annotations and proposals in one go, and what is worth a warning."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from frcnn_cli.data.boxes import box_iou
from frcnn_cli.data.formats.voc import load_voc
from frcnn_cli.data.proposals.npz import write_proposals


@pytest.fixture
def check(run_frcnn):
    """Run the command; it must write nothing."""

    def run(*arguments):
        return run_frcnn("train", "--check", *arguments)

    return run


def annotation(root: Path, name: str) -> Path:
    return root / "Annotations" / f"{name}.xml"


def change(path: Path, before: str, after: str) -> None:
    text = path.read_text()
    assert re.search(before, text)
    path.write_text(re.sub(before, after, text, count=1))


def test_a_sound_data_set_is_one_line(check, tiny_voc, tiny_dataset, tiny_proposals_path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    objects = sum(len(record.objects) for record in tiny_dataset.records)
    both = ("--voc", tiny_voc, "--val-split", "val")
    proposals = ("--proposals", tiny_proposals_path, "--val-proposals", tiny_proposals_path)
    for arguments in (both, (*both, *proposals), (*both, "--output", "run")):
        outcome = check(*arguments)
        assert outcome.code == 0, outcome.err
        assert outcome.out == f"tiny train, tiny val: 10 images, {objects} objects, no fault\n"
    assert check("--voc", tiny_voc, "--split", "val").out.startswith("tiny val: 2 images, ")
    assert not list(tmp_path.iterdir())


def test_every_fault_of_both_sets_and_their_proposals(check, run_frcnn, voc_copy, tiny_proposals, tmp_path):
    train_ids = (voc_copy / "ImageSets" / "Main" / "train.txt").read_text().split()
    val_ids = (voc_copy / "ImageSets" / "Main" / "val.txt").read_text().split()
    assert val_ids == ["sheep", "wine"]
    change(annotation(voc_copy, "cow"), r"<xmax>\d+</xmax>", "<xmax>500</xmax>")
    truncated = voc_copy / "JPEGImages" / "dog_bicycle.jpg"
    truncated.write_bytes(truncated.read_bytes()[:2500])
    change(annotation(voc_copy, "wine"), "<name>[^<]*</name>", "<name>unicorn</name>")

    records = {record.id: record for record in load_voc(voc_copy, "test", skip_faulty=True).records}
    sizes = {name: (record.width, record.height) for name, record in records.items()}
    boxes = {name: tiny_proposals.get(name, *sizes[name]) for name in train_ids if name not in ("chair", "kitten")}
    path = tmp_path / "p.npz"
    write_proposals(path, boxes, {"sizes": sizes | {"astronaut": (9999, 9999)}})
    wide = tmp_path / "wide.npz"
    sheep = np.array([[0, 0, sizes["sheep"][0] + 7, 50]], np.float32)
    write_proposals(
        wide, {"sheep": sheep, "wine": boxes["cow"][:1]}, {"sizes": {"sheep": (999, 999), "wine": (999, 998)}}
    )

    arguments = ("--voc", voc_copy, "--val-split", "val", "--proposals", path, "--val-proposals", wide)
    outcome = check(*arguments)
    assert (outcome.code, outcome.out) == (1, "")
    headings = [line for line in outcome.err.splitlines() if not line.startswith("  ")]
    assert headings == [
        "frcnn: copy train: 2 faults", "copy val: 1 fault", "proposals of copy train: 2 faults",
        "proposals of copy val: 2 faults",
    ]  # fmt: skip
    faults = [line for line in outcome.err.splitlines() if line.startswith("  ")]
    assert len(faults) == 7
    for fault, wanted in zip(faults, (
        "cow.xml: object 1", f"{truncated}: truncated image", "unknown class 'unicorn'",
        f"{path}: no proposals for 2 of 7 images: chair, kitten", f"{path}: image astronaut: proposals made on 9999",
        f"{wide}: image sheep: proposals made on 999", f"{wide}: image wine: proposals made on 999",
    ), strict=True):  # fmt: skip
        assert wanted in fault
    started = run_frcnn("train", *arguments, "--output", tmp_path / "run")
    assert (started.code, started.err) == (1, outcome.err)
    assert not (tmp_path / "run").exists()


def test_boxes_outside_their_image(check, tiny_voc, tiny_dataset, tmp_path):
    """Only formats without sizes let such boxes through when they are written."""
    import pickle

    ids = [record.id for record in tiny_dataset.records[8:]]
    boxes = [np.array([[0, 0, 50, 50], [10, 10, 5000, 20]], np.float32), np.array([[1, 2, 3, 4]], np.float32)]
    content = {"boxes": boxes, "objectness_logits": [np.ones(2), np.ones(1)], "ids": ids, "bbox_mode": 0}
    path = tmp_path / "p.pkl"
    path.write_bytes(pickle.dumps(content))
    outcome = check("--voc", tiny_voc, "--split", "val", "--proposals", path)
    assert outcome.code == 1
    heading, fault = outcome.err.splitlines()
    assert heading == "frcnn: proposals of tiny val: 1 fault"
    assert fault.startswith(f"  {path}: image {ids[0]}: box 1 (10, 10, 5000, 20) lies outside the image")


def test_one_data_set_missing_does_not_hide_the_faults_of_the_other(check, voc_copy):
    change(annotation(voc_copy, "cow"), r"<xmax>\d+</xmax>", "<xmax>500</xmax>")
    outcome = check("--voc", voc_copy, "--val-split", "gone")
    assert outcome.code == 1
    assert "gone.txt: no such image list" in outcome.err
    assert "copy train: 1 fault" in outcome.err
    outcome = check("--voc", voc_copy, "--split", "gone", "--val-split", "train")
    assert "gone.txt: no such image list" in outcome.err
    assert "copy train: 1 fault" in outcome.err


def test_faulty_ones_may_be_skipped(check, voc_copy):
    change(annotation(voc_copy, "cow"), r"<xmax>\d+</xmax>", "<xmax>500</xmax>")
    truncated = voc_copy / "JPEGImages" / "dog_bicycle.jpg"
    truncated.write_bytes(truncated.read_bytes()[:2500])
    outcome = check("--voc", voc_copy, "--skip-faulty")
    assert outcome.code == 0
    assert "copy train: 2 faults skipped\n  " in outcome.err
    assert outcome.out.startswith("copy train: 7 images, ")


def test_warnings_are_counted(check, voc_copy, tiny_proposals, tmp_path):
    for name in ("chair", "kitten"):
        change(annotation(voc_copy, name), "(?s)<object>.*</object>", "")
    records = load_voc(voc_copy, "train").records
    few = {record.id: tiny_proposals.get(record.id, record.width, record.height)[:3] for record in records}
    path = tmp_path / "p.npz"
    write_proposals(path, few, {"sizes": {record.id: (record.width, record.height) for record in records}})
    objects = {record.id: record.objects.without_difficult().boxes for record in records}
    best = [box_iou(few[name], boxes).max(axis=0) for name, boxes in objects.items() if len(boxes)]
    missed, total = int((np.concatenate(best) < 0.5).sum()), sum(map(len, objects.values()))
    assert 0 < missed < total
    outcome = check("--voc", voc_copy, "--proposals", path, "--classes", "voc")
    assert outcome.code == 0
    assert "copy train: 2 of 8 images have no object" in outcome.err
    assert f"copy train: {missed} of {total} objects ({missed / total:.1%}) have no proposal of IoU 0.5" in outcome.err
    few = re.search(r"copy train: fewer than 5 objects of (\d+) classes: (.*)", outcome.err)
    assert int(few[1]) == len(few[2].split(", "))
    none = re.search(r"copy train: no object of (\d+) classes: (.*)", outcome.err)
    assert int(none[1]) == len(none[2].split(", "))
    assert "cat" in none[2].split(", ")  # the kitten was the only one
    assert int(few[1]) + int(none[1]) <= 20


def test_proposals_that_are_not_there_yet(check, tiny_voc, tmp_path):
    outcome = check("--voc", tiny_voc, "--split", "val", "--proposals", tmp_path / "p.npz")
    assert outcome.code == 0
    assert f"{tmp_path / 'p.npz'}: not there yet" in outcome.err


def test_coco(check, tiny_voc, tmp_path):
    categories = [{"id": 1, "name": "cat"}]
    images = [{"id": 7, "file_name": "kitten.jpg"}, {"id": 8, "file_name": "gone.jpg"}]
    boxes = [{"id": 5, "image_id": 7, "category_id": 1, "bbox": [1, 2, 9000, 4]}]
    (tmp_path / "a.json").write_text(json.dumps({"images": images, "annotations": boxes, "categories": categories}))
    outcome = check("--coco", tmp_path / "a.json", "--images", tiny_voc / "JPEGImages")
    assert outcome.code == 1
    assert outcome.err.splitlines()[0] == "frcnn: a: 2 faults"


def test_what_is_needed(check):
    outcome = check()
    assert (outcome.code, len(outcome.err.splitlines())) == (2, 1)
    assert "give --voc ROOT, or --coco" in outcome.err


def test_two_folders_as_one(run_frcnn, tiny_voc, tmp_path):
    """Like VOC07+12: the second folder has photographs of other names, and a list of the same name."""
    other = tmp_path / "other"
    for folder, suffix in (("JPEGImages", ".jpg"), ("Annotations", ".xml")):
        (other / folder).mkdir(parents=True)
        for name in ("cow", "sheep"):
            shutil.copy(tiny_voc / folder / f"{name}{suffix}", other / folder / f"2012_{name}{suffix}")
    lists = other / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    (lists / "val.txt").write_text("2012_cow\n2012_sheep\n")
    call = ("train", "--voc", tiny_voc, "--split", "val", "--add-voc", other, "--check", "--classes", "voc")
    outcome = run_frcnn(*call)
    assert outcome.code == 0, outcome.err
    assert outcome.out.startswith("tiny val + other val: 4 images")

    (lists / "val.txt").write_text("2012_cow\nsheep\n")
    for folder, suffix in (("JPEGImages", ".jpg"), ("Annotations", ".xml")):
        shutil.copy(tiny_voc / folder / f"sheep{suffix}", other / folder)
    outcome = run_frcnn(*call)
    assert outcome.code == 1
    assert "1 ids are in both, such as sheep" in outcome.err
    assert run_frcnn("train", "--voc", tiny_voc, "--split", "val", "--add-voc", tmp_path / "no", "--check").code == 1

    for folder, name in ((tiny_voc, "cow"), (other, "2012_cow")):
        shutil.copytree(folder, tmp_path / name)
        change(annotation(tmp_path / name, name), r"<xmax>\d+</xmax>", "<xmax>500</xmax>")
    (tmp_path / "cow" / "ImageSets" / "Main" / "val.txt").write_text("cow\nwine\n")
    (tmp_path / "2012_cow" / "ImageSets" / "Main" / "val.txt").write_text("2012_cow\n")
    call = ("train", "--voc", tmp_path / "cow", "--add-voc", tmp_path / "2012_cow", "--split", "val", "--check")
    headings = [line for line in run_frcnn(*call).err.splitlines() if not line.startswith("  ")]
    assert headings == ["frcnn: cow val: 1 fault", "2012_cow val: 1 fault"]
