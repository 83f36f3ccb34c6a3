"""`frcnn lineage`: a data set in, R-CNN, SPPnet, Fast R-CNN and Faster R-CNN side by side out."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path

import click
from rich.table import Table

from frcnn_cli.commands.console import err, out
from frcnn_cli.commands.dataset_options import ClassNames, DatasetOptions
from frcnn_cli.commands.fields import PATH, option_group
from frcnn_cli.commands.train import check_folder, train
from frcnn_cli.commands.train_call import TrainCall
from frcnn_cli.commands.train_data import Part, load_data
from frcnn_cli.commands.train_options import Lists
from frcnn_cli.engine.learners import LEARNERS
from frcnn_cli.engine.lineage.figures import SETTINGS_FILE, FigureFile
from frcnn_cli.engine.lineage.options import Contestant, LineageOptions
from frcnn_cli.engine.lineage.paper import PUBLISHED
from frcnn_cli.engine.lineage.subset import draw_images
from frcnn_cli.engine.lineage.table import as_markdown, columns, rows
from frcnn_cli.engine.run_files import STATE_FILE
from frcnn_cli.errors import Interrupted, UsageError
from frcnn_cli.files import atomic_write, check_writable, writing_alone
from frcnn_cli.replacing import FORCE_HELP, check_replaced
from frcnn_cli.settings import setting

TABLE_FILE, PLOT_FILE = "lineage.md", "lineage.png"


@dataclass(frozen=True)
class LineageLists(Lists):
    """The same, for a comparison: R-CNN's cost grows with the number of proposals."""

    val_split: str | None = setting("val", "The list of images to measure on.", metavar="NAME")
    max_proposals: int = setting(300, "The most proposals of an image, the best-ranked.", least=1)


@click.command()
@click.option("--voc", type=PATH, required=True, metavar="ROOT", help="A folder in VOC layout.")
@click.option(
    "--only", type=ClassNames(), metavar="A,B,...", help="Read objects of these classes and pass over others."
)
@option_group(LineageOptions, "options")
@option_group(LineageLists, "lists")
@click.option("-o", "--output", type=PATH, required=True, metavar="DIR", help="The folder of the comparison.")
@click.option("--force", is_flag=True, help=FORCE_HELP)
def lineage(
    voc: Path, only: tuple[str, ...] | None, lists: LineageLists, options: LineageOptions, output: Path, force: bool
) -> None:
    """Train the family one after the other on the same images, and print what each costs and does.

    R-CNN, SPPnet, Fast R-CNN and Faster R-CNN learn from the same images, proposals and backbone. DIR gets a run of
    each, lineage.md with the table beside the papers' numbers, and lineage.png. The same command goes on where it was
    interrupted, and a detector that is done is not done again. As the options are by default, it takes one core an hour
    or more, by proportion to the run in scripts/README.md; more than half of it is R-CNN's.

    \b
    frcnn lineage --voc VOCdevkit/VOC2012 --split train --val-split val --output lineage
    frcnn lineage --voc VOCdevkit/VOC2012 -o small --images 120 --val-images 60 --iterations 120 \\
      --rcnn-iterations 20 --short-side 320 --crop 128
    """
    data = DatasetOptions(format="voc", place=voc, only=only or None)
    contestants = [_contestant(name, options, output) for name in _detectors(options)]
    check_writable(output / SETTINGS_FILE)
    settings = _settings(data, lists, options)
    file = FigureFile(output, settings)
    if not file.begun:
        check_replaced([output / TABLE_FILE, output / PLOT_FILE], force)
    _check_runs(file, contestants)
    missing = not all(file.is_complete(contestant.name) for contestant in contestants)
    parts = _load(data, lists, options, output) if missing else []
    with writing_alone(output / SETTINGS_FILE):
        file = FigureFile(output, settings)  # another process may have added to it since
        if missing:
            _fill(file, contestants, parts, lists, options)
        _report(file)


def _check_runs(file: FigureFile, contestants: list[Contestant]) -> None:
    """Refuse folders of detectors that hold something else than a run of this comparison.

    Raises:
        UsageError: they do.
    """
    for contestant in contestants:
        folder = file.folder / contestant.name
        if not file.begun and (folder / STATE_FILE).exists():
            raise UsageError(f"{folder}: holds a run that is of no comparison; choose another folder")
        check_folder(folder)


def _detectors(options: LineageOptions) -> list[str]:
    """Those to do now, the latest first: what is quick is known soon."""
    names = options.detectors.split(",") if options.detectors else list(LEARNERS)
    return sorted(names, key=list(LEARNERS).index, reverse=True)


def _settings(data: DatasetOptions, lists: LineageLists, options: LineageOptions) -> dict:
    """What the figures depend on, in JSON's types."""
    which = {name: value for name, value in asdict(options).items() if name not in ("detectors", "threads")}
    parts = {name: getattr(lists, name) for name in ("split", "val_split", "mode", "max_proposals")}
    return {"classes": list(data.only or ()), **which, **parts}


def _contestant(name: str, options: LineageOptions, output: Path) -> Contestant:
    """A detector with the recipe that `frcnn train` would take for it."""
    words = ["--detector", name, "--output", str(output / name), "--backbone", options.backbone, "--neck", "0"]
    words += ["--backbone-weights", options.backbone_weights, "--seed", str(options.seed)]
    iterations = options.rcnn_iterations if name == "rcnn" else options.iterations
    words += ["--crop", str(options.crop)] if name == "rcnn" else ["--short-side", str(options.short_side)]
    words += ["--iterations", str(iterations), "--warmup", str(min(iterations // 10, 100))]
    words += ["--fc-width", str(options.fc_width)] if options.fc_width else []
    words += ["--normalisation", options.normalisation] if options.normalisation else []
    words += ["--allow-download"] if options.allow_download else []
    with train.make_context("train", words) as context:
        call = TrainCall.parse(context)
    return Contestant(name, call.model, call.training, call.own)


def _load(data: DatasetOptions, lists: LineageLists, options: LineageOptions, output: Path) -> list[Part]:
    """The images to learn from and those to measure on."""
    parts = load_data(data, lists, output, seed=options.seed)
    counts = (options.images, options.val_images)
    return [
        replace(part, dataset=draw_images(part.dataset, count, options.seed))
        for part, count in zip(parts, counts, strict=True)
    ]


def _fill(
    file: FigureFile,
    contestants: list[Contestant],
    parts: list[Part],
    lists: LineageLists,
    options: LineageOptions,
) -> None:
    """Train and measure what is missing."""
    for part in parts:
        part.make_proposals(lists)
    file.begin()
    _compare(file, contestants, parts, lists.max_proposals, options.threads)


def _compare(file: FigureFile, contestants: list[Contestant], parts: list[Part], most: int, threads: int) -> None:
    import torch

    from frcnn_cli.commands.train_display import TrainingDisplay
    from frcnn_cli.engine.lineage.compare import FirstProposals, Material, compare

    torch.set_num_threads(threads)
    learning, measuring = (Material(part.dataset, FirstProposals(part.proposals, most)) for part in parts)
    try:
        compare(contestants, learning, measuring, file, TrainingDisplay)
    except Interrupted as stop:
        raise Interrupted(f"{stop}; the same command goes on", stop.signal) from None


def _report(file: FigureFile) -> None:
    """Print the table, and write it and its plot into the folder."""
    titles = {name: about.title for name, about in PUBLISHED.items()}
    names = columns(file.figures)
    table = Table("", *(titles.get(name, name) for name in names))
    for column in table.columns[1:]:
        column.justify = "right"
    for title, section in rows(file.figures):
        table.add_section()
        if title:
            table.add_row(title, style="bold")
        for name, cells in section:
            table.add_row(name, *cells)
    out.print(table)
    with atomic_write(file.folder / TABLE_FILE) as temporary:
        temporary.write_text(as_markdown(file.figures, titles), encoding="utf-8")
    found = [file.figures[name] for name in names if name in file.figures]
    if not found:
        return
    from frcnn_cli.drawing.lineage_plot import plot_lineage

    plot_lineage(
        [titles.get(figures.detector, figures.detector) for figures in found],
        [{name: stage["cpu"] for name, stage in figures.stages.items()} for figures in found],
        [figures.test.cpu for figures in found],
        [figures.test.mean_ap for figures in found],
        file.folder / PLOT_FILE,
    )
    err.print(f"table in {file.folder / TABLE_FILE}, plot in {file.folder / PLOT_FILE}")
