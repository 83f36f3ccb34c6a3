"""Short trainings that differ in one thing each: what the recipe of the bundled model was chosen by.

    python scripts/ablate_training.py VOC_ROOT RUNS [--jobs 2] [--only NAME ...]

Every row is a run of `frcnn train` of 800 iterations at small sizes, in a folder of RUNS, and changes the row it names.
A finished run is not run again, an unfinished one is resumed. The data: VOC2012 with the lists train and val. On so few
photographs (249 in val) differences under 2 points are noise.
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

COMMON = (
    "--iterations 800 --seed 1 --optimizer adamw --lr 3e-4 --backbone-lr-factor 0.33 --weight-decay 0.05 "
    "--schedule cosine --warmup 100 --short-side 256,320,384 --long-side 640 --balance 0.1 --ema 0.998 "
    "--eval-every 0 --log-every 50 --loaders 0"
)


@dataclass(frozen=True)
class Ablation:
    """One row: what it changes of which other row."""

    name: str
    base: str | None
    change: str
    options: str = ""


ABLATIONS = (
    Ablation("base", None, "one box a class, dropout 0.5"),
    Ablation("agnostic", "base", "one box for all classes", "--class-agnostic"),
    Ablation("dropout", "agnostic", "dropout 0.1", "--dropout 0.1"),
    Ablation("rates", "agnostic", "head's learning rate 1e-3, body's 2e-4", "--lr 1e-3 --backbone-lr-factor 0.2"),
)


@click.command()
@click.argument("root", metavar="VOC_ROOT", type=click.Path(path_type=Path))
@click.argument("runs", type=click.Path(path_type=Path))
@click.option("--jobs", type=click.IntRange(1), default=2, show_default=True, help="Runs at a time, a thread each.")
@click.option("--only", multiple=True, type=click.Choice([row.name for row in ABLATIONS]), help="These rows alone.")
def main(root: Path, runs: Path, jobs: int, only: Sequence[str]) -> None:
    """Run what is missing, print the table."""
    for split in ("train", "val"):
        frcnn("propose", "--voc", root, "--split", split, "-o", proposals(runs, split))
    with ThreadPoolExecutor(jobs) as pool:
        chosen = [row for row in ABLATIONS if not only or row.name in only]
        list(pool.map(lambda row: run(row, root, runs), chosen))
    print_table(runs)


def proposals(runs: Path, split: str) -> Path:
    return runs / f"proposals-{split}.npz"


def options(row: Ablation) -> list[str]:
    """Of the whole chain of changes; a later option replaces an earlier one."""
    base = next((other for other in ABLATIONS if other.name == row.base), None)
    return (options(base) if base else COMMON.split()) + row.options.split()


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
    frcnn("train", "--output", folder, *data, *validation, *options(row))


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
    table = Table("run", "changes", "to", "mAP on val", "minutes")
    for column in table.columns[3:]:
        column.justify = "right"
    for row in ABLATIONS:
        score = measured(runs / row.name)
        if score is not None:
            table.add_row(row.name, row.base or "", row.change, f"{score:.3f}", f"{minutes(runs / row.name):.0f}")
    Console(highlight=False, soft_wrap=True).print(table)


if __name__ == "__main__":
    main()
