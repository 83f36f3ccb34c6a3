"""`frcnn propose`: images in, a proposal file out."""

from __future__ import annotations

import time
from pathlib import Path

import click

from frcnn_cli.commands.console import err, progress_bar
from frcnn_cli.commands.dataset_options import DatasetCommand, DatasetOptions, format_flags, with_lists
from frcnn_cli.commands.fields import PATH, option_group
from frcnn_cli.commands.options import SHARD
from frcnn_cli.commands.propose_network import NetworkOptions, check_network, making
from frcnn_cli.commands.propose_report import (
    ReportOptions,
    check_pictures,
    check_report,
    make_report,
    only_converts,
)
from frcnn_cli.data.images import distinct_names, find_images, image_size, left_out
from frcnn_cli.data.items import ImageFile, Item, coco_ids
from frcnn_cli.data.proposals import known_suffix, open_proposals
from frcnn_cli.data.proposals.conversion import convert_proposals
from frcnn_cli.data.proposals.reuse import told_of_changes
from frcnn_cli.data.proposals.shards import Shard
from frcnn_cli.engine.distributed import current, own_cores
from frcnn_cli.engine.proposer import propose_images
from frcnn_cli.engine.sources.search import ProposalConfig
from frcnn_cli.errors import UsageError
from frcnn_cli.replacing import check_apart


@click.command(cls=DatasetCommand)
@click.argument("images_or_folders", metavar="[IMAGE...]", nargs=-1, type=PATH)
@click.option("-o", "--output", type=PATH, metavar="FILE", help="The file to write: .npz, .mat or .pkl.")
@click.option("--shard", type=SHARD, metavar="I/N", help="Make the I-th of N parts only, into a file of its own.")
@click.option("--split", default="trainval", show_default=True, help=f"The list of {format_flags(with_lists)} to read.")
@option_group(ProposalConfig, "config")
@option_group(NetworkOptions, "learned")
@click.option(
    "--workers",
    type=click.IntRange(1),
    default=own_cores,
    show_default="one a core",
    help="Processes that make proposals.",
)
@option_group(ReportOptions, "report")
def propose(
    data: DatasetOptions,
    report: ReportOptions,
    images_or_folders: tuple[Path, ...],
    output: Path | None,
    shard: Shard | None,
    split: str,
    config: ProposalConfig,
    learned: NetworkOptions,
    workers: int,
) -> None:
    """Propose regions by selective search, or by a network, keep them in a file, and say how good they are.

    The images are files and folders, or a split of a data set. An interrupted run goes on when the same command is
    given again. A proposal's coordinates are xyxy in pixels from the image's corner; the best come first.

    Files are .npz, .mat as of fast-rcnn, or .pkl as of detectron2; with --proposals and -o, one is made of another.
    Jobs of a cluster make a part each: --shard 2/4 of val.npz is val-00002-of-00004.npz, and --proposals val.npz reads
    the four as one. Under torchrun, the processes divide the images among themselves, and there is one file.

    --recall prints, for the best 10 to 2000 proposals of an image: their mean number, the share of objects that one of
    them covers at IoU 0.5 and 0.7, the mean of that share at 0.5, 0.55 .. 0.95 (average recall), and the mean best
    overlap, averaged over the classes (MABO); then the same by class. Difficult objects do not count. --save-dir draws
    the segments the search starts from, and the boxes that cover each object best, with IoU and rank; where no objects
    are known, the first ten boxes.

    \b
    frcnn propose holiday/ -o holiday.npz
    frcnn propose --voc VOCdevkit/VOC2007 --split trainval -o voc07.npz
    frcnn propose --proposals voc07.npz -o voc07.pkl
    frcnn propose --voc VOCdevkit/VOC2007 --split test --network faster/model.safetensors -o learned.npz
    frcnn propose --voc VOCdevkit/VOC2007 --split trainval --proposals voc07.npz --recall --plot recall.png
    """
    if output:
        known_suffix(output)
    if shard:
        output = _shard_path(output, shard)
    check_report(report, output, data.given)
    check_network(learned)
    if bool(images_or_folders) == data.given and (data.given or not only_converts(report, output)):
        raise UsageError(f"give images or folders, or a data set by {format_flags()}")
    dataset = data.load(split, shard=shard) if data.given else None
    names = {} if dataset else distinct_names(find_images(images_or_folders))
    items: list[Item] = list(dataset.records) if dataset else [ImageFile(path, name) for path, name in names.items()]
    for line in left_out(images_or_folders):
        err.print(line)
    if shard and not dataset:
        items = shard.part(items)
    check_apart([output, report.plot], [report.proposals, *(item.path for item in items)])
    check_pictures(report, items)
    if output and not report.proposals:
        make_proposals(items, output, making(learned, config), workers)
    if current().rank > 0:
        return  # what else there is to do, process 0 does
    if output and report.proposals:
        _convert(report, output, items)
    make_report(report, items, dataset, output, config)


def _shard_path(output: Path | None, shard: Shard) -> Path:
    if output is None or output.suffix != ".npz":
        raise UsageError("--shard needs -o FILE.npz; the shards can be made into another format together")
    if output.exists():
        raise UsageError(f"--shard {shard.number}/{shard.of}: {output} is there, and would be read instead of shards")
    return shard.path(output)


def _convert(report: ReportOptions, output: Path, items: list[Item]) -> None:
    sizes = {item.id: image_size(item.path) for item in items}
    source = open_proposals(report.proposals, items, report.layout)
    for line in told_of_changes(source, items):
        err.print(line)
    boxes = convert_proposals(source, output, sizes or None, coco_ids(items))
    err.print(f"{output}: {boxes} boxes of {source.path}")


def make_proposals(items: list[Item], output: Path, config: ProposalConfig, workers: int) -> None:
    """Make a proposal file and report it on stderr."""
    start = time.perf_counter()
    boxes = propose_images(items, output, config, workers, progress_bar("proposals"), current())
    seconds = time.perf_counter() - start
    count = len(items)
    err.print(
        f"{output}: {boxes} boxes of {count} image{'s' * (count != 1)}, {boxes / max(count, 1):.0f} an image "
        f"({config.summary}), in {seconds:.1f} s"
    )
