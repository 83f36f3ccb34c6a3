"""`frcnn train` with a backbone of one's own, and with weights that have a classifier."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn
from torchvision.models import alexnet

from frcnn_cli.core.backbones import BACKBONES, BackboneConfig, Normalisation
from frcnn_cli.core.backbones.network import Backbone
from frcnn_cli.core.model import Architecture
from frcnn_cli.engine.checkpoint import load_checkpoint

QUICK = (
    "--short-side", 64, "--long-side", 128, "--rois-per-batch", 16, "--log-every", 1, "--loaders", 0,
    "--workers", 1, "--iterations", 2, "--recipe", "paper",
)  # fmt: skip


class Toy:
    """One convolution, of non-overlapping windows; all that it learned on ImageNet are means and differences."""

    config = BackboneConfig(2, 8, Normalisation("RGB", 1 / 255, (0.4,) * 3, (0.3,) * 3), "this test", bundled=True)

    def build(self, neck: int) -> Backbone:
        return Backbone(nn.Sequential(nn.Conv2d(3, 4, 16, stride=16, padding=8)), 4, ("0.bias",))

    def imagenet_state(self, backbone: Backbone) -> dict[str, torch.Tensor]:
        return {"0.weight": torch.full((4, 3, 16, 16), 0.01), "0.bias": torch.arange(4.0)}


@pytest.fixture
def train(run_frcnn, tiny_voc, tiny_proposals_path):
    def run(*arguments):
        return run_frcnn("train", "--voc", tiny_voc, "--proposals", tiny_proposals_path, *QUICK, *arguments)

    return run


def test_a_backbone_is_a_member_of_the_table(train, run_frcnn, tiny_voc, tmp_path, monkeypatch):
    """Its defaults, its network and its weights are used, in training and to detect with what was trained."""
    monkeypatch.setitem(BACKBONES, "toy", Toy())
    run = tmp_path / "run"
    outcome = train("--backbone", "toy", "--output", run, "--lr", 1e-9)
    assert outcome.code == 0, outcome.err
    trained = load_checkpoint(run / "model.safetensors")
    assert trained.architecture == Architecture("toy", 20, roi_size=2, fc_width=8)
    assert trained.normalisation == Toy.config.normalisation
    assert trained.state["backbone.body.0.bias"].tolist() == [0, 1, 2, 3]
    torch.testing.assert_close(trained.state["backbone.body.0.weight"], torch.full((4, 3, 16, 16), 0.01))

    image = tiny_voc / "JPEGImages" / "cow.jpg"
    found = run_frcnn("detect", image, "--weights", run / "model.safetensors", "--score", 0.01, "--json")
    assert found.code == 0, found.err
    assert json.loads(found.out)[0]["detections"]

    monkeypatch.undo()
    outcome = train("--backbone", "toy", "--output", tmp_path / "another")
    assert outcome.code == 2
    names = "efficientnet_lite0, vgg16, alexnet"
    assert outcome.err.splitlines()[-1] == f"frcnn: unknown backbone 'toy': use {names} or a model name of timm"


def test_what_fc6_and_fc7_start_from_is_said(train, tmp_path):
    """In a line, and so they do: at this learning rate they stay as they are."""
    torch.manual_seed(2)
    network = alexnet(weights=None)
    network.classifier[1], network.classifier[4] = nn.Linear(9216, 12), nn.Linear(12, 12)
    state = network.state_dict()
    path = tmp_path / "[bold]weights.pth"  # shown as it is
    torch.save(state, path)
    given = ("--backbone", "alexnet", "--backbone-weights", path, "--lr", 1e-9)

    outcome = train(*given, "--output", tmp_path / "run", "--fc-width", 4)
    assert outcome.code == 0, outcome.err
    assert (
        f"{path}: fc6 and fc7 start from the first 4 of the 12 units of classifier.1 and classifier.4\n" in outcome.err
    )
    fc6 = load_checkpoint(tmp_path / "run" / "model.safetensors").state["head.fc6.weight"]
    expected = state["classifier.1.weight"][:4].view(4, 256, 6, 6).permute(0, 2, 3, 1).flatten(1)
    torch.testing.assert_close(fc6, expected, rtol=1e-3, atol=1e-5)

    outcome = train(*given, "--output", tmp_path / "another", "--fc-width", 4, "--roi-size", 3)
    assert outcome.code == 0, outcome.err
    line = "classifier.1 and classifier.4 are of another shape, so fc6 and fc7 start at random"
    assert f"{path}: {line}\n" in outcome.err
