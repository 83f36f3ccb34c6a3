"""The paper's questions to training (section 5), in proportion: a few hundred images, an hour or less.

    python scripts/paper_training.py layers VOC -o FOLDER [--proposals FILE] [--val-proposals FILE] [--images N] ...
    python scripts/paper_training.py tasks ...          and likewise: classifier, data

- layers (table 5): fc6 and up, with the convolutions from the paper's first learning one up, or all of them.
- tasks (table 6): classification alone, both tasks with and without the boxes at test, and one task after the other.
- classifier (table 8): softmax against SVMs, on the features of SPPnet.
- data (section 5.3): a quarter of the images, half of them, and all.

All runs of a question share images, proposals, seed and recipe (that of `frcnn train` for the backbone), and each is a
folder in FOLDER that the same command goes on with. With so little to learn from and 249 photographs to measure on,
a point of mAP is noise.
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
        options: of `frcnn train`, beside those that all share.
        prepare: see `train_contestant`.
        images: share of the images that it learns from.
        after: the way whose model it begins with; "" for none.
        at_test: changes what is measured.
    """

    name: str
    options: tuple[str, ...] = ()
    prepare: Callable[[nn.Module], None] | None = None
    images: float = 1.0
    after: str = ""
    at_test: Callable[[Checkpoint], Checkpoint] = lambda checkpoint: checkpoint

    @property
    def folder(self) -> str:
        """Of its run; ways that differ at test alone share one."""
        return self.name.split(",")[0].replace(" ", "-")


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


QUESTIONS = {
    "layers": (
        Way("fc6 and up", prepare=freeze_all),
        Way("the paper's"),
        Way("all layers", prepare=freeze_none),
    ),
    "tasks": (
        Way("classification alone", ("--loss-lambda", "0"), at_test=without_boxes),
        Way("both tasks, without boxes at test", at_test=without_boxes),
        Way("one after the other", prepare=freeze_all_but_boxes, after="classification alone"),
        Way("both tasks"),
    ),
    "classifier": (
        Way("softmax", ("--detector", "sppnet", "--classifier", "softmax")),
        Way("SVM", ("--detector", "sppnet")),
    ),
    "data": (Way("a quarter", images=0.25), Way("half", images=0.5), Way("all")),
}


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
    words: str,
    json_file: Path | None,
) -> None:
    """Train in each way, and measure."""
    learning = draw_images(load_voc(voc, split), images, 0)
    measuring = draw_images(load_voc(voc, val_split), val_images, 0)
    material = Material(learning, FirstProposals(open_proposals(proposals), max_proposals))
    test = Material(measuring, FirstProposals(open_proposals(val_proposals), max_proposals))
    shared = ("--backbone", backbone, "--iterations", str(iterations), *words.split())
    rows = []
    for way, checkpoint in trained(QUESTIONS[question], material, output, shared):
        found = measure(way.at_test(checkpoint), test.dataset, test.proposals, "cpu")
        rows.append({"way": way.name, "mAP": found.mean_ap})
        err.print(f"{way.name}: mAP {found.mean_ap:.4f}")
    table = Table(question, "mAP")
    for row in rows:
        table.add_row(row["way"], f"{row['mAP']:.4f}")
    Console(highlight=False, soft_wrap=True).print(table)
    if json_file:
        with atomic_write(json_file) as temporary:
            temporary.write_text(json.dumps({"images": len(learning), "rows": rows}, indent=2) + "\n")


def trained(
    ways: tuple[Way, ...], material: Material, output: Path, shared: tuple[str, ...]
) -> Iterator[tuple[Way, Checkpoint]]:
    """Each way with its model; what is trained already is taken up where it is."""
    for way in ways:
        folder = output / way.folder
        count = max(round(way.images * len(material.dataset)), 1)
        dataset = draw_images(material.dataset, count, 0)
        contestant = contestant_of((*shared, *way.options, "--output", str(folder)))
        prepare = way.prepare
        if way.after:
            weights = load_checkpoint(output / way.after.replace(" ", "-") / MODEL_FILE).state
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
