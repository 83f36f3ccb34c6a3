"""The guide to data: every row of its first table is typed, and the options that it names are real."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

import frcnn_cli
from frcnn_cli.commands.train import train

GUIDE = (Path(frcnn_cli.__file__).parent / "DATA.md").read_text(encoding="utf-8")


def test_the_options_of_the_guide_are_real():
    known = {name for param in train.params for name in (*param.opts, *param.secondary_opts)}
    named = set(re.findall(r"--[a-z][a-z-]*", GUIDE))
    assert len(named) > 10
    assert named <= known


# --- layouts, by the first words of their rows; each has 5 images of a bird


def write(path: str, text: str) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text, encoding="utf-8")


def photographs(folder: str, count: int = 5, suffix: str = ".jpg") -> Iterator[str]:
    for number in range(1, count + 1):
        path = Path(folder) / f"{Path(folder).name}{number:04}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 30)).save(path)
        yield path.stem


def with_xml(folder: str, annotations: str, count: int = 5, suffix: str = ".jpg") -> list[str]:
    box = "<xmin>5</xmin><ymin>5</ymin><xmax>20</xmax><ymax>20</ymax>"
    names = list(photographs(folder, count, suffix))
    for name in names:
        text = f"<annotation><object><name>bird</name><bndbox>{box}</bndbox></object></annotation>"
        write(f"{annotations}/{name}.xml", text)
    return names


def with_labels(folder: str, labels: str, count: int = 5) -> list[str]:
    names = list(photographs(folder, count))
    for name in names:
        write(f"{labels}/{name}.txt", "0 0.5 0.5 0.2 0.4\n")
    return names


def a_voc(root: str) -> None:
    names = with_xml(f"{root}/JPEGImages", f"{root}/Annotations")
    for split, members in (("train", names[:3]), ("val", names[3:]), ("trainval", names)):
        write(f"{root}/ImageSets/Main/{split}.txt", "\n".join(members))


def a_coco(path: str, folder: str, count: int) -> None:
    names = list(photographs(folder, count))
    content = {
        "images": [{"id": number, "file_name": f"{name}.jpg"} for number, name in enumerate(names)],
        "annotations": [{"image_id": number, "category_id": 1, "bbox": [5, 5, 9, 9]} for number in range(count)],
        "categories": [{"id": 1, "name": "bird"}],
    }
    write(path, json.dumps(content))


def roboflow_voc() -> None:
    for split, count in (("train", 3), ("valid", 2)):
        with_xml(f"birds/{split}", f"birds/{split}", count)


def two_cocos() -> None:
    a_coco("train.json", "photos/train", 3)
    a_coco("val.json", "photos/val", 2)


def a_yolo() -> None:
    for split, count in (("train", 3), ("val", 2)):
        with_labels(f"birds/images/{split}", f"birds/labels/{split}", count)
    write("birds/data.yaml", "train: images/train\nval: images/val\nnames: [bird]\n")


def flat_yolo() -> None:
    with_labels("birds", "birds")
    write("birds/classes.txt", "bird\n")


def label_studio() -> None:
    with_labels("birds/images", "birds/labels")
    write("birds/classes.txt", "bird\n")
    write("birds/notes.json", "{}")


def darknet() -> None:
    names = with_labels("birds/data", "birds/data")
    for split, members in (("train", names[:3]), ("valid", names[3:])):
        write(f"birds/{split}.txt", "".join(f"data/{name}.jpg\n" for name in members))
    write("birds/obj.names", "bird\n")
    write("birds/obj.data", "classes = 1\ntrain = train.txt\nvalid = valid.txt\nnames = data/obj.names\n")


def two_vocs() -> None:
    a_voc("VOC2007")
    a_voc("VOC2012")
    for path in sorted(Path("VOC2012").rglob("JPEGImages0*")):
        path.rename(path.with_name(path.name.replace("Images", "")))
    lists = Path("VOC2012/ImageSets/Main/trainval.txt")
    lists.write_text(lists.read_text().replace("Images", ""))


LAYOUTS = {
    "VOC:": lambda: a_voc("birds"),
    "the root of a devkit": lambda: a_voc("VOCdevkit/VOC2007"),
    "labelImg:": lambda: with_xml("birds", "birds"),
    "Roboflow, VOC:": roboflow_voc,
    "Kaggle:": lambda: with_xml("birds/images", "birds/annotations", suffix=".png"),
    "COCO:": two_cocos,
    "Roboflow, COCO:": lambda: a_coco("birds/train/_annotations.coco.json", "birds/train", 5),
    "YOLO:": a_yolo,
    "labelImg, YOLO:": flat_yolo,
    "Label Studio, YOLO:": label_studio,
    "Darknet:": darknet,
    "VOC2007 and VOC2012": two_vocs,
}


def rows() -> list[tuple[str, str]]:
    """What the first table says: a layout, and what to type."""
    table = GUIDE.split("| Type this |\n")[1].split("\n\n")[0]
    return [(row.split("|")[1].strip(), row.split("|")[2].split("`")[1]) for row in table.splitlines()[1:]]


@pytest.mark.parametrize(("layout", "typed"), rows())
def test_a_row_that_is_typed(run_frcnn, tmp_path, monkeypatch, layout, typed):
    monkeypatch.chdir(tmp_path)
    (make,) = [make for name, make in LAYOUTS.items() if layout.startswith(name)]
    make()
    outcome = run_frcnn("train", *shlex.split(typed), "--check")
    assert outcome.code == 0, outcome.err
    images = 10 if "--add-voc" in typed else 5
    assert outcome.out.endswith(f": {images} images, {images} objects, no fault\n")
