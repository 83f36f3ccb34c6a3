"""What keeps a model's mAP from being higher: each kind of fault is mended in turn, and the gain printed.

    python scripts/diagnose.py VOC_ROOT [--split val] [--weights CHECKPOINT] [--proposals FILE]

The kinds are those of `frcnn_cli.metrics.error_kinds`; `frcnn eval --report DIR` shows the same class by class, with
pictures.
"""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from frcnn_cli.commands.console import progress_bar
from frcnn_cli.data.checks import check_images
from frcnn_cli.data.formats.voc import load_voc
from frcnn_cli.data.proposals import open_proposals
from frcnn_cli.engine.detector import Detector
from frcnn_cli.engine.evaluator import evaluate_dataset
from frcnn_cli.engine.proposal_coverage import measure_coverage
from frcnn_cli.metrics.error_kinds import Kind, judge, mended_ap

KINDS = {
    Kind.LOCALISATION: "right class, IoU 0.1 to 0.5: box put onto the object",
    Kind.CLASSIFICATION: "on an object of another class: class corrected",
    Kind.DUPLICATE: "second box of an object: removed",
    Kind.BACKGROUND: "on no object (IoU below 0.1): removed",
    Kind.BOTH: "wrong class and badly placed: removed",
    Kind.MISSED: "objects no detection comes near: not asked for",
}


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
    evaluation = evaluate_dataset(detector, dataset, file, track=progress_bar("detect"))
    judged = [judge(d, record.objects) for d, record in zip(evaluation.detections, dataset.records, strict=True)]
    now = 100 * evaluation.mean_ap
    table = Table("mended", "mAP", "gain", title=f"{dataset.name}: mAP {now:.1f}")
    for column in table.columns[1:]:
        column.justify = "right"
    for kind, text in KINDS.items():
        mended = 100 * mended_ap(judged, kind, len(dataset.classes)).mean_ap
        table.add_row(text, f"{mended:.1f}", f"{mended - now:+.1f}")
    console = Console(highlight=False, soft_wrap=True)
    console.print(table)
    bound = measure_coverage(dataset, file)
    console.print(
        f"proposals cover {bound.recall(0.5)[-1]:.1%} of the objects at IoU 0.5, {bound.recall(0.7)[-1]:.1%} at 0.7"
    )


if __name__ == "__main__":
    main()
