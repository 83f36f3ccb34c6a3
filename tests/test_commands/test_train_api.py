"""`frcnn_cli.train`: the command as a function."""

from __future__ import annotations

import pytest

from frcnn_cli.commands.train_api import train
from frcnn_cli.engine.checkpoint import load_checkpoint
from frcnn_cli.errors import DataError, UsageError

SMALL = {
    "backbone": "alexnet",
    "backbone_weights": "none",
    "fc_width": 16,
    "roi_size": 2,
    "short_side": [64, 80],
    "long_side": 128,
    "rois_per_batch": 16,
    "loaders": 0,
    "log_every": 1,
}


def test_what_it_returns_is_the_detector_that_was_trained(tiny_voc, tiny_proposals_path, tmp_path, capfd):
    run = tmp_path / "run"
    detector = train(
        voc=tiny_voc,
        output=run,
        proposals=tiny_proposals_path,
        iterations=2,
        class_agnostic=True,
        background_iou=(0, 0.5),
        eval_every=None,
        **SMALL,
    )
    latest = load_checkpoint(run / "model.safetensors")
    assert detector.classes == latest.classes
    assert latest.training["iteration"] == 2
    assert latest.training["sampling"]["background_iou"] == [0, 0.5]
    assert latest.training["scales"]["short_sides"] == [64, 80]
    assert latest.architecture.class_agnostic
    text = capfd.readouterr()
    assert text.out == ""
    assert "iteration 2/2  loss" in text.err


def test_a_run_is_gone_on_with(tiny_voc, tiny_proposals_path, tmp_path):
    run = tmp_path / "run"
    train(voc=tiny_voc, output=run, proposals=tiny_proposals_path, iterations=1, **SMALL)
    detector = train(resume=run, iterations=2)
    assert load_checkpoint(run / "model.safetensors").training["iteration"] == 2
    assert len(detector.classes) == 20


def test_flags_that_say_no_and_a_look_at_the_data(tiny_voc, tmp_path, capfd):
    assert train(voc=tiny_voc, check=True, class_agnostic=False, normalise_targets=False) is None
    assert capfd.readouterr().out.startswith("tiny train: 8 images, ")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "kind", "fault"),
    [
        ({"iteration": 3}, UsageError, "no option 'iteration'; was 'iterations' meant?"),
        ({"lr": -1}, UsageError, "-1.0 is not in the range x>0"),
        ({"lr": "high"}, UsageError, "'high' is not a valid float"),
        ({"short_side": []}, UsageError, "needs a number"),
        ({"background_iou": (0.5, 0.1)}, UsageError, "the first must be the smaller"),
        ({"background_iou": 0.1}, UsageError, "background_iou: 0.1 is not a list of 2 numbers"),
        ({"background_iou": [0.1]}, UsageError, "background_iou: [0.1] is not a list of 2 numbers"),
        ({"split": "gone"}, DataError, "splits there are: test, train, val"),
        ({"voc": "gone"}, DataError, "gone: no such folder"),
        ({"output": None}, UsageError, "give --output DIR"),
    ],
)
def test_a_fault_is_an_exception_with_the_commands_message(tiny_voc, tmp_path, options, kind, fault):
    with pytest.raises(kind) as caught:
        train(**{"voc": tiny_voc, "output": tmp_path / "run", **options})
    assert fault in str(caught.value)
    assert not (tmp_path / "run").exists()
