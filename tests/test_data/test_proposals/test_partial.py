"""Proposals on their way: an interrupted run goes on."""

from __future__ import annotations

import os

import numpy as np

from frcnn_cli.data.proposals.npz import ProposalFile
from frcnn_cli.data.proposals.partial import PartialProposals

BOXES = np.array([[0, 0, 50, 40], [1.5, 2, 3, 4]], dtype=np.float32)
SETTINGS = {"mode": "fast", "seed": 0, "max_proposals": 2000}


def test_an_interrupted_run_goes_on(tmp_path):
    path = tmp_path / "out" / "p.npz"
    first = PartialProposals(path, SETTINGS)
    first.add("night/a", BOXES, 50, 40)
    first.add("../b", BOXES, 60, 40)
    again = PartialProposals(path, dict(reversed(SETTINGS.items())))
    assert again.done_ids() == {"night/a", "../b"}
    assert not path.exists()
    again.add("c", np.zeros((0, 4), np.float32), 9, 9)
    assert again.finish() == 4
    assert os.listdir(tmp_path / "out") == ["p.npz"]
    file = ProposalFile(path)
    assert file.ids == ("../b", "c", "night/a")
    assert file.meta == {
        **SETTINGS,
        "format": "frcnn-proposals",
        "version": 1,
        "sizes": {"../b": [60, 40], "c": [9, 9], "night/a": [50, 40]},
    }
    assert file.get("../b", 60, 40).tolist() == BOXES.tolist()


def test_other_settings_are_refused_with_a_way_out(tmp_path, fault_of):
    PartialProposals(tmp_path / "p.npz", SETTINGS)
    message = fault_of(PartialProposals, tmp_path / "p.npz", {**SETTINGS, "seed": 7})
    assert message == (
        f"{tmp_path}/p.npz.partial: begun with other settings (seed 0, now 7); "
        "use those again to go on, or delete the folder to start anew"
    )


def test_partial_results_are_checked(tmp_path, fault_of):
    partial = PartialProposals(tmp_path / "p.npz", SETTINGS)
    assert "image a: box 0 (0, 0, 50, 40) lies outside the image (49 x 40)" in fault_of(partial.add, "a", BOXES, 49, 40)
    assert partial.done_ids() == set()
    (tmp_path / "p.npz.partial" / "a.npz").write_text("damage")
    assert fault_of(partial.finish).startswith(f"{tmp_path}/p.npz.partial/a.npz: not a proposal file")
    assert not (tmp_path / "p.npz").exists()
    (tmp_path / "p.npz.partial" / "settings.json").write_text("{")
    assert "settings.json: cannot be read (" in fault_of(PartialProposals, tmp_path / "p.npz", SETTINGS)
