"""The scripts of the paper's further tables: that they run on ten small photographs, and count what they say."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from frcnn_cli.engine.checkpoint import load_checkpoint
from scripts import paper_proposals, paper_training


def run(script, *words: object) -> str:
    outcome = CliRunner().invoke(script.main, [str(word) for word in words], catch_exceptions=False)
    assert outcome.exit_code == 0, outcome.output
    return outcome.output


def test_a_dense_grid_by_hand(monkeypatch):
    """Of 100 x 50 pixels, squares of 20: 9 across, at 0, 10, ..., 80, and 4 down, at 0, ..., 30."""
    monkeypatch.setattr(paper_proposals, "SIDES", (0.4,))
    monkeypatch.setattr(paper_proposals, "RATIOS", (1.0,))
    grid = paper_proposals.dense_grid(100, 50)
    assert len(grid) == 9 * 4
    assert (grid[0].tolist(), grid[-1].tolist()) == ([0, 0, 20, 20], [80, 30, 100, 50])
    assert np.allclose(grid[:, 2:] - grid[:, :2], 20)


def test_more_proposals_cover_no_fewer_objects(tiny_voc, tiny_proposals_path, tiny_checkpoint, tmp_path):
    path = tmp_path / "rows.json"
    words = ("--proposals", tiny_proposals_path, "--split", "test", "--weights", tiny_checkpoint, "--json", path)
    run(paper_proposals, tiny_voc, *words)
    rows = json.loads(path.read_text())["rows"]
    covered = [row["recall"] for row in rows if row["recall"] is not None]
    assert covered[:6] == sorted(covered[:6])
    assert [row["boxes"] for row in rows[:2]] == [10, 30]
    assert rows[-1]["recall"] is None


@pytest.mark.parametrize("question", ["layers", "tasks"])
def test_what_learns(tiny_voc, tiny_proposals_path, tmp_path, question):
    common = (
        "--proposals", tiny_proposals_path, "--val-proposals", tiny_proposals_path, "--images", 8, "--val-images", 1,
        "--iterations", 1, "--backbone", "alexnet", "--max-proposals", 30, "--val-split", "train", "--train",
        "--backbone-weights none --short-side 64 --fc-width 16 --loaders 0 --rois-per-batch 16",
    )  # fmt: skip
    run(paper_training, question, tiny_voc, "--output", tmp_path / "runs", *common, "--json", tmp_path / "rows.json")
    rows = json.loads((tmp_path / "rows.json").read_text())["rows"]
    assert [row["way"] for row in rows] == [way.name for way in paper_training.QUESTIONS[question]]
    states = {path.name: load_checkpoint(path / "model.safetensors").state for path in (tmp_path / "runs").iterdir()}
    if question == "layers":
        first, later = "backbone.body.0.weight", "backbone.body.6.weight"
        assert torch.equal(states["fc6-and-up"][later], states["usual"][later]) is False
        assert torch.equal(states["fc6-and-up"][first], states["usual"][first])
        assert not torch.equal(states["all-layers"][first], states["usual"][first])
    else:
        alone, after = states["classification"], states["boxes-after"]
        changed = {name for name in alone if not torch.equal(alone[name], after[name])}
        assert changed == {"head.bbox_pred.weight", "head.bbox_pred.bias"}
