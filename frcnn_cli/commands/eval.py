"""`frcnn eval`: a model and a data set in, average precision out."""

from __future__ import annotations

from contextlib import nullcontext

import click

from frcnn_cli.commands.console import err, progress_bar
from frcnn_cli.commands.dataset_options import DatasetCommand, DatasetOptions, format_flags, with_lists
from frcnn_cli.commands.eval_compare import compare
from frcnn_cli.commands.eval_options import PAGE, Measure, check_measure, origin_of, parse_entries
from frcnn_cli.commands.eval_tables import print_json, print_table, thresholds_of
from frcnn_cli.commands.fields import option_group
from frcnn_cli.commands.options import (
    ModelOptions,
    OutputOptions,
    SourceOptions,
    check_source,
    load_detector,
    open_output,
    proposal_source,
)
from frcnn_cli.commands.profile_table import print_profile
from frcnn_cli.engine.detection_config import EvaluationConfig
from frcnn_cli.engine.detector import find_model
from frcnn_cli.engine.distributed import current
from frcnn_cli.engine.evaluator import evaluate_dataset
from frcnn_cli.engine.interrupts import delayed_interrupt, stoppable
from frcnn_cli.errors import Interrupted
from frcnn_cli.replacing import check_apart, check_replaced
from frcnn_cli.report.page import write_report

HOW_TO_GO_ON = "nothing is written; the same command begins anew"


@click.command("eval", cls=DatasetCommand)
@click.argument("compared", nargs=-1, metavar="[--compare A B ...]")
@click.option("--split", default="test", show_default=True, help=f"The list of {format_flags(with_lists)} to read.")
@option_group(Measure, "measure")
@option_group(ModelOptions, "model")
@option_group(SourceOptions, "proposals")
@option_group(EvaluationConfig, "config")
@option_group(OutputOptions, "output")
def eval(
    data: DatasetOptions,
    compared: tuple[str, ...],
    split: str,
    measure: Measure,
    model: ModelOptions,
    proposals: SourceOptions,
    config: EvaluationConfig,
    output: OutputOptions,
) -> None:
    """Measure a model's average precision, class by class, as PASCAL VOC does or as COCO does.

    Difficult objects count neither way. All detections with a score of 0.01 or more, at most 100 an image, are ranked.
    Under torchrun, the processes divide the images among themselves.

    \b
    frcnn eval --voc VOCdevkit/VOC2007 --split test --proposals test.npz
    frcnn eval --voc VOCdevkit/VOC2007 --split test --report report
    frcnn eval --voc VOCdevkit/VOC2007 --compare run/model.safetensors small.safetensors
    frcnn eval --voc VOCdevkit/VOC2007 --compare fast quality
    frcnn eval --coco val.json --images photos --weights run/model.safetensors --metric coco
    frcnn eval --voc VOCdevkit/VOC2007 --scales 480,576,688,864,1200 --flip-test --box-voting
    frcnn eval --voc VOCdevkit/VOC2007 --split test --output results
    """
    check_measure(measure, compared, output)
    check_replaced([measure.report and measure.report / PAGE], output.force)
    weights = find_model(model.weights)
    check_source(proposals)
    check_apart([output.output], [weights, proposals.proposals, proposals.network])
    entries = parse_entries(compared, model, proposals)
    dataset = data.load(split)
    if entries:
        return compare(entries, model, dataset, measure.metric, config, output.as_json)
    source = proposal_source(proposals, dataset.records, model.device, config.max_proposals)
    detector = load_detector(model, proposals)
    first = current().rank == 0
    writing = open_output(output, dataset.classes, dataset.records, split) if first else nullcontext()
    with writing as write, delayed_interrupt() as interrupted:
        track = stoppable(progress_bar("eval"), interrupted, HOW_TO_GO_ON)
        evaluation = evaluate_dataset(detector, dataset, source, measure.metric, config, track, current())
        if interrupted.is_set():  # since the last image
            raise Interrupted(f"interrupted before the figures were told; {HOW_TO_GO_ON}", interrupted.signal)
        if evaluation is None:
            return  # process 0 has it
        for result in evaluation.results:
            write(result)
    print_profile(detector, len(evaluation.results))
    if measure.report:
        page = measure.report / PAGE
        origin = origin_of(model, proposals, config, detector.engine.needs_proposals)
        write_report(page, dataset, evaluation, measure.metric, origin, progress_bar("report"))
        err.print(f"report in {page}")
    if output.output:
        err.print(f"detections of {len(dataset)} images in {output.output}")
    thresholds = thresholds_of(dataset, evaluation) if measure.thresholds else []
    if output.as_json:
        print_json(dataset, evaluation, measure.metric, thresholds)
    else:
        origin = "from a file" if proposals.proposals else "the model's own"
        print_table(dataset, evaluation, measure.metric, thresholds, origin)
