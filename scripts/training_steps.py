"""Steps of training that `bench_training.py` compares: ours, torchvision's, and ours with one thing changed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
import torchvision
from torch import Tensor, nn
from torchvision_peer import TorchvisionPeer, peer_step, plain_backbone

from frcnn_cli.core.backbones import DEFAULT_BACKBONE, backbone_config
from frcnn_cli.core.frozen_norm import ScaledConv
from frcnn_cli.core.model import Architecture, FastRCNN
from frcnn_cli.data.proposals import Proposals
from frcnn_cli.data.samples import Dataset
from frcnn_cli.engine.backbone_weights import load_backbone_weights
from frcnn_cli.engine.batches import Batch, TrainingBatches
from frcnn_cli.engine.optimizer import build_optimizer
from frcnn_cli.engine.run_state import Run
from frcnn_cli.engine.training_config import TrainingConfig
from frcnn_cli.engine.training_step import training_step

COMPILED = "torch.compile"

Step = Callable[[Batch, int], float]
"""An update on a batch, given with its number; returns seconds."""


@dataclass(frozen=True)
class Setting:
    """What every variant starts from."""

    dataset: Dataset
    proposals: Proposals
    config: TrainingConfig

    def model(self, class_agnostic: bool = False) -> FastRCNN:
        """ImageNet's weights, and the same random ones each time."""
        torch.manual_seed(self.config.seed)
        defaults = backbone_config(DEFAULT_BACKBONE)
        architecture = Architecture(
            DEFAULT_BACKBONE,
            len(self.dataset.classes),
            defaults.roi_size,
            defaults.fc_width,
            neck=defaults.neck,
            class_agnostic=class_agnostic,
        )
        model = FastRCNN(architecture, self.config.dropout)
        load_backbone_weights(model.backbone, DEFAULT_BACKBONE, "imagenet")
        model.backbone.freeze()
        return model.train().to(memory_format=torch.channels_last)

    def batches(self) -> TrainingBatches:
        config = self.config
        normalisation = backbone_config(DEFAULT_BACKBONE).normalisation
        return TrainingBatches(
            self.dataset.records, self.proposals, normalisation, config.sampling, config.scales, 0.5, config.seed
        )

    def run(self, model: FastRCNN, config: TrainingConfig | None = None) -> Run:
        """A run with plausible statistics of the targets: measuring them would take longer than a step."""
        normalisation = backbone_config(DEFAULT_BACKBONE).normalisation
        std = torch.tensor((0.1, 0.1, 0.2, 0.2))
        return Run(model, self.dataset.classes, normalisation, config or self.config, torch.zeros(4), std)


def our_step(
    setting: Setting,
    change: Callable[[FastRCNN], nn.Module] = lambda model: model,
    build: Callable[[nn.Module, TrainingConfig], torch.optim.Optimizer] = build_optimizer,
    **config: object,
) -> Step:
    """A step of this package, with its model changed in place or wrapped."""
    inner = setting.model()
    model = change(inner)
    run = setting.run(inner, replace(setting.config, **config))
    optimizer = build(inner, run.config)

    def step(batch: Batch, number: int) -> float:
        start = time.perf_counter()
        training_step(model, batch, optimizer, run, "cpu")
        return time.perf_counter() - start

    return step


def their_step(setting: Setting, memory_format: torch.memory_format) -> Step:
    model = TorchvisionPeer(setting.model()).train().to(memory_format=memory_format)
    optimizer = plain_adamw(model, setting.config)

    def step(batch: Batch, number: int) -> float:
        start = time.perf_counter()
        peer_step(model, batch, optimizer, memory_format)
        return time.perf_counter() - start

    return step


def plain_adamw(model: nn.Module, config: TrainingConfig) -> torch.optim.Optimizer:
    """torch's AdamW as it comes, not fused, with our groups of parameters: same rates, same decay."""
    groups = [
        {name: group[name] for name in ("params", "base", "weight_decay")}
        for group in build_optimizer(model, config).param_groups
    ]
    return torch.optim.AdamW(groups, lr=config.lr)


class InPlanes(nn.Module):
    """A model whose maps are planes, one after the other, as torch lays tensors out by itself."""

    def __init__(self, model: FastRCNN) -> None:
        super().__init__()
        self.model = model.to(memory_format=torch.contiguous_format)

    def forward(self, images: Tensor, rois: Tensor) -> tuple[Tensor, Tensor]:
        return self.model(images.contiguous(), rois)


def with_torchs_depthwise(model: FastRCNN) -> FastRCNN:
    """Gradients of depthwise weights by torch's kernels."""
    for module in model.modules():
        if isinstance(module, ScaledConv):
            module.depthwise = False
    return model


class TorchvisionRoIPool(nn.Module):
    """torchvision's, in the place of ours."""

    def __init__(self, ours: nn.Module) -> None:
        super().__init__()
        self.size, self.scale = ours.output_size, ours.spatial_scale

    def forward(self, features: Tensor, rois: Tensor) -> Tensor:
        return torchvision.ops.roi_pool(features, rois, self.size, self.scale)


def with_torchvision_pooling(model: FastRCNN) -> FastRCNN:
    """The same outputs, by other code."""
    model.roi_pool = TorchvisionRoIPool(model.roi_pool)
    return model


def with_plain_norms(model: FastRCNN) -> FastRCNN:
    """Batch norm is a pass of its own."""
    model.backbone = plain_backbone(model.backbone).train().to(memory_format=torch.channels_last)
    return model


CHANGES: dict[str, Callable[[Setting], Step]] = {
    "depthwise gradients of torch": partial(our_step, change=with_torchs_depthwise),
    "batch norm not absorbed": partial(our_step, change=with_plain_norms),
    "planes instead of channels-last": partial(our_step, change=InPlanes),
    "RoI pooling of torchvision": partial(our_step, change=with_torchvision_pooling),
    "AdamW not fused": partial(our_step, build=plain_adamw),
    "bfloat16 (autocast)": partial(our_step, precision="bfloat16"),
    f"{COMPILED}, one shape": partial(our_step, change=partial(torch.compile, dynamic=False)),
    f"{COMPILED}, dynamic shapes": partial(our_step, change=partial(torch.compile, dynamic=True)),
}
