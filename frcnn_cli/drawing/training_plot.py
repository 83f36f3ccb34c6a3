"""The curves of a training run. Imported only where they are drawn, as matplotlib takes its time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from frcnn_cli.drawing.plot_text import set_title
from frcnn_cli.files import atomic_write

COLOURS = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7")
"""Okabe and Ito's, of the loss and its terms, in the order of the log's columns."""

SMOOTHED_OVER = 1 / 40
"""Share of the log in a running mean: a mini-batch's loss is mostly noise."""

Curves = Mapping[str, tuple[np.ndarray, np.ndarray]]


def plot_curves(curves: Curves, title: str, path: Path) -> None:
    """Draw losses, learning rate and, if it was measured, mAP against the iteration, and write them as a PNG file.

    Args:
        curves: {column of the log: (int [N], iterations; float [N], numbers)}.
        title: of the plot.
        path: the file.

    Raises:
        DataError: the file cannot be written.
    """
    measured = "val_mAP" in curves
    figure = Figure(figsize=(8, 8 if measured else 6), dpi=100, layout="constrained")
    panels = figure.subplots(2 + measured, sharex=True, height_ratios=[3, 1, 2][: 2 + measured])
    _draw_losses(panels[0], curves)
    set_title(panels[0], title, pad=10)
    panels[1].plot(*curves["lr"], color="#000000")
    panels[1].set_ylabel("learning rate")
    panels[1].set_ylim(bottom=0)
    if measured:
        _draw_precision(panels[2], *curves["val_mAP"])
    panels[-1].set_xlabel("iteration")
    panels[-1].set_xlim(left=0)
    figure.align_ylabels()
    for axes in panels:
        axes.grid(color="0.9")
        axes.spines[["top", "right"]].set_visible(False)
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": "frcnn"})


def _draw_losses(axes: Axes, curves: Curves) -> None:
    """Each as it was in pale, and its running mean."""
    losses = [column for column in curves if column == "loss" or column.startswith("loss_")]
    for column, color in zip(losses, COLOURS, strict=False):
        iterations, values = curves[column]
        name = "total" if column == "loss" else column.removeprefix("loss_")
        axes.plot(iterations, values, color=color, alpha=0.25, linewidth=0.8)
        smooth = running_mean(values, int(SMOOTHED_OVER * len(values)))
        axes.plot(iterations, smooth, "." if len(values) == 1 else "-", color=color, label=name, linewidth=1.8)
    # The first losses, many times the later ones, would press those flat.
    top = np.percentile(curves["loss"][1], 98)
    axes.set_ylim(0, 1.15 * max(top, 1e-6))
    axes.set_ylabel("loss")
    axes.legend(loc="upper right", frameon=False, ncols=len(losses))


def _draw_precision(axes: Axes, iterations: np.ndarray, values: np.ndarray) -> None:
    best = int(values.argmax())
    axes.plot(iterations, values, "o-", color="#009E73", clip_on=False)
    axes.annotate(
        f"{values[best]:.3f}", (iterations[best], values[best]), (0, 6), textcoords="offset points", ha="right"
    )
    axes.set_ylabel("mAP on validation")
    axes.set_ylim(0, 1.25 * max(float(values.max()), 0.04))


def running_mean(values: np.ndarray, length: int) -> np.ndarray:
    """Mean of each value and those up to half of `length` away: float [N] -> float64 [N]."""
    half = length // 2
    sums = np.concatenate(([0.0], np.cumsum(values, dtype=np.float64)))
    places = np.arange(len(values))
    first, end = np.maximum(places - half, 0), np.minimum(places + half + 1, len(values))
    return (sums[end] - sums[first]) / (end - first)
