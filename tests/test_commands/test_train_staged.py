"""`frcnn train --detector rcnn` and `sppnet`: eight images by heart, stages, faults, and what follows from a run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import save_file

from frcnn_cli import Detector
from frcnn_cli import train as train_from_python
from frcnn_cli.data.proposals import open_proposals, write_images
from frcnn_cli.data.proposals.npz import ImageProposals
from frcnn_cli.engine.checkpoint import load_checkpoint
from frcnn_cli.engine.staged.features import FOLDER
from frcnn_cli.engine.staged.log import StageLog

CLASSES = "bird,chair,cow,dog,horse,person,cat,bicycle,car,motorbike"
OWN = {
    "rcnn": {"crop": 64, "context": 4, "rois_per_batch": 32},
    "sppnet": {"short_side": 192, "long_side": 400, "pyramid": (3, 2, 1)},
}
COMMON = {
    "recipe": "paper", "backbone": "efficientnet_lite0", "neck": 0, "fc_width": 64, "iterations": 4, "log_every": 2,
    "loaders": 0, "lr": 0.002, "flip": 0, "only": CLASSES, "svm_c": 0.1, "ridge": 10,
}  # fmt: skip


@pytest.fixture(scope="module")
def proposals(tiny_dataset, tiny_proposals, tmp_path_factory) -> Path:
    """The best 60 of each image, and 20 boxes beside each object: enough to be right."""
    generator = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("staged") / "few.npz"

    def few():
        for record in tiny_dataset.records:
            size = (record.width, record.height)
            boxes = record.objects.boxes.repeat(20, axis=0)
            shift = generator.uniform(-0.12, 0.12, boxes.shape) * np.tile(boxes[:, 2:] - boxes[:, :2], 2)
            beside = np.clip(boxes + shift, 0, np.tile(size, 2)).astype(np.float32)
            found = tiny_proposals.get(record.id, *size)[:60]
            yield ImageProposals(record.id, np.concatenate((found, beside)), *size)

    write_images(path, few(), {"mode": "fast", "sizes": {r.id: [r.width, r.height] for r in tiny_dataset.records}})
    return path


@pytest.fixture(scope="module", params=OWN)
def learnt(request, tiny_voc, proposals, tmp_path_factory) -> Path:
    """A run of either kind on the eight images."""
    run = tmp_path_factory.mktemp("runs") / request.param
    options = {**COMMON, **OWN[request.param], "detector": request.param, "voc": tiny_voc, "proposals": proposals}
    train_from_python(**options, output=run, seed=1)
    return run


@pytest.fixture
def run(learnt, tmp_path) -> Path:
    """A copy, to be spoilt."""
    return Path(shutil.copytree(learnt, tmp_path / "run"))


def test_eight_images_are_learnt_by_heart(learnt, tiny_voc, proposals, run_frcnn):
    outcome = run_frcnn(
        "eval", "--voc", tiny_voc, "--split", "train", "--only", CLASSES, "--weights", learnt / "model.safetensors",
        "--proposals", proposals, "--json", "--refine", 0, "--nms", 0.3,
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    assert json.loads(outcome.out)["mAP"] > 0.85


def test_each_stage_is_timed_and_its_bytes_are_counted(learnt):
    stages = StageLog(learnt).stages
    assert list(stages) == ["finetune", "features", "svm", "boxes"]
    assert all(stage["done"] and stage["seconds"] > 0 for stage in stages.values())
    files = list((learnt / FOLDER).glob("*.safetensors"))
    assert len(files) == 8
    assert stages["features"]["bytes"] == sum(path.stat().st_size for path in files)


def test_a_finished_run_has_nothing_to_do_again(run, run_frcnn):
    before = load_checkpoint(run / "model.safetensors").state
    outcome = run_frcnn("train", "--resume", run)
    assert outcome.code == 0, outcome.err
    assert outcome.err.count("(done before)") == 3
    assert f"{run}: all 4 iterations are done; the stages that come after them follow\n" in outcome.err
    assert "iterations 5 to 4" not in outcome.err
    after = load_checkpoint(run / "model.safetensors").state
    assert all(torch.equal(value, after[name]) for name, value in before.items())


@pytest.mark.parametrize("calibrated", [False, True])
def test_its_checkpoint_is_compressed_and_detects(learnt, tiny_voc, tmp_path, run_frcnn, proposals, calibrated):
    small = tmp_path / "small.safetensors"
    by = ("--calibrate", tiny_voc / "JPEGImages", "--calibration-images", 3) if calibrated else ()
    outcome = run_frcnn("compress-svd", learnt / "model.safetensors", "-o", small, "--fc6", 60, "--fc7", 60, *by)
    assert outcome.code == 0, outcome.err
    assert load_checkpoint(small).kind == learnt.name
    image = tiny_voc / "JPEGImages" / "cow.jpg"
    outcome = run_frcnn("detect", image, "--weights", small, "--json", "--score", 0.1, "--proposals", proposals)
    assert outcome.code == 0, outcome.err
    assert "cow" in {found["class"] for found in json.loads(outcome.out)[0]["detections"]}


def test_features_after_a_full_disk_go_on_where_they_were(run, run_frcnn, full_disk):
    kept = sorted((run / FOLDER).glob("*.safetensors"))
    times = {path.name: path.stat().st_mtime_ns for path in kept[:3]}
    whole = {path.name: path.read_bytes() for path in kept}
    smallest = min(len(content) for content in list(whole.values())[3:])
    for path in kept[3:]:
        path.unlink()
    with full_disk(smallest - 1):
        outcome = run_frcnn("train", "--resume", run)
    assert outcome.code == 1
    assert len(outcome.err.splitlines()[-1:]) == 1
    assert "cannot be written" in outcome.err.splitlines()[-1]
    assert [path.name for path in sorted((run / FOLDER).glob("*.safetensors"))] == sorted(times)
    outcome = run_frcnn("train", "--resume", run)
    assert outcome.code == 0, outcome.err
    assert {path.name: path.read_bytes() for path in kept} == whole
    assert {path.name: path.stat().st_mtime_ns for path in kept[:3]} == times


def test_features_of_other_data_are_refused(run, run_frcnn, proposals, tmp_path):
    other = open_proposals(proposals)
    sizes = other.meta["sizes"]
    fewer = (ImageProposals(name, other.get(name, *sizes[name])[1:], *sizes[name]) for name in other.ids)
    write_images(tmp_path / "other.npz", fewer, {"sizes": sizes})
    outcome = run_frcnn("train", "--resume", run, "--proposals", tmp_path / "other.npz")
    assert outcome.code == 1
    assert outcome.err.splitlines()[-1].startswith(f"frcnn: {run / FOLDER}: features of other data than this run's")


def test_features_of_a_network_that_learned_on_are_refused(run, run_frcnn):
    outcome = run_frcnn("train", "--resume", run, "--iterations", 5)
    assert outcome.code == 1
    assert "features of another model" in outcome.err.splitlines()[-1]


def test_the_svms_alone_are_made_anew(run, run_frcnn):
    before = load_checkpoint(run / "model.safetensors").state
    outcome = run_frcnn("train", "--resume", run, "--stages", "svm", "--svm-c", 0.01)
    assert outcome.code == 0, outcome.err
    assert "svm: 10 classes" in outcome.err
    assert "features" not in outcome.err
    after = load_checkpoint(run / "model.safetensors").state
    changed = {name for name, value in before.items() if not torch.equal(value, after[name])}
    assert changed == {"head.cls_score.weight", "head.cls_score.bias"}


def test_the_regression_of_boxes_goes_on_with_the_next_class(run, run_frcnn):
    """Of three classes it is there; that these are not fitted again is seen by weights that no fit would give."""
    before = load_checkpoint(run / "model.safetensors").state
    with safe_open(run / "boxes.safetensors", framework="numpy") as file:
        metadata, weights, offsets = file.metadata(), file.get_tensor("weight"), file.get_tensor("bias")
    begun = {"weights": weights.reshape(10, 4, -1)[:3] + 7, "offsets": offsets.reshape(10, 4)[:3]}
    save_file(begun, run / "boxes-fitting.safetensors", metadata=metadata)
    (run / "boxes.safetensors").unlink()
    outcome = run_frcnn("train", "--resume", run)
    assert outcome.code == 0, outcome.err
    after = load_checkpoint(run / "model.safetensors").state
    assert torch.equal(after["head.bbox_pred.weight"][:12], before["head.bbox_pred.weight"][:12] + 7)
    assert torch.equal(after["head.bbox_pred.weight"][12:], before["head.bbox_pred.weight"][12:])
    assert torch.equal(after["head.bbox_pred.bias"], before["head.bbox_pred.bias"])
    assert not (run / "boxes-fitting.safetensors").exists()


def test_softmax_in_their_place(run, run_frcnn):
    outcome = run_frcnn("train", "--resume", run, "--classifier", "softmax")
    assert outcome.code == 0, outcome.err
    checkpoint = load_checkpoint(run / "model.safetensors")
    assert checkpoint.architecture.classifier == "softmax"
    state = torch.load(run / "training_state.pt", weights_only=True)["model"]
    assert torch.equal(checkpoint.state["head.cls_score.weight"], state["head.cls_score.weight"])
    assert checkpoint.state["head.bbox_pred.weight"].abs().max() > 0


@pytest.fixture
def begin(run_frcnn, tiny_voc, proposals, tmp_path):
    """Begin a run of SPPnet at its smallest."""

    def begin(*options: object, detector: str = "sppnet"):
        words = (
            "--voc", tiny_voc, "--output", tmp_path / "new", "--detector", detector, "--backbone", "alexnet",
            "--backbone-weights", "none", "--fc-width", 8, "--iterations", 1, "--loaders", 0, "--proposals", proposals,
        )  # fmt: skip
        return run_frcnn("train", *words, *options)

    return begin


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        (("--stages", "svm,features"), "'--stages': svm,features is out of order, or names a stage twice"),
        (("--stages", "finetune,svms"), "'--stages': no stage 'svms'; there are finetune,features,svm,boxes"),
        (("--stages", "svm", "--classifier", "softmax"), "--stages svm: svm has no use with --classifier softmax"),
        (("--stages", "svm"), "svm needs features of all images; name features, too"),
        (("--stages", "features,boxes"), "--stages features,boxes: the SVMs come before the boxes; name svm, too"),
        (("--crop", 64), "--crop: belongs to --detector rcnn"),
        (("--loss-lambda", 2), "--loss-lambda: boxes are learnt by ridge regression"),
        (("--second-look", 1), "--second-look: boxes are learnt by ridge regression"),
        (("--roi-size", 3), "--roi-size: SPPnet pools a pyramid"),
    ],
)
def test_wrong_calls(begin, options, fault):
    outcome = begin("--short-side", 96, "--only", CLASSES, *options)
    assert outcome.code == 2
    assert fault in outcome.err.splitlines()[-1]


def test_own_options_of_others_are_refused(begin):
    outcome = begin("--svm-c", 1, detector="fast-rcnn")
    assert (outcome.code, outcome.err) == (2, "frcnn: --svm-c: belongs to --detector rcnn or sppnet\n")
    assert begin("--short-side", 96, detector="rcnn").code == 2
    assert begin("--crop", 32, "--context", 16, detector="rcnn").code == 2


def test_a_class_without_an_object(begin):
    outcome = begin("--short-side", 96)
    assert outcome.code == 1
    (line,) = [line for line in outcome.err.splitlines() if line.startswith("frcnn: ")]
    assert "no SVM can be trained for 'aeroplane', 'boat'" in line
    assert "--classifier softmax needs no SVMs" in line


def test_a_detector_of_another_kind_to_start_from(begin, tiny_checkpoint, run_frcnn, tiny_voc, tmp_path):
    outcome = run_frcnn(
        "train", "--voc", tiny_voc, "--output", tmp_path / "a", "--detector", "rcnn", "--init", tiny_checkpoint
    )
    assert outcome.code == 2
    assert outcome.err.splitlines()[-1] == f"frcnn: --init {tiny_checkpoint}: of the kind fast-rcnn, not rcnn"


def test_a_kind_cannot_change_on_the_way(learnt, run_frcnn):
    outcome = run_frcnn("train", "--resume", learnt, "--detector", "fast-rcnn")
    assert outcome.code == 2
    assert f"--detector fast-rcnn: the run in {learnt} was begun with {learnt.name}" in outcome.err


def test_crops_have_no_scales(learnt, tiny_voc):
    if learnt.name == "rcnn":
        from frcnn_cli.errors import UsageError

        with pytest.raises(UsageError, match="--scales: R-CNN looks at crops"):
            Detector.load(learnt / "model.safetensors").detect(
                tiny_voc / "JPEGImages" / "cow.jpg", [[0, 0, 50, 50]], scales=(96, 128)
            )
