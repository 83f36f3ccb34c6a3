"""What is said of proposals: of those that were just made too, and of those that are used again."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image, ImageDraw

NEW = ("--backbone", "alexnet", "--backbone-weights", "none", "--fc-width", 8, "--roi-size", 2, "--loaders", 0)
QUICK = (
    "--short-side", 64, "--long-side", 96, "--rois-per-batch", 4, "--iterations", 1, "--mode", "single",
    "--workers", 1,
)  # fmt: skip


@pytest.fixture
def white(tmp_path) -> Path:
    """labelImg's layout: two white pictures, with an object in a corner that nothing tells from the rest."""
    root = tmp_path / "white"
    root.mkdir()
    box = "<bndbox><xmin>5</xmin><ymin>5</ymin><xmax>30</xmax><ymax>30</ymax></bndbox>"
    for name in ("a", "b"):
        Image.new("RGB", (160, 120), "white").save(root / f"{name}.png")
        xml = f"<annotation><object><name>dog</name>{box}</object></annotation>"
        (root / f"{name}.xml").write_text(xml)
    return root


UNCOVERED = "white: 2 of 2 objects (100.0%) have no proposal of IoU 0.5\n"


def test_objects_without_proposals_are_said_whenever_it_is_so(run_frcnn, white, tmp_path):
    run = tmp_path / "run"
    call = ("train", "--voc", white, "--output", run)
    assert UNCOVERED not in run_frcnn(*call, "--check").err
    outcome = run_frcnn(*call, *NEW, *QUICK)
    assert outcome.code == 0, outcome.err
    assert outcome.err.count(UNCOVERED) == 1
    assert run_frcnn("train", "--resume", run, "--check").err.count(UNCOVERED) == 1


def test_pictures_that_changed_and_sizes_that_differ(run_frcnn, white, tmp_path):
    path = tmp_path / "p.npz"
    made = ("--mode", "single", "--workers", 1, "--search-size", 200, "--smallest", 9)
    assert run_frcnn("propose", "--voc", white, "-o", path, *made).code == 0
    check = ("train", "--voc", white, "--check", "--proposals", path)
    with Image.open(white / "b.png") as image:
        ImageDraw.Draw(image).rectangle((5, 5, 30, 30), "black")
        image.save(white / "b.png")
    changed = f"{path}: 1 picture has changed since the proposals were made, such as b; make them anew\n"
    outcome = run_frcnn(*check)
    assert outcome.code == 0
    assert changed in outcome.err
    assert changed in run_frcnn("propose", "--voc", white, "--proposals", path, "--recall").err
    assert run_frcnn(*check, "--smallest", 9).code == 0
    outcome = run_frcnn(*check, "--smallest", 8)
    assert outcome.code == 1
    assert f"{path}: made with --smallest 9, not 8" in outcome.err
    for command in ("detect", "eval"):
        what = (white / "a.png",) if command == "detect" else ("--voc", white)
        outcome = run_frcnn(command, *what, "--proposals", path, "--search-size", 300)
        assert outcome.code == 2
        assert "--search-size 300: --proposals has them, so none are made" in outcome.err
    outcome = run_frcnn("propose", "--voc", white, "--proposals", path, "--recall", "--smallest", 8)
    assert (outcome.code, "--smallest is for making proposals" in outcome.err) == (2, True)
