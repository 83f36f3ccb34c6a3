"""`frcnn eval`: the same figures from every layout, in JSON, in the table and in VOC's own files."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from frcnn_cli.data.detections import Detections
from frcnn_cli.data.writers.voc_results import read_voc_results
from frcnn_cli.engine.detection_config import DetectionConfig
from frcnn_cli.engine.detector import BUNDLED_MODEL, Detector
from frcnn_cli.engine.evaluator import evaluate_dataset
from frcnn_cli.metrics.average_precision import coco_average_precision, evaluate, match_detections
from frcnn_cli.metrics.coco import NUMBERS
from frcnn_cli.metrics.thresholds import best_threshold


@pytest.fixture
def evaluate_tiny(run_frcnn, tiny_checkpoint, tiny_proposals_path):
    def run(*arguments):
        return run_frcnn("eval", "--weights", tiny_checkpoint, "--proposals", tiny_proposals_path, *arguments)

    return run


def coco_of(dataset, path) -> None:
    """The same data set in COCO's layout; difficult objects become crowds."""
    images, annotations = [], []
    for number, record in enumerate(dataset.records, start=1):
        images.append({"id": number, "file_name": record.path.name, "width": record.width, "height": record.height})
        for box, label, difficult in zip(
            record.objects.boxes.tolist(), record.objects.labels.tolist(), record.objects.difficult, strict=True
        ):
            x1, y1, x2, y2 = box
            annotation = {"id": len(annotations), "image_id": number, "category_id": label, "iscrowd": int(difficult)}
            annotations.append(annotation | {"bbox": [x1, y1, x2 - x1, y2 - y1]})
    categories = [{"id": label, "name": name} for label, name in enumerate(dataset.classes, start=1)]
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))


def test_json(evaluate_tiny, tiny_voc, tiny_dataset):
    outcome = evaluate_tiny("--voc", tiny_voc, "--json")
    assert outcome.code == 0
    result = json.loads(outcome.out)
    assert list(result) == ["metric", "mAP", "AP", "images", "seconds_per_image"]
    assert result["metric"] == "voc"
    assert result["images"] == 10
    assert tuple(result["AP"]) == tiny_dataset.classes
    there = {
        tiny_dataset.classes[label - 1]
        for r in tiny_dataset.records
        for label in r.objects.labels[~r.objects.difficult]
    }
    values = [value for value in result["AP"].values() if value is not None]
    assert {name for name, value in result["AP"].items() if value is not None} == there
    assert all(0 <= value <= 1 for value in values)
    assert result["mAP"] == pytest.approx(np.mean(values))
    assert list(result["seconds_per_image"]) == ["proposals", "detection"]
    assert result["seconds_per_image"]["proposals"] is None
    assert result["seconds_per_image"]["detection"] > 0


def test_table_and_metric_of_2007(run_frcnn, tiny_voc, tiny_proposals_path):
    """By the bundled model, which finds enough for the two metrics to differ."""
    mean = {}
    for metric in ("voc", "voc07"):
        arguments = ("eval", "--voc", tiny_voc, "--proposals", tiny_proposals_path, "--metric", metric)
        result = json.loads(run_frcnn(*arguments, "--json").out)
        assert result["metric"] == metric
        mean[metric] = result["mAP"]
        table = run_frcnn(*arguments)
        assert table.code == 0
        assert re.search(rf"mAP\W+\d+\W+{result['mAP']:.4f}", table.out)
        assert f"metric {metric}" in table.err
    assert mean["voc"] != mean["voc07"]


PAPERS = ("--nms", 0.3, "--no-box-voting", "--refine", 0)
"""How the paper selects detections. The untrained model of these tests is so wrong that others bring it to 0."""


def test_ways_to_look_reach_the_evaluation(evaluate_tiny, tiny_voc, tiny_dataset, tiny_proposals, tiny_checkpoint):
    arguments = ("--nms", 0.5, "--scales", "64,96,144", "--long-side", 200, "--flip-test", "--refine", 0)
    outcome = evaluate_tiny("--voc", tiny_voc, *arguments, "--json")
    assert outcome.code == 0
    result = json.loads(outcome.out)
    config = DetectionConfig(0.01, 0.5, 100, scales=(64, 96, 144), long_side=200, flip=True, refine=0)
    detector = Detector.load(tiny_checkpoint)
    expected = evaluate_dataset(detector, tiny_dataset, tiny_proposals, config=config).ap
    assert [result["AP"][name] for name in tiny_dataset.classes] == [None if np.isnan(x) else x for x in expected.ap]
    assert result["mAP"] != json.loads(evaluate_tiny("--voc", tiny_voc, "--json", *PAPERS).out)["mAP"]


def test_coco_layout_gives_the_same(evaluate_tiny, tiny_voc, tiny_dataset, tmp_path):
    coco_of(tiny_dataset, tmp_path / "ann.json")
    ours = json.loads(evaluate_tiny("--voc", tiny_voc, "--json").out)
    theirs = json.loads(
        evaluate_tiny("--coco", tmp_path / "ann.json", "--images", tiny_voc / "JPEGImages", "--json").out
    )
    assert theirs["AP"] == ours["AP"]
    assert theirs["mAP"] == ours["mAP"]


def test_result_files_of_the_devkit(evaluate_tiny, tiny_voc, tiny_dataset, tmp_path):
    outcome = evaluate_tiny("--voc", tiny_voc, "--json", "--output", tmp_path)
    result = json.loads(outcome.out)
    assert {path.name for path in tmp_path.iterdir()} >= {f"comp4_det_test_{name}.txt" for name in tiny_dataset.classes}
    found = read_voc_results(tmp_path, "test", tiny_dataset.classes)
    detections = [found.get(record.id, Detections.empty()) for record in tiny_dataset.records]
    assert sum(map(len, detections)) > 100
    again = evaluate(detections, [record.objects for record in tiny_dataset.records], 20, "voc")
    for name, value in zip(tiny_dataset.classes, again.ap, strict=True):
        assert (result["AP"][name] is None) == np.isnan(value)
    assert again.mean_ap == pytest.approx(result["mAP"], abs=0.03)


def test_other_formats_hold_the_same_detections(evaluate_tiny, tiny_voc, tmp_path):
    outputs = ("voc", "a.csv", "a.jsonl", "a.json")
    for name in outputs:
        outcome = evaluate_tiny("--voc", tiny_voc, "--split", "val", "--classes", "voc", "--output", tmp_path / name)
        assert outcome.code == 0
        assert f"detections of 2 images in {tmp_path / name}" in outcome.err
    lines = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert [entry["detections"] for entry in json.loads((tmp_path / "a.json").read_text())] == [
        line["detections"] for line in lines
    ]
    count = sum(len(line["detections"]) for line in lines)
    assert count > 20
    assert len((tmp_path / "a.csv").read_text().splitlines()) == 1 + count
    assert sum(len(path.read_text().splitlines()) for path in (tmp_path / "voc").iterdir()) == count
    assert {path.name.split("_")[2] for path in (tmp_path / "voc").iterdir()} == {"val"}


def test_what_cannot_be_written_is_found_before_the_work(evaluate_tiny, tiny_voc, tmp_path):
    (tmp_path / "file").touch()
    outcome = evaluate_tiny("--voc", tiny_voc, "--output", tmp_path / "file", "--json")
    assert outcome.code == 1
    assert outcome.out == ""  # no figures, as nothing was measured
    assert f"{tmp_path / 'file'} is not a folder" in outcome.err


def test_voc_without_a_value(evaluate_tiny, tiny_voc, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VOC_ROOT", raising=False)
    missing = evaluate_tiny("--voc", "--split", "val")
    assert missing.code == 1
    assert "VOCdevkit/VOC2007: no such folder" in missing.err
    monkeypatch.setenv("VOC_ROOT", str(tiny_voc))
    for arguments in (("--voc", "--split", "val", "--json"), ("--split", "val", "--json", "--voc")):
        outcome = evaluate_tiny(*arguments)
        assert json.loads(outcome.out)["images"] == 2
    monkeypatch.delenv("VOC_ROOT")
    (tmp_path / "VOCdevkit").mkdir()
    (tmp_path / "VOCdevkit" / "VOC2007").symlink_to(tiny_voc)
    assert json.loads(evaluate_tiny("--voc", "--split", "val", "--json").out)["images"] == 2


def test_classes_the_model_does_not_know(evaluate_tiny, voc_copy):
    path = voc_copy / "Annotations" / "kitten.xml"
    path.write_text(path.read_text().replace("<name>cat</name>", "<name>unicorn</name>"))
    outcome = evaluate_tiny("--voc", voc_copy)
    assert outcome.code == 1
    assert len(outcome.err.splitlines()) == 1
    assert "'unicorn'" in outcome.err


@pytest.mark.parametrize("suffix", [".mat", ".pkl"])
def test_proposals_of_other_tools(evaluate_tiny, run_frcnn, tiny_checkpoint, tiny_voc, tmp_path, suffix):
    data = ("--voc", tiny_voc, "--split", "val")
    made = ("propose", *data, "--mode", "single", "--workers", 1, "-o")
    assert run_frcnn(*made, tmp_path / "p.npz").code == run_frcnn(*made, tmp_path / f"p{suffix}").code == 0
    figures = []
    for name in ("p.npz", f"p{suffix}"):
        outcome = run_frcnn("eval", "--weights", tiny_checkpoint, *data, "--proposals", tmp_path / name, "--json")
        assert outcome.code == 0, outcome.err
        figures.append(json.loads(outcome.out)["mAP"])
    # whole pixels, in a .mat, move the boxes of these small images a little
    assert figures[1] == (figures[0] if suffix == ".pkl" else pytest.approx(figures[0], abs=0.1))


def test_proposals_that_lack_an_image(run_frcnn, tiny_checkpoint, tiny_voc, tmp_path):
    path = tmp_path / "p.npz"
    run_frcnn("propose", tiny_voc / "JPEGImages" / "wine.jpg", "-o", path, "--mode", "single")
    outcome = run_frcnn("eval", "--weights", tiny_checkpoint, "--voc", tiny_voc, "--split", "val", "--proposals", path)
    assert outcome.code == 1
    assert f"{path}: no proposals for image sheep" in outcome.err
    assert "Traceback" not in outcome.err


def test_coco_s_numbers(run_frcnn, tiny_voc, tiny_proposals_path, tiny_dataset, tiny_proposals):
    """By the bundled model; the twelve are pycocotools' (tests/test_metrics/test_coco.py)."""
    arguments = ("eval", "--voc", tiny_voc, "--proposals", tiny_proposals_path, "--metric", "coco")
    outcome = run_frcnn(*arguments, "--json")
    assert outcome.code == 0, outcome.err
    result = json.loads(outcome.out)
    found = evaluate_dataset(Detector.load(), tiny_dataset, tiny_proposals, "coco").detections
    expected = coco_average_precision(found, [record.objects for record in tiny_dataset.records], 20)
    assert list(result)[:13] == ["metric", "mAP", *NUMBERS[1:]]
    assert result["metric"] == "coco"
    assert result["mAP"] == pytest.approx(expected.mean_ap)
    assert result["AP50"] == pytest.approx(expected.mean_ap50)
    assert [result["AP"][name] for name in tiny_dataset.classes] == [
        pytest.approx(value) if value == value else None for value in expected.per_class
    ]
    table = run_frcnn(*arguments)
    assert re.search(rf"mAP\W+\d+\W+{result['mAP']:.4f}", table.out)
    for name in NUMBERS:
        assert name in table.out


def test_thresholds_of_the_best_f1(run_frcnn, tiny_voc, tiny_proposals_path, tiny_dataset, tiny_proposals):
    arguments = ("eval", "--voc", tiny_voc, "--proposals", tiny_proposals_path, "--thresholds")
    outcome = run_frcnn(*arguments, "--json")
    assert outcome.code == 0, outcome.err
    result = json.loads(outcome.out)
    found = evaluate_dataset(Detector.load(), tiny_dataset, tiny_proposals).detections
    objects = [record.objects for record in tiny_dataset.records]
    for label, name in enumerate(tiny_dataset.classes, start=1):
        best = best_threshold(match_detections(found, objects, label))
        assert result["thresholds"][name]["f1"] == (None if np.isnan(best.f1) else pytest.approx(best.f1))
    assert "from score" in run_frcnn(*arguments).out


def test_a_model_beside_itself_differs_by_nothing(run_frcnn, tiny_voc, tiny_proposals_path, tiny_checkpoint, tmp_path):
    """And its twin is another file of the same size."""
    twin = tmp_path / "twin.safetensors"
    twin.write_bytes(tiny_checkpoint.read_bytes())
    arguments = ("eval", "--voc", tiny_voc, "--proposals", tiny_proposals_path, *PAPERS, "--compare")
    outcome = run_frcnn(*arguments, tiny_checkpoint, twin, "--json")
    assert outcome.code == 0, outcome.err
    result = json.loads(outcome.out)
    first, second = result["models"]
    assert (first["model"], second["model"]) == (str(tiny_checkpoint), str(twin))
    assert first["AP"] == second["AP"]
    assert first["bytes"] == second["bytes"] == twin.stat().st_size
    assert first["parameters"] > 1000
    assert first["mAP"] == json.loads(run_frcnn(*arguments[:-1], "--weights", twin, "--json").out)["mAP"]
    low, high = first["interval"]
    assert low <= first["mAP"] <= high
    apart = second["to_first"]["mAP"]
    assert apart == {"difference": 0, "interval": [0, 0], "p": 1, "more_than_chance": False}
    assert "to_first" not in first


def test_models_modes_and_files_are_compared(run_frcnn, tiny_voc, tiny_checkpoint, tiny_proposals_path):
    """The bundled model is better than an untrained one, even on ten images; fast's file is what fast makes."""
    bundled = str(BUNDLED_MODEL)
    call = ("eval", "--voc", tiny_voc, "--proposals", tiny_proposals_path, "--compare", bundled, tiny_checkpoint)
    apart = json.loads(run_frcnn(*call, "--json").out)["models"][1]["to_first"]["mAP"]
    assert apart["difference"] < -0.3
    assert apart["more_than_chance"]
    assert apart["interval"][0] <= apart["difference"] <= apart["interval"][1] < 0
    table = run_frcnn(*call)
    assert table.code == 0
    assert "yes (p 0.000)" in table.out
    assert BUNDLED_MODEL.name in table.out
    assert tiny_checkpoint.name in table.out
    call = ("eval", "--voc", tiny_voc, "--split", "val", "--classes", "voc", "--weights", tiny_checkpoint)
    outcome = run_frcnn(*call, "--compare", "fast", tiny_proposals_path, "--metric", "coco", "--json")
    assert outcome.code == 0, outcome.err
    fast, file = json.loads(outcome.out)["models"]
    assert fast["AP50"] == file["AP50"]
    assert fast["AP"] == file["AP"]
    assert fast["seconds_per_image"]["proposals"] > 0
    assert file["seconds_per_image"]["proposals"] is None


def test_a_report_says_what_the_table_says(run_frcnn, tiny_voc, tiny_proposals_path, tmp_path):
    folder = tmp_path / "a [report] 猫"
    data = ("eval", "--voc", tiny_voc, "--proposals", tiny_proposals_path)
    outcome = run_frcnn(*data, "--report", folder, "--json")
    assert outcome.code == 0, outcome.err
    assert f"report in {folder / 'index.html'}" in outcome.err
    assert [path.name for path in folder.iterdir()] == ["index.html"]
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert f"<b>{100 * json.loads(outcome.out)['mAP']:.1f}</b>" in page
    assert "the bundled model" in page
    assert str(tiny_proposals_path) in page


def test_a_report_that_cannot_be_written_is_found_before_the_work(evaluate_tiny, tiny_voc, tmp_path):
    (tmp_path / "file").touch()
    outcome = evaluate_tiny("--voc", tiny_voc, "--report", tmp_path / "file", "--json")
    assert (outcome.code, outcome.out) == (1, "")
    assert f"{tmp_path / 'file'} is not a folder" in outcome.err
