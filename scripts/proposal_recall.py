"""How well proposals cover the objects of a data set: the bound on what a detector can find.

python scripts/proposal_recall.py VOC2012 val proposals-val.npz
"""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np

from frcnn_cli.data.proposal_files import ProposalFile
from frcnn_cli.data.voc import load_voc
from frcnn_cli.metrics.average_precision import box_iou


@click.command()
@click.argument("root", type=click.Path(path_type=Path))
@click.argument("split")
@click.argument("proposals", type=click.Path(path_type=Path))
def main(root: Path, split: str, proposals: Path) -> None:
    """Print recall at IoU 0.5 and 0.7, and the mean best overlap, over all objects that are not difficult."""
    file = ProposalFile(proposals)
    best, counts = [], []
    for record in load_voc(root, split).records:
        boxes = file.get(record.id, record.width, record.height)
        objects = record.objects.boxes[~record.objects.difficult]
        counts.append(len(boxes))
        if len(objects):
            best.append(box_iou(boxes, objects).max(axis=0))
    overlap = np.concatenate(best)
    print(f"{len(overlap)} objects, {np.mean(counts):.0f} boxes an image ({file.meta['mode']})")
    print(f"recall at IoU 0.5: {(overlap >= 0.5).mean():.3f}")
    print(f"recall at IoU 0.7: {(overlap >= 0.7).mean():.3f}")
    print(f"mean best overlap: {overlap.mean():.3f}")


if __name__ == "__main__":
    main()
