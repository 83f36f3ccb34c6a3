"""Putting a page together: one file that needs no other, and no network."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from frcnn_cli import __version__
from frcnn_cli.data.samples import Dataset
from frcnn_cli.engine.evaluator import Evaluation
from frcnn_cli.files import atomic_write
from frcnn_cli.metrics.average_precision import Metric
from frcnn_cli.metrics.error_kinds import ERRORS
from frcnn_cli.progress import Track, silent
from frcnn_cli.report.analysis import LEAST_SCORE, Analysis, analyse
from frcnn_cli.report.cases import worst_cases
from frcnn_cli.report.classes import classes, curves
from frcnn_cli.report.errors import confusion, errors
from frcnn_cli.report.findings import findings
from frcnn_cli.report.layout import section
from frcnn_cli.report.markup import Markup, json_script, tag
from frcnn_cli.report.objects import missed, proposals
from frcnn_cli.report.pictures import pictures_of
from frcnn_cli.report.times import tiles, times
from frcnn_cli.report.words import KINDS, METRICS, count, percent
from frcnn_cli.text import visible

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
"""What a browser may load for the page: nothing that is not in it."""


@dataclass(frozen=True)
class Origin:
    """What was measured, in words.

    Attributes:
        model: such as the checkpoint's name.
        proposals: where they came from.
        options: how images were looked at, where that is not as usual.
    """

    model: str
    proposals: str
    options: str = ""


def write_report(
    path: Path, dataset: Dataset, evaluation: Evaluation, metric: Metric, origin: Origin, track: Track = silent
) -> None:
    """Write the page.

    Args:
        path: of the file.
        dataset: images and objects.
        evaluation: by the metric.
        metric: ``voc``, ``voc07`` or ``coco``.
        origin: of the figures.
        track: progress, of the pictures.

    Raises:
        DataError: the file cannot be written.
    """
    analysis = analyse(dataset, evaluation, metric)
    with atomic_write(path) as temporary:
        temporary.write_text(page(analysis, origin, track), encoding="utf-8")


def page(analysis: Analysis, origin: Origin, track: Track = silent) -> str:
    """The whole page as text."""
    pictures, cases = pictures_of(analysis, worst_cases(analysis), track)
    parts = [
        errors(analysis),
        classes(analysis),
        curves(analysis),
        confusion(analysis),
        proposals(analysis),
        missed(analysis),
        times(analysis),
        _cases(analysis, cases),
    ]
    titles = {
        "errors": "Errors",
        "classes": "Classes",
        "curves": "Curves",
        "confusion": "Confusion",
        "proposals": "Proposals",
        "missed": "Missed",
        "time": "Time",
        "cases": "Pictures",
    }
    links = [
        tag("a", title, href=f"#{name}") for name, title in titles.items() if name != "proposals" or analysis.coverage
    ]
    data = {
        "classes": [visible(name) for name in analysis.classes],
        "kinds": {int(kind): KINDS[kind][:2] for kind in ERRORS},
        "confusion": [matrix.tolist() for matrix in analysis.confusion],
        "pictures": pictures,
        "cases": cases,
    }
    name = f"{analysis.dataset.name} by {origin.model}"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="generator", content=f"frcnn {__version__}"),
        tag("title", f"{percent(analysis.evaluation.mean_ap)} mAP: {name}"),
        tag("style", _asset("page.css")),
    )
    body = tag(
        "body",
        tag("a", "Skip to the errors", href="#errors", class_="skip"),
        _header(analysis, origin),
        tag("nav", tag("div", links, class_="links"), _class_choice(analysis), aria_label="Parts of the page"),
        tag("main", [part for part in parts if part is not None]),
        _footer(analysis, origin),
        _dialog(),
        json_script("data", data),
        tag("script", _asset("page.js")),
    )
    return f"<!DOCTYPE html>\n{tag('html', head, body, lang='en')}\n"


def _asset(name: str) -> Markup:
    return Markup((files("frcnn_cli.report") / name).read_text(encoding="utf-8"))


def _header(analysis: Analysis, origin: Origin) -> Markup:
    dataset, evaluation = analysis.dataset, analysis.evaluation
    interval = analysis.interval
    number = tag(
        "p",
        tag("b", percent(evaluation.mean_ap)),
        tag("span", "mAP"),
        tag("small", f"95 % range by the choice of images: {percent(interval.low)} to {percent(interval.high)}"),
        class_="headline",
    )
    coco = None
    if evaluation.coco:
        numbers = [
            tag("div", tag("dt", key), tag("dd", percent(value))) for key, value in evaluation.coco.numbers.items()
        ]
        coco = tag("dl", numbers, class_="coco")
    counts = ", ".join(
        (count(len(dataset), "image"), count(analysis.num_objects, "object"), count(len(dataset.classes), "class"))
    )
    return tag(
        "header",
        tag("button", "Dark", id="theme", type="button", aria_pressed="false"),
        tag("p", origin.model, class_="eyebrow"),
        tag("h1", dataset.name),
        tag("p", counts, class_="counts"),
        tag(
            "div",
            number,
            tag("ul", [tag("li", text) for text in findings(analysis)], class_="findings"),
            class_="summary",
        ),
        tiles(analysis),
        coco,
    )


def _class_choice(analysis: Analysis) -> Markup:
    options = [tag("option", name, value=label) for label, name in enumerate(analysis.classes, start=1)]
    select = tag("select", tag("option", "all", value=0), options, id="class")
    return tag("label", "Class ", select, class_="choice")


def _cases(analysis: Analysis, cases: list[dict]) -> Markup:
    numbers = Counter(case["kind"] for case in cases)
    buttons = [
        tag(
            "button",
            tag("span", class_=f"key {KINDS[kind][1]}", aria_hidden="true"),
            f"{KINDS[kind][0]} ",
            tag("small", numbers[int(kind)]),
            type="button",
            data_kind=int(kind),
            aria_pressed="true",
        )
        for kind in ERRORS
    ]
    return section(
        "cases",
        "Pictures of what went wrong",
        "The surest false positives and the largest missed objects, of every class and kind. Solid is what was said, "
        "dashed what was there. Open a picture to see all of both; the arrow keys go on.",
        tag("div", buttons, class_="filters", role="group", aria_label="Kinds of error"),
        tag("p", id="shown", role="status", aria_live="polite"),
        tag("noscript", tag("p", "The pictures are shown by a script, which this browser does not run.")),
        tag("div", class_="gallery", id="gallery"),
        tag("button", "Show more", id="more", type="button", hidden=True),
    )


def _dialog() -> Markup:
    return tag(
        "dialog",
        tag("div", id="large"),
        tag("div", id="about"),
        tag(
            "p",
            tag("button", "Previous", id="previous", type="button"),
            tag("button", "Next", id="next", type="button"),
            tag("button", "Close", id="close", type="button"),
            class_="buttons",
        ),
        id="dialog",
        aria_label="One picture",
    )


def _footer(analysis: Analysis, origin: Origin) -> Markup:
    how = (
        f"mAP is {METRICS[analysis.metric]}. Errors are counted at IoU 0.5 by VOC's rules, in kinds as TIDE's (Bolya "
        "et al., 2020); difficult objects count neither way. Reported is what scores at least its class's best F1, and "
        f"no less than {LEAST_SCORE}. The range beside mAP is what 95 of 100 draws of the images lie in (bootstrap)."
    )
    words = [f"Model: {origin.model}", f"proposals: {origin.proposals}", *([origin.options] if origin.options else [])]
    return tag("footer", tag("p", how), tag("p", f"{'; '.join(words)}. Made by frcnn {__version__}."))
