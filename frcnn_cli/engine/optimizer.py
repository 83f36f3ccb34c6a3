"""What updates the weights: the optimizer, its learning rates, and the scale of the loss in float16."""

from __future__ import annotations

import torch
from torch import nn
from torch.amp import GradScaler

from frcnn_cli.engine.training_config import TrainingConfig


def build_optimizer(model: nn.Module, config: TrainingConfig) -> torch.optim.Optimizer:
    """An optimizer over the parameters that learn; each group's `base` is its share of the learning rate.

    With SGD, biases have no decay and twice the learning rate, as in the paper's code.
    """
    groups = []
    for pretrained, share in ((True, config.backbone_lr_factor), (False, 1.0)):
        learning = [
            (name, p)
            for name, p in model.named_parameters()
            if p.requires_grad and name.startswith("backbone.body.") == pretrained
        ]
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
