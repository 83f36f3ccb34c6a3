"""The paper's questions to training (section 5), in proportion: a few hundred images, an hour or less.

    python scripts/paper_training.py layers VOC -o FOLDER [--proposals FILE] [--val-proposals FILE] [--images N] ...
    python scripts/paper_training.py tasks ...          and likewise: classifier, data

- layers (table 5): fc6 and up, with the convolutions from the paper's first learning one up, or all of them.
- tasks (table 6): classification alone, both tasks with and without the boxes at test, and one task after the other.
- classifier (table 8): softmax against SVMs, on the features of SPPnet.
- data (section 5.3): a quarter of the images, half of them, and all.

All runs share images, proposals, seed and recipe (that of `frcnn train` for the backbone), and each is a folder in
FOLDER that the same command goes on with. What two questions have in common is trained once, if they are given the
same FOLDER and options. The paper's figures, of VGG16 on VOC2007, stand beside ours. With so little to learn from and
249 photographs to measure on, a point of mAP is noise, or two.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import click
import torch
from rich.console import Console
from rich.table import Table
from torch import nn

from frcnn_cli.commands.console import err
from frcnn_cli.commands.train import train
from frcnn_cli.commands.train_call import TrainCall
from frcnn_cli.commands.train_display import TrainingDisplay
from frcnn_cli.data.formats.voc import load_voc
from frcnn_cli.data.proposals import open_proposals
from frcnn_cli.engine.checkpoint import Checkpoint, load_checkpoint
from frcnn_cli.engine.lineage.compare import FirstProposals, Material, train_contestant
from frcnn_cli.engine.lineage.measure import measure
from frcnn_cli.engine.lineage.options import Contestant
from frcnn_cli.engine.lineage.subset import draw_images
from frcnn_cli.engine.run_files import MODEL_FILE
from frcnn_cli.files import atomic_write

PATH = click.Path(path_type=Path)


@dataclass(frozen=True)
class Way:
    """One of the trainings that are compared.

    Attributes:
        name: of its row.
        run: the folder of its run; ways that differ at test alone share one.
        paper: the paper's mAP in percent, with VGG16 on VOC2007; None where it has none.
        options: of `frcnn train`, beside those that all share.
        prepare: see `train_contestant`.
        images: share of the images that it learns from.
        after: the run whose model it begins with; "" for none.
        at_test: changes what is measured.
    """

    name: str
    run: str
    paper: float | None = None
    options: tuple[str, ...] = ()
    prepare: Callable[[nn.Module], None] | None = None
    images: float = 1.0
    after: str = ""
    at_test: Callable[[Checkpoint], Checkpoint] = lambda checkpoint: checkpoint


def freeze_all(model: nn.Module) -> None:
    """Leave only the layers from fc6 on to learn."""
    names = tuple(name for name, _ in model.backbone.body.named_parameters())
    model.backbone.frozen = names


def freeze_none(model: nn.Module) -> None:
    """Let every convolution learn."""
    model.backbone.frozen = ()


def freeze_all_but_boxes(model: nn.Module) -> None:
    """Leave only the regression of boxes to learn."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith("head.bbox_pred."))


def without_boxes(checkpoint: Checkpoint) -> Checkpoint:
    """The same detector, whose boxes stay where the proposals are."""
    zeros = {name: value * 0 for name, value in checkpoint.state.items() if name.startswith("head.bbox_pred.")}
    return replace(checkpoint, state=checkpoint.state | zeros)


USUAL = "usual"
"""The run that is as `frcnn train` would have it."""

QUESTIONS = {
    "layers": (
        Way("fc6 and up", "fc6-and-up", 61.4, prepare=freeze_all),
        Way("the paper's: all but the first ones", USUAL, 66.9),
        Way("all layers", "all-layers", 67.2, prepare=freeze_none),
    ),
    "tasks": (
        Way("classification alone", "classification", 62.6, ("--loss-lambda", "0"), at_test=without_boxes),
        Way("both tasks, without boxes at test", USUAL, 63.4, at_test=without_boxes),
        Way("one after the other", "boxes-after", 64.0, prepare=freeze_all_but_boxes, after="classification"),
        Way("both tasks", USUAL, 66.9),
    ),
    "classifier": (
        Way("softmax", "sppnet", 66.9, ("--detector", "sppnet", "--classifier", "softmax")),
        Way("SVM", "sppnet", 66.8, ("--detector", "sppnet", "--classifier", "svm")),
    ),
    "data": (
        Way("a quarter", "quarter", images=0.25),
        Way("half", "half", images=0.5),
        Way("all", USUAL),
    ),
}
"""The paper's table 8 is of Fast R-CNN's features; ours are SPPnet's, which learns in the same stages. Its figures for
more data are 66.9 with VOC2007's 5,000 images and 70.0 with 16,500 of VOC2007 and 2012."""


@click.command()
@click.argument("question", type=click.Choice(tuple(QUESTIONS)))
@click.argument("voc", type=PATH)
@click.option("-o", "--output", type=PATH, required=True, help="The folder of the runs.")
@click.option("--split", default="train", show_default=True)
@click.option("--val-split", default="val", show_default=True)
@click.option("--proposals", type=PATH, required=True, help="Of the images to learn from.")
@click.option("--val-proposals", type=PATH, required=True, help="Of the images to measure on.")
@click.option("--max-proposals", type=click.IntRange(1), default=1000, show_default=True)
@click.option("--images", type=click.IntRange(4), default=500, show_default=True)
@click.option("--val-images", type=click.IntRange(1), default=249, show_default=True)
@click.option("--iterations", type=click.IntRange(1), default=400, show_default=True)
@click.option("--backbone", default="efficientnet_lite0", show_default=True)
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True)
@click.option("--train", "words", default="", help="Further options of frcnn train, in one text.")
@click.option("--json", "json_file", type=PATH, help="Also write the figures here.")
def main(
    question: str,
    voc: Path,
    output: Path,
    split: str,
    val_split: str,
    proposals: Path,
    val_proposals: Path,
    max_proposals: int,
    images: int,
    val_images: int,
    iterations: int,
    backbone: str,
    threads: int,
    words: str,
    json_file: Path | None,
) -> None:
    """Train in each way, and measure."""
    torch.set_num_threads(threads)
    learning = draw_images(load_voc(voc, split), images, 0)
    measuring = draw_images(load_voc(voc, val_split), val_images, 0)
    material = Material(learning, FirstProposals(open_proposals(proposals), max_proposals))
    test = Material(measuring, FirstProposals(open_proposals(val_proposals), max_proposals))
    shared = ("--backbone", backbone, "--iterations", str(iterations), *words.split())
    rows = []
    for way, checkpoint in trained(QUESTIONS[question], material, output, shared):
        found = measure(way.at_test(checkpoint), test.dataset, test.proposals, "cpu")
        rows.append({"way": way.name, "mAP": found.mean_ap, "paper": way.paper})
        err.print(f"{way.name}: mAP {found.mean_ap:.4f}")
    table = Table(question, "mAP, %", "the paper's")
    for row in rows:
        table.add_row(row["way"], f"{100 * row['mAP']:.1f}", f"{row['paper']:.1f}" if row["paper"] else "-")
    Console(highlight=False, soft_wrap=True).print(table)
    if json_file:
        with atomic_write(json_file) as temporary:
            temporary.write_text(json.dumps({"images": len(learning), "rows": rows}, indent=2) + "\n")


def trained(
    ways: tuple[Way, ...], material: Material, output: Path, shared: tuple[str, ...]
) -> Iterator[tuple[Way, Checkpoint]]:
    """Each way with its model; what is trained already is taken up where it is."""
    for way in ways:
        folder = output / way.run
        count = max(round(way.images * len(material.dataset)), 1)
        dataset = draw_images(material.dataset, count, 0)
        contestant = contestant_of((*shared, *way.options, "--output", str(folder)))
        prepare = way.prepare
        if way.after:
            weights = load_checkpoint(output / way.after / MODEL_FILE).state
            prepare = begin_with(weights, way.prepare)
        with TrainingDisplay(contestant.training.iterations) as display:
            train_contestant(contestant, replace(material, dataset=dataset), folder, display, "cpu", prepare)
        yield way, load_checkpoint(folder / MODEL_FILE)


def begin_with(weights: dict[str, torch.Tensor], prepare: Callable[[nn.Module], None] | None) -> Callable:
    """A `prepare` that first gives the model these weights."""

    def changed(model: nn.Module) -> None:
        model.load_state_dict(weights)
        if prepare is not None:
            prepare(model)

    return changed


def contestant_of(words: tuple[str, ...]) -> Contestant:
    """What `frcnn train` would make of these options."""
    with train.make_context("train", list(words)) as context:
        call = TrainCall.parse(context)
    return Contestant(call.model.detector, call.model, call.training, call.own)


if __name__ == "__main__":
    main()
