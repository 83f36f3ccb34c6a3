"""How many proposals are enough (the paper's figure 3), and what the regression of boxes does at test (table 6).

    python scripts/paper_proposals.py VOC --proposals FILE [--split val] [--weights CHECKPOINT] [--json FILE]

One trained detector looks at the best 10, 30, 100, ... proposals of each image, with its boxes moved and as they were
proposed, and at a dense grid of boxes in their place: squares and boxes of 1:2 and 2:1 of four sizes, every half of
their side. Each image is read once, and scored once with all of its boxes: a box's score does not depend on the others,
so that the best few are a part of the same scores.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from frcnn_cli.commands.console import progress_bar
from frcnn_cli.core.detection import select_detections
from frcnn_cli.data.detections import Detections
from frcnn_cli.data.formats.voc import load_voc
from frcnn_cli.data.images import load_image
from frcnn_cli.data.proposals import open_proposals
from frcnn_cli.engine.detector import Detector
from frcnn_cli.engine.detectors import Scores
from frcnn_cli.engine.lineage.measure import AS_THE_PAPER
from frcnn_cli.files import atomic_write
from frcnn_cli.metrics.average_precision import evaluate
from frcnn_cli.metrics.proposal_recall import ProposalRecall

COUNTS = (10, 30, 100, 300, 1000, 2000)
SIDES = (0.2, 0.35, 0.6, 0.9)
"""Of the dense boxes: the square root of their area, as a share of the image's shorter side."""

RATIOS = (0.5, 1.0, 2.0)
PATH = click.Path(path_type=Path)


@dataclass(frozen=True)
class Row:
    """What is looked at.

    Attributes:
        name: of the row.
        count: of proposals; 0 for the dense grid.
        moved: whether the regression moves them.
        paper: the paper's mAP in percent, of its model M on VOC2007; None where it gives no figure.
    """

    name: str
    count: int
    moved: bool = True
    paper: float | None = None


ROWS = (
    *(Row(f"{count:,} proposals", count) for count in COUNTS[:-1]),
    Row(f"{COUNTS[-1]:,} proposals", COUNTS[-1], paper=59.2),
    Row(f"{COUNTS[-1]:,} proposals, where they are", COUNTS[-1], moved=False, paper=55.5),
    Row("a dense grid", 0, paper=52.9),
)
"""The paper's dense boxes are 45,000 an image, in training and at test."""


def dense_grid(width: int, height: int) -> np.ndarray:
    """Boxes of every size and shape at every half of their side, cut to the image: float32 [K, 4]."""
    boxes = []
    for side in SIDES:
        for ratio in RATIOS:
            area = side * min(width, height)
            w, h = min(area * ratio**0.5, width), min(area / ratio**0.5, height)
            lefts, tops = np.arange(0, width - w + 1e-6, w / 2), np.arange(0, height - h + 1e-6, h / 2)
            boxes += [(left, top, left + w, top + h) for top in tops for left in lefts]
    return np.array(boxes, np.float32).clip(0, (width, height, width, height))


@click.command()
@click.argument("voc", type=PATH)
@click.option("--proposals", type=PATH, required=True, help="A proposal file, best first.")
@click.option("--split", default="val", show_default=True)
@click.option("--weights", type=PATH, help="A checkpoint.  [default: the bundled model]")
@click.option("--limit", type=click.IntRange(1), help="Only the first images: a quick look, not a result.")
@click.option("--json", "json_file", type=PATH, help="Also write the figures here.")
def main(
    voc: Path, proposals: Path, split: str, weights: Path | None, limit: int | None, json_file: Path | None
) -> None:
    """Average precision of each row."""
    detector = Detector.load(weights, runtime="torch")
    records = load_voc(voc, split, detector.classes).records[:limit]
    source = open_proposals(proposals)
    found: dict[str, list[Detections]] = {row.name: [] for row in ROWS}
    recall = ProposalRecall(list(COUNTS))
    numbers: dict[str, list[int]] = defaultdict(list)
    for record in progress_bar("proposals")(records):
        image, size = load_image(record.path), (record.width, record.height)
        boxes = source.boxes(image, record.id)[: COUNTS[-1]]
        objects = record.objects.without_difficult()
        recall.add(boxes, objects.boxes, objects.labels)
        scored = {"proposed": score(detector, image, boxes), "dense": score(detector, image, dense_grid(*size))}
        for row in ROWS:
            scores = scored["proposed" if row.count else "dense"]
            numbers[row.name].append(len(scores.boxes[: row.count or None]))
            found[row.name].append(selected(scores, row, size))
    objects = [record.objects for record in records]
    coverage = dict(zip(COUNTS, recall.result().recall(0.5), strict=True))
    rows = [
        {
            "row": row.name,
            "boxes": float(np.mean(numbers[row.name])),
            "recall": float(coverage[row.count]) if row.count else None,
            "mAP": float(evaluate(found[row.name], objects, len(detector.classes), "voc").mean_ap),
            "paper": row.paper,
        }
        for row in ROWS
    ]
    table = Table("an image's boxes", "mean", "objects covered at IoU 0.5", "mAP, %", "the paper's")
    for row in rows:
        covered = "-" if row["recall"] is None else f"{row['recall']:.3f}"
        paper = "-" if row["paper"] is None else f"{row['paper']:.1f}"
        table.add_row(row["row"], f"{row['boxes']:.0f}", covered, f"{100 * row['mAP']:.1f}", paper)
    Console(highlight=False, soft_wrap=True).print(table)
    if json_file:
        with atomic_write(json_file) as temporary:
            temporary.write_text(json.dumps({"images": len(records), "rows": rows}, indent=2) + "\n")


def score(detector: Detector, image: np.ndarray, boxes: np.ndarray) -> Scores:
    """The model's scores of an image's boxes, each looked at once."""
    return detector.engine.kind.score(detector.engine, image, boxes, AS_THE_PAPER)


def selected(scores: Scores, row: Row, size: tuple[int, int]) -> Detections:
    """The detections among the first boxes."""
    boxes, probabilities, deltas = (part[: row.count or None].float() for part in scores)
    config = AS_THE_PAPER
    found = select_detections(
        probabilities,
        deltas if row.moved else torch.zeros_like(deltas),
        boxes,
        size,
        config.score_threshold,
        config.nms_threshold,
        config.max_detections,
    )
    return Detections(*(part.numpy() for part in found))


if __name__ == "__main__":
    main()
