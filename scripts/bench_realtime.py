"""Precision and time of each level that `frcnn detect --realtime` chooses from.

    python scripts/bench_realtime.py VOC [--split test] [--metric voc07] [--limit 150] [--weights CHECKPOINT]

Each photograph is searched and detected in at every level in turn, so that what else the machine does slows all of them
alike; times are medians, and printed as parts of the first level's, which are the costs in `LEVELS`. A photograph has
no frame before it, so that the precision is that of a video's first frame.
"""

from __future__ import annotations

import json
import statistics
import time
from pathlib import Path

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from frcnn_cli.commands.console import progress_bar
from frcnn_cli.data.formats.voc import load_voc
from frcnn_cli.data.images import load_image
from frcnn_cli.engine.detection_config import EVALUATION
from frcnn_cli.engine.detector import Detector, detect_image
from frcnn_cli.engine.realtime import LEVELS, CarryingSource
from frcnn_cli.files import atomic_write
from frcnn_cli.metrics.average_precision import evaluate

PATH = click.Path(path_type=Path)
NOTHING = np.zeros((0, 4), np.float32)


@click.command()
@click.argument("voc", type=PATH)
@click.option("--split", default="test", show_default=True)
@click.option("--metric", type=click.Choice(["voc", "voc07"]), default="voc07", show_default=True)
@click.option("--limit", type=click.IntRange(2), help="Only the first images.  [default: all]")
@click.option("--weights", type=PATH, help="A checkpoint.  [default: the bundled model]")
@click.option("--runtime", default="torch", show_default=True)
@click.option("--json", "json_file", type=PATH, help="Also write the figures here.")
def main(
    voc: Path, split: str, metric: str, limit: int | None, weights: Path | None, runtime: str, json_file: Path | None
) -> None:
    """Measure every level."""
    detector = Detector.load(weights, runtime=runtime)
    records = load_voc(voc, split, detector.classes).records[:limit]
    found = {level: [] for level in LEVELS}
    seconds = {level: [] for level in LEVELS}
    for record in progress_bar("levels")(records):
        image = load_image(record.path)
        for level in LEVELS:
            config = level.of(EVALUATION)
            start = time.perf_counter()
            result = detect_image(detector, image, record.path, record.id, CarryingSource(level, NOTHING), config)
            seconds[level].append(time.perf_counter() - start)
            found[level].append(result.detections)
    objects = [record.objects for record in records]
    first = statistics.median(seconds[LEVELS[0]][1:])
    table = Table("mode", "search size", "short side", "proposals", "second look", "mirrored", "mAP", "time")
    rows = []
    for level in LEVELS:
        precision = float(evaluate(found[level], objects, len(detector.classes), metric).mean_ap)
        median = statistics.median(seconds[level][1:])  # the first one warms up
        numbers = (level.search_size, level.short_side, level.proposals, level.refine)
        mirrored = "yes" if level.refine_flip else "no"
        table.add_row(level.mode, *map(str, numbers), mirrored, f"{precision:.3f}", f"{median / first:.2f}")
        rows.append({"level": str(level), "mAP": precision, "seconds": median})
    console = Console(highlight=False, soft_wrap=True)
    console.print(table)
    console.print(f"{len(records)} images of {split}, metric {metric}, runtime {runtime}")
    if json_file:
        with atomic_write(json_file) as temporary:
            temporary.write_text(json.dumps({"images": len(records), "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
