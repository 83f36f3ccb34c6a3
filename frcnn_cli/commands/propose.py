"""`frcnn propose`: images in, a proposal file out."""

from __future__ import annotations

import time
from pathlib import Path

import click

from frcnn_cli.commands.console import err, progress_bar
from frcnn_cli.commands.options import PATH, DatasetOptions, dataset_options, proposal_options
from frcnn_cli.data.images import find_images
from frcnn_cli.data.proposal_files import ProposalFile
from frcnn_cli.engine.proposer import ImageFile, Item, ProposalConfig, propose_images
from frcnn_cli.errors import UsageError


@click.command()
@click.argument("images_or_folders", metavar="[IMAGE...]", nargs=-1, type=PATH)
@click.option("-o", "--output", type=PATH, required=True, metavar="FILE.npz", help="The proposal file to write.")
@click.option("--split", default="trainval", show_default=True, help="The list of --voc to read.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the random part of the ranks.")
@proposal_options
@dataset_options
def propose(
    data: DatasetOptions,
    images_or_folders: tuple[Path, ...],
    output: Path,
    split: str,
    seed: int,
    mode: str,
    max_proposals: int,
    workers: int,
) -> None:
    """Propose regions by selective search, and keep them in a file.

    The images are files and folders, or a split of a data set. An interrupted run goes on when the same command is
    given again. A proposal's coordinates are xyxy in pixels from the image's corner; the best come first.

    \b
    frcnn propose holiday/ -o holiday.npz
    frcnn propose --voc VOCdevkit/VOC2007 --split trainval -o voc07.npz
    """
    if output.suffix != ".npz":
        raise UsageError(f"--output {output}: proposals are written as .npz")
    if bool(images_or_folders) == data.given:
        raise UsageError("give images or folders, or a data set by --voc or --coco")
    items: list[Item] = (
        list(data.load(split).records) if data.given else [ImageFile(path) for path in find_images(images_or_folders)]
    )
    make_proposals(items, output, ProposalConfig(mode, max_proposals, seed), workers)


def make_proposals(items: list[Item], output: Path, config: ProposalConfig, workers: int) -> None:
    """Make a proposal file and report it on stderr."""
    start = time.perf_counter()
    propose_images(items, output, config, workers, progress_bar("proposals"))
    seconds = time.perf_counter() - start
    file = ProposalFile(output)
    boxes = sum(len(file.get(name, *file.meta["sizes"][name])) for name in file.ids)
    count = len(file)
    err.print(
        f"{output}: {boxes} boxes of {count} image{'s' * (count != 1)}, {boxes / max(count, 1):.0f} an image "
        f"({config.mode}, seed {config.seed}), in {seconds:.1f} s"
    )
