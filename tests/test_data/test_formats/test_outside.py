"""Names that lead outside of a data set's folder: refused, unless that is wanted; then it is said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from frcnn_cli.data.formats.coco import load_coco
from frcnn_cli.data.formats.voc import load_voc
from frcnn_cli.data.formats.yolo import load_yolo
from frcnn_cli.data.samples import Dataset
from frcnn_cli.errors import DatasetFaults

XML = (
    "<annotation><object><name>dog</name><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>20</xmax><ymax>9</ymax></bndbox>"
    "</object></annotation>"
)


@pytest.fixture
def secret(noise_image) -> Path:
    """A picture outside of the folders `voc`, `photos` and `yolo`, which have one of another size called so."""
    for folder in ("voc/JPEGImages", "photos", "yolo/images"):
        noise_image(f"{folder}/a.png", 32, 24)
    return noise_image("secret/a.png", 40, 30)


def voc(root: Path, name: str, **wanted) -> Dataset:
    for folder in ("ImageSets/Main", "Annotations"):
        (root / "voc" / folder).mkdir(parents=True, exist_ok=True)
    (root / "voc/ImageSets/Main/train.txt").write_text(f"{name}\n")
    (root / "voc/Annotations/a.xml").write_text(XML)
    return load_voc(root / "voc", "train", **wanted)


def coco(root: Path, name: str, **wanted) -> Dataset:
    content = {
        "images": [{"id": 1, "file_name": name}],
        "categories": [{"id": 1, "name": "dog"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 1, 9, 9]}],
    }
    (root / "ann.json").write_text(json.dumps(content))
    return load_coco(root / "ann.json", root / "photos", **wanted)


def yolo(root: Path, name: str, **wanted) -> Dataset:
    (root / "yolo/data.yaml").write_text("train: train.txt\nnames: [dog]\n")
    (root / "yolo/train.txt").write_text(f"{name}\n")
    for place in (root / "yolo/labels/a.txt", root / "secret/a.txt"):
        place.parent.mkdir(exist_ok=True)
        place.write_text("0 .5 .5 .2 .2\n")
    return load_yolo(root / "yolo", "train", **wanted)


RELATIVE = {voc: "../../secret/a", coco: "../secret/a.png", yolo: "../secret/a.png"}


@pytest.mark.parametrize("read", RELATIVE)
def test_a_name_that_leads_outside(tmp_path, secret, read):
    with pytest.raises(DatasetFaults, match=r"leads outside of .*; --follow-outside reads it"):
        read(tmp_path, RELATIVE[read])
    dataset = read(tmp_path, RELATIVE[read], follow_outside=True)
    assert [(record.width, record.height) for record in dataset.records] == [(40, 30)]
    (note,) = dataset.notes
    assert note.startswith("images outside of ")
    assert note.count("secret") == 1


@pytest.mark.parametrize("read", RELATIVE)
def test_an_absolute_name(tmp_path, secret, read, noise_image):
    """Where a copy of it is in the folder, as after a move, that is meant."""
    other = noise_image("secret/b.png", 50, 30)
    if read is yolo:
        (tmp_path / "secret/b.txt").write_text("")
    if read is voc:
        (tmp_path / "voc/Annotations").mkdir(exist_ok=True)
        (tmp_path / "voc/Annotations/b.xml").write_text(XML)
    with pytest.raises(DatasetFaults, match="--follow-outside reads it"):
        read(tmp_path, str(other))
    assert read(tmp_path, str(other), follow_outside=True).records[0].width == 50
    if read is not yolo:
        assert read(tmp_path, str(secret)).records[0].width == 32


@pytest.mark.parametrize("read", RELATIVE)
@pytest.mark.parametrize("place", ["../elsewhere/", "../../elsewhere/", "/home/me/", "C:\\data\\"])
def test_a_path_of_another_place_that_is_not_there_is_found_by_its_end(tmp_path, secret, read, place):
    folder = {voc: "JPEGImages", coco: "photos", yolo: "images"}[read]
    found = read(tmp_path, f"{place}{folder}/a.png").records[0]
    assert found.width == 32
    assert found.path.parent.name == folder


@pytest.mark.parametrize(
    "text",
    ["path: ../secret\ntrain: .", "train: ../secret", "train: [images, ../secret]", "path: {root}/secret\ntrain: ."],
)
def test_places_of_data_yaml(tmp_path, secret, text, fault_of):
    (tmp_path / "yolo/data.yaml").write_text(text.format(root=tmp_path) + "\nnames: [dog]\n")
    (tmp_path / "secret/a.txt").write_text("0 .5 .5 .2 .2\n")
    assert "leads outside of" in fault_of(load_yolo, tmp_path / "yolo", "train")
    dataset = load_yolo(tmp_path / "yolo", "train", follow_outside=True)
    assert (40, 30) in [(record.width, record.height) for record in dataset.records]
    assert any(note.startswith("images outside of") for note in dataset.notes)


def test_billions_of_laughs(tmp_path, fault_of):
    """YAML's aliases make a few bytes stand for billions of items, which a message would spell out."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10)]
    for last in ("names: {0: *a9}", "names: [*a9]", "names: [x]\nnc: *a9\ntrain: .", "names: [x]\ntrain: [*a9]"):
        (tmp_path / "data.yaml").write_text("\n".join([*lines, last]))
        assert len(fault_of(load_yolo, tmp_path, "train")) < 400
