"""The sections of a page that are the same in every browser: text, tables and charts."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from frcnn_cli.data.detections import ImageResult
from frcnn_cli.engine.proposal_coverage import ALL
from frcnn_cli.metrics.average_precision import precision_recall
from frcnn_cli.metrics.error_kinds import ERRORS, MATCH, Kind
from frcnn_cli.metrics.outcomes import Outcome
from frcnn_cli.report.analysis import LEVELS, Analysis
from frcnn_cli.report.charts import PERCENT, Axis, bar, dot, line, plot, stack, steps, thinned
from frcnn_cli.report.markup import Markup, tag
from frcnn_cli.report.words import KINDS, NOTHING, OUTCOMES, PARTS, count, percent, points, score

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


def section(name: str, title: str, lead: str, *content: object) -> Markup:
    """A part of the page, under an id, with one sentence on what it shows."""
    heading = tag("h2", title, id=f"{name}-title")
    return tag("section", heading, tag("p", lead, class_="lead"), content, id=name, aria_labelledby=f"{name}-title")


def legend(entries: list[tuple[str, str, str]]) -> Markup:
    """Names beside their colours; what they mean is said when they are pointed at, and to readers of the screen."""
    items = [
        tag("li", tag("span", class_=f"key {name}", aria_hidden="true"), title, tag("small", f" {meaning}"))
        for title, name, meaning in entries
    ]
    return tag("ul", items, class_="legend")


def table(head: list[object], rows: list[Markup], caption: str, **attributes: object) -> Markup:
    """A table in a box of its own that scrolls where the page is narrower, also by the keyboard."""
    header = tag(
        "thead", tag("tr", [cell if isinstance(cell, Markup) else tag("th", cell, scope="col") for cell in head])
    )
    body = tag("table", tag("caption", caption), header, tag("tbody", rows), **attributes)
    return tag("div", body, class_="scroll", tabindex=0, role="region", aria_label=caption)


def errors(analysis: Analysis) -> Markup:
    """What each kind of error costs, over all and class by class."""
    gains = {kind: max(analysis.gain(kind), 0.0) for kind in ERRORS}
    most = max([0.01, *(gain for gain in gains.values() if not np.isnan(gain))])
    rows = []
    for kind in ERRORS:
        title, name, meaning = KINDS[kind]
        number = int(analysis.counts[:, kind].sum())
        rows.append(
            tag(
                "tr",
                tag(
                    "th",
                    tag("span", class_=f"key {name}", aria_hidden="true"),
                    title,
                    tag("small", meaning),
                    scope="row",
                ),
                tag("td", stack([(name, 0.0 if np.isnan(gains[kind]) else gains[kind], title)], most), class_="bar"),
                tag("td", points(analysis.gain(kind)), class_="number"),
                tag("td", percent(analysis.mended[kind].mean_ap), class_="number extra"),
                tag("td", f"{number:,}", class_="number"),
            )
        )
    head = ["kind of error", "", "mAP gains", tag("th", "would be", scope="col", class_="extra"), "how many"]
    overall = table(head, rows, "What mAP would gain were each kind of error gone", class_="kinds")
    return section(
        "errors",
        "Errors by kind",
        "Each kind of error is mended in turn, and average precision computed again. A box that does not fit is put "
        "onto its object, a wrong class corrected, what is superfluous removed. Gains do not add up.",
        overall,
        _errors_by_class(analysis),
    )


def _errors_by_class(analysis: Analysis) -> Markup:
    gains = np.stack([analysis.mended[kind].ap - analysis.ap.ap for kind in ERRORS], axis=1)
    most = max(np.nanmax(gains, initial=0.0), 0.01)
    rows = []
    for index, name in enumerate(analysis.classes):
        cells = []
        for column, kind in enumerate(ERRORS):
            gain, number = gains[index, column], int(analysis.counts[index, kind])
            heat = 0.0 if np.isnan(gain) else float(np.sqrt(np.clip(gain / most, 0, 1)))
            if not number and not gain >= 0.0005:
                cells.append(tag("td", points(gain) if np.isnan(gain) else "0", class_="nothing"))
                continue
            link = tag(
                "a",
                points(gain),
                tag("small", f" {number}"),
                href="#cases",
                data_class=index + 1,
                data_kind=int(kind),
                aria_label=f"{name}, {KINDS[kind][0].lower()}: {points(gain)} points, {number} of them; show them",
            )
            cells.append(tag("td", link, class_=f"heat {KINDS[kind][1]}", style=f"--v:{heat:.3f}"))
        rows.append(tag("tr", tag("th", name, scope="row"), cells, data_class=index + 1))
    head = ["class", *(KINDS[kind][0] for kind in ERRORS)]
    caption = "Points of AP that each class gains, and in small how many of the reported are such errors"
    return table(head, rows, caption, class_="matrix")


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
        if not ranking.num_objects or not len(ranking.scores):
            continue
        recall, precision = precision_recall(ranking.correct, ranking.num_objects)
        envelope = np.maximum.accumulate(precision[::-1])[::-1]
        corners = np.append(np.flatnonzero(np.diff(envelope)), len(envelope) - 1)
        xs, ys = thinned(recall[corners], envelope[corners])
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


def confusion(analysis: Analysis) -> Markup:
    """What objects are taken for."""
    names = ["its class's best F1", *(f"{level:.1f}" for level in LEVELS)]
    options = [tag("option", name, value=place, selected=place == 0) for place, name in enumerate(names)]
    choice = tag("label", "Detections from the score of ", tag("select", options, id="level"), class_="choice")
    return section(
        "confusion",
        "Confusion",
        "Rows are what was there, columns what was said. Objects are taken by the surest detection of their own class "
        "first; the first column is what nothing reported is on, the first row what is reported where nothing is.",
        choice,
        tag("div", confusion_table(analysis, analysis.confusion[0]), id="confusion-table"),
    )


def confusion_table(analysis: Analysis, matrix: np.ndarray) -> Markup:
    """The matrix as a table; colour is the share of its row."""
    names = ("nothing", *analysis.classes)
    head = [tag("td", class_="corner"), *(tag("th", tag("span", name), scope="col", title=name) for name in names)]
    sums = matrix.sum(axis=1)
    rows = []
    for row, name in enumerate(names):
        cells = []
        for column, number in enumerate(matrix[row].tolist()):
            if row == column == 0 or not number:
                cells.append(tag("td"))
                continue
            share = number / sums[row]
            kind = (
                "found"
                if row == column
                else "background"
                if row == 0
                else "missed"
                if column == 0
                else "classification"
            )
            cells.append(
                tag(
                    "td",
                    number,
                    class_=f"heat {kind}",
                    style=f"--v:{share:.2f}",
                    title=_cell(names, row, column, number),
                )
            )
        rows.append(tag("tr", tag("th", name, scope="row"), cells))
    return table(head, rows, "What was there (rows) and what was said (columns)", class_="matrix confusion")


def _cell(names: tuple[str, ...], row: int, column: int, number: int) -> str:
    if row == 0:
        return f"{number} times {names[column]} where nothing is"
    said = "missed" if column == 0 else "found" if row == column else f"called {names[column]}"
    return f"{count(number, 'object')} of the class {names[row]} {said}"


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


def times(analysis: Analysis) -> Markup:
    """Where the time goes: medians, as the first image may have waited for a compiler."""
    results = analysis.evaluation.results
    parts = _parts(analysis)
    total = sum(seconds for _, seconds, _ in parts)
    rows = [
        tag(
            "tr",
            tag("th", title, scope="row"),
            tag("td", stack([(name, seconds, title)], total), class_="bar"),
            tag("td", f"{1000 * seconds:.1f}", class_="number"),
            tag("td", percent(seconds / total if total else float("nan"), 0), class_="number"),
        )
        for title, seconds, name in parts
    ]
    slow = sorted(results, key=lambda result: -_seconds(result))[:1]
    lead = f"Medians of {count(len(results), 'image')}: {1000 * total:.0f} ms an image"
    lead += f"; the slowest, {slow[0].path.name}, took {1000 * _seconds(slow[0]):.0f} ms." if slow else "."
    head = ["part", "", "ms an image", "%"]
    return section("time", "Where the time goes", lead, table(head, rows, "Time of each part", class_="kinds"))


def _seconds(result: ImageResult) -> float:
    return result.seconds.detection + (result.seconds.proposals or 0.0)


def _parts(analysis: Analysis) -> list[tuple[str, float, str]]:
    """Name, seconds and colour of each part, in the order of the work."""
    results, evaluation = analysis.evaluation.results, analysis.evaluation
    if not results:
        return []
    detection = float(np.median([result.seconds.detection for result in results]))
    whole = max(evaluation.detection_seconds, 1e-9)
    shares = {name: seconds / whole for name, seconds in evaluation.parts.items()}
    parts = []
    if evaluation.proposal_seconds is not None:
        seconds = float(np.median([result.seconds.proposals for result in results]))
        parts.append(("proposals", seconds, "localisation"))
    parts += [(PARTS.get(name, name), share * detection, "found") for name, share in shares.items()]
    rest = max(1 - sum(shares.values()), 0.0)
    parts.append(("the rest: scaling, decoding, suppression" if shares else "detection", rest * detection, "duplicate"))
    return parts


def tiles(analysis: Analysis) -> Markup:
    """The figures at the top."""
    evaluation, coverage = analysis.evaluation, analysis.coverage
    _, _, becomes = analysis.objects()
    found = float((becomes == Outcome.FOUND).mean()) if len(becomes) else float("nan")
    said = int(analysis.counts[:, : Kind.MISSED].sum())
    right = float(analysis.counts[:, Kind.CORRECT].sum() / said) if said else float("nan")
    entries = [
        ("objects found", f"{percent(found)} %", f"and {percent(right)} % of what is reported is right"),
        (
            "objects that proposals cover",
            f"{percent((coverage.overlaps[-1] > MATCH).mean() if coverage.num_objects else float('nan'))} %"
            if coverage
            else NOTHING,
            "at IoU 0.5" if coverage else "the model makes its own",
        ),
        (
            "time of an image",
            f"{1000 * sum(seconds for _, seconds, _ in _parts(analysis)):,.0f} ms",
            "with proposals" if evaluation.proposal_seconds is not None else "without making proposals",
        ),
    ]
    items = [
        tag("div", tag("dt", name), tag("dd", tag("b", number), tag("small", more))) for name, number, more in entries
    ]
    return tag("dl", items, class_="tiles")
