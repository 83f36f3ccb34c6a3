"""The figures at the top of a page, and where the time goes."""

from __future__ import annotations

import numpy as np

from frcnn_cli.data.detections import ImageResult
from frcnn_cli.metrics.error_kinds import MATCH, Kind
from frcnn_cli.metrics.outcomes import Outcome
from frcnn_cli.report.analysis import Analysis
from frcnn_cli.report.charts import stack
from frcnn_cli.report.layout import section, table
from frcnn_cli.report.markup import Markup, tag
from frcnn_cli.report.words import NOTHING, PARTS, count, percent


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
