"""A training step beside the same step built from torchvision's parts, where its time goes, and what each choice buys.

    python scripts/bench_training.py VOC [--proposals train.npz] [--iterations 15] [--json FILE]
    python scripts/bench_training.py VOC --proposals train.npz --val-proposals val.npz --iterations 0 --accuracy 1000

A step is an update of the default model (EfficientNet-Lite0, neck, two layers of 1,024) from two images of one short
side and 64 RoIs of each: forward, loss, backward, AdamW. `torchvision_peer.py` says what theirs is made of; it runs in
planes and channels-last, and is judged by the faster. All get the same batches, made by this package beforehand: what
is compared is the step. (torchvision samples RoIs within the step; here it need not.)

Our step runs in a process of its own, as it does in `frcnn train`: freed memory is kept for the next step
(`engine/allocator.py`). With memory handed back it is timed as well, in one process with torchvision's and the changes.

The timed images are of one size, the data set's commonest. On each batch every variant takes its turn (A B C A B C
...), and medians are compared: times depend on the machine, ratios hardly do.

`--accuracy` trains this package's model and theirs from the same weights on the same batches, with the same learning
rates, and measures both on --val-split by the same evaluation. Targets of the regression are normalised as each does
it: here by their statistics, there by constants. This package's is trained twice, with one box a class as torchvision's
has, and with one box for all classes as the bundled model has.
"""

from __future__ import annotations

import json
import logging
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import torch
import torchvision
from bench_sampling import of_one_size
from rich.console import Console
from rich.table import Column, Table
from torch import Tensor, nn
from torchvision_peer import TorchvisionPeer, peer_step, plain_backbone

from frcnn_cli.core.backbones import DEFAULT_BACKBONE, backbone_config
from frcnn_cli.core.losses import multi_task_loss
from frcnn_cli.core.model import Architecture, FastRCNN
from frcnn_cli.core.sampling import SamplingConfig
from frcnn_cli.data.proposal_formats import Proposals, open_proposals
from frcnn_cli.data.samples import Dataset
from frcnn_cli.data.voc import load_voc
from frcnn_cli.engine.allocator import keep_freed_memory
from frcnn_cli.engine.averaging import WeightAverage
from frcnn_cli.engine.backbone_weights import load_backbone_weights
from frcnn_cli.engine.batches import Batch, Scales, TrainingBatches
from frcnn_cli.engine.detector import Detector
from frcnn_cli.engine.evaluator import evaluate_dataset
from frcnn_cli.engine.proposer import ProposalConfig, propose_images
from frcnn_cli.engine.run import Run, start_run
from frcnn_cli.engine.trainer import training_step
from frcnn_cli.engine.training_config import Schedule, TrainingConfig, build_optimizer, set_learning_rate
from frcnn_cli.files import atomic_write

OURS, THEIRS = "this package", "torchvision's parts"
CLASS_AGNOSTIC = f"{OURS}, one box for all classes"
PLANES, CHANNELS_LAST = f"{THEIRS}, in planes", f"{THEIRS}, channels-last"
COMPILED = "torch.compile"
HANDED_BACK = f"{OURS}, memory handed back"
WARM_UP = 2
LIMIT = 600
"""Seconds that a step may take: torch.compile can lose itself in the algebra of shapes."""

Step = Callable[[Batch, int], float]
"""An update on a batch, given with its number; returns seconds."""

err = Console(stderr=True, highlight=False, soft_wrap=True)


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


@click.command()
@click.argument("voc", type=click.Path(path_type=Path))
@click.option("--split", default="train", show_default=True)
@click.option("--proposals", "proposals_file", type=click.Path(path_type=Path), help="Of --split.  [default: made]")
@click.option("--short-side", type=click.IntRange(32), default=400, show_default=True)
@click.option("--iterations", type=click.IntRange(0), default=15, show_default=True, help="Timed; 0 for none.")
@click.option("--ablation/--no-ablation", default=True, help="Time what each choice buys.", show_default=True)
@click.option("--compile/--no-compile", "compiled", default=True, help="torch.compile too: minutes.", show_default=True)
@click.option("--accuracy", type=click.IntRange(0), default=0, metavar="ITERATIONS", help="Train all for so long.")
@click.option("--lr", type=float, default=3e-4, show_default=True, help="Of --accuracy; a third for the convolutions.")
@click.option("--dropout", type=float, default=0.0, show_default=True, help="Ours; torchvision's head has none.")
@click.option("--val-split", default="val", show_default=True)
@click.option("--val-proposals", "val_file", type=click.Path(path_type=Path), help="Of --val-split.  [default: made]")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Also write the figures here, as they come.")
@click.option("--worker", is_flag=True, hidden=True, help="Answer batch numbers with the seconds of our step.")
def main(
    voc: Path,
    split: str,
    proposals_file: Path | None,
    short_side: int,
    iterations: int,
    ablation: bool,
    compiled: bool,
    accuracy: int,
    lr: float,
    dropout: float,
    val_split: str,
    val_file: Path | None,
    seed: int,
    json_file: Path | None,
    worker: bool,
) -> None:
    """Compare training with torchvision's parts on a data set in VOC layout."""
    logging.disable(logging.WARNING)  # torch.compile's run to pages
    dataset = load_voc(voc, split, skip_faulty=True)
    config = TrainingConfig(
        iterations=accuracy,
        optimizer="adamw",
        lr=lr if accuracy else 1e-6,
        backbone_lr_factor=0.33,
        weight_decay=0.05,
        schedule=Schedule("cosine", warmup=100),
        sampling=SamplingConfig(2, 128),
        scales=Scales((short_side,), 2 * short_side),
        dropout=dropout,
        seed=seed,
    )
    figures: dict = {
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "threads": torch.get_num_threads(),
        "short_side": short_side,
        "seed": seed,
    }

    def save() -> None:
        if json_file:
            with atomic_write(json_file) as temporary:
                temporary.write_text(json.dumps(figures, indent=2) + "\n")

    with TemporaryDirectory() as folder:
        timed = replace(dataset, records=of_one_size(dataset.records)[: 2 * (WARM_UP + iterations)])
        path = proposals_file or make_proposals(dataset if accuracy else timed, Path(folder) / "proposals.npz")
        setting = Setting(timed, open_proposals(path), config)
        if worker:
            serve(setting)
            return
        if iterations:
            command = [sys.executable, __file__, str(voc), "--worker", "--split", split, "--proposals", str(path)]
            command += ["--short-side", str(short_side), "--iterations", str(iterations), "--seed", str(seed)]
            changes = {name: make for name, make in CHANGES.items() if ablation and (compiled or COMPILED not in name)}
            figures["seconds"] = time_steps(setting, iterations, changes, command)
            figures["parts"] = time_parts(setting, iterations)
            save()
            print_times(figures, iterations)
        if accuracy:
            val_set = load_voc(voc, val_split, classes=dataset.classes, skip_faulty=True)
            val_path = val_file or make_proposals(val_set, Path(folder) / "val.npz")
            figures["accuracy"] = {"iterations": accuracy, "lr": lr, "dropout": dropout}
            for name, result in train_all(replace(setting, dataset=dataset), val_set, open_proposals(val_path)):
                figures["accuracy"][name] = result
                save()
            print_accuracy(figures["accuracy"], val_set)


def make_proposals(dataset: Dataset, path: Path) -> Path:
    """Selective search, for those who have no file."""
    err.print(f"proposals of {len(dataset)} images of {dataset.name} are made first")
    propose_images(dataset.records, path, ProposalConfig())
    return path


# --- the steps


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
    "batch norm not absorbed": partial(our_step, change=with_plain_norms),
    "planes instead of channels-last": partial(our_step, change=InPlanes),
    "RoI pooling of torchvision": partial(our_step, change=with_torchvision_pooling),
    "AdamW not fused": partial(our_step, build=plain_adamw),
    "bfloat16 (autocast)": partial(our_step, precision="bfloat16"),
    f"{COMPILED}, one shape": partial(our_step, change=partial(torch.compile, dynamic=False)),
    f"{COMPILED}, dynamic shapes": partial(our_step, change=partial(torch.compile, dynamic=True)),
}


def serve(setting: Setting) -> None:
    """Our step as `frcnn train` runs it: numbers of batches come in, seconds go out, a line each."""
    keep_freed_memory()
    batches, step = setting.batches(), our_step(setting)
    for line in sys.stdin:
        print(step(batches[int(line)], int(line)), flush=True)


@contextmanager
def elsewhere(command: list[str]) -> Iterator[Step]:
    """Our step in a process of its own."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:

        def step(batch: Batch, number: int) -> float:
            print(number, file=process.stdin, flush=True)
            answer = process.stdout.readline()
            if not answer:
                raise RuntimeError("its process has ended")
            return float(answer)

        try:
            yield step
        finally:
            with suppress(OSError):  # it has ended already
                process.stdin.close()


# --- timing


def time_steps(
    setting: Setting, iterations: int, changes: dict[str, Callable[[Setting], Step]], worker: list[str]
) -> dict[str, list[float] | str]:
    """Seconds by variant and round; of a variant that fails, what it says.

    Args:
        setting: what all start from.
        iterations: rounds that are timed.
        changes: makers of changed steps.
        worker: the command of a process that serves our step.
    """
    makers: dict[str, Callable[[Setting], Step]] = {
        HANDED_BACK: our_step,
        PLANES: partial(their_step, memory_format=torch.contiguous_format),
        CHANNELS_LAST: partial(their_step, memory_format=torch.channels_last),
        **changes,
    }
    steps = {name: make(setting) for name, make in makers.items()}
    with elsewhere(worker) as step:
        return _time_in_turn(setting.batches(), {OURS: step, **steps}, iterations)


@contextmanager
def limit(seconds: int) -> Iterator[None]:
    """Raises TimeoutError when the time is over."""
    over = TimeoutError(f"not done in {seconds} s")
    raised = False

    def stop(number: int, frame: object) -> None:
        nonlocal raised
        raised = True
        raise over

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    except Exception as error:
        raise (over if raised else error) from None  # torch.compile makes an error of its own of it
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _time_in_turn(batches: TrainingBatches, steps: dict[str, Step], iterations: int) -> dict[str, list[float] | str]:
    seconds: dict[str, list[float] | str] = {name: [] for name in steps}
    for number in range(WARM_UP + iterations):
        batch = batches[number]
        for name, step in steps.items():
            if isinstance(seconds[name], str):
                continue
            try:
                with limit(LIMIT):
                    elapsed = step(batch, number)
            except Exception as error:
                if name in (OURS, HANDED_BACK, PLANES, CHANNELS_LAST):
                    raise
                seconds[name] = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
                err.print(f"{name} fails: {seconds[name]}")
                continue
            if number >= WARM_UP:
                seconds[name].append(elapsed)
            elif number == 0:
                err.print(f"{name}: the first step took {elapsed:.1f} s")
        now = statistics.median(seconds[OURS]) if seconds[OURS] else elapsed
        err.print(f"round {number + 1} of {WARM_UP + iterations}, {WARM_UP} to warm up; our step {now:.2f} s")
    return seconds


def time_parts(setting: Setting, iterations: int) -> dict[str, float]:
    """Median seconds of each part of our step, and of what is done before and after it."""
    model, batches = setting.model(), setting.batches()
    run = setting.run(model)
    optimizer = build_optimizer(model, run.config)
    average = WeightAverage(model, 0.99)
    seconds: dict[str, list[float]] = {}
    clock = 0.0

    def lap(part: str) -> None:
        nonlocal clock
        seconds.setdefault(part, []).append(time.perf_counter() - clock)
        clock = time.perf_counter()

    for number in range(WARM_UP + iterations):
        clock = time.perf_counter()
        batch = batches[number]
        lap("data: reading, scaling, sampling")
        features = model.backbone(batch.images)
        lap("backbone and neck, forward")
        pooled = model.roi_pool(features, batch.rois)
        lap("RoI pooling, forward")
        logits, deltas = model.head(pooled)
        lap("head, forward")
        losses = multi_task_loss(logits, deltas, batch.labels, (batch.deltas - run.target_mean) / run.target_std)
        loss = losses["cls"] + losses["bbox"]
        lap("loss")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        lap("backward")
        optimizer.step()
        lap("optimizer")
        average.update(model, number + 1)
        lap("averaging of the weights")
    return {part: statistics.median(values[WARM_UP:]) for part, values in seconds.items()}


# --- accuracy


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
    detector = Detector(
        peer.eval(),
        setting.dataset.classes,
        backbone_config(DEFAULT_BACKBONE).normalisation,
        config.scales.short_sides[0],
        config.scales.long_side,
    )
    yield THEIRS, _measure(THEIRS, detector, val_set, val_proposals, seconds)


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


# --- what is printed


def _table(*columns: str) -> Table:
    return Table(columns[0], *(Column(name, justify="right") for name in columns[1:]))


def print_times(figures: dict, iterations: int) -> None:
    """Our step and theirs, the parts of ours, and what changes cost."""
    console = Console(highlight=False, soft_wrap=True, width=120)
    medians = {name: v if isinstance(v, str) else statistics.median(v) for name, v in figures["seconds"].items()}
    base = medians[OURS]
    table = _table("step", "iterations a second", "takes")
    for name in (OURS, HANDED_BACK, PLANES, CHANNELS_LAST):
        table.add_row(name, f"{1 / medians[name]:.2f}", f"{medians[name] / base:.2f} times as long")
    console.print(table)
    best = min((PLANES, CHANNELS_LAST), key=lambda name: medians[name])
    console.print(
        f"{medians[best] / base:.2f} times the iterations a second of {best}: two images of short side "
        f"{figures['short_side']}, 64 RoIs each; medians of {iterations} rounds, {figures['threads']} threads"
    )
    table = _table("part of an iteration", "share")
    whole = sum(figures["parts"].values())
    for part, seconds in figures["parts"].items():
        table.add_row(part, f"{seconds / whole:.1%}")
    console.print(table)
    changes = [name for name in medians if name in CHANGES]
    if changes:
        base = medians[HANDED_BACK]
        table = _table("our step, memory handed back, with", "takes")
        for name in changes:
            value = medians[name]
            table.add_row(name, f"fails: {value}" if isinstance(value, str) else f"{value / base:.2f} times as long")
        console.print(table)


def print_accuracy(accuracy: dict, val_set: Dataset) -> None:
    """What all reach."""
    table = _table("trained with", "mAP", "iterations a second")
    for name in (OURS, CLASS_AGNOSTIC, THEIRS):
        result = accuracy[name]
        table.add_row(name, f"{result['mAP']:.4f}", f"{accuracy['iterations'] / result['seconds']:.2f}")
    console = Console(highlight=False, soft_wrap=True, width=120)
    console.print(table)
    console.print(
        f"{accuracy['iterations']} iterations from the same weights on the same batches, learning rate "
        f"{accuracy['lr']:g} (cosine, warm-up 100); {val_set.name}, {len(val_set)} images"
    )


if __name__ == "__main__":
    main()
