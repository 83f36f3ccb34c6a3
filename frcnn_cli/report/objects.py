"""What becomes of the objects: what proposals allow, and what is missed."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from frcnn_cli.engine.proposal_coverage import ALL
from frcnn_cli.metrics.error_kinds import MATCH
from frcnn_cli.metrics.outcomes import Outcome
from frcnn_cli.report.analysis import Analysis
from frcnn_cli.report.charts import PERCENT, Axis, dot, line, plot, stack
from frcnn_cli.report.layout import legend, section, table
from frcnn_cli.report.markup import Markup, tag
from frcnn_cli.report.words import OUTCOMES, percent

SIDES = (0, 32, 64, 96, 160, 256, np.inf)
"""Bounds of the sizes of objects: the side, in pixels, of a square of the same area."""


ASPECTS = (
    (0, 1 / 3, "tall, over 3 : 1"),
    (1 / 3, 2 / 3, "tall"),
    (2 / 3, 3 / 2, "about square"),
    (3 / 2, 3, "wide"),
    (3, np.inf, "wide, over 3 : 1"),
)
"""Bounds of width / height, and their names."""


def proposals(analysis: Analysis) -> Markup | None:
    """What proposals allow at best; None where a model makes its own."""
    coverage = analysis.coverage
    if coverage is None:
        return None
    counts = [number for number in coverage.counts if number < ALL]
    low, high = np.log10(counts[0]), np.log10(counts[-1])
    x = Axis("proposals, the best ones of each image", [(np.log10(n), f"{n:,}") for n in counts], low, high)
    y = Axis("objects covered, %", PERCENT)
    marks = []
    for iou, name in ((0.5, "found"), (0.7, "localisation")):
        recall = coverage.recall(iou)[: len(counts)]
        marks.append(line(x, y, np.log10(counts), recall, class_=f"series {name}"))
        marks += [
            dot(x, y, (np.log10(n), r), f"{n:,} proposals: {percent(r)} % at IoU {iou}", class_=f"point {name}")
            for n, r in zip(counts, recall, strict=True)
        ]
    sentence = "; ".join(
        f"{n:,} proposals cover {percent(a)} % of the objects at IoU 0.5 and {percent(b)} % at 0.7"
        for n, a, b in zip(counts, coverage.recall(0.5), coverage.recall(0.7), strict=False)
    )
    drawn = plot(x, y, marks, "Objects that proposals cover", f"{sentence}.")
    _, _, becomes = analysis.objects()
    covered = coverage.overlaps[-1] > MATCH
    found = becomes == Outcome.FOUND
    facts = [
        (f"{percent(covered.mean())} %", "of the objects are covered at IoU 0.5 by all proposals of their image"),
        (f"{percent(coverage.recall(0.7)[-1])} %", "at IoU 0.7"),
        (f"{int((found & ~covered).sum()):,}", "found although no proposal covers them: the box was moved there"),
        (f"{int((~found & ~covered).sum()):,}", "missed, and no proposal covers them"),
        (f"{int((~found & covered).sum()):,}", "missed although a proposal covers them: the network's own errors"),
    ]
    listed = tag("dl", [tag("div", tag("dt", number), tag("dd", text)) for number, text in facts], class_="facts")
    caption = tag(
        "figcaption", tag("span", class_="key found"), "IoU 0.5 ", tag("span", class_="key localisation"), "IoU 0.7"
    )
    return section(
        "proposals",
        "What proposals allow",
        "A detector that left every proposal where it is could find no more than what they cover.",
        tag("div", tag("figure", drawn, caption), listed, class_="pair"),
    )


def missed(analysis: Analysis) -> Markup:
    """What becomes of objects by their size and their shape."""
    boxes, _, becomes = analysis.objects()
    width, height = (boxes[:, 2:] - boxes[:, :2]).T
    sides, aspect = np.sqrt(width * height), width / np.maximum(height, 1e-6)
    by_size = [((sides >= low) & (sides < high), _side_name(low, high)) for low, high in pairwise(SIDES)]
    by_aspect = [((aspect >= low) & (aspect < high), name) for low, high, name in ASPECTS]
    return section(
        "missed",
        "What is missed",
        "What becomes of each object, by its size (the side of a square of the same area) and by its shape.",
        legend([OUTCOMES[outcome] for outcome in Outcome if (becomes == outcome).any()]),
        tag(
            "div", _outcome_table(becomes, by_size, "size"), _outcome_table(becomes, by_aspect, "shape"), class_="pair"
        ),
    )


def _side_name(low: float, high: float) -> str:
    if low == 0:
        return f"under {high} px"
    return f"{low} to {high} px" if np.isfinite(high) else f"{low} px or more"


def _outcome_table(becomes: np.ndarray, groups: list[tuple[np.ndarray, str]], what: str) -> Markup:
    rows = []
    for mine, name in groups:
        total = int(mine.sum())
        numbers = [int((becomes[mine] == outcome).sum()) for outcome in Outcome]
        parts = [
            (OUTCOMES[outcome][1], float(number), f"{number} {OUTCOMES[outcome][0]}")
            for outcome, number in zip(Outcome, numbers, strict=True)
        ]
        words = ", ".join(text for _, number, text in parts if number)
        found = numbers[0] / total if total else float("nan")
        rows.append(
            tag(
                "tr",
                tag("th", name, scope="row"),
                tag("td", stack(parts), tag("span", words, class_="unseen-text"), class_="bar"),
                tag("td", percent(found, 0), class_="number"),
                tag("td", f"{total:,}", class_="number"),
            )
        )
    return table([what, "", "found, %", "objects"], rows, f"What becomes of objects, by {what}", class_="outcomes")
