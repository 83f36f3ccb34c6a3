"""What becomes of the boxes that a detector scores: suppression, voting, a second look, and what each of them gives.

    python scripts/bench_selection.py VOC2012 --proposals val.npz
    python scripts/bench_selection.py VOC2012 --proposals val.npz --counts 2000,1000,500 --refine 100,200 --nms 0.4

Each image goes through the network once for each number of proposals and of RoIs that are looked at again; the rest is
chosen among the same scores. Times are of a whole detection without proposals, as a ratio to the first row's, measured
in turn.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path

import click
import torch
from rich.console import Console
from rich.table import Table

from frcnn_cli.commands.console import progress_bar
from frcnn_cli.core.detection import select_detections
from frcnn_cli.data.detections import Detections
from frcnn_cli.data.formats.voc import load_voc
from frcnn_cli.data.images import load_image
from frcnn_cli.data.proposals import open_proposals
from frcnn_cli.engine.detection_config import EVALUATION
from frcnn_cli.engine.detector import Detector
from frcnn_cli.engine.sources.search import ProposalConfig, SearchSource
from frcnn_cli.metrics.average_precision import evaluate

PATH = click.Path(path_type=Path)
VOTING = (False, True)


def numbers(kind: type) -> Callable[..., tuple]:
    """A callback of click: a text such as 100,200 as a tuple."""
    return lambda context, option, text: tuple(kind(number) for number in text.split(","))


@click.command()
@click.argument("voc", type=PATH)
@click.option("--split", default="val", show_default=True, help="The list of images.")
@click.option("--proposals", type=PATH, help="A proposal file.  [default: made here]")
@click.option("--weights", type=PATH, help="A checkpoint.  [default: the bundled model]")
@click.option("--metric", type=click.Choice(["voc", "voc07"]), default="voc", show_default=True, help="Of the table.")
@click.option("--counts", default="2000", callback=numbers(int), help="Numbers of proposals.")
@click.option("--refine", default="0,100", callback=numbers(int), help="Numbers of RoIs that are looked at again.")
@click.option("--nms", default="0.3,0.4,0.5", callback=numbers(float), help="Thresholds of suppression.")
@click.option("--limit", type=click.IntRange(1), help="Only the first images: a quick look, not a result.")
def main(
    voc: Path,
    split: str,
    proposals: Path | None,
    weights: Path | None,
    metric: str,
    counts: tuple[int, ...],
    refine: tuple[int, ...],
    nms: tuple[float, ...],
    limit: int | None,
) -> None:
    """Average precision and time of each way to select detections."""
    detector = Detector.load(weights, runtime="torch")
    engine = detector.engine
    records = load_voc(voc, split, detector.classes).records[:limit]
    source = open_proposals(proposals) if proposals else SearchSource(ProposalConfig())
    looks = list(product(counts, refine))
    ways = [(*look, *way) for look in looks for way in product(nms, VOTING)]
    found: dict[tuple, list[Detections]] = {way: [] for way in ways}
    seconds: dict[tuple, list[float]] = {way: [] for way in ways}
    for record in progress_bar("selection")(records):
        image = load_image(record.path)
        boxes = source.boxes(image, record.id)
        for count, again in looks:
            start = time.perf_counter()
            scores = engine.kind.score(engine, image, boxes[:count], replace(EVALUATION, refine=again))
            scored = time.perf_counter() - start
            for threshold, voting in product(nms, VOTING):
                start = time.perf_counter()
                selected = select_detections(
                    scores.probabilities,
                    scores.deltas,
                    scores.boxes,
                    (record.width, record.height),
                    EVALUATION.score_threshold,
                    threshold,
                    EVALUATION.max_detections,
                    voting,
                )
                way = (count, again, threshold, voting)
                seconds[way].append(scored + time.perf_counter() - start)
                found[way].append(Detections(*(part.numpy() for part in selected)))
    objects = [record.objects for record in records]
    table = Table("proposals", "looked at again", "NMS", "box voting", "mAP", "mAP at IoU 0.7", "time")
    for column in (*table.columns[:3], *table.columns[4:]):
        column.justify = "right"
    for way in ways:
        maps = [evaluate(found[way], objects, len(detector.classes), metric, iou).mean_ap for iou in (0.5, 0.7)]
        ratios = (own / first for own, first in zip(seconds[way], seconds[ways[0]], strict=True))
        count, again, threshold, voting = way
        cells = (f"{maps[0]:.4f}", f"{maps[1]:.4f}", f"{statistics.median(ratios):.2f}")
        table.add_row(str(count), str(again), f"{threshold:g}", "yes" if voting else "no", *cells)
    console = Console(highlight=False, soft_wrap=True)
    console.print(table)
    console.print(f"{len(records)} images of {voc.name} {split}, metric {metric}, {torch.get_num_threads()} threads")


if __name__ == "__main__":
    main()
