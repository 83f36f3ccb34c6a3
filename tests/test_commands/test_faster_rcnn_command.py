"""Faster R-CNN from the command line: trained, killed and resumed, looked with, compressed, and asked for proposals."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from frcnn_cli.core.backbones import NORMALISATIONS
from frcnn_cli.core.faster_rcnn import FasterArchitecture, FasterRCNN
from frcnn_cli.data.formats.voc import VOC_CLASSES
from frcnn_cli.data.images import load_image
from frcnn_cli.data.proposals import open_proposals
from frcnn_cli.engine.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from frcnn_cli.engine.detectors.faster_rcnn import propose
from frcnn_cli.engine.runtimes.torch_engine import TorchEngine
from frcnn_cli.engine.sources.network import _engine

SMALL = (
    "--detector", "faster-rcnn", "--backbone", "alexnet", "--backbone-weights", "none", "--fc-width", 16,
    "--roi-size", 2, "--short-side", "64,80", "--long-side", 128, "--rois-per-batch", 16, "--lr", 0.002,
    "--anchor-sizes", "16,32,64", "--anchors", 32, "--training-proposals", 50, "--border-anchors",
    "--iterations", 6, "--checkpoint-every", 2, "--log-every", 2, "--ema", 0.9, "--dropout", 0.5,
)  # fmt: skip


@pytest.fixture(scope="module")
def learned(tmp_path_factory) -> Path:
    """An untrained network of VOC's classes, which proposes and finds something all the same."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = FasterRCNN(FasterArchitecture("alexnet", len(VOC_CLASSES), 3, 32, anchor_sizes=(16, 32, 64)))
        for layer in model.modules():
            if isinstance(layer, (torch.nn.Conv2d, torch.nn.Linear)):
                torch.nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        for layer in (model.rpn.bbox_pred, model.head.bbox_pred):
            torch.nn.init.normal_(layer.weight, std=0.001)
    path = tmp_path_factory.mktemp("learned") / "learned.safetensors"
    about = (VOC_CLASSES, NORMALISATIONS["imagenet"], 96, 160, {})
    save_checkpoint(path, Checkpoint(model.architecture, *about, model.state_dict(), "faster-rcnn"))
    return path


def test_a_killed_run_ends_as_one_that_nobody_killed(killing, run_frcnn, tiny_voc, tmp_path):
    """And what it makes is measured and looked with, without a search."""
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    data = ("--voc", tiny_voc, "--val-split", "val", "--loaders", 0)
    outcome = killing("train", *SMALL, *data, "--output", whole, folder=whole)
    assert outcome.code == 0, outcome.text
    assert "proposals" not in " ".join(path.name for path in whole.iterdir())
    outcome = killing("train", *SMALL, *data, "--output", cut, folder=cut, kill={"write": 9})
    assert outcome.code == -signal.SIGKILL, outcome.text
    outcome = killing("train", "--resume", cut, folder=cut)
    assert outcome.code == 0, outcome.text
    states = [torch.load(run / "training_state.pt", weights_only=True) for run in (whole, cut)]
    for name, value in states[0]["model"].items():
        assert torch.equal(value, states[1]["model"][name]), name
    a, b = (load_checkpoint(run / "model.safetensors") for run in (whole, cut))
    assert a.architecture == b.architecture
    assert a.architecture.anchor_sizes == (16, 32, 64)
    assert a.training == b.training
    assert all(torch.equal(value, b.state[name]) for name, value in a.state.items())

    fault = run_frcnn("train", "--resume", cut, "--anchor-sizes", "8,16", "--iterations", 8)
    assert fault.code == 2
    assert fault.err == f"frcnn: --anchor-sizes (8, 16): the run in {cut} was begun with (16, 32, 64)\n"


def test_it_is_measured_and_looked_with_and_compressed(run_frcnn, learned, tiny_voc, tmp_path):
    outcome = run_frcnn("eval", "--voc", tiny_voc, "--weights", learned, "--json")
    assert outcome.code == 0, outcome.err
    figures = json.loads(outcome.out)
    assert 0 <= figures["mAP"] <= 1
    assert figures["seconds_per_image"]["proposals"] is None
    small = tmp_path / "small.safetensors"
    assert run_frcnn("compress-svd", learned, "-o", small, "--fc6", 8, "--fc7", 4).code == 0
    cut = tmp_path / "cut.safetensors"
    by = ("--calibrate", tiny_voc / "JPEGImages")
    assert run_frcnn("compress-svd", learned, "-o", cut, "--fc6", 8, "--fc7", 4, *by).code == 0
    image = tiny_voc / "JPEGImages" / "kitten.jpg"
    for weights in (learned, small, cut):
        outcome = run_frcnn("detect", image, "--weights", weights, "--score", 0.01, "--json")
        assert outcome.code == 0, outcome.err
        (found,) = json.loads(outcome.out)
        assert found["detections"]
        assert found["seconds"]["proposals"] is None


@pytest.mark.parametrize("suffix", [".npz", ".mat", ".pkl"])
def test_its_network_s_proposals_are_files_of_any_format(run_frcnn, learned, tiny_voc, tmp_path, suffix):
    path = tmp_path / f"learned{suffix}"
    call = ("propose", "--voc", tiny_voc, "--split", "val", "--network", learned, "--max-proposals", 40)
    outcome = run_frcnn(*call, "--workers", 1, "-o", path)
    assert outcome.code == 0, outcome.err
    assert f"(network {learned.name})" in outcome.err
    engine = TorchEngine.of(load_checkpoint(learned))
    engine.model.eval()
    file = open_proposals(path)
    for place, name in enumerate((tiny_voc / "ImageSets" / "Main" / "val.txt").read_text().split()):
        image = load_image(tiny_voc / "JPEGImages" / f"{name}.jpg")
        expected = propose(engine, image, 40)
        stored = file.get(file.ids[place], image.shape[1], image.shape[0])
        assert len(stored) == 40
        # fast-rcnn's .mat has whole pixels.
        np.testing.assert_allclose(stored, expected, atol=1.0 if suffix == ".mat" else 1e-3)
    if suffix == ".npz":
        assert file.meta["mode"] == "network"
        assert file.meta["network"] == learned.name
        assert len(file.meta["checkpoint"]) == 64


def test_learned_and_searched_proposals_are_in_one_table(run_frcnn, learned, tiny_voc, tiny_proposals_path, tmp_path):
    path, plot = tmp_path / "learned.npz", tmp_path / "recall.png"
    data = ("propose", "--voc", tiny_voc, "--split", "val")
    made = run_frcnn(
        *data, "--network", learned, "--max-proposals", 100, "--workers", 1, "-o", path, "--recall", "--beside",
        tiny_proposals_path, "--plot", plot,
    )  # fmt: skip
    assert made.code == 0, made.err
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in made.out.splitlines() if "│" in line]
    at_100 = [row for row in rows if row[:1] == ["100"]]
    assert [row[1] for row in at_100] == ["learned", tiny_proposals_path.stem]
    assert plot.is_file()
    together = json.loads(
        run_frcnn(*data, "--proposals", path, "--recall", "--beside", tiny_proposals_path, "--json").out
    )
    (other,) = together.pop("beside")
    assert together == json.loads(run_frcnn(*data, "--proposals", path, "--recall", "--json").out)
    assert other == json.loads(run_frcnn(*data, "--proposals", tiny_proposals_path, "--recall", "--json").out)
    assert at_100[0][3:] == [
        f"{together[name][-1]:.3f}" for name in ("recall_50", "recall_70", "average_recall", "MABO")
    ]


def test_fast_rcnn_learns_and_looks_with_them(run_frcnn, learned, tiny_checkpoint, tiny_voc, tmp_path):
    path, run = tmp_path / "learned.npz", tmp_path / "run"
    made = run_frcnn("propose", "--voc", tiny_voc, "--split", "train", "--network", learned, "--workers", 1, "-o", path)
    assert made.code == 0, made.err
    outcome = run_frcnn(
        "train", "--voc", tiny_voc, "--proposals", path, "--output", run, "--backbone", "alexnet", "--backbone-weights",
        "none", "--fc-width", 16, "--roi-size", 2, "--short-side", 64, "--iterations", 1, "--loaders", 0,
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    image = tiny_voc / "JPEGImages" / "kitten.jpg"
    outcome = run_frcnn("detect", image, "--weights", tiny_checkpoint, "--network", learned, "--score", 0.01, "--json")
    assert outcome.code == 0, outcome.err
    (found,) = json.loads(outcome.out)
    assert found["detections"]
    assert found["seconds"]["proposals"] > 0


@pytest.mark.parametrize("command", ["detect", "eval", "eval --compare"])
def test_the_network_that_proposes_computes_on_the_device_of_the_model(
    run_frcnn, learned, tiny_checkpoint, tiny_voc, tmp_path, command
):
    """Of a device, the last engine that proposed is kept: asking for it again finds it, for another device does not."""
    copy = shutil.copy(tiny_checkpoint, tmp_path / "copy.safetensors")
    data = ("--voc", tiny_voc, "--split", "val")
    words = {
        "detect": (tiny_voc / "JPEGImages" / "kitten.jpg", "--weights", tiny_checkpoint),
        "eval": (*data, "--weights", tiny_checkpoint),
        "eval --compare": (*data, "--compare", tiny_checkpoint, copy),
    }[command]
    outcome = run_frcnn(command.split()[0], *words, "--network", learned, "--device", "cpu:0", "--json")
    assert outcome.code == 0, outcome.err
    hits = _engine.cache_info().hits
    _engine(learned, "cpu:0")
    assert _engine.cache_info().hits == hits + 1


def test_it_begins_with_a_fast_rcnn(run_frcnn, tiny_checkpoint, tiny_voc, tmp_path):
    """Whose layers are taken over; after one step of a tiny learning rate they are where they were."""
    call = ("train", "--detector", "faster-rcnn", "--voc", tiny_voc, "--output", tmp_path / "run", "--loaders", 0)
    classes = ("--classes", ",".join(VOC_CLASSES))
    outcome = run_frcnn(
        *call, *classes, "--init", tiny_checkpoint, "--iterations", 1, "--lr", 1e-12, "--short-side", 64,
        "--training-proposals", 50,
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    assert "what a fast-rcnn does not have starts anew" in outcome.err
    before, after = load_checkpoint(tiny_checkpoint), load_checkpoint(tmp_path / "run" / "model.safetensors")
    assert after.kind == "faster-rcnn"
    for name, value in before.state.items():
        torch.testing.assert_close(after.state[name], value)
    assert {name.split(".")[0] for name in after.state.keys() - before.state.keys()} == {"rpn"}


def test_a_run_of_proposals_does_not_go_on_with_another_network(run_frcnn, learned, tiny_voc, tmp_path):
    partial = tmp_path / "p.npz.partial"
    partial.mkdir()
    settings = {"mode": "network", "network": learned.name, "max_proposals": 2000, "checkpoint": "of another"}
    (partial / "settings.json").write_text(json.dumps(settings))
    outcome = run_frcnn("propose", tiny_voc / "JPEGImages", "--network", learned, "-o", tmp_path / "p.npz")
    assert outcome.code == 1
    assert outcome.err.startswith(f"frcnn: {partial}: begun with other settings (checkpoint of another, now ")


@pytest.mark.parametrize(
    ("options", "code", "fault"),
    [
        (("--network", "{fast}"), 2, "{fast}: Fast R-CNN has no network that proposes"),
        (("--network", "gone.safetensors"), 1, "gone.safetensors: no such file"),
        (("--network", "{fast}", "--mode", "fast"), 2, "--mode is for a search; --network has learned where to look"),
        (("--network", "{fast}", "--seed", 1), 2, "--seed is for a search; --network has learned where to look"),
        (("--device", "cpu"), 2, "--device cpu: what --network computes on; a search runs on the CPU"),
        (("--beside", "{boxes}"), 2, "--beside is for the figures of --recall: give that too"),
    ],
)
def test_wrong_calls_of_propose(
    run_frcnn, tiny_checkpoint, tiny_proposals_path, tiny_voc, tmp_path, options, code, fault
):
    names = {"fast": tiny_checkpoint, "boxes": tiny_proposals_path}
    options = [option.format(**names) if isinstance(option, str) else option for option in options]
    output = tmp_path / "p.npz"
    outcome = run_frcnn("propose", tiny_voc / "JPEGImages", *options, "-o", output)
    assert (outcome.code, outcome.err) == (code, f"frcnn: {fault.format(**names)}\n")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_checkpoint_proposes_nothing(run_frcnn, tiny_proposals_path, tiny_voc, tmp_path):
    call = ("propose", tiny_voc / "JPEGImages", "--network", tiny_proposals_path, "-o", tmp_path / "p.npz")
    outcome = run_frcnn(*call)
    assert outcome.code == 1
    assert outcome.err.startswith(f"frcnn: {tiny_proposals_path}: not a checkpoint, or a damaged one")


def test_proposals_that_are_there_are_not_made(run_frcnn, learned, tiny_proposals_path, tiny_voc):
    call = ("propose", "--voc", tiny_voc, "--proposals", tiny_proposals_path, "--recall", "--network", learned)
    outcome = run_frcnn(*call)
    assert outcome.code == 2
    assert outcome.err == "frcnn: --network is for making proposals; --proposals has them already\n"
    call = ("propose", "--voc", tiny_voc, "--proposals", tiny_proposals_path, "--recall", "--beside", "gone.npz")
    outcome = run_frcnn(*call)
    assert (outcome.code, outcome.err) == (1, "frcnn: gone.npz: no such file\n")


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        (("--network", "{fast}"), "{fast}: Fast R-CNN has no network that proposes"),
        (("--network", "{net}", "--mode", "fast"), "--mode fast: --network makes the proposals; give one of the two"),
        (("--network", "{net}", "--weights", "{net}"),
         "--network {net}: the model proposes its own boxes, and takes no others"),
    ],
)  # fmt: skip
def test_wrong_calls_of_detect(run_frcnn, learned, tiny_checkpoint, tiny_voc, options, fault):
    names = {"fast": tiny_checkpoint, "net": learned}
    options = [option.format(**names) for option in options]
    outcome = run_frcnn("detect", tiny_voc / "JPEGImages" / "kitten.jpg", *options)
    assert (outcome.code, outcome.err) == (2, f"frcnn: {fault.format(**names)}\n")


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        (("--anchor-sizes", "16"), "--anchor-sizes: belongs to --detector faster-rcnn"),
        (("--detector", "faster-rcnn", "--mode", "fast"), "--mode: --detector faster-rcnn proposes its own boxes"),
        (("--detector", "faster-rcnn", "--init", "{fast}", "--anchor-sizes", "16"),
         "--anchor-sizes: the model of --init is as it is"),
        (("--init", "{net}"), "--init {net}: of the kind faster-rcnn, not fast-rcnn"),
    ],
)  # fmt: skip
def test_wrong_calls_of_train(run_frcnn, learned, tiny_checkpoint, tiny_voc, tmp_path, options, fault):
    names = {"fast": tiny_checkpoint, "net": learned}
    options = [option.format(**names) for option in options]
    outcome = run_frcnn("train", "--voc", tiny_voc, "--output", tmp_path / "run", *options)
    assert (outcome.code, outcome.err) == (2, f"frcnn: {fault.format(**names)}\n")


def test_no_anchor_is_a_wrong_call(run_frcnn, tiny_voc, tmp_path):
    call = ("train", "--voc", tiny_voc, "--output", tmp_path / "run", "--detector", "faster-rcnn")
    outcome = run_frcnn(*call, "--anchor-sizes", "")
    assert outcome.code == 2
    assert "needs a number" in outcome.err
