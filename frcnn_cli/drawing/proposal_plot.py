"""The plot of `frcnn propose --recall`. Imported only where one is asked for, as matplotlib takes its time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from frcnn_cli.drawing.plot_text import add_legend, set_title
from frcnn_cli.files import atomic_write
from frcnn_cli.metrics.proposal_recall import Coverage


def plot_coverage(
    coverage: Coverage, title: str, path: Path, beside: Mapping[str, Coverage] = MappingProxyType({})
) -> None:
    """Draw recall, average recall and MABO against the number of proposals, and write them as a PNG file.

    Args:
        coverage: of the proposals that matter.
        title: of the plot.
        path: of the file.
        beside: of others, by their names: dashed, in the same colours.

    Raises:
        DataError: the file cannot be written.
    """
    figure = Figure(figsize=(8, 5), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    _draw(axes, coverage, "-", "")
    for name, other in beside.items():
        _draw(axes, other, "--", f", {name}")
    axes.set_xscale("log")
    axes.minorticks_off()
    axes.set_xticks(coverage.counts, [f"{count:,}" for count in coverage.counts])
    axes.set_ylim(0, 1)
    axes.set_xlabel("proposals an image, the best-ranked")
    set_title(axes, title, pad=14)
    axes.grid(color="0.9")
    axes.spines[["top", "right"]].set_visible(False)
    add_legend(axes, loc="lower right", frameon=False)
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": "frcnn"})


def _draw(axes: Axes, coverage: Coverage, line: str, whose: str) -> None:
    # Colours of Okabe and Ito's palette, which colour-blind readers can tell apart; shapes for those who print in grey.
    for name, values, marker, color in (
        ("recall at IoU 0.5", coverage.recall(0.5), "o", "#0072B2"),
        ("MABO", coverage.mabo, "D", "#009E73"),
        ("recall at IoU 0.7", coverage.recall(0.7), "s", "#56B4E9"),
        ("average recall, IoU 0.5 to 0.95", coverage.average_recall, "^", "#D55E00"),
    ):
        label = f"{name}{whose}"
        axes.plot(coverage.counts, values, marker + line, color=color, label=label, linewidth=2, clip_on=False)
