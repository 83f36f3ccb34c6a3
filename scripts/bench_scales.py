"""One scale against several at test, as in the paper's table 7, and what mirroring and box voting add.

    python scripts/bench_scales.py VOC [--split val] [--proposals FILE] [--weights CHECKPOINT] [--json FILE]

Each image is looked at in every way in turn, and the time is divided by that of the model's own scale on the same
image; medians of these ratios are printed (--json has the median seconds, which depend on the machine). Proposals are
not part of the time. Scales are given in proportion to the model's own: the pyramid of five has the paper's proportions
(480, 576, 688, 864, 1200 to 600).
"""

from __future__ import annotations

import json
import statistics
import time
from dataclasses import replace
from pathlib import Path

import click
import torch
from rich.console import Console
from rich.table import Table

from frcnn_cli.commands.console import progress_bar
from frcnn_cli.data.detections import Detections
from frcnn_cli.data.formats.voc import load_voc
from frcnn_cli.data.images import load_image
from frcnn_cli.data.proposals import open_proposals
from frcnn_cli.engine.detection_config import EVALUATION, DetectionConfig
from frcnn_cli.engine.detector import Detector
from frcnn_cli.engine.sources.search import ProposalConfig, SearchSource
from frcnn_cli.files import atomic_write
from frcnn_cli.metrics.average_precision import evaluate

SINGLE = (0.8, 1, 1.2)
PYRAMIDS = ((0.8, 1, 1.25), (0.8, 0.96, 1.15, 1.44, 2))
PATH = click.Path(path_type=Path)


@click.command()
@click.argument("voc", type=PATH)
@click.option("--split", default="val", show_default=True)
@click.option("--proposals", type=PATH, help="A proposal file.  [default: made here]")
@click.option("--weights", type=PATH, help="A checkpoint.  [default: the bundled model]")
@click.option("--limit", type=click.IntRange(1), help="Only the first images: a quick look, not a result.")
@click.option("--json", "json_file", type=PATH, help="Also write the figures here.")
def main(
    voc: Path, split: str, proposals: Path | None, weights: Path | None, limit: int | None, json_file: Path | None
) -> None:
    """Average precision and time of each way to look at the images."""
    detector = Detector.load(weights, runtime="torch")
    records = load_voc(voc, split, detector.classes).records[:limit]
    source = open_proposals(proposals) if proposals else SearchSource(ProposalConfig())
    ways = ways_to_look(detector.engine.short_side)
    found: dict[str, list[Detections]] = {name: [] for name in ways}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number, record in enumerate(progress_bar("scales")(records)):
        image = load_image(record.path)
        boxes = source.boxes(image, record.id)
        for name, config in ways.items():
            if number == 0:
                detector.detect(image, boxes, config)  # warms up, and compiles what was never run on this machine
            start = time.perf_counter()
            found[name].append(detector.detect(image, boxes, config))
            seconds[name].append(time.perf_counter() - start)
    objects = [record.objects for record in records]
    base = seconds[str(detector.engine.short_side)]
    rows = [
        {
            "way": name,
            "mAP": float(evaluate(found[name], objects, len(detector.classes), "voc").mean_ap),
            "time": statistics.median(own / single for own, single in zip(seconds[name], base, strict=True)),
            "seconds": statistics.median(seconds[name]),
        }
        for name in ways
    ]
    print_table(rows, detector.engine.short_side, f"{len(records)} images of {split}")
    if json_file:
        with atomic_write(json_file) as temporary:
            temporary.write_text(json.dumps({"images": len(records), "rows": rows}, indent=2) + "\n")


def ways_to_look(own: int) -> dict[str, DetectionConfig]:
    """A name -> how to look; `own` is the short side that the model comes with."""

    def at(*factors: float, **others: bool) -> DetectionConfig:
        scales = tuple(round(own * factor) for factor in factors)
        papers = {"nms_threshold": 0.3, "box_voting": False, "refine": 0}  # how the paper selects
        return replace(EVALUATION, scales=scales, **(papers | others))

    ways = {}
    for factors in (*((factor,) for factor in SINGLE), *PYRAMIDS):
        config = at(*factors)
        ways[", ".join(map(str, config.short_sides))] = config
    ways[f"{own}, mirrored too"] = at(1, flip=True)
    ways[f"{own}, box voting"] = at(1, box_voting=True)
    ways[f"{own}, mirrored too, box voting"] = at(1, flip=True, box_voting=True)
    return ways


def print_table(rows: list[dict], own: int, images: str) -> None:
    """A row a way."""
    table = Table("shorter side, pixels", "mAP", "time")
    for column in table.columns[1:]:
        column.justify = "right"
    for row in rows:
        table.add_row(row["way"], f"{row['mAP']:.4f}", f"{row['time']:.2f}")
    console = Console(highlight=False, soft_wrap=True)
    console.print(table)
    console.print(f"{images}; times are to that of {own} pixels, medians; {torch.get_num_threads()} threads")


if __name__ == "__main__":
    main()
