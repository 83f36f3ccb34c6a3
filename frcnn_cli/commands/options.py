"""Options that several subcommands share, and what they mean."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click

from frcnn_cli.commands.console import err
from frcnn_cli.data.detections import ImageResult
from frcnn_cli.data.items import Item
from frcnn_cli.data.proposals import has_proposals, known_suffix, open_proposals
from frcnn_cli.data.proposals.layouts import LAYOUT_HELP, LAYOUTS
from frcnn_cli.data.proposals.reuse import told_of_changes
from frcnn_cli.data.proposals.shards import Shard
from frcnn_cli.data.writers import WRITERS, Target
from frcnn_cli.engine.compiling import warm_up
from frcnn_cli.engine.detector import Detector, find_model
from frcnn_cli.engine.distributed import current
from frcnn_cli.engine.runtimes import RUNTIMES
from frcnn_cli.engine.sources import SEARCHES, ProposalSource
from frcnn_cli.engine.sources.search import SEARCH_SIZE_HELP, SIDES, SIZES, SMALLEST_HELP, DetectionSearch, SearchSource
from frcnn_cli.errors import MissingFile, UsageError
from frcnn_cli.files import remove_leftovers, writing_alone
from frcnn_cli.replacing import FORCE_HELP, check_replaced
from frcnn_cli.settings import setting


class ShardType(click.ParamType):
    """``2/4``: the second of four parts."""

    name = "shard"

    def convert(self, value: str | Shard, param: click.Parameter | None, ctx: click.Context | None) -> Shard:
        try:
            return value if isinstance(value, Shard) else Shard.parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


SHARD = ShardType()


@dataclass(frozen=True)
class ModelOptions:
    """Which model detects, and what runs it.

    Attributes:
        weights: a checkpoint, or what `frcnn export` made of one; None for the bundled one.
        runtime: a name of `RUNTIMES`.
        device: auto, cpu, cuda or cuda:N.
        profile: whether the time of each part is taken.
    """

    weights: Path | None = setting(None, "A trained model.", metavar="CHECKPOINT", shown_default="the bundled one")
    runtime: str = setting(
        "auto", "What runs the model; auto is ONNX Runtime where there is an ONNX file of it.", choices=RUNTIMES
    )
    device: str = setting("auto", "What to compute on: auto, cpu, cuda or cuda:N.", metavar="DEVICE")
    profile: bool = setting(False, "Print where the time goes, beside the paper's own figures.")


@dataclass(frozen=True)
class SourceOptions:
    """Where proposals come from.

    Attributes:
        proposals: a file of them.
        layout: how files of single images write a box, a name of `LAYOUTS`.
        network: a detector whose network proposes.
        mode: a name of `SEARCHES`; None where nobody named one.
        search_size: see `ProposalConfig`; likewise.
        smallest: likewise.
    """

    proposals: Path | None = setting(
        None,
        "A file of proposals: .npz, .mat or .pkl.",
        metavar="FILE",
        shown_default="each image is searched",
    )
    layout: str | None = setting(None, LAYOUT_HELP, option="proposal-layout", choices=LAYOUTS)
    network: Path | None = setting(
        None, "Take the proposals of this detector's network, a Faster R-CNN's.", metavar="CHECKPOINT"
    )
    mode: str | None = setting(
        None,
        "How closely selective search looks, where there is no file of proposals.",
        choices=SEARCHES,
        shown_default=DetectionSearch.mode,
    )
    search_size: int | None = setting(None, SEARCH_SIZE_HELP, **SIZES, shown_default=str(DetectionSearch.search_size))
    smallest: int | None = setting(None, SMALLEST_HELP, **SIDES, shown_default=str(DetectionSearch.smallest))

    @property
    def making(self) -> dict[str, str | int]:
        """What was asked for of making proposals, by its names in `ProposalConfig`."""
        wanted = {"mode": self.mode, "search_size": self.search_size, "smallest": self.smallest}
        return {name: value for name, value in wanted.items() if value is not None}


def check_source(options: SourceOptions) -> None:
    """Find out before anything else whether proposals can be had.

    Raises:
        UsageError: how to make proposals beside a file of them or a network, or a file of an unknown suffix.
        DataError: there is no such file.
    """
    if options.network:
        given = {"proposals": options.proposals, "proposal_layout": options.layout, **options.making}
        for name, value in given.items():
            if value is not None:
                raise UsageError(
                    f"--{name.replace('_', '-')} {value}: --network makes the proposals; give one of the two"
                )
        find_model(options.network)
        return
    if options.proposals is None:
        if options.layout:
            raise UsageError(f"--proposal-layout {options.layout}: of which file? give --proposals too")
        if {"search_size", "smallest"} & options.making.keys():  # whether the search knows them: it is imported to ask
            DetectionSearch(**options.making).search()
        return
    for name, value in options.making.items():
        option = f"--{name.replace('_', '-')} {value}"
        raise UsageError(f"{option}: --proposals has them, so none are made; give one of the two")
    known_suffix(options.proposals, options.layout)
    if not has_proposals(options.proposals):
        raise MissingFile(f"{options.proposals}: no such file")


def proposal_source(
    options: SourceOptions,
    images: Iterable[Item] = (),
    device: str = "auto",
    wanted: int = DetectionSearch.max_proposals,
) -> ProposalSource:
    """Where proposals come from, ready to be asked.

    Args:
        options: what was asked for.
        images: see `open_proposals`.
        device: that a network which proposes computes on.
        wanted: how many a search makes, of each image.

    Raises:
        UsageError: the detector has no network that proposes, or there is no such device.
        DataError: the file is damaged.
    """
    if options.proposals:
        images = list(images)
        source = open_proposals(options.proposals, images, options.layout)
        if current().rank == 0:
            for line in told_of_changes(source, images):
                err.print(line)
        return source
    if options.network:
        from frcnn_cli.engine.sources.network import NetworkConfig, NetworkSource  # which brings torch

        return NetworkSource(NetworkConfig(options.network, device=device))
    return SearchSource(DetectionSearch(**options.making, max_proposals=wanted))


def load_detector(model: ModelOptions, proposals: SourceOptions) -> Detector:
    """The model, ready to run.

    Args:
        model: which.
        proposals: what was asked for.

    Raises:
        UsageError: no such device; or proposals are asked for, and the model proposes its own.
        DataError: no such file, or not a checkpoint.
    """
    detector = Detector.load(model.weights, model.device, model.runtime)
    given = {"proposals": proposals.proposals, "network": proposals.network, **proposals.making}
    for name, value in ((f"--{name.replace('_', '-')}", value) for name, value in given.items()):
        if value and not detector.engine.needs_proposals:
            raise UsageError(f"{name} {value}: the model proposes its own boxes, and takes no others")
    searches = detector.engine.needs_proposals and proposals.proposals is None
    compilation = warm_up(
        detector.engine, proposal_source(proposals, device=model.device) if searches else None, err.print
    )
    if compilation.seconds:
        err.print(f"compiled in {compilation.seconds:.1f} s")
    if model.profile:
        detector.measure()
    return detector


@dataclass(frozen=True)
class OutputOptions:
    """What becomes of the detections of all images.

    Attributes:
        as_json: print JSON on stdout.
        output: a file or folder to write.
        format: a name of `WRITERS`; None for what `output` ends in, or VOC's folder.
        force: replace what is there and not ours.
    """

    as_json: bool = setting(False, "Print JSON on stdout, and nothing else there.", option="json")
    output: Path | None = setting(
        None, "Write the detections of all images into a file, or a folder of files.", metavar="PATH", letter="o"
    )
    format: str | None = setting(
        None, "The format of --output.", choices=WRITERS, shown_default="what PATH ends in; voc for a folder"
    )
    force: bool = setting(False, FORCE_HELP)


def check_output(options: OutputOptions) -> None:
    """Refuse a format of nothing, and to replace somebody else's file.

    Raises:
        UsageError: there is a format, but nothing to write; or a file is there that this program did not write.
    """
    if options.format and not options.output:
        raise UsageError(f"--format {options.format}: where to? give --output too")
    check_replaced([options.output], options.force)


@contextmanager
def open_output(
    options: OutputOptions, classes: tuple[str, ...], images: Sequence[Item], split: str = "test"
) -> Iterator[Callable[[ImageResult], object]]:
    """Open what the options name, as `Writer` says; without an output, a function that does nothing.

    Args:
        options: what to write.
        classes: see `Target`, as the others.
        images: see `classes`.
        split: see `classes`.
    """
    if options.output is None:
        yield lambda result: None
        return
    ending = options.output.suffix.removeprefix(".")
    name = options.format or (ending if ending in WRITERS else "voc")
    with writing_alone(options.output):
        remove_leftovers(options.output)  # of a killed process
        with WRITERS[name](Target(options.output, classes, images, split)) as write:
            yield write
