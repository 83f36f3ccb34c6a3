"""Faster R-CNN: learning from its own proposals, alone and in parts, and looking at images by them."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch

from frcnn_cli.core.backbones import NORMALISATIONS
from frcnn_cli.core.faster_rcnn import (
    LOSSES,
    TARGET_STD,
    FasterArchitecture,
    FasterRCNN,
    JointSampling,
    Scene,
    joint_losses,
)
from frcnn_cli.core.losses import multi_task_loss
from frcnn_cli.core.model import Architecture
from frcnn_cli.core.rpn.anchors import inside
from frcnn_cli.core.rpn.config import DETECTION, TRAINING, AnchorSampling
from frcnn_cli.core.rpn.losses import anchor_loss
from frcnn_cli.core.rpn.targets import sample_anchors
from frcnn_cli.core.sampling_config import SamplingConfig
from frcnn_cli.data.images import load_image
from frcnn_cli.engine.backbone_weights import load_backbone_weights
from frcnn_cli.engine.batches import TrainingBatches
from frcnn_cli.engine.checkpoint import load_checkpoint
from frcnn_cli.engine.detection_config import DetectionConfig
from frcnn_cli.engine.detector import Detector
from frcnn_cli.engine.detectors import DETECTORS
from frcnn_cli.engine.evaluator import evaluate_dataset
from frcnn_cli.engine.learners import LEARNERS
from frcnn_cli.engine.learners.faster_rcnn import FasterOptions
from frcnn_cli.engine.run_state import start_run
from frcnn_cli.engine.scene_batches import SceneBatches
from frcnn_cli.engine.trainer import train
from frcnn_cli.engine.training_config import Scales, Schedule, TrainingConfig

KIND = "faster-rcnn"
SMALL = FasterArchitecture("alexnet", 3, 2, 16, anchor_sizes=(16, 32, 64))


class Listener:
    def __init__(self) -> None:
        self.values: list[dict[str, float]] = []

    def progress(self, progress) -> None:
        self.values.append(progress.values)

    def message(self, text: str) -> None: ...


@pytest.fixture
def model() -> FasterRCNN:
    torch.manual_seed(0)
    return FasterRCNN(SMALL, dropout=0.0).train()


def test_eight_images_are_learnt_by_heart(tiny_dataset, tmp_path):
    """Both networks, and the last stage of the backbone, learn 120 times from the same 8 images. No search takes part,
    and the objects are found again: by the proposals, and by the detector."""
    torch.manual_seed(0)
    by_heart = replace(tiny_dataset, records=tuple(r for r in tiny_dataset.records if r.id not in ("horses", "wine")))
    config = TrainingConfig(
        iterations=120,
        optimizer="adamw",
        lr=0.002,
        weight_decay=0.0,
        backbone_lr_factor=0.1,
        schedule=Schedule("cosine", warmup=10),
        sampling=SamplingConfig(2, 128, background_iou=(0.0, 0.5)),
        scales=Scales((96,), 400),
        flip_probability=0.0,
        dropout=0.0,
        log_every=1,
    )
    architecture = FasterArchitecture(
        "efficientnet_lite0", len(by_heart.classes), 4, 64, neck=32, anchor_sizes=(24, 48, 96)
    )
    model = FasterRCNN(architecture, config.dropout)
    load_backbone_weights(model.backbone, "efficientnet_lite0", "imagenet")
    for name, parameter in model.backbone.body.named_parameters():
        parameter.requires_grad_("blocks.6." in name)
    run = start_run(
        model, NORMALISATIONS["half"], by_heart, None, config, kind=KIND, options=FasterOptions(training_proposals=100)
    )
    listener = Listener()
    train(run, by_heart, None, tmp_path, listener, workers=0)
    losses = [values["loss"] for values in listener.values]
    detector = Detector.load(tmp_path / "model.safetensors")
    found = evaluate_dataset(detector, by_heart).ap
    print(losses[::20], found.mean_ap, [v["foreground"] for v in listener.values][::20])
    assert sum(losses[-20:]) < 0.3 * sum(losses[:20])
    assert found.mean_ap > 0.85
