"""`frcnn eval --compare`: several models on the same images, and whether they differ by more than chance."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from frcnn_cli.commands.console import err, out, progress_bar
from frcnn_cli.commands.eval_options import Entry
from frcnn_cli.commands.eval_tables import cell, number, seconds_of
from frcnn_cli.commands.options import ModelOptions, load_detector, proposal_source
from frcnn_cli.data.samples import Dataset
from frcnn_cli.engine.detection_config import DetectionConfig
from frcnn_cli.engine.detector import Detector, find_model
from frcnn_cli.engine.distributed import current
from frcnn_cli.engine.evaluator import Contender, Evaluation, evaluate_together
from frcnn_cli.metrics.bootstrap import (
    DRAWS,
    Difference,
    Interval,
    difference,
    draw_images,
    resampled_detections,
    resampled_mean,
)


@dataclass(frozen=True, eq=False)
class Compared:
    """One of the models.

    Attributes:
        name: as it was typed.
        size: of its file, in bytes.
        parameters: numbers that it learnt; None of a runtime that does not tell.
        evaluation: what it does.
        interval: of its mAP.
        mean: how far its mAP is from the first one's; None for the first, as for the next.
        classes: the same of every class.
    """

    name: str
    size: int
    parameters: int | None
    evaluation: Evaluation
    interval: Interval
    mean: Difference | None = None
    classes: Sequence[Difference] | None = None


def compare(
    entries: Sequence[Entry],
    model: ModelOptions,
    dataset: Dataset,
    metric: str,
    config: DetectionConfig,
    as_json: bool,
) -> None:
    """Measure all, and print what they are beside the first one.

    Args:
        entries: two or more.
        model: the device and the runtime of all.
        dataset: images and objects.
        metric: what to measure.
        config: how to look at images.
        as_json: print JSON, not tables.
    """
    contenders = []
    for entry in entries:
        options = ModelOptions(entry.weights, model.runtime, model.device)
        detector = load_detector(options, entry.proposals)
        source = proposal_source(entry.proposals, dataset.records, model.device, config.max_proposals)
        contenders.append(Contender(detector, source))
    evaluations = evaluate_together(contenders, dataset, metric, config, progress_bar("eval"), current())
    if evaluations is None:
        return  # process 0 has them
    compared = _compared(entries, [contender.detector for contender in contenders], evaluations, dataset, metric)
    if as_json:
        click.echo(json.dumps(_as_json(compared, dataset, metric), indent=2))
    else:
        _print_tables(compared, dataset)
        err.print(
            f"{dataset.name}: {len(dataset)} images, metric {metric}; ± is what 95 of 100 draws of the images lie in "
            f"({DRAWS} draws, the same for all), * a difference beyond it: of 20 classes, one by chance"
        )


def _compared(
    entries: Sequence[Entry],
    detectors: Sequence[Detector],
    evaluations: Sequence[Evaluation],
    dataset: Dataset,
    metric: str,
) -> list[Compared]:
    objects, num_classes = [record.objects for record in dataset.records], len(dataset.classes)
    weights = draw_images(len(dataset))
    draws = [resampled_detections(e.detections, objects, num_classes, metric, weights) for e in evaluations]
    means = [resampled_mean(table) for table in draws]
    first, compared = evaluations[0], []
    for place, (entry, detector, evaluation) in enumerate(zip(entries, detectors, evaluations, strict=True)):
        size = find_model(entry.weights).stat().st_size
        one = Compared(entry.word, size, _parameters(detector), evaluation, Interval.of(means[place]))
        if place:
            mean = difference(evaluation.mean_ap - first.mean_ap, means[place] - means[0])
            apart, drawn = evaluation.ap.ap - first.ap.ap, draws[place] - draws[0]
            classes = [difference(float(value), column) for value, column in zip(apart, drawn.T, strict=True)]
            one = Compared(one.name, size, one.parameters, evaluation, one.interval, mean, classes)
        compared.append(one)
    return compared


def _parameters(detector: Detector) -> int | None:
    model = getattr(detector.engine, "model", None)
    return sum(parameter.numel() for parameter in model.parameters()) if hasattr(model, "parameters") else None


def _as_json(compared: Sequence[Compared], dataset: Dataset, metric: str) -> dict[str, Any]:
    def as_list(interval: Interval) -> list[float | None]:
        return [number(interval.low), number(interval.high)]

    def as_dict(apart: Difference) -> dict[str, Any]:
        return {
            "difference": number(apart.value),
            "interval": as_list(apart.interval),
            "p": number(apart.p),
            "more_than_chance": apart.more_than_chance,
        }

    models = []
    for one in compared:
        evaluation = one.evaluation
        figures = {"model": one.name, "mAP": number(evaluation.mean_ap), "interval": as_list(one.interval)}
        if evaluation.coco:
            figures |= {name: number(value) for name, value in evaluation.coco.numbers.items() if name != "AP"}
        figures["AP"] = {name: number(ap) for name, ap in zip(dataset.classes, evaluation.ap.ap, strict=True)}
        figures |= {"bytes": one.size, "parameters": one.parameters, "seconds_per_image": seconds_of(evaluation)}
        if one.mean is not None and one.classes is not None:
            figures["to_first"] = {
                "mAP": as_dict(one.mean),
                "AP": {name: as_dict(apart) for name, apart in zip(dataset.classes, one.classes, strict=True)},
            }
        models.append(figures)
    return {"metric": metric, "images": len(dataset), "draws": DRAWS, "models": models}


def _print_tables(compared: Sequence[Compared], dataset: Dataset) -> None:
    """The models, one a column; then the classes, one a row."""
    names = _distinct([one.name for one in compared])
    models, classes = Table("", *names), Table("class", "objects", *names)
    rows: dict[str, list[str]] = {}
    for one in compared:
        seconds, mean = one.evaluation.proposal_seconds, one.mean
        cells = {
            "mAP": cell(one.evaluation.mean_ap, 4),
            "±": _half(one.interval),
            "to the first": f"{mean.value:+.4f}" if mean else "",
            "± of that": _half(mean.interval) if mean else "",
            "more than chance": f"{'yes' if mean.more_than_chance else 'no'} (p {mean.p:.3f})" if mean else "",
            "proposals": "-" if seconds is None else f"{1000 * seconds:.0f} ms",
            "detection": f"{1000 * one.evaluation.detection_seconds:.0f} ms",
            "size": f"{one.size / 1e6:.1f} MB",
        }
        for name, text in cells.items():
            rows.setdefault(name, []).append(text)
    for name, texts in rows.items():
        models.add_row(name, *texts)
    for index, name in enumerate(dataset.classes):
        texts = []
        for one in compared:
            star = "*" if one.classes and one.classes[index].more_than_chance else " "
            texts.append(f"{cell(one.evaluation.ap.ap[index])}{star}")
        classes.add_row(name, str(compared[0].evaluation.ap.num_objects[index]), *texts)
    for column in (*models.columns[1:], *classes.columns[1:]):
        column.justify, column.overflow = "right", "fold"
    classes.columns[0].overflow = "fold"
    out.print(models, classes)


def _half(interval: Interval) -> str:
    """Half an interval's width."""
    return cell((interval.high - interval.low) / 2)


def _distinct(names: Sequence[str]) -> list[str]:
    """File names without their folders, where that leaves them apart."""
    short = [Path(name).name for name in names]
    return short if len(set(short)) == len(short) else list(names)
