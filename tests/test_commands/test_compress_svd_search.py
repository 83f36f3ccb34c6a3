"""`frcnn compress-svd --max-drop`: ranks found by measuring, the same figures as `frcnn eval` has of the results."""

from __future__ import annotations

import json
import re

import pytest
from PIL import Image

from frcnn_cli.engine.checkpoint import load_checkpoint
from frcnn_cli.engine.rank_search import Point, smallest_within


def curve(text: str) -> list[list[str]]:
    """The cells of the first table's rows."""
    cells = [[cell.strip() for cell in re.split("[│┃]", line)[1:-1]] for line in text.splitlines()]
    return [row for row in cells if len(row) == 6][1:]


@pytest.fixture(scope="module")
def call(tiny_voc, tiny_checkpoint, tiny_proposals_path):
    data = ("--voc", tiny_voc, "--split", "test", "--proposals", tiny_proposals_path)
    return ("compress-svd", tiny_checkpoint, *data), ("eval", *data, "--json")


def test_the_curve_says_what_eval_says(run_frcnn, call, tiny_checkpoint, tmp_path):
    compress, evaluate = call
    small, plot = tmp_path / "small.safetensors", tmp_path / "curve.png"
    outcome = run_frcnn(*compress, "-o", small, "--max-drop", 100, "--plot", plot)
    assert outcome.code == 0, outcome.err
    rows = curve(outcome.out)
    assert rows[0][:2] == ["whole", "whole"]
    sizes = [int(row[2].replace(",", "")) for row in rows]
    assert sizes == sorted(sizes, reverse=True)
    assert len(sizes) >= 4
    # nothing loses more than 100 points, so the smallest is kept
    architecture = load_checkpoint(small).architecture
    assert [str(architecture.fc6_rank), str(architecture.fc7_rank)] == rows[-1][:2]
    for weights, row in ((tiny_checkpoint, rows[0]), (small, rows[-1])):
        measured = json.loads(run_frcnn(*evaluate, "--weights", weights).out)["mAP"]
        assert float(row[4]) == pytest.approx(100 * measured, abs=0.02)
    with Image.open(plot) as image:
        assert image.format == "PNG"


def test_a_curve_of_responses(run_frcnn, call, tiny_voc, tmp_path):
    compress, evaluate = call
    small = tmp_path / "small.safetensors"
    outcome = run_frcnn(*compress, "-o", small, "--max-drop", 100, "--calibrate", tiny_voc / "JPEGImages")
    assert outcome.code == 0, outcome.err
    rows = curve(outcome.out)
    assert len(rows) >= 4
    measured = json.loads(run_frcnn(*evaluate, "--weights", small).out)["mAP"]
    assert float(rows[-1][4]) == pytest.approx(100 * measured, abs=0.02)


def test_nothing_is_written_where_every_rank_loses_too_much(run_frcnn, call, tmp_path):
    compress, _ = call
    outcome = run_frcnn(*compress, "-o", tmp_path / "small.safetensors", "--max-drop", 0)
    lost = [float(row[5]) for row in curve(outcome.out)[1:]]
    if lost[0] > 0:
        assert (outcome.code, list(tmp_path.iterdir())) == (1, [])
        assert "all ranks lose more than 0 points on tiny test; nothing is written" in outcome.err
    else:
        assert outcome.code == 0


@pytest.mark.parametrize(
    ("scores", "drop", "place"),
    [
        ((0.6, 0.6, 0.59, 0.58), 0.01, 2),
        ((0.6, 0.62, 0.61, 0.6), 0.0, 3),
        ((0.6, 0.55, 0.6), 0.01, None),  # one that is better again is not trusted
        ((0.6, 0.595, 0.55, 0.6), 0.01, 1),
        ((0.6,), 0.01, None),
    ],
)
def test_the_smallest_before_the_first_that_loses_more(scores, drop, place):
    points = [Point({"fc6": i} if i else {}, 100 - i, 0.0, score) for i, score in enumerate(scores)]
    assert smallest_within(points, drop + 1e-12) == (None if place is None else points[place])


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (("--max-drop", 1), "--max-drop is measured: give a data set by --voc"),
        (("--max-drop", 1, "--fc6", 8, "--voc", "."), "give ranks (--fc6, --fc7) or --energy or --max-drop"),
        (("--fc6", 8, "--voc", "."), "are for --max-drop: give that too"),
        (("--energy", 0.5, "--plot", "a.png"), "are for --max-drop: give that too"),
        (("--max-drop", 1, "--voc", ".", "--plot", "a.pdf"), "plots are written as .png"),
        (("--max-drop", "nan", "--voc", "."), "nan is not a finite number"),
        (("--max-drop", -1, "--voc", "."), "'--max-drop'"),
    ],
)
def test_a_wrong_call(run_frcnn, tmp_path, words, fault):
    outcome = run_frcnn("compress-svd", "a.safetensors", "-o", tmp_path / "b.safetensors", *words)
    assert outcome.code == 2
    assert fault in outcome.err
    assert len(outcome.err.splitlines()) == 1
