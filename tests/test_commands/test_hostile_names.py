"""Every command with names that mean something to rich, to a file system or to a terminal: they are only names."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from frcnn_cli.core.normalisation import NORMALISATIONS
from frcnn_cli.data.proposals.npz import ProposalFile, write_proposals
from frcnn_cli.engine.checkpoint import Checkpoint, save_checkpoint
from frcnn_cli.engine.detectors import DETECTORS, Kind, Scores

NAMES = (
    "[red]a", ":smile:", "[", "]]", "[link=x]", "%s{0}", "a b  c", "'quoted'", "猫" * 83, "x" * 251, "-rf", "~", "%41",
    "e\u0301 NFD", "a.b.c", "$HOME", "a;b", "#1",
)  # fmt: skip
"""Of images, without their suffix; 猫 is three bytes, so that two of them are as long as a name can be."""

CLASSES = ("[/x]", ":smile:", "[bold]", "猫", "é,è", "a\tb", "<b>", "$x_1^2$", "%d", "x" * 255)


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
    root = tmp_path / "[data] :smile:"
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
    assert all(name in outcome.out for name in ("[/x]", ":smile:", "[bold]", "猫", "<b>", "%d"))
    assert len(list(pictures.iterdir())) == len(NAMES)
    assert str(made) in outcome.err


def test_detect(run_frcnn, folder, weights, proposals, tmp_path):
    call = ("detect", folder, "--weights", weights, "--proposals", proposals)
    outcome = run_frcnn(*call, "--save-dir", tmp_path / "[d]")
    assert outcome.code == 0, outcome.err
    assert all(f"{name}.png" in outcome.out for name in NAMES if len(name) < 20)
    assert all(name in outcome.out for name in ("[/x]", ":smile:", "[bold]", "猫", "<b>", "%d"))
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
    assert all(name in outcome.out for name in ("[/x]", ":smile:", "[bold]", "猫", "<b>", "%d"))
    outcome = run_frcnn(*call, "--json")
    assert set(json.loads(outcome.out)["AP"]) == set(CLASSES)


def test_compress_svd(run_frcnn, tiny_checkpoint, tmp_path):
    path = tmp_path / "[red]:smile: 猫.safetensors"
    shutil.copy(tiny_checkpoint, path)
    small = tmp_path / "[/x].safetensors"
    small.parent.mkdir(exist_ok=True)
    outcome = run_frcnn("compress-svd", path, "-o", small, "--fc6", 3)
    assert outcome.code == 0, outcome.err
    assert str(small) in outcome.out


def test_train(run_frcnn, folder, proposals, tmp_path):
    new = ("--backbone", "alexnet", "--backbone-weights", "none", "--fc-width", 8, "--roi-size", 2, "--loaders", 0)
    quick = ("--short-side", 64, "--long-side", 96, "--rois-per-batch", 4, "--iterations", 1)
    outcome = run_frcnn(
        "train", "--voc", folder, "--output", tmp_path / "[run]", "--proposals", proposals, *new, *quick
    )
    assert outcome.code == 0, outcome.err
    assert str(tmp_path / "[run]") in outcome.err


def test_a_name_of_several_lines(run_frcnn, noise_image, weights, tmp_path):
    """What is shown of it is for the console to decide; it is done, and nothing else is."""
    image = noise_image("two\nlines.png", 40, 32)
    path = tmp_path / "p.npz"
    assert run_frcnn("propose", image, "-o", path, "--mode", "single", "--workers", 1).code == 0
    outcome = run_frcnn("detect", image, "--weights", weights, "--proposals", path, "--json")
    assert outcome.code == 0, outcome.err
    assert [result["image"] for result in json.loads(outcome.out)] == [str(image)]
