"""Average precision of every class, and the curves behind it."""

from __future__ import annotations

import numpy as np

from frcnn_cli.metrics.average_precision import Ranking, precision_recall
from frcnn_cli.report.analysis import Analysis
from frcnn_cli.report.charts import PERCENT, Axis, bar, dot, line, plot, steps, thinned
from frcnn_cli.report.layout import section, table
from frcnn_cli.report.markup import Markup, tag
from frcnn_cli.report.words import count, percent, score


def classes(analysis: Analysis) -> Markup:
    """AP of every class, with what proposals allow, and the score to report from."""
    bounds = None if analysis.coverage is None else _bounds(analysis)
    order = np.argsort(-np.nan_to_num(analysis.evaluation.ap.ap, nan=-1.0), kind="stable")
    rows = []
    for index in order:
        ap, best = analysis.evaluation.ap.ap[index], analysis.thresholds[index]
        bound = float("nan") if bounds is None else bounds[index]
        rows.append(
            tag(
                "tr",
                tag("th", analysis.classes[index], scope="row", data_sort=analysis.classes[index]),
                _number(analysis.ap.num_objects[index], f"{analysis.ap.num_objects[index]:,}"),
                tag("td", _ap_bar(ap, bound), class_="bar"),
                _number(ap, percent(ap)),
                _number(bound, percent(bound)) if bounds is not None else None,
                _number(best.score, score(best.score)),
                _number(best.precision, percent(best.precision, 0)),
                _number(best.recall, percent(best.recall, 0)),
                _number(best.f1, percent(best.f1, 0)),
                data_class=int(index) + 1,
            )
        )
    titles = ["class", "objects", None, "AP", *(["at most"] if bounds is not None else []), "from score", "precision"]
    head = [
        tag("th", tag("button", title, type="button"), scope="col", aria_sort="descending" if title == "AP" else "none")
        if title
        else tag("td")
        for title in (*titles, "recall", "F1")
    ]
    lead = "A class's score is the one from which on F1, between precision and recall, is best. "
    if bounds is not None:
        lead += "The mark on a bar, and 'at most', is the share of the objects that a proposal covers at IoU 0.5."
    return section("classes", "Classes", lead, table(head, rows, "Average precision of every class", class_="sortable"))


def _number(value: float, text: str) -> Markup:
    return tag("td", text, class_="number", data_sort=-1 if np.isnan(value) else f"{float(value):.5f}")


def _ap_bar(ap: float, bound: float) -> Markup:
    size = 0.0 if np.isnan(ap) else ap
    mark = None
    if not np.isnan(bound):
        mark = tag("rect", class_="bound", x=f"{min(100 * bound, 99.2):.2f}", width="0.8", height=10)
    shape = tag("rect", class_="found", width=f"{100 * size:.2f}", height=10)
    return tag("svg", shape, mark, class_="stack", viewBox="0 0 100 10", preserveAspectRatio="none", aria_hidden="true")


def _bounds(analysis: Analysis) -> np.ndarray:
    """Share of every class's objects that proposals cover."""
    return np.array([analysis.coverage.of_class(i + 1).recall(0.5)[-1] for i in range(len(analysis.classes))])


def curves(analysis: Analysis) -> Markup:
    """Precision over recall of every class, and whether scores are probabilities."""
    return section(
        "curves",
        "Curves",
        "Choose a class at the top of the page, or point at a curve. The dot is where F1 is best.",
        tag("div", _precision_recall(analysis), _calibration(analysis), class_="pair"),
    )


def _precision_recall(analysis: Analysis) -> Markup:
    x, y = Axis("recall, %", PERCENT), Axis("precision, %", PERCENT)
    marks, dots = [], []
    for index, (name, ranking) in enumerate(zip(analysis.classes, analysis.rankings, strict=True)):
        if not ranking.num_objects or not ranking.correct.any():
            continue
        xs, ys = _envelope(ranking)
        text = f"{name}: AP {percent(analysis.ap.ap[index])}"
        marks.append(tag("g", tag("title", text), steps(x, y, xs, ys), class_="curve", data_class=index + 1))
        best = analysis.thresholds[index]
        if not np.isnan(best.score):
            text = f"{name}: precision {percent(best.precision)}, recall {percent(best.recall)} from {best.score:.2f}"
            dots.append(dot(x, y, (best.recall, best.precision), text, class_="best", data_class=index + 1))
    drawn = plot(
        x,
        y,
        [*marks, *dots],
        "Precision and recall",
        f"A curve for each of {count(len(marks), 'class')}; the table of classes has the area under each.",
    )
    caption = tag("figcaption", "Precision over recall at IoU 0.5, the best at each recall or a higher one. ",
                  tag("span", id="curve-name"))  # fmt: skip
    return tag("figure", drawn, caption)


def _envelope(ranking: Ranking) -> tuple[np.ndarray, np.ndarray]:
    """The recalls where the best precision at that recall or a higher one falls, and what it is up to there."""
    recall, precision = precision_recall(ranking.correct, ranking.num_objects)
    best = np.maximum.accumulate(precision[::-1])[::-1][ranking.correct]
    falls = np.append(np.flatnonzero(np.diff(best)), len(best) - 1)
    return thinned(recall[ranking.correct][falls], best[falls])


def _calibration(analysis: Analysis) -> Markup:
    x, y = Axis("score, %", PERCENT), Axis("of these are right, %", PERCENT)
    result = analysis.calibration
    there = np.flatnonzero(result.counts)
    bars, words = [], []
    for place in there:
        low, high, right = place / 10, (place + 1) / 10, float(result.precision[place])
        text = (
            f"{count(int(result.counts[place]), 'detection')} with scores of {low:.1f} to {high:.1f}, on average "
            f"{result.scores[place]:.2f}: {percent(right)} % right"
        )
        words.append(text)
        bars.append(bar(x, y, (low, high), right, text, class_="found"))
    ideal = line(x, y, (0, 1), (0, 1), class_="ideal")
    points_ = [dot(x, y, (result.scores[p], result.precision[p]), "mean score", class_="mean") for p in there]
    drawn = plot(x, y, [*bars, ideal, *points_], "Calibration of scores", "; ".join(words) + ".")
    return tag(
        "figure",
        drawn,
        tag("figcaption", f"What share of the detections with such a score is right; on the line, scores are "
            f"probabilities. Expected calibration error {percent(result.error)} %."),
    )  # fmt: skip
