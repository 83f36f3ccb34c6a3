"""A training step beside the same step built from torchvision's parts, where its time goes, and what each choice buys.

    python scripts/bench_training.py VOC [--proposals train.npz] [--iterations 15] [--json FILE]
    python scripts/bench_training.py VOC --proposals train.npz --val-proposals val.npz --iterations 0 --accuracy 1000

A step is an update of the default model (EfficientNet-Lite0, neck, two layers of 1,024) from two images of one short
side and 64 RoIs of each: forward, loss, backward, AdamW. `training_steps.py` has ours, and ours with one thing changed;
`torchvision_peer.py` says what theirs is made of. Theirs runs in planes and channels-last, and is judged by the faster.
All get the same batches, made by this package beforehand: what is compared is the step. (torchvision samples RoIs
within the step; here it need not.)

Our step runs in a process of its own, as it does in `frcnn train`: freed memory is kept for the next step
(`engine/allocator.py`). With memory handed back it is timed as well, in one process with torchvision's and the changes.

The timed images are of one size, the data set's commonest. On each batch every variant takes its turn (A B C A B C
...), and medians are compared: times depend on the machine, ratios hardly do.

`--accuracy` (`training_accuracy.py`) trains this package's model and theirs from the same weights on the same batches,
with the same learning rates, and measures both on --val-split by the same evaluation. Targets of the regression are
normalised as each does it: here by their statistics, there by constants. This package's is trained twice, with one box
a class as torchvision's has, and with one box for all classes as the bundled model has.
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
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import torch
import torchvision
from bench_sampling import of_one_size
from rich.console import Console
from rich.table import Column, Table
from training_accuracy import OURS, THEIRS, print_accuracy, train_all
from training_steps import CHANGES, COMPILED, Setting, Step, our_step, their_step

from frcnn_cli.core.losses import multi_task_loss
from frcnn_cli.core.sampling import SamplingConfig
from frcnn_cli.data.formats.voc import load_voc
from frcnn_cli.data.proposals import open_proposals
from frcnn_cli.data.samples import Dataset
from frcnn_cli.engine.allocator import keep_freed_memory
from frcnn_cli.engine.averaging import WeightAverage
from frcnn_cli.engine.batches import Batch, Scales, TrainingBatches
from frcnn_cli.engine.optimizer import build_optimizer
from frcnn_cli.engine.proposer import propose_images
from frcnn_cli.engine.sources.search import ProposalConfig
from frcnn_cli.engine.training_config import Schedule, TrainingConfig
from frcnn_cli.files import atomic_write

PLANES, CHANNELS_LAST = f"{THEIRS}, in planes", f"{THEIRS}, channels-last"
HANDED_BACK = f"{OURS}, memory handed back"
WARM_UP = 2
LIMIT = 600
"""Seconds that a step may take: torch.compile can lose itself in the algebra of shapes."""

err = Console(stderr=True, highlight=False, soft_wrap=True)


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


if __name__ == "__main__":
    main()
