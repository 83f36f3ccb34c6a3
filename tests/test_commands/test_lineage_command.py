"""`frcnn lineage`: the table of the family, from runs that are resumed and figures that are kept."""

from __future__ import annotations

import json

import pytest

from frcnn_cli.core.backbones import NORMALISATIONS
from frcnn_cli.engine.checkpoint import load_checkpoint
from frcnn_cli.engine.lineage.figures import FigureFile, Figures, Trial
from frcnn_cli.engine.lineage.subset import draw_images
from frcnn_cli.engine.lineage.table import as_markdown, rows
from frcnn_cli.errors import DataError, UsageError

STAGES = {"finetune": {"seconds": 90.0, "cpu": 60.0}, "svm": {"seconds": 30.0, "cpu": 20.0}}
RCNN = Figures("rcnn", STAGES, 5_000_000, Trial(0.4, 3.0, 2.0))
FAST = Figures(
    "fast-rcnn", {"training": {"seconds": 20.0, "cpu": 16.0}}, 0, Trial(0.5, 0.2, 0.1), Trial(0.49, 0.1, 0.05)
)


def cells(section: int, name: str) -> list[str]:
    found = dict(rows({"rcnn": RCNN, "fast-rcnn": FAST})[section][1])
    return found[name]


def test_rows_by_hand():
    assert cells(1, "training: finetune, s") == ["60", "", "-", ""]
    assert cells(1, "training, s") == ["80", "", "16", ""]
    assert cells(1, "features, MB") == ["5.0", "", "0", ""]
    assert cells(1, "mAP with SVD, %") == ["-", "", "49.0", ""]
    ratios = [row[1] for row in rows({"rcnn": RCNN, "fast-rcnn": FAST})[1][1] if row[0] == "  against R-CNN"]
    assert ratios == [["1.0x", "", "5.0x", ""], ["1.0x", "", "20.0x", ""]]
    assert cells(2, "training, h") == ["84", "25", "9.5", "-"]
    assert cells(2, "test, s an image") == ["47", "2.3", "0.32", "0.198"]


def test_a_row_of_markdown_a_row():
    lines = as_markdown({"rcnn": RCNN}, {"rcnn": "R-CNN"}).splitlines()
    assert lines[0] == "| | R-CNN | sppnet | fast-rcnn | faster-rcnn |"
    assert len({line.count("|") for line in lines}) == 1


def test_figures_are_kept_and_other_settings_refused(tmp_path):
    file = FigureFile(tmp_path, {"images": 5})
    file.begin()
    file.add(RCNN)
    file.add(FAST)
    assert FigureFile(tmp_path, {"images": 5}).figures == {"rcnn": RCNN, "fast-rcnn": FAST}
    with pytest.raises(UsageError, match="holds a comparison with images 5, not 6; choose another folder"):
        FigureFile(tmp_path, {"images": 6})
    assert FigureFile(tmp_path, {"images": 5, "normalisation": None}).figures  # which came later
    with pytest.raises(UsageError, match="holds a comparison with normalisation None, not caffe"):
        FigureFile(tmp_path, {"images": 5, "normalisation": "caffe"})
    (tmp_path / "settings.json").write_text("[1]")
    with pytest.raises(DataError, match="not the settings of a comparison"):
        FigureFile(tmp_path, {"images": 5})


def test_every_class_is_shown_among_the_drawn(tiny_dataset):
    labels = {label for record in tiny_dataset.records for label in record.objects.labels.tolist()}
    for seed in range(5):
        drawn = draw_images(tiny_dataset, 9, seed)
        assert {label for record in drawn.records for label in record.objects.labels.tolist()} == labels
        assert len(drawn) == 9
        places = [tiny_dataset.records.index(record) for record in drawn.records]
        assert places == sorted(places)
    assert draw_images(tiny_dataset, 10, 0) is tiny_dataset
    assert len({tuple(r.id for r in draw_images(tiny_dataset, 8, seed).records) for seed in range(8)}) > 1


def test_two_of_the_family_one_after_the_other(run_frcnn, tiny_voc, tiny_proposals_path, tmp_path):
    words = (
        "--voc", tiny_voc, "--output", tmp_path / "all", "--proposals", tiny_proposals_path, "--val-proposals",
        tiny_proposals_path, "--only", "bird,chair,cow,dog,horse,person,cat,bicycle,car,motorbike", "--images", 8,
        "--val-images", 2, "--iterations", 1, "--backbone", "test_efficientnet", "--backbone-weights", "none",
        "--short-side", 64, "--fc-width", 16, "--max-proposals", 20, "--val-split", "train", "--normalisation", "caffe",
    )  # fmt: skip
    for detector in ("fast-rcnn", "sppnet"):
        outcome = run_frcnn("lineage", *words, "--detectors", detector)
        assert outcome.code == 0, outcome.err
    figures = {entry["detector"]: entry for entry in json.loads((tmp_path / "all" / "figures.json").read_text())}
    assert list(figures) == ["fast-rcnn", "sppnet"]
    assert list(figures["sppnet"]["stages"]) == ["finetune", "features", "svm", "boxes"]
    files = (tmp_path / "all" / "sppnet" / "features").glob("*.safetensors")
    assert figures["sppnet"]["bytes"] == sum(path.stat().st_size for path in files)
    assert 0 <= figures["fast-rcnn"]["test"]["mean_ap"] <= 1
    assert figures["fast-rcnn"]["svd"] is not None
    for detector in figures:
        checkpoint = load_checkpoint(tmp_path / "all" / detector / "model.safetensors")
        assert checkpoint.normalisation == NORMALISATIONS["caffe"]
    again = run_frcnn("lineage", *words, "--detectors", "fast-rcnn,sppnet")
    assert (again.code, "iteration" in again.err) == (0, False)
    assert "Fast R-CNN" in again.out
    assert (tmp_path / "all" / "lineage.png").stat().st_size > 1000
    other = run_frcnn("lineage", *words, "--seed", 1)
    assert other.code == 2
    assert other.err.endswith("holds a comparison with seed 0, not 1; choose another folder\n")


def test_a_detector_that_is_none(run_frcnn, tmp_path):
    outcome = run_frcnn("lineage", "--voc", ".", "-o", tmp_path / "a", "--detectors", "fast-rcnn,yolo")
    assert outcome.code == 2
    assert "no detector 'yolo'; there are rcnn,sppnet,fast-rcnn" in outcome.err
