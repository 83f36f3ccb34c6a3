"""The numbers of a training run. The defaults are the paper's."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import cos, pi

import torch
from torch.amp import GradScaler

from frcnn_cli.core.model import FastRCNN
from frcnn_cli.core.sampling import SamplingConfig
from frcnn_cli.engine.batches import Scales

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Schedule:
    """The learning rate over the iterations.

    Attributes:
        kind: ``step``: lr, times `gamma` at each of `steps` (the paper's); ``cosine``: falls to 0 at the end.
        steps: iterations.
        gamma: factor at each step.
        warmup: iterations over which it first rises from 0.
    """

    kind: str = "step"
    steps: tuple[int, ...] = (30_000,)
    gamma: float = 0.1
    warmup: int = 0

    def factor(self, iteration: int, iterations: int) -> float:
        """What the base learning rate is multiplied with in iteration 0, 1, ... of `iterations`."""
        factor = min((iteration + 1) / self.warmup, 1.0) if self.warmup else 1.0
        if self.kind == "cosine":
            return factor * 0.5 * (1 + cos(pi * iteration / iterations))
        return factor * self.gamma ** sum(iteration >= step for step in self.steps)


@dataclass(frozen=True)
class TrainingConfig:
    """A training run.

    Attributes:
        iterations: updates.
        optimizer: ``sgd`` (the paper's) or ``adamw``.
        lr: base learning rate.
        backbone_lr_factor: times lr for the convolutions.
        momentum: of SGD.
        weight_decay: not on biases.
        schedule: of the learning rate.
        sampling: of RoIs.
        box_weight: lambda, the weight of the localisation loss.
        normalise_targets: regression targets to zero mean and unit variance over the data set, as in the paper (2.3).
        scales: of the images.
        flip_probability: of mirroring an image.
        colour_jitter: brightness, contrast and saturation are each multiplied by 1 - x to 1 + x.
        balance: images of a class that fewer than this share of the images show come up more often; 0 for no class.
        ema: decay of the moving average of the weights that is saved and measured; 0 for the weights as they are.
        dropout: after fc6 and fc7.
        precision: of the forward pass, a name of `PRECISIONS`; the weights stay float32 (autocast).
        images_per_pass: through the network at a time; the gradients of a larger batch add up.
        seed: of everything random.
        checkpoint_every: iterations.
        eval_every: iterations between measurements on the validation set; 0: only at the end.
        log_every: iterations between lines of the log.
    """

    iterations: int = 40_000
    optimizer: str = "sgd"
    lr: float = 0.001
    backbone_lr_factor: float = 1.0
    momentum: float = 0.9
    weight_decay: float = 0.0005
    schedule: Schedule = field(default_factory=Schedule)
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    box_weight: float = 1.0
    normalise_targets: bool = True
    scales: Scales = field(default_factory=Scales)
    flip_probability: float = 0.5
    colour_jitter: float = 0.0
    balance: float = 0.0
    ema: float = 0.0
    dropout: float = 0.5
    precision: str = "float32"
    images_per_pass: int = 8
    seed: int = 0
    checkpoint_every: int = 1000
    eval_every: int = 0
    log_every: int = 20


def build_optimizer(model: FastRCNN, config: TrainingConfig) -> torch.optim.Optimizer:
    """An optimizer over the parameters that learn; each group's `base` is its share of the learning rate.

    With SGD, biases have no decay and twice the learning rate, as in the paper's code.
    """
    groups = []
    pretrained, new = (model.backbone.body,), (model.backbone.neck, model.head)
    for parts, share in ((pretrained, config.backbone_lr_factor), (new, 1.0)):
        named = [pair for part in parts if part is not None for pair in part.named_parameters()]
        learning = [(name, p) for name, p in named if p.requires_grad]
        weights = [p for name, p in learning if not name.endswith("bias")]
        biases = [p for name, p in learning if name.endswith("bias")]
        bias_share = 2 * share if config.optimizer == "sgd" else share
        groups.append({"params": weights, "base": share, "weight_decay": config.weight_decay})
        groups.append({"params": biases, "base": bias_share, "weight_decay": 0.0})
    groups = [group for group in groups if group["params"]]
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum, fused=True)
    return torch.optim.AdamW(groups, lr=config.lr, fused=True)


def build_scaler(config: TrainingConfig, device: torch.device) -> GradScaler:
    """What float16 needs beside autocast (Micikevicius et al., Mixed precision training, ICLR 2018, section 3.2).

    Gradients under 6e-8 would vanish in float16, so the loss is multiplied and the sum of gradients divided by a factor
    that grows for as long as nothing overflows. An update that overflows is left out, and the factor halved.
    Of other precisions it does nothing.
    """
    return GradScaler(device.type, enabled=config.precision == "float16")


def set_learning_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Give every group its share."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["base"]
