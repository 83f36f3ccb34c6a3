"""What our step of training and torchvision's learn, from the same weights on the same batches."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator

import torch
from rich.console import Console
from rich.table import Column, Table
from torchvision_peer import TorchvisionPeer, peer_step
from training_steps import Setting, plain_adamw

from frcnn_cli.core.backbones import DEFAULT_BACKBONE, backbone_config
from frcnn_cli.data.proposals import Proposals
from frcnn_cli.data.samples import Dataset
from frcnn_cli.engine.batches import Batch
from frcnn_cli.engine.detector import Detector
from frcnn_cli.engine.evaluator import evaluate_dataset
from frcnn_cli.engine.optimizer import build_optimizer, set_learning_rate
from frcnn_cli.engine.run_state import start_run
from frcnn_cli.engine.runtimes.torch_engine import TorchEngine
from frcnn_cli.engine.training_step import training_step

OURS, THEIRS = "this package", "torchvision's parts"
CLASS_AGNOSTIC = f"{OURS}, one box for all classes"

err = Console(stderr=True, highlight=False, soft_wrap=True)


def train_all(setting: Setting, val_set: Dataset, val_proposals: Proposals) -> Iterator[tuple[str, dict[str, float]]]:
    """Train each from the same weights on the same batches; yield its mAP and seconds as soon as they are known."""
    for name, class_agnostic in ((OURS, False), (CLASS_AGNOSTIC, True)):
        yield name, train_ours(name, setting, class_agnostic, val_set, val_proposals)

    config = setting.config
    peer = TorchvisionPeer(setting.model()).train().to(memory_format=torch.channels_last)
    their_adamw = plain_adamw(peer, config)
    seconds = _train(
        THEIRS, setting, lambda batch: peer_step(peer, batch, their_adamw, torch.channels_last), their_adamw
    )
    engine = TorchEngine(
        peer.eval(),
        setting.dataset.classes,
        backbone_config(DEFAULT_BACKBONE).normalisation,
        config.scales.short_sides[0],
        config.scales.long_side,
    )
    yield THEIRS, _measure(THEIRS, Detector(engine), val_set, val_proposals, seconds)


def train_ours(
    name: str, setting: Setting, class_agnostic: bool, val_set: Dataset, val_proposals: Proposals
) -> dict[str, float]:
    """This package's mAP and seconds."""
    err.print("statistics of the regression targets are measured")
    model, normalisation = setting.model(class_agnostic), backbone_config(DEFAULT_BACKBONE).normalisation
    run = start_run(model, normalisation, setting.dataset, setting.proposals, setting.config)
    optimizer = build_optimizer(model, setting.config)

    def step(batch: Batch) -> float:
        losses = training_step(model, batch, optimizer, run, "cpu")
        run.iteration += 1
        return losses["loss"]

    seconds = _train(name, setting, step, optimizer)
    return _measure(name, Detector.from_checkpoint(run.checkpoint()), val_set, val_proposals, seconds)


def _train(name: str, setting: Setting, step: Callable[[Batch], float], optimizer: torch.optim.Optimizer) -> float:
    """Seconds of all the steps, batches apart."""
    config = setting.config
    torch.manual_seed(config.seed)  # dropout
    batches = setting.batches()
    total, losses = 0.0, []
    for number in range(config.iterations):
        set_learning_rate(optimizer, config.lr * config.schedule.factor(number, config.iterations))
        batch = batches[number]
        start = time.perf_counter()
        losses.append(step(batch))
        total += time.perf_counter() - start
        if (number + 1) % 50 == 0 or number + 1 == config.iterations:
            err.print(
                f"{name}: iteration {number + 1}/{config.iterations}  loss {statistics.mean(losses[-50:]):.4f}  "
                f"{(number + 1) / total:.2f} it/s"
            )
    return total


def _measure(
    name: str, detector: Detector, val_set: Dataset, val_proposals: Proposals, seconds: float
) -> dict[str, float]:
    err.print(f"{name}: measured on {val_set.name}, {len(val_set)} images")
    start = time.perf_counter()
    mean_ap = evaluate_dataset(detector, val_set, val_proposals).ap.mean_ap
    err.print(f"{name}: mAP {mean_ap:.4f} ({time.perf_counter() - start:.0f} s)")
    return {"mAP": mean_ap, "seconds": seconds}


def print_accuracy(accuracy: dict, val_set: Dataset) -> None:
    """What all reach."""
    table = Table("trained with", *(Column(name, justify="right") for name in ("mAP", "iterations a second")))
    for name in (OURS, CLASS_AGNOSTIC, THEIRS):
        result = accuracy[name]
        table.add_row(name, f"{result['mAP']:.4f}", f"{accuracy['iterations'] / result['seconds']:.2f}")
    console = Console(highlight=False, soft_wrap=True, width=120)
    console.print(table)
    console.print(
        f"{accuracy['iterations']} iterations from the same weights on the same batches, learning rate "
        f"{accuracy['lr']:g} (cosine, warm-up 100); {val_set.name}, {len(val_set)} images"
    )
