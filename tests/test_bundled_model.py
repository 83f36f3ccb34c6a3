"""The model that comes with the package."""

from __future__ import annotations

import json

from frcnn_cli.data.voc import VOC_CLASSES, load_voc
from frcnn_cli.engine.checkpoint import load_checkpoint
from frcnn_cli.engine.detector import BUNDLED_MODEL, Detector


def test_it_loads_and_knows_the_classes_of_voc():
    assert BUNDLED_MODEL.stat().st_size < 15e6
    assert load_checkpoint(BUNDLED_MODEL).classes == VOC_CLASSES
    assert Detector.load().classes == VOC_CLASSES


def test_its_card_says_where_it_is_from():
    text = BUNDLED_MODEL.with_name("MODEL_CARD.md").read_text(encoding="utf-8")
    for word in ("VOC2012", "icence", "mAP", "frcnn train", "seed"):
        assert word in text
    assert "@@" not in text  # every blank is filled in


def overlap(a, b) -> float:
    width, height = (min(a[i + 2], b[i + 2]) - max(a[i], b[i]) for i in (0, 1))
    both = max(width, 0) * max(height, 0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return both / (sum(areas) - both)


def test_it_finds_the_cat_and_horses(photographs, run_frcnn):
    folder = photographs / "JPEGImages"
    outcome = run_frcnn("detect", folder / "kitten.jpg", folder / "horses.jpg", "--json")
    assert outcome.code == 0
    records = {record.id: record for record in load_voc(photographs, "test").records}
    for entry, name, least in zip(json.loads(outcome.out), ("kitten", "horses"), (1, 2), strict=True):
        kind = {"kitten": "cat", "horses": "horse"}[name]
        boxes = [found["box"] for found in entry["detections"] if found["class"] == kind]
        truths = records[name].objects.boxes.tolist()
        assert sum(any(overlap(box, truth) > 0.5 for box in boxes) for truth in truths) >= least
