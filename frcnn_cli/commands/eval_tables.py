"""What `frcnn eval` prints of one model: a table, or JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import click
from rich.table import Table

from frcnn_cli.commands.console import err, out
from frcnn_cli.data.samples import Dataset
from frcnn_cli.engine.evaluator import Evaluation
from frcnn_cli.metrics.average_precision import rank_classes
from frcnn_cli.metrics.thresholds import Threshold, best_threshold


def thresholds_of(dataset: Dataset, evaluation: Evaluation) -> list[Threshold]:
    """The score of the best F1 at IoU 0.5 for every class."""
    objects = [record.objects for record in dataset.records]
    rankings = rank_classes(evaluation.detections, objects, len(dataset.classes))
    return [best_threshold(ranking) for ranking in rankings]


def print_json(dataset: Dataset, evaluation: Evaluation, metric: str, thresholds: Sequence[Threshold]) -> None:
    """Print one object; null stands for what has no value, as JSON has no nan."""
    figures: dict[str, Any] = {"metric": metric, "mAP": number(evaluation.mean_ap)}
    if evaluation.coco:
        figures |= {name: number(value) for name, value in evaluation.coco.numbers.items() if name != "AP"}
    figures["AP"] = {name: number(value) for name, value in zip(dataset.classes, evaluation.ap.ap, strict=True)}
    if thresholds:
        figures["thresholds"] = {
            name: {key: number(getattr(best, key)) for key in ("score", "precision", "recall", "f1")}
            for name, best in zip(dataset.classes, thresholds, strict=True)
        }
    figures["images"] = len(dataset)
    figures["seconds_per_image"] = seconds_of(evaluation)
    click.echo(json.dumps(figures, indent=2))


def print_table(
    dataset: Dataset, evaluation: Evaluation, metric: str, thresholds: Sequence[Threshold], origin: str
) -> None:
    """Print each class, and on stderr the time; `origin` is of proposals that nobody made."""
    table = Table("class", "objects", "AP", *(("from score", "precision", "recall", "F1") if thresholds else ()))
    table.columns[0].overflow = "fold"
    for column in table.columns[1:]:
        column.justify = "right"
    rows = zip(dataset.classes, evaluation.ap.num_objects, evaluation.ap.ap, strict=True)
    for index, (name, count, ap) in enumerate(rows):
        best = thresholds[index] if thresholds else None
        cells = (best.score, best.precision, best.recall, best.f1) if best else ()
        table.add_row(name, str(count), cell(ap), *map(cell, cells))
    table.add_section()
    table.add_row("mAP", str(evaluation.ap.num_objects.sum()), cell(evaluation.mean_ap, 4), style="bold")
    out.print(table)
    if evaluation.coco:
        numbers = Table("COCO's", "value")
        numbers.columns[1].justify = "right"
        for name, value in evaluation.coco.numbers.items():
            numbers.add_row(name, cell(value))
        out.print(numbers)
    made = origin if evaluation.proposal_seconds is None else f"{evaluation.proposal_seconds:.2f} s an image"
    err.print(
        f"{dataset.name}: {len(dataset)} images, metric {metric}; proposals {made}, "
        f"detection {evaluation.detection_seconds:.2f} s an image"
    )


def seconds_of(evaluation: Evaluation) -> dict[str, float | None]:
    """The times, as JSON has them."""
    return {"proposals": evaluation.proposal_seconds, "detection": evaluation.detection_seconds}


def number(value: float) -> float | None:
    """A figure in JSON."""
    return None if math.isnan(value) else float(value)


def cell(value: float, digits: int = 3) -> str:
    """A figure in a table."""
    return "-" if math.isnan(value) else f"{value:.{digits}f}"
