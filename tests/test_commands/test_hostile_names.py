"""Every command with names that mean something to rich, to a file system or to a terminal: they are only names."""

from __future__ import annotations

import csv
import json
import re
import sys
from dataclasses import dataclass, replace
from html import unescape
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from frcnn_cli.core.normalisation import NORMALISATIONS
from frcnn_cli.data.proposals.npz import ProposalFile, write_proposals
from frcnn_cli.engine import installation
from frcnn_cli.engine.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from frcnn_cli.engine.detectors import DETECTORS, Kind, Scores

NAMES = (
    "[red]a", ":smile:", "[", "]]", "[link=x]", "%s{0}", "a b  c", "'quoted'", "猫" * 83, "x" * 251, "-rf", "~", "%41",
    "e\u0301 NFD", "a.b.c", "$HOME", "a;b", "#1",
)  # fmt: skip
"""Of images, without their suffix; 猫 is three bytes, so that two of them are as long as a name can be."""

CLASSES = ("[/x]", ":smile:", "[bold]", "猫", "é,è", "a\tb", "<b>", "$x_1^2$", "%d", "x" * 255)

SHOWN = ("[/x]", ":smile:", "[bold]", "猫", "<b>", "%d")
"""Of these, those that no table folds."""

OBEYED = {
    "\x1b[31mred": r"\x1b[31mred",
    "\x1b]0;title\x07": r"\x1b]0;title\x07",
    "two\nlines": r"two\nlines",
    "over\rwritten": r"over\x0dwritten",
    "\x9b2J": r"\x9b2J",
    "\u202efdp": r"\u202efdp",
    "\x7f": r"\x7f",
}
"""Names that a terminal would obey, and what is shown of them."""


@dataclass(frozen=True)
class ToyArchitecture:
    num_classes: int


class ToyModel(nn.Module):
    def __init__(self, architecture: ToyArchitecture) -> None:
        super().__init__()
        self.register_buffer("place", torch.zeros(1, 4))


def every_class(engine, image: np.ndarray, proposals: np.ndarray | None, config) -> Scores:
    """Finds an object of each class, in the same place."""
    scores = torch.full((len(CLASSES), 1 + len(CLASSES)), 0.001)
    scores[range(len(CLASSES)), range(1, 1 + len(CLASSES))] = 0.9
    boxes = torch.tensor([[4.0, 4, 20, 20]]).expand(len(CLASSES), 4)
    return Scores(boxes, scores, torch.zeros(len(CLASSES), len(CLASSES), 4))


@pytest.fixture
def folder(tmp_path) -> Path:
    """labelImg's layout: an image with an object of a class for each name, in a folder with such a name."""
    root = tmp_path / r"[data] :smile: $\no^_{formula$"
    root.mkdir()
    for number, name in enumerate(NAMES):
        noise = np.random.default_rng(number).integers(0, 255, (32, 40, 3), dtype=np.uint8)
        Image.fromarray(noise).save(root / f"{name}.png")
        label = CLASSES[number % len(CLASSES)].replace("<", "&lt;").replace("\t", "&#9;")
        box = "<bndbox><xmin>5</xmin><ymin>5</ymin><xmax>20</xmax><ymax>20</ymax></bndbox>"
        xml = f"<annotation><object><name>{label}</name>{box}</object></annotation>"
        (root / f"{name}.xml").write_text(xml, encoding="utf-8")
    return root


@pytest.fixture
def proposals(folder, tmp_path) -> Path:
    path = tmp_path / "[p].npz"
    boxes = {name: np.array([[4, 4, 20, 20], [0, 0, 40, 32]], np.float32) for name in NAMES}
    write_proposals(path, boxes, {"sizes": dict.fromkeys(NAMES, (40, 32))})
    return path


@pytest.fixture
def weights(tmp_path, monkeypatch) -> Path:
    monkeypatch.setitem(DETECTORS, "toy", Kind("toy", ToyArchitecture, ToyModel, every_class))
    path = tmp_path / "[w].safetensors"
    about = Checkpoint(
        ToyArchitecture(len(CLASSES)), CLASSES, NORMALISATIONS["half"], 32, 40, {}, {"place": torch.zeros(1, 4)}, "toy"
    )
    save_checkpoint(path, about)
    return path


def test_train_check(run_frcnn, folder, proposals):
    outcome = run_frcnn("train", "--voc", folder, "--check", "--proposals", proposals)
    assert outcome.code == 0, outcome.err
    assert outcome.out == f"{folder.name}: {len(NAMES)} images, {len(NAMES)} objects, no fault\n"
    assert all(name in outcome.err for name in CLASSES if "\t" not in name)  # of which there are few


def test_propose(run_frcnn, folder, tmp_path):
    made, pictures = tmp_path / "[b].npz", tmp_path / "[s]"
    call = ("propose", "--voc", folder, "-o", made, "--mode", "single", "--workers", 1, "--max-proposals", 5)
    outcome = run_frcnn(*call, "--recall", "--save-dir", pictures, "--plot", tmp_path / "[p].png")
    assert outcome.code == 0, outcome.err
    assert set(ProposalFile(made).ids) == set(NAMES)
    assert all(name in outcome.out for name in SHOWN)
    assert len(list(pictures.iterdir())) == len(NAMES)
    assert str(made) in outcome.err


def test_detect(run_frcnn, folder, weights, proposals, tmp_path):
    call = ("detect", folder, "--weights", weights, "--proposals", proposals)
    outcome = run_frcnn(*call, "--save-dir", tmp_path / "[d]")
    assert outcome.code == 0, outcome.err
    assert all(f"{name}.png" in outcome.out for name in NAMES if len(name) < 20)
    assert all(name in outcome.out for name in SHOWN)
    assert len(list((tmp_path / "[d]").iterdir())) == len(NAMES)
    outcome = run_frcnn(*call, "--json", "-o", tmp_path / "[d].csv")
    assert {result["image"] for result in json.loads(outcome.out)} == {str(folder / f"{name}.png") for name in NAMES}
    with (tmp_path / "[d].csv").open(newline="", encoding="utf-8") as file:
        assert {row["class"] for row in csv.DictReader(file)} == set(CLASSES)


def test_eval(run_frcnn, folder, weights, proposals, tmp_path):
    names = tmp_path / "[c].txt"
    names.write_text("\n".join(CLASSES), encoding="utf-8")
    call = ("eval", "--voc", folder, "--classes", names, "--weights", weights, "--proposals", proposals)
    outcome = run_frcnn(*call, "--output", tmp_path / "[e].json")
    assert outcome.code == 0, outcome.err
    assert all(name in outcome.out for name in SHOWN)
    outcome = run_frcnn(*call, "--json")
    assert set(json.loads(outcome.out)["AP"]) == set(CLASSES)


@pytest.fixture
def network(tiny_checkpoint, tmp_path) -> Path:
    """A Fast R-CNN of twenty hostile classes, in such a file."""
    checkpoint = load_checkpoint(tiny_checkpoint)
    names = (*CLASSES, *OBEYED, "{a}", "&amp;", "#")
    path = tmp_path / "[red]:smile: 猫 {0}.safetensors"
    save_checkpoint(path, replace(checkpoint, classes=names[: len(checkpoint.classes)]))
    return path


def test_compress_svd(run_frcnn, network, tmp_path):
    small = tmp_path / "[" / "x].safetensors"
    outcome = run_frcnn("compress-svd", network, "-o", small, "--fc6", 3)
    assert outcome.code == 0, outcome.err
    assert str(small) in outcome.out
    assert load_checkpoint(small).classes == load_checkpoint(network).classes


def test_export(run_frcnn, network, folder, tmp_path):
    """The exported model finds the same classes; eight bits are calibrated on a folder of hostile names."""
    model = tmp_path / "[bold]:cat:.onnx"
    outcome = run_frcnn("export", network, "-o", model)
    assert outcome.code == 0, outcome.err
    assert outcome.out.startswith(f"{model}: ")
    outcome = run_frcnn("detect", folder / "[.png", "--weights", model, "--mode", "single", "--score", 0, "--json")
    assert outcome.code == 0, outcome.err
    found = {each["class"] for each in json.loads(outcome.out)[0]["detections"]}
    assert len(found) > 1
    assert found <= set(load_checkpoint(network).classes)
    (folder / "[x].heic.dng").touch()
    small = ("--int8", "--calibrate", folder, "--calibration-images", 1, "--calibration-rois", 2)
    outcome = run_frcnn("export", network, "-o", tmp_path / "[/].onnx", *small)
    assert outcome.code == 0, outcome.err
    assert f"{folder / '[x].heic.dng'}: left out" in outcome.err


@pytest.mark.parametrize("name", ["[x]:cat:猫", "<script>$a", *list(OBEYED)[1:3], "a\udcff"])
def test_explain(run_frcnn, network, folder, tmp_path, name):
    if name == "a\udcff" and sys.platform == "darwin":
        pytest.skip("names are UTF-8 there")
    image, page = folder / f"{name}.png", tmp_path / f"{name}.html"
    image.write_bytes((folder / "[.png").read_bytes())
    outcome = run_frcnn("explain", image, "-o", page, "--weights", network)
    assert outcome.code == 0, outcome.err
    assert len(outcome.out.splitlines()) == 1
    assert not CONTROL.search(outcome.out + outcome.err)
    text = page.read_text(encoding="utf-8")
    assert not CONTROL.search(text)
    title = unescape(text.split("<title>")[1].split("</title>")[0])
    assert title == f"Fast R-CNN on {OBEYED.get(name, name)}.png".replace("\udcff", r"\xff")
    assert "<script>$a" not in text
    assert "&amp;lt;" not in text


def test_doctor(run_frcnn, tmp_path, monkeypatch):
    gone = tmp_path / "[red]\x1b[31m\nb" / ":smile:.safetensors"
    monkeypatch.setattr(installation, "BUNDLED_MODEL", gone)
    monkeypatch.setattr(installation.Detector, "load", lambda: 1 / 0)
    monkeypatch.setattr(installation, "PACKAGES", ("torch",))
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "[/x]\x1b[31m"))
    outcome = run_frcnn("doctor")
    assert outcome.code == 1
    assert not CONTROL.search(outcome.out + outcome.err)
    assert len(outcome.err.splitlines()) == 2  # the model, the test
    assert r"[red]\x1b[31m\nb/:smile:.safetensors: cannot be read" in outcome.err
    assert r"[/x]\x1b[31m" in "".join(re.split(r"[\s│]+", outcome.out))


QUICK = (
    "--short-side", 64, "--iterations", 1, "--backbone-weights", "none", "--fc-width", 8,
)  # fmt: skip


def test_lineage(run_frcnn, folder, proposals, tmp_path):
    run = tmp_path / "[/l] :smile:"
    outcome = run_frcnn(
        "lineage", "--voc", folder, "-o", run, "--proposals", proposals, "--val-proposals", proposals, *QUICK,
        "--val-split", "train", "--images", len(NAMES), "--val-images", 2, "--detectors", "fast-rcnn",
        "--backbone", "test_efficientnet", "--max-proposals", 4,
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    assert f"table in {run / 'lineage.md'}, plot in {run / 'lineage.png'}" in outcome.err
    assert (run / "lineage.md").is_file()


def test_train(run_frcnn, folder, proposals, tmp_path):
    new = ("--backbone", "alexnet", "--roi-size", 2, "--loaders", 0, "--long-side", 96, "--rois-per-batch", 4)
    run = tmp_path / r"[run] $\no^_{formula$ 猫 é"
    outcome = run_frcnn("train", "--voc", folder, "--output", run, "--proposals", proposals, *new, *QUICK)
    assert outcome.code == 0, outcome.err
    assert str(run) in outcome.err
    assert (run / "curves.png").stat().st_size > 1000
    outcome = run_frcnn("train", "--resume", run)
    assert outcome.code == 0, outcome.err  # it is done
    assert str(run) in outcome.err


# --- names that a terminal would obey

CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e\ud800-\udfff]")


@pytest.fixture
def obeyed(tmp_path) -> tuple[object, ...]:
    """Options that name a COCO set of such images and classes, as no XML could hold them; its folder too."""
    root = tmp_path / "\x1b[31m\nred"
    root.mkdir()
    images, annotations = [], []
    for number, name in enumerate(OBEYED, start=1):
        noise = np.random.default_rng(number).integers(0, 255, (32, 40, 3), dtype=np.uint8)
        Image.fromarray(noise).save(root / f"{name}.png")
        images.append({"id": number, "file_name": f"{name}.png"})
        annotations.append({"id": number, "image_id": number, "category_id": number, "bbox": [4, 4, 16, 16]})
    categories = [{"id": number, "name": name} for number, name in enumerate(OBEYED, start=1)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (root / "\x07.json").write_text(json.dumps(content))
    return "--coco", root / "\x07.json", "--images", root


def unfolded(table: str) -> str:
    """What stands in the first columns of tables, one after the other, without the ends of their lines."""
    return "".join(row.split("│")[1].strip() for row in table.splitlines() if row.startswith("│"))


def lines(outcome) -> list[str]:
    """What a terminal gets, a line each; nothing in it is to be obeyed."""
    assert not CONTROL.search(outcome.out + outcome.err)
    return (outcome.out + outcome.err).splitlines()


def test_obeyed_names_of_a_data_set(run_frcnn, obeyed, tmp_path):
    made = tmp_path / "\x1b[1m\np.npz"
    call = ("propose", *obeyed, "-o", made, "--mode", "single", "--workers", 1, "--recall")
    outcome = run_frcnn(*call, "--save-dir", tmp_path / "\x1bs", "--plot", tmp_path / "\x1bp.png")
    assert outcome.code == 0, outcome.err
    assert all(shown in unfolded(outcome.out) for shown in OBEYED.values())
    assert len(list((tmp_path / "\x1bs").iterdir())) == len(OBEYED)
    lines(outcome)
    outcome = run_frcnn("train", *obeyed, "--check", "--proposals", made)
    assert outcome.code == 0, outcome.err
    assert all(name in outcome.err for name in OBEYED.values())  # of which there are few
    assert all(line.startswith(r"\x07: ") for line in lines(outcome))


def test_obeyed_names_in_faults(run_frcnn, obeyed, tmp_path):
    """A fault is a line, whatever is called how."""
    path = obeyed[1]
    content = json.loads(path.read_text())
    for annotation in content["annotations"]:
        annotation["bbox"] = [9, 9, -3, 2]
    path.write_text(json.dumps(content))
    for kept in (("--all-faults",), ("--all-faults", "--skip-faulty")):
        outcome = run_frcnn("train", *obeyed, "--check", *kept)
        assert outcome.code == 1
        faults = [line for line in lines(outcome) if "is inverted" in line]
        assert len(faults) == len(OBEYED)
        assert all(any(shown in line for line in faults) for shown in OBEYED.values())
    for image in content["images"]:
        image["file_name"] = f"gone {image['file_name']}"
    path.write_text(json.dumps(content))
    outcome = run_frcnn("train", *obeyed, "--check", "--all-faults")
    assert outcome.code == 1
    assert len(lines(outcome)) == 1 + len(OBEYED)


def test_obeyed_names_that_lead_to_nothing(run_frcnn, tmp_path):
    gone = tmp_path / "\x1b[31m\ngone"
    for call in (
        ("detect", gone), ("detect", gone, "--weights", gone), ("propose", gone, "-o", tmp_path / "p.npz"),
        ("train", "--voc", gone, "--check"), ("train", "--yolo", gone, "--check"), ("eval", "--voc", gone),
        ("train", "--voc", gone, "--check", "--classes", f"{gone}.txt"), ("explain", gone, "-o", tmp_path / "a.html"),
        ("export", gone, "-o", tmp_path / "a.onnx"), ("compress-svd", gone, "-o", tmp_path / "a.st", "--fc6", 1),
        ("lineage", "--voc", gone, "-o", tmp_path / "l"), ("train", "--config", gone), (f"{gone}",),
        ("detect", tmp_path, f"--{gone}"), ("detect", tmp_path, "--score", gone), ("doctor", gone),
        ("eval", "--compare", gone, f"{gone}2", "--voc", tmp_path), ("detect", tmp_path, "-o", gone / "a\n.txt"),
    ):  # fmt: skip
        outcome = run_frcnn(*call)
        assert outcome.code in (1, 2), call
        assert len(lines(outcome)) == 1, call
        assert r"\x1b[31m\ngone" in outcome.err or "frcnn" in outcome.err


def test_obeyed_names_of_what_is_detected(run_frcnn, network, obeyed, tmp_path):
    root = obeyed[3]
    call = ("detect", root, "--weights", network, "--mode", "single", "--score", 0)
    outcome = run_frcnn(*call, "--save-dir", tmp_path / "\x1bd", "--crop", tmp_path / "\x1b\nc", "--max-detections", 3)
    assert outcome.code == 0, outcome.err
    table = [line for line in lines(outcome) if line.startswith("│")]
    assert len({len(line) for line in table}) <= 2  # of which 猫 is wider than it is long
    assert all(f"{shown}.png" in outcome.out for shown in OBEYED.values())
    for suffix in (".json", ".jsonl", ".csv"):
        outcome = run_frcnn(*call, "-o", tmp_path / f"\x1b\n{suffix}", "--json")
        assert outcome.code == 0, outcome.err
        assert {Path(each["image"]).name for each in json.loads(outcome.out)} == {f"{name}.png" for name in OBEYED}
        lines(outcome._replace(out=""))


def test_obeyed_names_of_what_is_measured(run_frcnn, obeyed, tmp_path, monkeypatch):
    monkeypatch.setitem(DETECTORS, "toy", Kind("toy", ToyArchitecture, ToyModel, every_class))
    path = tmp_path / "\x1b[1m\nw.safetensors"
    place = {"place": torch.zeros(1, 4)}
    about = Checkpoint(ToyArchitecture(len(CLASSES)), (*OBEYED, "a", "b", "c"), NORMALISATIONS["half"], 32, 40, {},
                       place, "toy")  # fmt: skip
    save_checkpoint(path, about)
    other = tmp_path / "\x1b[1m\nv.safetensors"
    save_checkpoint(other, about)
    content = json.loads(obeyed[1].read_text())
    content["categories"] += [{"id": 90 + number, "name": name} for number, name in enumerate("abc")]
    obeyed[1].write_text(json.dumps(content))
    call = ("eval", *obeyed, "--mode", "single")
    outcome = run_frcnn(*call, "--weights", path, "--report", tmp_path / "\x1br", "--thresholds")
    assert outcome.code == 0, outcome.err
    assert all(shown in unfolded(outcome.out) for shown in OBEYED.values())
    lines(outcome)
    assert not CONTROL.search((tmp_path / "\x1br" / "index.html").read_text(encoding="utf-8"))
    outcome = run_frcnn(*call, "--compare", path, other)
    assert outcome.code == 0, outcome.err
    assert all(shown in unfolded(outcome.out) for shown in OBEYED.values())
    lines(outcome)
