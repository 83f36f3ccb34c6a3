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
    "fast-rcnn", {"training": {"seconds": 20.0, "cpu": 16.0}}, 0, Trial(0.5, 0.2, 0.1), Trial(0.49, 0.1, 0.05),
    Trial(0.495, 0.1, 0.05),
)  # fmt: skip


def cells(section: int, name: str) -> list[str]:
    found = dict(rows({"rcnn": RCNN, "fast-rcnn": FAST})[section][1])
    return found[name]


def test_rows_by_hand():
    assert cells(1, "training: finetune, s") == ["60", "", "-", ""]
    assert cells(1, "training, s") == ["80", "", "16", ""]
    assert cells(1, "features, MB") == ["5.0", "", "0", ""]
    assert cells(1, "mAP with SVD, %") == ["-", "", "49.0", ""]
    assert cells(1, "mAP with SVD of responses, %") == ["-", "", "49.5", ""]
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
    assert 0 <= figures["fast-rcnn"]["responses"]["mean_ap"] <= 1
    for detector in figures:
        checkpoint = load_checkpoint(tmp_path / "all" / detector / "model.safetensors")
        assert checkpoint.normalisation == NORMALISATIONS["caffe"]
    again = run_frcnn("lineage", *words, "--detectors", "fast-rcnn,sppnet")
    assert (again.code, "iteration" in again.err) == (0, False)
    assert "Fast R-CNN" in again.out
    # an earlier version did not cut layers by their responses: that is measured, if there is still a model to measure
    file = tmp_path / "all" / "figures.json"
    earlier = [{name: part for name, part in entry.items() if name != "responses"} for entry in figures.values()]
    file.write_text(json.dumps(earlier))
    (tmp_path / "all" / "sppnet" / "model.safetensors").unlink()
    later = run_frcnn("lineage", *words, "--detectors", "fast-rcnn,sppnet")
    assert (later.code, "iteration" in later.err) == (0, False), later.err
    sppnet, fast = sorted(json.loads(file.read_text()), key=lambda entry: entry["detector"], reverse=True)
    assert (sppnet["test"], sppnet["responses"]) == (figures["sppnet"]["test"], None)
    assert fast["responses"]["mean_ap"] == figures["fast-rcnn"]["responses"]["mean_ap"]
    assert {**fast, "responses": None} == {**figures["fast-rcnn"], "responses": None}
    assert (tmp_path / "all" / "lineage.png").stat().st_size > 1000
    other = run_frcnn("lineage", *words, "--seed", 1)
    assert other.code == 2
    assert other.err.endswith("holds a comparison with seed 0, not 1; choose another folder\n")


def test_a_detector_that_is_none(run_frcnn, tmp_path):
    outcome = run_frcnn("lineage", "--voc", ".", "-o", tmp_path / "a", "--detectors", "fast-rcnn,yolo")
    assert outcome.code == 2
    assert "no detector 'yolo'; there are rcnn,sppnet,fast-rcnn" in outcome.err


WORDS = ("--backbone", "test_efficientnet", "--backbone-weights", "none", "--val-split", "train", "--iterations", 1)


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        ("settings.json", "[]", "not the settings of a comparison; choose another folder"),
        ("settings.json", '{"theme": "dark"}', "not the settings of a comparison; choose another folder"),
        ("settings.json", "[" * 100_000, "damaged ("),
        ("figures.json", '{"a": 1}', "not the figures of a comparison ("),
        ("figures.json", "[" * 100_000, "damaged ("),
    ],
)
def test_files_of_another_program_are_named(run_frcnn, tiny_voc, tmp_path, name, content, fault):
    (tmp_path / name).write_text(content)
    outcome = run_frcnn("lineage", "--voc", tiny_voc, "-o", tmp_path, *WORDS)
    assert outcome.code == 1
    assert outcome.err.startswith(f"frcnn: {tmp_path / name}: {fault}")
    assert (tmp_path / name).read_text() == content


@pytest.mark.parametrize(
    "change",
    [
        {"bytes": "many"}, {"bytes": -1}, {"detector": ["rcnn"]}, {"stages": {"svm": {"seconds": "1", "cpu": "2"}}},
        {"stages": {"svm": {}}}, {"stages": []}, {"test": {"mean_ap": "high", "seconds": 1, "cpu": 1}}, {"test": None},
        {"test": {"mean_ap": 0.5, "seconds": float("nan"), "cpu": 1}}, {"svd": {"mean_ap": 0.5}}, {"svd": 7},
        {"responses": {}}, {"responses": []}, {"responses": {"mean_ap": 2, "seconds": 1, "cpu": -1}},
    ],
    ids=range(14),
)  # fmt: skip
def test_figures_that_no_measurement_gives_are_refused(tmp_path, fault_of, change):
    file = FigureFile(tmp_path, {"images": 5, "iterations": 1})
    file.begin()
    file.add(RCNN)
    (entry,) = json.loads((tmp_path / "figures.json").read_text())
    (tmp_path / "figures.json").write_text(json.dumps([entry | change]))
    assert "not the figures of a comparison (" in fault_of(FigureFile, tmp_path, {"images": 5, "iterations": 1})


@pytest.mark.parametrize("name", ["lineage.md", "lineage.png"])
def test_what_is_there_and_is_another_s_is_not_replaced_without_force(run_frcnn, tiny_voc, tmp_path, name):
    (tmp_path / name).write_text("of somebody else")
    outcome = run_frcnn("lineage", "--voc", tiny_voc, "-o", tmp_path, *WORDS)
    assert (outcome.code, (tmp_path / name).read_text()) == (2, "of somebody else")
    assert "there already, and not written by this program; --force replaces it" in outcome.err
    forced = run_frcnn("lineage", "--voc", tiny_voc, "-o", tmp_path, *WORDS, "--force", "--split", "gone")
    assert "--force" not in forced.err  # it goes on, to the next fault


def test_a_run_that_is_of_no_comparison_is_left_alone(run_frcnn, tiny_voc, tmp_path):
    (tmp_path / "rcnn").mkdir()
    (tmp_path / "rcnn" / "training_state.pt").write_bytes(b"of somebody")
    outcome = run_frcnn("lineage", "--voc", tiny_voc, "-o", tmp_path, *WORDS)
    assert outcome.code == 2
    assert "rcnn: holds a run that is of no comparison; choose another folder" in outcome.err
    (tmp_path / "rcnn" / "training_state.pt").unlink()
    (tmp_path / "rcnn" / "log.csv").write_text("of somebody else")
    outcome = run_frcnn("lineage", "--voc", tiny_voc, "-o", tmp_path, *WORDS)
    assert outcome.code == 2
    assert "log.csv is there, and of no run; choose another folder" in outcome.err


def test_one_process_at_a_time_compares_in_a_folder(run_frcnn, run_process, tiny_voc, tmp_path):
    folder = tmp_path / "all"
    program = (
        "import sys, subprocess; from frcnn_cli.files import writing_alone\n"
        "with writing_alone(sys.argv[1] + '/settings.json'):\n"
        "    sys.exit(subprocess.run([sys.executable, '-m', 'frcnn_cli', 'lineage', *sys.argv[2:]]).returncode)"
    )
    outcome = run_process("-c", program, folder, "--voc", tiny_voc, "-o", folder, *WORDS)
    assert outcome.code == 1
    assert "settings.json: another process is writing it (process " in outcome.err


def test_its_own_table_and_plot_are_known_as_its_own(tmp_path):
    from frcnn_cli.drawing.lineage_plot import plot_lineage
    from frcnn_cli.replacing import is_ours

    (tmp_path / "lineage.md").write_text(as_markdown({"rcnn": RCNN}, {"rcnn": "R-CNN"}))
    plot_lineage(["R-CNN"], [{"svm": 1.0}], [1.0], [0.5], tmp_path / "lineage.png")
    assert is_ours(tmp_path / "lineage.md")
    assert is_ours(tmp_path / "lineage.png")
