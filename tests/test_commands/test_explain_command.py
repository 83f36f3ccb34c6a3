"""`frcnn explain`: photographs, models and files of all kinds. What the page says is tested in tests/test_explain."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import torch
from PIL import Image
from torch import nn

from frcnn_cli.core.normalisation import NORMALISATIONS
from frcnn_cli.core.sppnet import SPPArchitecture, SPPNet
from frcnn_cli.engine.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from frcnn_cli.engine.detectors import DETECTORS, Kind, Scores
from frcnn_cli.explain.sections import SECTIONS
from frcnn_cli.explain.words import Words

ENGLISH = Words.load("en").tables


def text_of(words: str) -> str:
    """A sentence up to the first number that is put in."""
    return words.split("{")[0]


@pytest.fixture
def image(tiny_voc):
    return tiny_voc / "JPEGImages" / "cow.jpg"


def test_a_page_of_any_fast_rcnn(run_frcnn, image, tiny_checkpoint, tmp_path):
    page = tmp_path / "new" / "page.html"
    outcome = run_frcnn("explain", image, "-o", page, "--weights", tiny_checkpoint)
    assert outcome.code == 0, outcome.err
    assert outcome.out == f"{page}: {page.stat().st_size / 1e6:.1f} MB\n"
    text = page.read_text(encoding="utf-8")
    assert text.startswith('<!doctype html>\n<html lang="en">')
    assert all(f'<section id="{name}">' in text for name in SECTIONS)
    assert 'class="note"' not in text
    assert text_of(ENGLISH["loss"]["not_normalised"]) in text  # the checkpoint does not say how
    assert "{" not in text.split("<main")[1].split("</main>")[0]


def test_a_photograph_with_no_detection(run_frcnn, image, tiny_checkpoint, tmp_path):
    checkpoint = load_checkpoint(tiny_checkpoint)
    bias = checkpoint.state["head.cls_score.bias"] + 1000 * torch.eye(21)[0]
    unsure = tmp_path / "unsure.safetensors"
    save_checkpoint(unsure, replace(checkpoint, state={**checkpoint.state, "head.cls_score.bias": bias}))
    page = tmp_path / "page.html"
    assert run_frcnn("explain", image, "-o", page, "--weights", unsure).code == 0
    text = page.read_text(encoding="utf-8")
    for section, key in (("page", "nothing_found"), ("proposing", "no_truth"), ("loss", "intro_nothing")):
        assert ENGLISH[section][key] in text
    assert 'data-choice="1"' in text  # the likeliest RoIs, however unlikely


@pytest.mark.parametrize("size", [(1, 1), (9, 200)])
def test_a_photograph_of_hardly_a_pixel(run_frcnn, noise_image, tiny_checkpoint, tmp_path, size):
    page = tmp_path / "page.html"
    outcome = run_frcnn("explain", noise_image("a.png", *size), "-o", page, "--weights", tiny_checkpoint)
    assert (outcome.code, outcome.err) == (0, "")
    assert page.is_file()


def test_a_name_is_text(run_frcnn, image, tiny_checkpoint, tmp_path):
    photograph = tmp_path / "<b>{a}$b.png"
    Image.open(image).save(photograph)
    page = tmp_path / "page.html"
    assert run_frcnn("explain", photograph, "-o", page, "--weights", tiny_checkpoint, "--language", "ko").code == 0
    assert "<title>&lt;b&gt;{a}$b.png" in page.read_text(encoding="utf-8")


# --- another kind of checkpoint: it proposes for itself and has no backbone


@dataclass(frozen=True)
class ToyArchitecture:
    num_classes: int


def toy_score(engine, image, proposals, config) -> Scores:
    assert proposals is None
    height, width = image.shape[:2]
    boxes = torch.tensor([[0.0, 0, width / 2, height], [0, 0, width, height / 2]])
    return Scores(boxes, torch.tensor([[0.1, 0.9, 0], [0.4, 0, 0.6]]), torch.zeros(2, 2, 4))


def test_a_checkpoint_of_another_kind_is_explained_as_far_as_it_goes(run_frcnn, image, tmp_path, monkeypatch):
    kind = Kind("toy", ToyArchitecture, lambda architecture: nn.Linear(1, 1), toy_score, needs_proposals=False)
    monkeypatch.setitem(DETECTORS, "toy", kind)
    weights, page = tmp_path / "toy.safetensors", tmp_path / "page.html"
    state = nn.Linear(1, 1).state_dict()
    checkpoint = Checkpoint(ToyArchitecture(2), ("cat", "dog"), NORMALISATIONS["half"], 96, 160, {}, state, "toy")
    save_checkpoint(weights, checkpoint)
    outcome = run_frcnn("explain", image, "-o", page, "--weights", weights)
    assert outcome.code == 0, outcome.err
    text = page.read_text(encoding="utf-8")
    assert "dog 0.60" in text
    assert explained(text) == ["proposing", "boxes", "time"]


def explained(text: str) -> list[str]:
    """The sections that are not told to be of another kind."""
    parts = {name: text.split(f'<section id="{name}">')[1].split("</section")[0] for name in SECTIONS}
    return [name for name, part in parts.items() if 'class="note"' not in part]


def test_an_sppnet_has_a_map_and_layers_to_compress(run_frcnn, image, tmp_path):
    architecture = SPPArchitecture("alexnet", 2, fc_width=16, pyramid=(2, 1))
    state = SPPNet(architecture).state_dict()
    weights, page = tmp_path / "spp.safetensors", tmp_path / "page.html"
    norm = NORMALISATIONS["imagenet"]
    save_checkpoint(weights, Checkpoint(architecture, ("cat", "dog"), norm, 96, 160, {}, state, "sppnet"))
    outcome = run_frcnn("explain", image, "-o", page, "--weights", weights)
    assert outcome.code == 0, outcome.err
    text = page.read_text(encoding="utf-8")
    assert explained(text) == [name for name in SECTIONS if name not in ("backward", "loss")]
    assert "of the kind SPPnet, with the backbone alexnet" in text


# --- faults


def test_an_unreadable_photograph(run_frcnn, photographs, tmp_path):
    page = tmp_path / "page.html"
    text = tmp_path / "text.jpg"
    text.write_text("no picture")
    cut = tmp_path / "cut.jpg"
    cut.write_bytes((photographs / "JPEGImages" / "cow.jpg").read_bytes()[:9000])
    for path, fault in ((text, "not an image that can be read (unknown format)"), (cut, "truncated image")):
        outcome = run_frcnn("explain", path, "-o", page)
        assert (outcome.code, outcome.out, outcome.err) == (1, "", f"frcnn: {path}: {fault}\n")
    assert not page.exists()


def test_a_page_that_cannot_be_written(run_frcnn, image, tmp_path):
    file = tmp_path / "file"
    file.touch()
    for page, fault in ((tmp_path, "a folder"), (file / "page.html", f"{file} is not a folder")):
        outcome = run_frcnn("explain", image, "-o", page)
        assert (outcome.code, outcome.err) == (1, f"frcnn: {page}: cannot be written ({fault})\n")


def test_weights_that_are_none(run_frcnn, image, tmp_path):
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(b"none")
    outcome = run_frcnn("explain", image, "-o", tmp_path / "page.html", "--weights", weights)
    assert outcome.code == 1
    assert outcome.err.startswith(f"frcnn: {weights}: not a checkpoint, or a damaged one")
    assert len(outcome.err.splitlines()) == 1
