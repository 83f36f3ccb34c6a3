"""How large an image has to be for its first proposals, at several numbers of them, and what a size costs.

    python scripts/bench_search_size.py VOC2012 [--split val] [--mode fast]

Every image is searched at every size in turn, by one thread; proposals are as small at each as their share of the image
allows at the first. Times are processor time divided by that at the first size.
"""

from __future__ import annotations

import time
from pathlib import Path

import click
import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from frcnn_cli.data.formats.voc import load_voc
from frcnn_cli.data.images import load_image
from frcnn_cli.engine.sources.search import DetectionSearch, smallest_at
from frcnn_cli.metrics.proposal_recall import ProposalRecall
from proposals import MODES, SEARCH_SIZE, selective_search

SIZES = (SEARCH_SIZE, 360, DetectionSearch.search_size, 280)
"""The first is the default of `frcnn propose`, the third that of `frcnn detect`."""

COUNTS = (500, 1000, 2000)


@click.command()
@click.argument("voc", type=click.Path(path_type=Path))
@click.option("--split", default="val", show_default=True)
@click.option("--mode", default="fast", show_default=True, type=click.Choice(tuple(MODES)))
@click.option("--images", type=click.IntRange(1), help="The first so many; all of them otherwise.")
def main(voc: Path, split: str, mode: str, images: int | None) -> None:
    """Print recall and time for each size."""
    records = load_voc(voc, split).records[:images]
    recalls = {size: ProposalRecall(COUNTS) for size in SIZES}
    spent = dict.fromkeys(SIZES, 0.0)
    selective_search(np.zeros((64, 64, 3), np.uint8), mode, threads=1)  # compiles
    for record in track(records, console=Console(stderr=True)):
        image, objects = load_image(record.path), record.objects.without_difficult()
        for size in SIZES:
            start = time.process_time()
            sizes = {"search_size": size, "smallest": smallest_at(size)}
            found = selective_search(image, mode, max(COUNTS), **sizes, threads=1)
            spent[size] += time.process_time() - start
            recalls[size].add(found, objects.boxes, objects.labels)
    report(recalls, spent)


def report(recalls: dict[int, ProposalRecall], spent: dict[int, float]) -> None:
    table = Table("--search-size", "time", *(f"{count:,} proposals\n0.5    0.7    MABO" for count in COUNTS))
    for size, part in recalls.items():
        found = part.result()
        rows = zip(found.recall(0.5), found.recall(0.7), found.mabo, strict=True)
        table.add_row(
            str(size), f"{spent[size] / spent[SIZES[0]]:.2f}", *("  ".join(f"{x:.3f}" for x in r) for r in rows)
        )
    console = Console(highlight=False, soft_wrap=True, width=120)
    console.print(table)
    console.print(f"{recalls[SIZES[0]].result().num_objects} objects; recall at IoU 0.5 and 0.7, mean best overlap")


if __name__ == "__main__":
    main()
