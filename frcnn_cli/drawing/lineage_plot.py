"""The plot of `frcnn lineage`. Imported only where it is drawn, as matplotlib takes its time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from frcnn_cli.files import atomic_write

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00")
"""Okabe and Ito's, a stage each."""


def plot_lineage(
    titles: Sequence[str],
    training: Sequence[Mapping[str, float]],
    testing: Sequence[float],
    mean_ap: Sequence[float],
    path: Path,
) -> None:
    """Draw training by stage, the time of an image and mAP, a bar a detector, and write them as a PNG file.

    Args:
        titles: of the detectors.
        training: seconds by stage, of each.
        testing: seconds an image, of each.
        mean_ap: from 0 to 1, of each.
        path: the file.

    Raises:
        DataError: the file cannot be written.
    """
    figure = Figure(figsize=(10, 3.6), dpi=120, layout="constrained")
    panels = figure.subplots(1, 3)
    stages = list(dict.fromkeys(stage for found in training for stage in found))
    left = [0.0] * len(titles)
    for stage, colour in zip(stages, COLOURS, strict=False):
        lengths = [found.get(stage, 0.0) for found in training]
        panels[0].barh(titles, lengths, left=left, color=colour, label=stage)
        left = [start + length for start, length in zip(left, lengths, strict=True)]
    panels[0].set_title("training, s of a processor", loc="left")
    panels[0].legend(frameon=False, fontsize="small")
    panels[1].barh(titles, testing, color="#000000")
    panels[1].set_title("test, s an image", loc="left")
    panels[2].barh(titles, [100 * value for value in mean_ap], color="#009E73")
    panels[2].set_title("mAP, %", loc="left")
    # A bar that is hardly there beside R-CNN's can still be read.
    for axes, texts in zip(
        panels,
        (
            [f"{value:.0f}" for value in left],
            [f"{value:.2f}" for value in testing],
            [f"{100 * value:.1f}" for value in mean_ap],
        ),
        strict=True,
    ):
        axes.bar_label(axes.containers[-1], texts, padding=3)
        axes.margins(x=0.15)
    for place, axes in enumerate(panels):
        axes.invert_yaxis()
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="x", color="0.9")
        axes.set_axisbelow(True)
        if place:
            axes.set_yticklabels([])
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": "frcnn"})
