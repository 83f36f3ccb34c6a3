"""The curve of `frcnn compress-svd --max-drop`. Imported only where it is drawn, as matplotlib takes its time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from frcnn_cli.drawing.plot_text import set_title
from frcnn_cli.files import atomic_write

if TYPE_CHECKING:
    from frcnn_cli.engine.rank_search import Point


def plot_ranks(points: Sequence[Point], chosen: Point | None, title: str, path: Path) -> None:
    """Draw mAP and the head's time against the parameters of the layers, and write them as a PNG file.

    Args:
        points: the head as it was, then smaller ones.
        chosen: the one that is kept.
        title: of the plot.
        path: the file.

    Raises:
        DataError: the file cannot be written.
    """
    figure = Figure(figsize=(8, 6), dpi=100, layout="constrained")
    precision, seconds = figure.subplots(2, sharex=True)
    parameters = [point.parameters / 1e6 for point in points]
    for axes, values, name in (
        (precision, [100 * point.mean_ap for point in points], "mAP (%)"),
        (seconds, [1000 * point.seconds for point in points], "head (ms an image)"),
    ):
        axes.plot(parameters, values, "o-", color="#0072B2", markersize=4)
        axes.plot(parameters[:1], values[:1], "s", color="#000000", label="as it was")
        if chosen is not None:
            place = points.index(chosen)
            ranks = ", ".join(f"{layer} {rank}" for layer, rank in chosen.ranks.items())
            axes.plot(parameters[place], values[place], "D", color="#D55E00", label=f"chosen: {ranks}")
        axes.set_ylabel(name)
        axes.grid(color="0.9")
        axes.spines[["top", "right"]].set_visible(False)
    set_title(precision, title, pad=10)
    precision.legend(frameon=False, loc="lower right")
    seconds.set_ylim(bottom=0)
    seconds.set_xscale("log")
    seconds.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    seconds.xaxis.set_major_formatter("{x:g}")
    seconds.xaxis.set_minor_formatter(NullFormatter())
    seconds.set_xlabel("parameters of fc6 and fc7 (millions)")
    figure.align_ylabels()
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": "frcnn"})
