"""Short trainings that differ in one thing each: what the recipe of the bundled model was held against.

    python scripts/ablate_training.py VOC_ROOT RUNS [--jobs 2] [--only NAME ...]

The first row is the recipe at small sizes, 600 iterations of `frcnn train` in a folder of RUNS; each other row changes
what it names. A finished run is not run again, an unfinished one is resumed. The data: VOC2012 with the lists train and
val. The second row is the first one with other random numbers: smaller differences than theirs are noise.
"""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

RECIPE = (
    "--recipe paper --backbone efficientnet_lite0 --iterations 600 --seed 1 --class-agnostic --dropout 0.2 "
    "--optimizer adamw --lr 5e-4 --backbone-lr-factor 0.3 --weight-decay 0.05 --schedule cosine --warmup 100 "
    "--short-side 224,272,320 --long-side 540 --colour-jitter 0.25 --balance 0.1 --ema 0.998 --eval-every 0 "
    "--log-every 50 --loaders 0"
)


@dataclass(frozen=True)
class Ablation:
    """One row: what it changes of the recipe. A later option replaces an earlier one."""

    name: str
    change: str
    options: str = ""


ABLATIONS = (
    Ablation("recipe", ""),
    Ablation("seed", "other random numbers", "--seed 2"),
    Ablation("class-boxes", "one box a class, not one for all", "--class-boxes"),
    Ablation("fixed", "no convolution learns, as in SPPnet", "--backbone-lr-factor 0"),
    Ablation("one-rate", "convolutions learn at the head's rate", "--backbone-lr-factor 1"),
    Ablation("rate-high", "learning rate 1e-3", "--lr 1e-3"),
    Ablation("rate-low", "learning rate 2.5e-4", "--lr 2.5e-4"),
    Ablation("sgd", "the paper's: SGD, rate 1e-3, weight decay 5e-4", "--optimizer sgd --lr 1e-3 --weight-decay 5e-4"),
    Ablation("steps", "rate falls to a tenth at 3/4 of the run, not by a cosine", "--schedule step --steps 450"),
    Ablation("no-warmup", "no warm-up", "--warmup 0"),
    Ablation("dropout", "dropout 0.5", "--dropout 0.5"),
    Ablation("no-average", "no moving average of the weights", "--ema 0"),
    Ablation("more-rois", "256 RoIs of 2 images", "--rois-per-batch 256"),
    Ablation("lambda", "localisation loss weighed twice", "--loss-lambda 2"),
    Ablation("raw-targets", "regression targets not normalised", "--raw-targets"),
    Ablation("one-scale", "short side 320 only", "--short-side 320"),
    Ablation("narrow", "fc6 and fc7 of 512", "--fc-width 512"),
    Ablation("no-jitter", "no colour jitter", "--colour-jitter 0"),
)


@click.command()
@click.argument("root", metavar="VOC_ROOT", type=click.Path(path_type=Path))
@click.argument("runs", type=click.Path(path_type=Path))
@click.option("--jobs", type=click.IntRange(1), default=2, show_default=True, help="Runs at a time, a thread each.")
@click.option("--only", multiple=True, type=click.Choice([row.name for row in ABLATIONS]), help="These rows alone.")
def main(root: Path, runs: Path, jobs: int, only: Sequence[str]) -> None:
    """Run what is missing, print the table."""
    for split in ("train", "val"):
        if not proposals(runs, split).exists():
            frcnn("propose", "--voc", root, "--split", split, "-o", proposals(runs, split))
    with ThreadPoolExecutor(jobs) as pool:
        chosen = [row for row in ABLATIONS if not only or row.name in only]
        list(pool.map(lambda row: run(row, root, runs), chosen))
    print_table(runs)


def proposals(runs: Path, split: str) -> Path:
    return runs / f"proposals-{split}.npz"


def run(row: Ablation, root: Path, runs: Path) -> None:
    """Train, or go on, unless the run has been measured."""
    folder = runs / row.name
    if measured(folder) is not None:
        return
    if (folder / "training_state.pt").exists():
        frcnn("train", "--resume", folder)
        return
    data = ("--voc", root, "--split", "train", "--proposals", proposals(runs, "train"))
    validation = ("--val-split", "val", "--val-proposals", proposals(runs, "val"))
    frcnn("train", "--output", folder, *data, *validation, *RECIPE.split(), *row.options.split())


def frcnn(*arguments: object) -> None:
    """A command of this package in a process of its own, on one thread if it trains."""
    environment = os.environ | ({"OMP_NUM_THREADS": "1"} if arguments[0] == "train" else {})
    subprocess.run([sys.executable, "-m", "frcnn_cli", *map(str, arguments)], check=True, env=environment)


def measured(folder: Path) -> float | None:
    """The mAP at a run's end; None if it has not come there."""
    path = folder / "log.csv"
    if not path.exists():
        return None
    with path.open(newline="") as file:
        values = [row["val_mAP"] for row in csv.DictReader(file) if row["val_mAP"]]
    return float(values[-1]) if values else None


def minutes(folder: Path) -> float:
    """Time of the iterations, from the rates in the log."""
    with (folder / "log.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["iterations_per_second"]]
    done, seconds = 0, 0.0
    for row in rows:
        seconds += (int(row["iteration"]) - done) / float(row["iterations_per_second"])
        done = int(row["iteration"])
    return seconds / 60


def print_table(runs: Path) -> None:
    table = Table("run", "what differs", "mAP on val", "minutes")
    for column in table.columns[2:]:
        column.justify = "right"
    for row in ABLATIONS:
        score = measured(runs / row.name)
        if score is not None:
            table.add_row(row.name, row.change, f"{score:.3f}", f"{minutes(runs / row.name):.0f}")
    Console(highlight=False, soft_wrap=True).print(table)


if __name__ == "__main__":
    main()
