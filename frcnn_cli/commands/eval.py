"""`frcnn eval`: a model and a data set in, average precision out."""

from __future__ import annotations

import json
import math
from contextlib import nullcontext

import click
from rich.table import Table

from frcnn_cli.commands.console import err, out, progress_bar
from frcnn_cli.commands.dataset_options import DatasetCommand, DatasetOptions, format_flags, with_lists
from frcnn_cli.commands.fields import option_group
from frcnn_cli.commands.options import (
    ModelOptions,
    OutputOptions,
    SourceOptions,
    check_output,
    check_source,
    load_detector,
    open_output,
    proposal_source,
)
from frcnn_cli.commands.profile_table import print_profile
from frcnn_cli.data.samples import Dataset
from frcnn_cli.engine.detection_config import EvaluationConfig
from frcnn_cli.engine.detector import find_model
from frcnn_cli.engine.distributed import current
from frcnn_cli.engine.evaluator import Evaluation, evaluate_dataset


@click.command("eval", cls=DatasetCommand)
@click.option("--split", default="test", show_default=True, help=f"The list of {format_flags(with_lists)} to read.")
@click.option(
    "--metric",
    type=click.Choice(["voc", "voc07"]),
    default="voc",
    show_default=True,
    help="Area under the curve (VOC2010 and later), or 11 points (VOC2007).",
)
@option_group(ModelOptions, "model")
@option_group(SourceOptions, "proposals")
@option_group(EvaluationConfig, "config")
@option_group(OutputOptions, "output")
def eval(
    data: DatasetOptions,
    split: str,
    metric: str,
    model: ModelOptions,
    proposals: SourceOptions,
    config: EvaluationConfig,
    output: OutputOptions,
) -> None:
    """Measure a model's average precision at IoU 0.5, class by class, as PASCAL VOC does.

    Difficult objects count neither way. All detections with a score of 0.01 or more, at most 100 an image, are ranked.
    Under torchrun, the processes divide the images among themselves.

    \b
    frcnn eval --voc VOCdevkit/VOC2007 --split test --proposals test.npz
    frcnn eval --coco val.json --images photos --weights run/model.safetensors
    frcnn eval --voc VOCdevkit/VOC2007 --scales 480,576,688,864,1200 --flip-test --box-voting
    frcnn eval --voc VOCdevkit/VOC2007 --split test --output results
    """
    check_output(output)
    find_model(model.weights)
    check_source(proposals)
    dataset = data.load(split)
    source = proposal_source(proposals, dataset.records)
    detector = load_detector(model, proposals)
    first = current().rank == 0
    with open_output(output, dataset.classes, dataset.records, split) if first else nullcontext() as write:
        evaluation = evaluate_dataset(detector, dataset, source, metric, config, progress_bar("eval"), current())
        if evaluation is None:
            return  # process 0 has it
        for result in evaluation.results:
            write(result)
    print_profile(detector, len(evaluation.results))
    if output.output:
        err.print(f"detections of {len(dataset)} images in {output.output}")
    if output.as_json:
        click.echo(json.dumps(_as_json(dataset, evaluation, metric), indent=2))
    else:
        _print_table(dataset, evaluation, metric, "from a file" if proposals.proposals else "the model's own")


def _as_json(dataset: Dataset, evaluation: Evaluation, metric: str) -> dict:
    def number(value: float) -> float | None:
        return None if math.isnan(value) else float(value)  # JSON has no nan

    return {
        "metric": metric,
        "mAP": number(evaluation.ap.mean_ap),
        "AP": {name: number(value) for name, value in zip(dataset.classes, evaluation.ap.ap, strict=True)},
        "images": len(dataset),
        "seconds_per_image": {
            "proposals": evaluation.proposal_seconds,
            "detection": evaluation.detection_seconds,
        },
    }


def _print_table(dataset: Dataset, evaluation: Evaluation, metric: str, origin: str) -> None:
    """Print each class, and on stderr the time; `origin` is of proposals that nobody made."""
    table = Table("class", "objects", "AP")
    for column in table.columns[1:]:
        column.justify = "right"
    for name, count, ap in zip(dataset.classes, evaluation.ap.num_objects, evaluation.ap.ap, strict=True):
        table.add_row(name, str(count), "-" if math.isnan(ap) else f"{ap:.3f}")
    table.add_section()
    table.add_row("mAP", str(evaluation.ap.num_objects.sum()), f"{evaluation.ap.mean_ap:.4f}", style="bold")
    out.print(table)
    made = origin if evaluation.proposal_seconds is None else f"{evaluation.proposal_seconds:.2f} s an image"
    err.print(
        f"{dataset.name}: {len(dataset)} images, metric {metric}; proposals {made}, "
        f"detection {evaluation.detection_seconds:.2f} s an image"
    )
