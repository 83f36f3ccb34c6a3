"""Errors by kind, and what objects are taken for."""

from __future__ import annotations

import numpy as np

from frcnn_cli.metrics.error_kinds import ERRORS
from frcnn_cli.report.analysis import LEVELS, Analysis
from frcnn_cli.report.charts import stack
from frcnn_cli.report.layout import section, table
from frcnn_cli.report.markup import Markup, tag
from frcnn_cli.report.words import KINDS, count, percent, points


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
        "onto its object, a wrong class corrected, what is superfluous removed, an object that no detection of any "
        "score is near not asked for. Gains do not add up.",
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
