"""The table of the comparison: a column a detector, this machine's figures above the paper's."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from frcnn_cli.engine.lineage.figures import Figures
from frcnn_cli.engine.lineage.paper import PUBLISHED, Published

Row = tuple[str, list[str]]


def columns(figures: Mapping[str, Figures]) -> list[str]:
    """The detectors of the table: all of the papers', and those that were measured beside."""
    return [*PUBLISHED, *(name for name in figures if name not in PUBLISHED)]


def rows(figures: Mapping[str, Figures]) -> list[tuple[str, list[Row]]]:
    """The sections of the table: a title, and rows of a name and a cell for each of `columns`."""
    names = columns(figures)
    first = figures.get("rcnn")

    def here(cell: Callable[[Figures], str]) -> list[str]:
        return [cell(figures[name]) if name in figures else "" for name in names]

    def there(cell: Callable[[Published], str]) -> list[str]:
        return [cell(PUBLISHED[name]) if name in PUBLISHED else "" for name in names]

    def faster(value: Callable[[Figures], float]) -> Callable[[Figures], str]:
        return lambda found: f"{value(first) / value(found):.1f}x" if first and value(found) else ""

    stages = list(dict.fromkeys(stage for found in figures.values() for stage in found.stages))

    def stage_row(stage: str) -> list[str]:
        return here(lambda found: _number(found.stages[stage]["cpu"]) if stage in found.stages else "-")

    kinds: list[Row] = [
        ("stages of training", there(lambda p: p.stages)),
        ("features on the disk", there(lambda p: "yes" if p.storage else "no")),
        ("bound to", there(lambda p: p.limit)),
    ]
    machine: list[Row] = [
        *((f"training: {stage}, s", stage_row(stage)) for stage in stages),
        ("training, s", here(lambda found: _number(found.training_cpu))),
        ("  against R-CNN", here(faster(lambda found: found.training_cpu))),
        ("features, MB", here(lambda found: _number(found.bytes / 1e6))),
        ("test, s an image", here(lambda found: f"{found.test.cpu:.3f}")),
        ("  against R-CNN", here(faster(lambda found: found.test.cpu))),
        ("test with SVD, s", here(lambda found: f"{found.svd.cpu:.3f}" if found.svd else "-")),
        ("mAP, %", here(lambda found: _percent(found.test.mean_ap))),
        ("mAP with SVD, %", here(lambda found: _percent(found.svd.mean_ap) if found.svd else "-")),
        (
            "mAP with SVD of responses, %",
            here(lambda found: _percent(found.responses.mean_ap) if found.responses else "-"),
        ),
    ]
    reference = PUBLISHED["rcnn"]
    paper: list[Row] = [
        ("training, h", there(lambda p: f"{p.hours:g}" if p.hours else "-")),
        ("  against R-CNN", there(lambda p: f"{reference.hours / p.hours:.1f}x" if p.hours else "-")),
        ("test, s an image", there(lambda p: f"{p.seconds:g}")),
        ("  against R-CNN", there(lambda p: f"{reference.seconds / p.seconds:.0f}x")),
        ("test with SVD, s", there(lambda p: f"{p.svd_seconds:g}" if p.svd_seconds else "-")),
        ("mAP, %", there(lambda p: f"{p.mean_ap:.1f}")),
        ("mAP with SVD, %", there(lambda p: f"{p.svd_mean_ap:.1f}" if p.svd_mean_ap else "-")),
    ]
    return [
        ("", kinds),
        ("this machine (seconds of a processor)", machine),
        ("the papers (VGG16, VOC2007, K40)", paper),
    ]


def _number(value: float) -> str:
    """Whole from 10 on, with one digit below."""
    return f"{value:.0f}" if value >= 10 or value == 0 else f"{value:.1f}"


def _percent(share: float) -> str:
    return "-" if math.isnan(share) else f"{100 * share:.1f}"


def as_markdown(figures: Mapping[str, Figures], titles: Mapping[str, str]) -> str:
    """The table as Markdown, for a document."""
    names = columns(figures)
    lines = ["| | " + " | ".join(titles.get(name, name) for name in names) + " |", "|---|" + "---:|" * len(names)]
    for title, section in rows(figures):
        if title:
            lines.append(f"| **{title}** |" + " |" * len(names))
        lines += [f"| {name.strip()} | " + " | ".join(cells) + " |" for name, cells in section]
    return "\n".join(lines) + "\n"
