"""`frcnn compress-svd`: a checkpoint in, a smaller and faster one out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.table import Table

from frcnn_cli.commands.console import err, out, progress_bar
from frcnn_cli.commands.dataset_options import DatasetCommand, DatasetOptions, format_flags
from frcnn_cli.commands.fields import PATH, option_group
from frcnn_cli.commands.options import SourceOptions, check_source, proposal_source
from frcnn_cli.commands.photographs import calibration_images, calibration_photographs
from frcnn_cli.engine.detector import find_model
from frcnn_cli.errors import DataError, UsageError
from frcnn_cli.files import remove_leftovers, writing_alone
from frcnn_cli.replacing import FORCE_HELP, check_apart, check_replaced
from frcnn_cli.settings import setting

if TYPE_CHECKING:  # the engine brings torch, which --help and a wrong call do not wait for
    from frcnn_cli.data.samples import Dataset
    from frcnn_cli.engine.compression import Compression, LayerReport
    from frcnn_cli.engine.rank_search import Point

CALIBRATION_IMAGES = 64


@dataclass(frozen=True)
class CompressionOptions:
    """How small a model becomes.

    Attributes:
        fc6: rank.
        fc7: likewise.
        energy: share of the squared singular values to keep, in their place.
        calibrate: photographs by which the layers are cut.
        calibration_images: how many of them are looked at.
        half: float16 in the file.
        force: replace what is there and not ours.
    """

    fc6: int | None = setting(None, "The rank that fc6 is brought to.", metavar="T", least=1)
    fc7: int | None = setting(None, "The rank that fc7 is brought to.", metavar="T", least=1)
    energy: float | None = setting(
        None,
        "Instead of ranks: keep this share of each layer's squared singular values, with --calibrate of its variance.",
        metavar="FRACTION",
        above=0,
        most=1,
    )
    calibrate: Path | None = setting(
        None,
        "Cut the layers by what they answer in photographs such as the model will see: less is lost at a rank.",
        metavar="FOLDER",
    )
    calibration_images: int | None = calibration_images(CALIBRATION_IMAGES)
    half: bool = setting(False, "Store float16: half the file, the same computation.")
    force: bool = setting(False, FORCE_HELP)

    @property
    def ranks(self) -> dict[str, int]:
        """Those that were given."""
        return {name: rank for name, rank in (("fc6", self.fc6), ("fc7", self.fc7)) if rank is not None}


@dataclass(frozen=True)
class SearchOptions:
    """How to find the ranks by measuring.

    Attributes:
        max_drop: points of mAP that may be lost; None where ranks or energy are given.
        split: the list to measure on.
        proposals: of its images.
        plot: where to draw the curve.
    """

    max_drop: float | None = setting(
        None,
        "Instead of ranks: the smallest that lose at most so many points of mAP on a data set.",
        metavar="POINTS",
        least=0,
        most=100,
    )
    split: str = setting("val", "With --max-drop, the list to measure on.", metavar="NAME")
    proposals: Path | None = setting(
        None,
        "With --max-drop, proposals of its images.",
        metavar="FILE",
        shown_default="each image is searched",
    )
    plot: Path | None = setting(None, "With --max-drop, draw the curve.", metavar="FILE.png")


@click.command("compress-svd", cls=DatasetCommand)
@click.argument("checkpoint", type=PATH)
@click.option("-o", "--output", type=PATH, required=True, metavar="FILE", help="The compressed checkpoint.")
@option_group(SearchOptions, "search")
@option_group(CompressionOptions, "options")
def compress_svd(
    data: DatasetOptions, checkpoint: Path, output: Path, options: CompressionOptions, search: SearchOptions
) -> None:
    """Make a model smaller and faster by truncated SVD of fc6 and fc7 (paper, section 3.1).

    Each layer becomes two: t x v without a bias, then u x t with it. The result is a checkpoint like any other. A rank
    pays off below u v / (u + v).

    --calibrate keeps the directions in which the layers' answers to photographs vary most, instead of the weights'
    largest singular values. Less is lost, far less of layers that were trained for a short time only.

    --max-drop measures: heads of smaller and smaller ranks on the same proposals of the same images, all of them one
    after another, and keeps the smallest before the first that loses more.

    \b
    frcnn compress-svd run/model.safetensors -o small.safetensors --fc6 1024 --fc7 256
    frcnn compress-svd run/model.safetensors -o small.safetensors --fc6 192 --fc7 96 --calibrate photos --half
    frcnn compress-svd run/model.safetensors -o small.safetensors --energy 0.9 --half
    frcnn compress-svd run/model.safetensors -o small.safetensors --max-drop 0.5 --voc VOC --split val --plot curve.png
    """
    _check(data, options, search)
    find_model(checkpoint)
    photographs = calibration_photographs(options.calibrate, options.calibration_images, CALIBRATION_IMAGES)
    check_apart([output, search.plot], [checkpoint, search.proposals, *photographs])
    check_replaced([output, search.plot], options.force)
    source_options = SourceOptions(search.proposals)
    check_source(source_options)
    import torch

    from frcnn_cli.engine.checkpoint import load_checkpoint, save_checkpoint
    from frcnn_cli.engine.compression import Compression

    size_before = checkpoint.stat().st_size
    try:
        compression = Compression(load_checkpoint(checkpoint), photographs, progress_bar("calibrate"))
    except UsageError as error:
        raise UsageError(f"{checkpoint}: {error}") from error
    compression.check(options.ranks)
    if search.max_drop is not None:
        dataset = data.load(search.split, compression.checkpoint.classes)
        ranks = _search(compression, dataset, source_options, search)
    else:
        ranks = options.ranks or compression.ranks_for_energy(options.energy)
    with writing_alone(output):
        remove_leftovers(output)
        save_checkpoint(output, compression.apply(ranks), torch.float16 if options.half else torch.float32)
    _print_table(compression.report(ranks), of_variance=bool(photographs))
    sizes = f"{size_before / 1e6:.1f} MB -> {output.stat().st_size / 1e6:.1f} MB"
    out.print(f"{output}: {sizes} ({'float16' if options.half else 'float32'})")


def _check(data: DatasetOptions, options: CompressionOptions, search: SearchOptions) -> None:
    if sum((options.energy is not None, bool(options.ranks), search.max_drop is not None)) != 1:
        raise UsageError("give ranks (--fc6, --fc7) or --energy or --max-drop, and not both")
    if search.max_drop is not None:
        if not data.given:
            raise UsageError(f"--max-drop is measured: give a data set by {format_flags()}")
        if search.plot and search.plot.suffix != ".png":
            raise UsageError(f"--plot {search.plot}: plots are written as .png")
        return
    if data.given or search.plot or search.proposals:
        raise UsageError("a data set, --proposals and --plot are for --max-drop: give that too")


def _search(
    compression: Compression, dataset: Dataset, source_options: SourceOptions, search: SearchOptions
) -> Mapping[str, int]:
    """The ranks that lose at most what may be lost; the curve is printed and drawn."""
    from frcnn_cli.engine.rank_search import candidates, measure_ranks, smallest_within

    source = proposal_source(source_options, dataset.records)
    points = measure_ranks(compression, dataset, source, candidates(compression), track=progress_bar("ranks"))
    chosen = smallest_within(points, search.max_drop / 100)
    _print_curve(points, chosen)
    if search.plot:
        from frcnn_cli.drawing.rank_plot import plot_ranks  # matplotlib takes its time to import

        plot_ranks(points, chosen, f"{dataset.name}: {len(dataset)} images", search.plot)
        err.print(f"curve in {search.plot}")
    if chosen is None:
        raise DataError(f"all ranks lose more than {search.max_drop:g} points on {dataset.name}; nothing is written")
    return chosen.ranks


def _print_curve(points: Sequence[Point], chosen: Point | None) -> None:
    table = Table(*_layers(points), "parameters", "head", "mAP", "lost")
    for column in table.columns:
        column.justify = "right"
    for point in points:
        table.add_row(
            *(str(point.ranks.get(name, "whole")) for name in _layers(points)),
            f"{point.parameters:,}",
            f"{1000 * point.seconds:.1f} ms",
            f"{100 * point.mean_ap:.2f}",
            f"{100 * (points[0].mean_ap - point.mean_ap):.2f}" if point.ranks else "",
            style="bold" if point is chosen else None,
        )
    out.print(table)
    out.print("head: for the proposals of an image; lost: points of mAP; what is kept is in bold")


def _layers(points: Sequence[Point]) -> list[str]:
    return list(points[-1].ranks)


def _print_table(layers: list[LayerReport], *, of_variance: bool) -> None:
    table = Table("layer", "weights", "energy", "parameters", "multiply-adds")
    for column in table.columns[2:]:
        column.justify = "right"
    for layer in layers:
        u, v = layer.shape
        table.add_row(layer.name, f"{u}x{v}", "100%", f"{layer.before + u:,}", f"{layer.before:,}")
        if layer.rank is not None:
            t = layer.rank
            table.add_row(
                f"-> t={t}", f"{t}x{v}, {u}x{t}", f"{layer.energy:.2%}", f"{layer.after + u:,}", f"{layer.after:,}"
            )
        table.add_section()
    if len(layers) > 1:
        before, after = sum(layer.before for layer in layers), sum(layer.after for layer in layers)
        biases = sum(layer.shape[0] for layer in layers)
        table.add_row("both", "", "", f"{before + biases:,}", f"{before:,}")
        table.add_row("->", "", "", f"{after + biases:,}", f"{after:,}")
    out.print(table)
    kept = "the variance of what the layer answers in the photographs" if of_variance else "the squared singular values"
    out.print(f"energy: share of {kept}; multiply-adds: for each RoI")
