"""Where the time went, beside the paper's shares."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch

from frcnn_cli.core.detection import select_detections
from frcnn_cli.core.roi_pool import roi_pool
from frcnn_cli.engine.sources.search import ProposalConfig, SearchSource
from frcnn_cli.explain.figures import PANEL
from frcnn_cli.explain.formulas import latex_number
from frcnn_cli.explain.section import Section, number
from frcnn_cli.explain.subject import PAPER, Subject
from frcnn_cli.explain.svg import Svg

PAPER_SHARES = {"conv": 46.3, "pool": 5.4, "fc6": 38.7, "fc7": 6.2, "rest": 3.4}
"""Percent of VGG16's 320 ms (paper, figure 2, left)."""

COLOURS = {"conv": "blue", "pool": "orange", "fc6": "green", "fc7": "purple", "rest": "grey"}
ROUNDS = 3


def rounds_of(subject: Subject) -> int:
    """How often a detection is taken apart; of a kind that is timed as a whole, such as R-CNN, once is long enough."""
    return ROUNDS if subject.is_fast_rcnn else 1


def measure(subject: Subject) -> dict[str, float]:
    """Median seconds of each part of a detection of this photograph."""
    runs: dict[str, list[float]] = {}

    def timed(name: str, call: Callable[[], object]) -> object:
        start = time.perf_counter()
        result = call()
        runs.setdefault(name, []).append(time.perf_counter() - start)
        return result

    source = SearchSource(ProposalConfig())
    scores = (subject.scores.probabilities, subject.scores.deltas, subject.scores.boxes)
    selection = (subject.size, PAPER.score_threshold, PAPER.nms_threshold, PAPER.max_detections)
    given = subject.proposals if subject.engine.needs_proposals else None
    for _ in range(rounds_of(subject) + 1):  # the first warms up
        timed("proposals", lambda: source.boxes(subject.image))
        with torch.inference_mode():
            if subject.is_fast_rcnn:
                _parts(subject, timed)
            else:
                timed("network", lambda: subject.engine.kind.score(subject.engine, subject.image, given, PAPER))
            timed("selection", lambda: select_detections(*scores, *selection))
    return {name: statistics.median(seconds[1:]) for name, seconds in runs.items()}


def _parts(subject: Subject, timed: Callable) -> None:
    """The network, part by part; every RoI goes through the head by itself here, as in the paper."""
    model, head = subject.model, subject.model.head
    rois = subject.input_rois(subject.scores.boxes)
    features = timed("conv", lambda: model.backbone(subject.input[0][None]))
    pool = model.roi_pool
    pooled = timed("pool", lambda: roi_pool(features, rois, pool.output_size, pool.spatial_scale))
    flat = pooled.permute(0, 2, 3, 1).flatten(1)
    hidden = timed("fc6", lambda: torch.relu(head.fc6(flat)))
    hidden = timed("fc7", lambda: torch.relu(head.fc7(hidden)))
    timed("rest", lambda: (head.cls_score(hidden).softmax(dim=1), head.bbox_pred(hidden)))


def applies(subject: Subject) -> bool:
    return True


def write(section: Section, subject: Subject) -> None:
    seconds = measure(subject)
    section.say("intro", rois=len(subject.scores.boxes), rounds=rounds_of(subject), threads=torch.get_num_threads())
    if subject.is_fast_rcnn:
        inside = {name: seconds[name] for name in PAPER_SHARES}
        total = sum(inside.values())
        shares = {name: 100 * value / total for name, value in inside.items()}
        section.figure([_shares(section, "mine", shares), _shares(section, "paper", PAPER_SHARES)], "shares")
        rows = [
            (section.text(name), number(1000 * inside[name]), f"{shares[name]:.1f} %", f"{PAPER_SHARES[name]} %")
            for name in PAPER_SHARES
        ]
        section.add(section.table([section.text("part"), "ms", section.text("mine"), section.text("paper")], rows))
        rois, conv = len(subject.scores.boxes), 1000 * inside["conv"]
        each = (1000 * total - conv) / max(rois, 1)
        numbers = rf"{latex_number(conv, 1)}+{latex_number(rois)}\times{latex_number(each, 4)}"
        section.formula("time", rf"T={numbers}={latex_number(1000 * total, 1)}\text{{ ms}}")
    rows = [(section.text(name), number(1000 * value)) for name, value in seconds.items() if name not in PAPER_SHARES]
    section.add(section.table([section.text("part"), "ms"], rows))
    section.say("compare" if subject.is_fast_rcnn else "other", proposals=round(1000 * seconds["proposals"]))
    seen_by = type(subject.model).forward if subject.is_fast_rcnn else subject.engine.kind.score
    section.computed_by(SearchSource.boxes, seen_by, select_detections)


def _shares(section: Section, key: str, shares: dict[str, float]) -> Svg:
    """One bar of a hundred percent, and its parts by name."""
    svg = Svg(PANEL, 56 + 22 * len(shares), section.text(f"{key}_alt"))
    svg.text(0, 14, section.text(key), cls="strong", fill="ink")
    x = 0.0
    for i, (name, share) in enumerate(shares.items()):
        width = PANEL * share / 100
        svg.rect(x, 22, max(width - 1, 0.5), 22, fill=COLOURS[name])
        svg.rect(0, 54 + 22 * i, 12, 12, fill=COLOURS[name])
        svg.text(20, 65 + 22 * i, f"{section.text(name)} {share:.1f} %", fill="ink")
        x += width
    return svg
