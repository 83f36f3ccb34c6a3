"""The table of `--profile`: where the time of detection goes."""

from __future__ import annotations

from rich.table import Table

from frcnn_cli.commands.console import err
from frcnn_cli.engine.detector import Detector
from frcnn_cli.engine.stopwatch import PAPER, PARTS


def print_profile(detector: Detector, images: int) -> None:
    """Print on stderr the time of each part, if it was taken; shares of the network's parts beside the paper's."""
    if detector.times is None or images == 0:
        return
    seconds = detector.times.seconds
    whole = sum(seconds.get(name, 0.0) for name in PAPER) or 1.0
    table = Table("part", "ms an image", "share", "paper's share")
    for column in table.columns[1:]:
        column.justify = "right"
    for name in PARTS:
        if name in seconds:
            row = [name, f"{1000 * seconds[name] / images:.1f}"]
            if name in PAPER:
                row += [f"{seconds[name] / whole:.1%}", f"{PAPER[name]:.1%}"]
            table.add_row(*row)
    err.print(table)
    err.print("shares without decoding and proposals; parts of several threads lie beside one another")
