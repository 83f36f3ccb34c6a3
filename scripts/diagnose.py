"""What keeps a model's mAP from being higher: each kind of fault is mended in turn, and the gain printed.

    python scripts/diagnose.py VOC_ROOT [--split val] [--weights CHECKPOINT] [--proposals FILE]

Detections are sorted into kinds as TIDE does (Bolya et al., ECCV 2020, sections 2.2 and 2.3), with VOC's rules. Mending
one kind: a badly placed box is put onto its object, a wrong class is corrected, false alarms and second boxes are
removed. Gains do not add up: a detection has one fault, but an object may have several detections.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from frcnn_cli.commands.console import progress_bar
from frcnn_cli.core.boxes import iou
from frcnn_cli.data.checks import check_images
from frcnn_cli.data.detections import Detections
from frcnn_cli.data.formats.voc import load_voc
from frcnn_cli.data.proposals import Proposals, open_proposals
from frcnn_cli.data.samples import Dataset, Objects
from frcnn_cli.engine.detector import Detector
from frcnn_cli.engine.evaluator import evaluate_dataset
from frcnn_cli.metrics.average_precision import evaluate
from frcnn_cli.metrics.proposal_recall import Coverage, ProposalRecall

MATCH, NEAR = 0.5, 0.1
CORRECT, PLACE, CLASS, SECOND, BACKGROUND, OTHER = range(6)
KINDS = {
    PLACE: "right class, IoU 0.1 to 0.5: box put onto the object",
    CLASS: "on an object of another class: class corrected",
    SECOND: "second box of an object: removed",
    BACKGROUND: "on no object (IoU below 0.1): removed",
    OTHER: "wrong class and badly placed: removed",
}


@dataclass(frozen=True)
class Judged:
    """One image's detections by falling score, the kind of each, and the object it is nearest to."""

    detections: Detections
    kinds: np.ndarray
    nearest: np.ndarray
    objects: Objects


@click.command()
@click.argument("root", metavar="VOC_ROOT", type=click.Path(path_type=Path))
@click.option("--split", default="val", show_default=True)
@click.option("--weights", type=click.Path(path_type=Path), help="A checkpoint.  [default: the bundled model]")
@click.option("--proposals", type=click.Path(path_type=Path), required=True, help="Of the split.")
def main(root: Path, split: str, weights: Path | None, proposals: Path) -> None:
    """Evaluate, mend, evaluate again."""
    detector = Detector.load(weights, runtime="torch")
    dataset = check_images(load_voc(root, split, detector.classes))
    file = open_proposals(proposals)
    found = evaluate_dataset(detector, dataset, file, track=progress_bar("detect")).detections
    judged = [judge(d, record.objects) for d, record in zip(found, dataset.records, strict=True)]

    def score(mend: Callable[[Judged], tuple[Detections, Objects]]) -> float:
        detections, objects = zip(*map(mend, judged), strict=True)
        return 100 * evaluate(detections, objects, len(dataset.classes), "voc").mean_ap

    now = score(lambda image: (image.detections, image.objects))
    table = Table("mended", "mAP", "gain", title=f"{dataset.name}: mAP {now:.1f}")
    for column in table.columns[1:]:
        column.justify = "right"
    for kind, text in KINDS.items():
        mended = score(lambda image, kind=kind: (mend_kind(image, kind), image.objects))
        table.add_row(text, f"{mended:.1f}", f"{mended - now:+.1f}")
    mended = score(lambda image: (image.detections, without_missed(image)))
    table.add_row("objects no detection comes near: not asked for", f"{mended:.1f}", f"{mended - now:+.1f}")
    console = Console(highlight=False, soft_wrap=True)
    console.print(table)
    bound = coverage(dataset, file)
    console.print(
        f"proposals cover {bound.recall(0.5)[0]:.1%} of the objects at IoU 0.5, {bound.recall(0.7)[0]:.1%} at 0.7"
    )


def judge(detections: Detections, objects: Objects) -> Judged:
    """Sort one image's detections into kinds; those that match a difficult object count as correct."""
    order = np.argsort(-detections.scores, kind="stable")
    detections = Detections(detections.boxes[order], detections.scores[order], detections.labels[order])
    overlap = iou(torch.from_numpy(detections.boxes), torch.from_numpy(objects.boxes)).numpy()
    kinds = np.full(len(order), BACKGROUND)
    nearest = np.zeros(len(order), dtype=np.int64)
    taken: set[int] = set()
    for i, label in enumerate(detections.labels):
        if not len(objects):
            break
        same = np.where(objects.labels == label, overlap[i], -1.0)
        own, any_class = int(same.argmax()), int(overlap[i].argmax())
        nearest[i] = own
        if same[own] > MATCH:
            kinds[i] = SECOND if own in taken and not objects.difficult[own] else CORRECT
            taken.add(own)
        elif same[own] >= NEAR:
            kinds[i] = PLACE
        elif overlap[i, any_class] > MATCH:
            kinds[i], nearest[i] = CLASS, any_class
        elif overlap[i, any_class] >= NEAR:
            kinds[i] = OTHER
    return Judged(detections, kinds, nearest, objects)


def mend_kind(image: Judged, kind: int) -> Detections:
    """The detections with one kind of fault mended; of several put onto one object the best stays."""
    boxes, labels = image.detections.boxes.copy(), image.detections.labels.copy()
    keep = np.ones(len(boxes), dtype=bool)
    taken = set(image.nearest[image.kinds == CORRECT].tolist())
    for i in np.flatnonzero(image.kinds == kind):
        target = int(image.nearest[i])
        if kind not in (PLACE, CLASS) or target in taken:
            keep[i] = False
            continue
        taken.add(target)
        boxes[i], labels[i] = image.objects.boxes[target], image.objects.labels[target]
    return Detections(boxes[keep], image.detections.scores[keep], labels[keep])


def without_missed(image: Judged) -> Objects:
    """The objects that some detection is on or near; the others become difficult, which no one asks for."""
    near = np.isin(image.kinds, (CORRECT, SECOND, PLACE, CLASS))
    missed = ~np.isin(np.arange(len(image.objects)), image.nearest[near])
    return Objects(image.objects.boxes, image.objects.labels, image.objects.difficult | missed)


def coverage(dataset: Dataset, proposals: Proposals) -> Coverage:
    """How well the proposals cover the objects: the most that could be found without moving them."""
    gathered = ProposalRecall((2000,))
    for record in dataset.records:
        objects = record.objects.without_difficult()
        gathered.add(proposals.get(record.id, record.width, record.height), objects.boxes, objects.labels)
    return gathered.result()


if __name__ == "__main__":
    main()
