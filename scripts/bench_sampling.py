"""Hierarchical against region-wise sampling (paper, section 2.3): the time of an update that learns from 128 RoIs.

    python scripts/bench_sampling.py [--voc VOC] [--backbone vgg16] [--repeats 3] [--json FILE] [--plot FILE]

The RoIs are of N images. Those of one image share its pass through the convolutions, so the fewer images the cheaper:
N = 2 is the paper's choice, N = 128 is how R-CNN and SPPnet trained. An update is one of `frcnn train` (SGD; forward,
loss, backward, step), large batches in parts of 8 images. Making its batch (reading, scaling, sampling) is timed apart,
as that is done by another process in training.

All images are of one size, the data set's commonest, so that none is padded; a small set is repeated. Weights are
random, which does not matter here. In every round each N has its turn, small ones several times; medians are compared.
"""

from __future__ import annotations

import json
import statistics
import time
from collections import Counter
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import torch
from rich.console import Console
from rich.table import Column, Table

from frcnn_cli.core.backbones import backbone_config
from frcnn_cli.core.model import Architecture, FastRCNN
from frcnn_cli.core.sampling import SamplingConfig
from frcnn_cli.data.formats.voc import VOC_CLASSES, load_voc
from frcnn_cli.data.proposals import Proposals, open_proposals
from frcnn_cli.data.samples import ImageRecord
from frcnn_cli.engine.batches import Scales, TrainingBatches
from frcnn_cli.engine.optimizer import build_optimizer
from frcnn_cli.engine.proposer import propose_images
from frcnn_cli.engine.run_state import Run
from frcnn_cli.engine.sources.search import ProposalConfig
from frcnn_cli.engine.training_config import TrainingConfig
from frcnn_cli.engine.training_step import training_step

PHOTOGRAPHS = Path(__file__).parent.parent / "tests/data"
ROIS = 128
IMAGES = [1, 2, 4, 8, 16, 32, 64, 128]
HIERARCHICAL, REGION_WISE = 2, ROIS
UPDATE, BATCH = "update", "making the batch"

err = Console(stderr=True, highlight=False, soft_wrap=True)


@click.command()
@click.option("--voc", type=click.Path(path_type=Path), help="A data set in VOC layout.  [default: tests/data]")
@click.option("--split", default="train", show_default=True, help="Of --voc.")
@click.option("--backbone", default="efficientnet_lite0", show_default=True)
@click.option("--fc-width", type=click.IntRange(1), help="Units of fc6 and fc7.  [default: the backbone's]")
@click.option("--short-side", type=click.IntRange(32), default=600, show_default=True)
@click.option("--repeats", type=click.IntRange(1), default=3, show_default=True)
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Also write the figures here.")
@click.option("--plot", "plot_file", type=click.Path(path_type=Path), help="Draw the time of an update against N.")
def main(
    voc: Path | None,
    split: str,
    backbone: str,
    fc_width: int | None,
    short_side: int,
    repeats: int,
    json_file: Path | None,
    plot_file: Path | None,
) -> None:
    """Time updates of N images, N = 1, 2, 4, ..., 128."""
    records = of_one_size(load_voc(*((voc, split) if voc else (PHOTOGRAPHS, "test"))).records)[:REGION_WISE]
    with TemporaryDirectory() as folder:
        path = Path(folder) / "proposals.npz"
        propose_images(records, path, ProposalConfig())
        seconds = measure(records, open_proposals(path), backbone, fc_width, short_side, repeats)
    medians = {
        count: {part: statistics.median(runs) for part, runs in parts.items()} for count, parts in seconds.items()
    }
    about = {
        "backbone": backbone,
        "short side": short_side,
        "image": [records[0].width, records[0].height],
        "images": len(records),
        "threads": torch.get_num_threads(),
        "rounds": repeats,
    }
    if json_file:
        json_file.write_text(json.dumps({**about, "rois": ROIS, "seconds": medians}, indent=2) + "\n")
    print_table(medians, about)
    if plot_file:
        draw({count: parts[UPDATE] for count, parts in medians.items()}, about, plot_file)


def of_one_size(records: tuple[ImageRecord, ...]) -> tuple[ImageRecord, ...]:
    """Those of the commonest width and height."""
    sizes = Counter((record.width, record.height) for record in records)
    commonest = sizes.most_common(1)[0][0]
    return tuple(record for record in records if (record.width, record.height) == commonest)


def measure(
    records: tuple[ImageRecord, ...],
    proposals: Proposals,
    backbone: str,
    fc_width: int | None,
    short_side: int,
    repeats: int,
) -> dict[int, dict[str, list[float]]]:
    """Seconds by N and part, run by run."""
    torch.manual_seed(0)
    defaults = backbone_config(backbone)
    width = fc_width or defaults.fc_width
    model = FastRCNN(Architecture(backbone, len(VOC_CLASSES), defaults.roi_size, width, neck=defaults.neck))
    model.to(memory_format=torch.channels_last).train().backbone.freeze()
    config = TrainingConfig(lr=1e-6)
    mean, std = torch.zeros(4), torch.tensor((0.1, 0.1, 0.2, 0.2))
    run = Run(model, VOC_CLASSES, defaults.normalisation, config, mean, std)
    optimizer = build_optimizer(model, config)
    batches = {
        count: TrainingBatches(
            records, proposals, defaults.normalisation, SamplingConfig(count, ROIS), Scales((short_side,), 2000), 0.5, 0
        )
        for count in IMAGES
    }
    seconds: dict[int, dict[str, list[float]]] = {count: {UPDATE: [], BATCH: []} for count in IMAGES}

    def update(count: int, number: int) -> tuple[float, float]:
        start = time.perf_counter()
        batch = batches[count][number]
        made = time.perf_counter()
        training_step(model, batch, optimizer, run, "cpu")
        return made - start, time.perf_counter() - made

    for count in IMAGES:
        if count <= config.images_per_pass:  # more images go through in parts of as many
            update(count, 0)
    for repeat in range(repeats):
        for count in IMAGES:
            times = max(32 // count, 1)
            for number in range(repeat * times, (repeat + 1) * times):
                made, updated = update(count, number)
                seconds[count][BATCH].append(made)
                seconds[count][UPDATE].append(updated)
            err.print(f"round {repeat + 1} of {repeats}, N = {count}: {updated:.2f} s")
    return seconds


def print_table(medians: dict[int, dict[str, float]], about: dict) -> None:
    """One row an N, and what hierarchical sampling buys."""
    right = partial(Column, justify="right")
    table = Table(
        right("N, images through\nthe convolutions"), right("RoIs\nan image"), right("seconds\nan update"),
        right("times\nN = 2"), right("seconds to\nmake the batch"),
    )  # fmt: skip
    base = medians[HIERARCHICAL][UPDATE]
    for count, parts in medians.items():
        table.add_row(
            str(count), str(ROIS // count), f"{parts[UPDATE]:.2f}", f"{parts[UPDATE] / base:.1f}", f"{parts[BATCH]:.2f}"
        )
    console = Console(highlight=False, soft_wrap=True, width=120)
    console.print(table)
    console.print(
        f"{about['backbone']}, short side {about['short side']}, {ROIS} RoIs an update; medians of {about['rounds']} "
        f"rounds, {about['threads']} threads"
    )
    console.print(
        f"region-wise sampling (N = {REGION_WISE}) takes {medians[REGION_WISE][UPDATE] / base:.1f} times as long as "
        f"hierarchical (N = {HIERARCHICAL}), with {REGION_WISE // HIERARCHICAL} times the images"
    )


def draw(seconds: dict[int, float], about: dict, file: Path) -> None:
    """The time of an update against N, both logarithmic."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(9, 6), dpi=100, layout="constrained")
    base = seconds[HIERARCHICAL]
    axes.loglog(seconds.keys(), seconds.values(), "o-", color="tab:blue", linewidth=2)
    proportional = [base * count / HIERARCHICAL for count in seconds]
    axes.loglog(seconds.keys(), proportional, "--", color="0.6", linewidth=1.5)
    axes.annotate(
        "as many times the images,\nas many times as long", (8, base * 4), textcoords="offset points", xytext=(-10, 8),
        ha="right", color="0.45", size=12,
    )  # fmt: skip
    beside = {"textcoords": "offset points", "color": "tab:blue", "size": 13}
    axes.annotate("hierarchical, N = 2", (HIERARCHICAL, base), xytext=(10, -18), **beside)
    region_wise = f"region-wise,\nN = {REGION_WISE}:\n{seconds[REGION_WISE] / base:.0f} times\nas long"
    axes.annotate(region_wise, (REGION_WISE, seconds[REGION_WISE]), xytext=(8, -134), ha="right", **beside)
    axes.minorticks_off()
    axes.set_xticks(list(seconds), [str(count) for count in seconds])
    axes.yaxis.set_major_formatter("{x:,g}")
    axes.set_xlabel(f"N, the images that the {ROIS} RoIs of an update are of")
    axes.set_ylabel(f"seconds an update, {about['threads']} threads")
    axes.set_title(f"{about['backbone']}, short side {about['short side']}", loc="left", pad=14)
    axes.grid(color="0.9")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(file)


if __name__ == "__main__":
    main()
