"""How well anchors cover the objects of a data set, before anything is learned: what a proposal network starts from."""

from __future__ import annotations

from pathlib import Path

import click
import torch
from rich.console import Console
from rich.table import Table

from frcnn_cli.core.boxes import iou
from frcnn_cli.core.rpn.anchors import RATIOS, SIZES, anchor_grid, cell_anchors, inside
from frcnn_cli.data.formats.voc import load_voc
from frcnn_cli.data.transforms import scale_to, scaled_size


@click.command()
@click.option("--voc", type=click.Path(path_type=Path), required=True, help="A VOC folder.")
@click.option("--split", default="train", show_default=True, help="Its list of images.")
@click.option("--images", default=200, show_default=True, help="How many of them, the first.")
@click.option("--short-side", default=600, show_default=True, help="Pixels that the shorter side is brought to.")
@click.option("--stride", type=click.Choice(["8", "16"]), default="16", show_default=True, help="Pixels of a cell.")
def main(voc: Path, split: str, images: int, short_side: int, stride: str) -> None:
    """Print the share of objects, difficult ones left out, whose best anchor has IoU 0.5 and 0.7 with them."""
    records = load_voc(voc, split).records[:images]
    table = Table("sizes", "at the border", "best IoU", "0.5", "0.7")
    for count in range(3, len(SIZES) + 1):
        cell = cell_anchors(SIZES[-count:], RATIOS)
        for across in (True, False):
            best = torch.cat([_best(record, cell, short_side, int(stride), across) for record in records])
            shares = [f"{float((best >= bound).float().mean()):.1%}" for bound in (0.5, 0.7)]
            sizes = ",".join(map(str, SIZES[-count:]))
            table.add_row(sizes, "kept" if across else "left out", f"{float(best.mean()):.3f}", *shares)
    Console().print(table)


def _best(record, cell: torch.Tensor, short_side: int, stride: int, across: bool) -> torch.Tensor:
    """The best IoU of each object with an anchor."""
    scale = scale_to(record.width, record.height, short_side, short_side * 5 // 3)
    width, height = scaled_size(record.width, record.height, scale)
    anchors = anchor_grid(cell, -(-height // stride), -(-width // stride), stride)
    anchors = anchors if across else anchors[inside(anchors, width, height)]
    objects = torch.from_numpy(record.objects.without_difficult().boxes) * scale
    return iou(anchors, objects).amax(dim=0) if len(anchors) and len(objects) else torch.zeros(len(objects))


if __name__ == "__main__":
    main()
