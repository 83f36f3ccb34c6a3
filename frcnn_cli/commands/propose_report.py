"""What `frcnn propose` says about proposals: how well they cover a data set's objects, and pictures of them."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.table import Table

from frcnn_cli.commands.console import err, out, progress_bar
from frcnn_cli.commands.dataset_options import format_flags
from frcnn_cli.commands.fields import is_typed
from frcnn_cli.commands.picture_files import picture_paths
from frcnn_cli.data.images import load_image, save_image
from frcnn_cli.data.items import Item
from frcnn_cli.data.proposals import Proposals, has_proposals, known_suffix, open_proposals
from frcnn_cli.data.proposals.layouts import LAYOUT_HELP, LAYOUTS
from frcnn_cli.data.proposals.reuse import told_of_changes
from frcnn_cli.data.samples import Dataset, ImageRecord
from frcnn_cli.engine.proposal_coverage import measure_coverage
from frcnn_cli.engine.sources.search import ProposalConfig
from frcnn_cli.errors import DataError, MissingFile, UsageError
from frcnn_cli.files import check_writable
from frcnn_cli.metrics.proposal_recall import Coverage
from frcnn_cli.replacing import FORCE_HELP, check_replaced
from frcnn_cli.settings import leaves, setting
from proposals import MODES

MAKING = (*(leaf.name for leaf in leaves(ProposalConfig)), "network", "device", "workers", "shard")
"""Options that have no say where proposals are there already."""


@dataclass(frozen=True)
class ReportOptions:
    """What to do with proposals once they are there.

    Attributes:
        proposals: a file made before; None where they are made now.
        layout: how files of single images write a box, a name of `LAYOUTS`.
        recall: measure how well they cover the objects.
        beside: other proposals of the same images, to measure too.
        as_json: print that as JSON.
        plot: where to draw it.
        save_dir: where to write pictures.
        force: replace what is there and not ours.
    """

    proposals: Path | None = setting(None, "Measure, draw or convert these proposals; none are made.", metavar="FILE")
    layout: str | None = setting(None, LAYOUT_HELP, option="proposal-layout", choices=LAYOUTS)
    recall: bool = setting(False, "Measure how well the proposals cover the objects.")
    beside: Path | None = setting(None, "Measure these proposals too, in the same table and plot.", metavar="FILE")
    as_json: bool = setting(False, "Print JSON on stdout, and nothing else there.", option="json")
    plot: Path | None = setting(None, "Draw the figures of --recall.", metavar="FILE.png")
    save_dir: Path | None = setting(None, "Write pictures of the segments and the best boxes.", metavar="DIR")
    force: bool = setting(False, FORCE_HELP)


def check_report(report: ReportOptions, output: Path | None, dataset_given: bool) -> None:
    """Refuse what cannot be done, before anything is.

    Args:
        report: what is wanted.
        output: the proposal file to write, if one is.
        dataset_given: whether there are objects.

    Raises:
        UsageError: options that do not go together, or a file that could not be written.
        DataError: there are no proposals to measure beside the others.
    """
    if report.proposals:
        known_suffix(report.proposals, report.layout)
        context = click.get_current_context()
        for name in MAKING:
            if is_typed(context, name):
                raise UsageError(f"--{name.replace('_', '-')} is for making proposals; --proposals has them already")
        if not report.recall and report.save_dir is None and output is None:
            raise UsageError("what to do with --proposals? give --recall, --save-dir, or -o FILE to convert them")
    elif report.layout:
        raise UsageError(f"--proposal-layout {report.layout}: of which file? give --proposals too")
    elif output is None:
        raise UsageError("missing '-o' FILE to make, or --proposals FILE to look at")
    if report.recall and not dataset_given:
        raise UsageError(f"--recall needs objects to be covered: give a data set by {format_flags()}")
    for name, given in (("--json", report.as_json), ("--plot", report.plot), ("--beside", report.beside)):
        if given and not report.recall:
            raise UsageError(f"{name} is for the figures of --recall: give that too")
    if report.beside:
        known_suffix(report.beside)
        if not has_proposals(report.beside):
            raise MissingFile(f"{report.beside}: no such file")
    if report.plot and report.plot.suffix != ".png":
        raise UsageError(f"--plot {report.plot}: plots are written as .png")
    for name, file in (("--plot", report.plot), ("--save-dir", report.save_dir and report.save_dir / "*")):
        try:
            if file:
                check_writable(file)
        except DataError as error:
            raise UsageError(f"{name} {error}") from error
    check_replaced([output, report.plot], report.force)


def only_converts(report: ReportOptions, output: Path | None) -> bool:
    """Whether a file is to be made of another one, and nothing else, for which no image is needed."""
    return bool(report.proposals and output) and not report.recall and report.save_dir is None


def check_pictures(report: ReportOptions, items: Sequence[Item]) -> None:
    """Refuse a picture that would replace an image.

    Raises:
        DataError: --save-dir is the images' own folder.
        UsageError: there are files in it that this program did not write.
    """
    if report.save_dir:
        picture_paths([item.path for item in items], report.save_dir, force=report.force)


def make_report(
    report: ReportOptions,
    items: Sequence[Item],
    dataset: Dataset | None,
    output: Path | None,
    config: ProposalConfig,
) -> None:
    """Measure and draw.

    Args:
        report: what is wanted.
        items: the images.
        dataset: the same with objects, where there are any.
        output: the proposal file that was made, if one was.
        config: how, where the file itself does not say.

    Raises:
        DataError: the proposal file does not fit the images, or a file cannot be written.
    """
    if not report.recall and report.save_dir is None:
        return
    file = open_proposals(report.proposals or output, items, report.layout)
    for line in told_of_changes(file, items) if output is None else ():
        err.print(line)
    if dataset and report.recall:
        files = [file, *([open_proposals(report.beside, items)] if report.beside else [])]
        measured = [
            (each, measure_coverage(dataset, each, config.max_proposals, progress_bar("recall"))) for each in files
        ]
        report_coverage(dataset, measured, report.as_json, report.plot)
    if report.save_dir:
        modes = (file.meta.get("mode"), config.mode, ProposalConfig.mode)
        mode = next(mode for mode in modes if mode in MODES)  # other searches have no segments
        save_pictures(items, dataset.classes if dataset else (), file, mode, report.save_dir)


Measured = Sequence[tuple[Proposals, Coverage]]
"""Proposals, and how well they cover a data set's objects; one or several of the same images."""


def report_coverage(dataset: Dataset, measured: Measured, as_json: bool, plot: Path | None) -> None:
    """Print the figures on stdout, and plot them."""
    file, coverage = measured[0]
    if as_json:
        figures, *others = [_as_json(dataset, *each) for each in measured]
        click.echo(json.dumps({**figures, **({"beside": others} if others else {})}, indent=2))
    else:
        _print_tables(dataset, measured)
    names = " and ".join(str(each.path) for each, _ in measured)
    err.print(
        f"{dataset.name}: {len(dataset)} images, {coverage.num_objects} objects, boxes of {names}; "
        f"classes with {coverage.counts[-1]} proposals, their mean ABO is MABO"
    )
    if plot:
        from frcnn_cli.drawing.proposal_plot import plot_coverage  # matplotlib takes its time to import

        title = f"{dataset.name}: {coverage.num_objects} objects, {file.path.name}"
        plot_coverage(coverage, title, plot, {each.path.name: other for each, other in measured[1:]})
        err.print(f"plot in {plot}")


def _as_json(dataset: Dataset, file: Proposals, coverage: Coverage) -> dict[str, Any]:
    """Lists hold one figure for each of the counts; null where there is no object."""

    def numbers(values: np.ndarray) -> list[float | None]:
        return [None if math.isnan(value) else float(value) for value in values]  # JSON has no nan

    def figures(part: Coverage, overlap: str) -> dict[str, list[float | None]]:
        return {
            "recall_50": numbers(part.recall(0.5)),
            "recall_70": numbers(part.recall(0.7)),
            "average_recall": numbers(part.average_recall),
            overlap: numbers(part.mabo),
        }

    return {
        "dataset": dataset.name,
        "proposals": str(file.path),
        "images": len(dataset),
        "objects": coverage.num_objects,
        "counts": list(coverage.counts),
        "boxes": numbers(coverage.boxes),
        **figures(coverage, "MABO"),
        "classes": {
            name: {"objects": part.num_objects, **figures(part, "ABO")}
            for name, part in _by_class(dataset, coverage).items()
        },
    }


def _by_class(dataset: Dataset, coverage: Coverage) -> dict[str, Coverage]:
    return {name: coverage.of_class(label) for label, name in enumerate(dataset.classes, start=1)}


def _print_tables(dataset: Dataset, measured: Measured) -> None:
    """The whole data set by the number of proposals, and the classes at the largest number; where proposals of several
    files are measured, a column says whose a row is."""
    several = len(measured) > 1
    origin = ("of",) if several else ()
    table = Table("proposals", *origin, "boxes", "recall 0.5", "recall 0.7", "average recall", "MABO")
    classes = Table("class", "objects", *origin, "recall 0.5", "recall 0.7", "average recall", "ABO")
    rows = sorted(
        (count, place, index) for place, (_, coverage) in enumerate(measured)
        for index, count in enumerate(coverage.counts)
    )  # fmt: skip
    names = [(file.path.stem,) if several else () for file, _ in measured]
    for count, place, index in rows:
        coverage = measured[place][1]
        table.add_row(str(count), *names[place], f"{coverage.boxes[index]:.0f}", *_cells(coverage, index))
    parts = [_by_class(dataset, coverage) for _, coverage in measured]
    for name in dataset.classes:
        for origin, part in zip(names, parts, strict=True):
            classes.add_row(name, str(part[name].num_objects), *origin, *_cells(part[name], -1))
    classes.add_section()
    for origin, (_, coverage) in zip(names, measured, strict=True):
        classes.add_row("all", str(coverage.num_objects), *origin, *_cells(coverage, -1), style="bold")
    for column in (*table.columns, *classes.columns[1:]):
        column.justify = "right"
    classes.columns[0].overflow = "fold"
    for column in (table.columns[1], classes.columns[2]) if several else ():
        column.justify, column.overflow = "left", "fold"
    out.print(table, classes)


def _cells(coverage: Coverage, index: int) -> list[str]:
    figures = (coverage.recall(0.5), coverage.recall(0.7), coverage.average_recall, coverage.mabo)
    return ["-" if math.isnan(values[index]) else f"{values[index]:.3f}" for values in figures]


def save_pictures(items: Sequence[Item], classes: Sequence[str], file: Proposals, mode: str, folder: Path) -> None:
    """Write one picture an image: the mode's first segments, and beside them the boxes that cover its objects best.

    Difficult objects are left out, as in `measure_coverage`; where no object is known, the first proposals are drawn.
    """
    from frcnn_cli.drawing.proposals import draw_best_proposals, draw_first_proposals, draw_segments, together
    from proposals import segments  # compiled, which no other report waits for

    targets = picture_paths([item.path for item in items], folder, force=True)  # checked before
    for item in progress_bar("pictures")(items):
        image = load_image(item.path)
        boxes = file.get(item.id, width=image.shape[1], height=image.shape[0])
        objects = item.objects.without_difficult() if isinstance(item, ImageRecord) else None
        found = draw_best_proposals(image, boxes, objects, classes) if objects else draw_first_proposals(image, boxes)
        start = draw_segments(image, segments(image, mode))
        save_image(targets[item.path], together(start, found))
    err.print(f"{len(items)} picture{'s' * (len(items) != 1)} of segments and boxes in {folder}")
