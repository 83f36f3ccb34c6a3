"""The box before and after its regression, and non-maximum suppression step by step for one class."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from frcnn_cli.core.boxes import clip, decode, iou, solid
from frcnn_cli.core.detection import select_detections
from frcnn_cli.explain.figures import photograph, written
from frcnn_cli.explain.formulas import latex_number
from frcnn_cli.explain.section import Html, Section, numbers_only
from frcnn_cli.explain.sections.pooling import ROI
from frcnn_cli.explain.subject import PAPER, Subject
from frcnn_cli.explain.svg import Svg, state

LEAST = 0.05
"""The least score of a candidate (the authors' code)."""

STEP = "nms"
MOST_STEPS = 12


@dataclass(frozen=True)
class Suppression:
    """Suppression of one class, step by step.

    Attributes:
        label: the class.
        boxes: of the candidates, Tensor[K, 4], by falling score.
        scores: Tensor[K].
        kept: numbers of the kept ones, in the order they were kept.
        removed: for each of these, the candidates that it suppressed and their IoU with it.
    """

    label: int
    boxes: Tensor
    scores: Tensor
    kept: list[int]
    removed: list[list[tuple[int, float]]]


def suppress(subject: Subject) -> Suppression:
    """Follow suppression for the class with most candidates."""
    probabilities = subject.scores.probabilities
    counts = (probabilities[:, 1:] >= LEAST).sum(dim=0)
    c = int(counts.argmax()) if int(counts.max()) else int(probabilities[:, 1:].amax(dim=0).argmax())
    scores = probabilities[:, c + 1]
    chosen = (scores >= LEAST).nonzero()[:, 0] if int(counts.max()) else scores.argmax()[None]
    boxes = clip(decode(subject.scores.boxes[chosen], subject.scores.deltas[chosen, c]), *subject.size)
    kept = solid(boxes)
    boxes, scores = boxes[kept], scores[chosen][kept]
    order = scores.argsort(descending=True, stable=True)
    boxes, scores = boxes[order], scores[order]

    overlaps = iou(boxes, boxes)
    left = list(range(len(boxes)))
    kept, removed = [], []
    while left:
        best = left.pop(0)
        out = [i for i in left if float(overlaps[best, i]) > PAPER.nms_threshold]
        kept.append(best)
        removed.append([(i, float(overlaps[best, i])) for i in out])
        left = [i for i in left if i not in set(out)]
    return Suppression(c + 1, boxes, scores, kept, removed)


def applies(subject: Subject) -> bool:
    return True


def write(section: Section, subject: Subject) -> None:
    section.say("intro")
    section.formula("decoding")
    chosen = subject.likeliest
    deltas = subject.scores.deltas[chosen, subject.labels - 1]
    moved = clip(decode(subject.rois, deltas), *subject.size)
    names = [f"{i + 1}: {section.class_name(subject, c)}" for i, c in enumerate(subject.labels.tolist())]
    section.slider(ROI, "roi", names)
    section.figure([_before_and_after(section, subject, moved)], "moved")
    section.add(section.states(ROI, [
        _numbers(section, *parts) for parts in zip(subject.rois.tolist(), deltas.tolist(), moved.tolist(), strict=True)
    ]))  # fmt: skip
    section.computed_by(decode, clip)

    found = suppress(subject)
    name = section.class_name(subject, found.label)
    section.add(f"<h3>{section.text('suppression')}</h3>")
    section.say("suppress", name=name, candidates=len(found.scores), least=f"{LEAST:g}")
    section.formula("suppression")
    steps = list(range(min(len(found.kept), MOST_STEPS)))
    labels = [section.text("step", step=i + 1, kept=i + 1, removed=len(found.removed[i])) for i in steps]
    section.slider(STEP, "steps", labels)
    section.figure([_steps(section, subject, found, steps)], "stepwise", name=name)
    section.add(section.states(STEP, [_step_text(section, found, i) for i in steps]))
    section.say("agrees" if _agrees(subject, found) else "differs", kept=len(found.kept), name=name)
    section.computed_by(iou, select_detections)


def _agrees(subject: Subject, found: Suppression) -> bool:
    """Whether the package's own selection keeps the same boxes of the class."""
    everything = (subject.scores.probabilities, subject.scores.deltas, subject.scores.boxes)
    least = min(LEAST, float(found.scores.min())) if len(found.scores) else LEAST
    count = subject.scores.probabilities.numel()
    boxes, _, labels = select_detections(*everything, subject.size, least, PAPER.nms_threshold, count)
    mine = boxes[labels == found.label]
    return mine.shape == found.boxes[found.kept].shape and bool(torch.equal(mine, found.boxes[found.kept]))


def _before_and_after(section: Section, subject: Subject, moved: Tensor) -> Svg:
    svg, scale = photograph(subject, section.text("moved_alt"))
    for i, (before, after) in enumerate(zip((subject.rois * scale).tolist(), (moved * scale).tolist(), strict=True)):
        with svg.group(state(ROI, i)):
            for box, style in ((before, {"stroke": "blue", "stroke_dasharray": "7 5"}), (after, {"stroke": "orange"})):
                svg.box(box, stroke="paper", stroke_width=5, stroke_opacity=0.8)
                svg.box(box, stroke_width=3, **style)
    return svg


def _numbers(section: Section, before: list[float], delta: list[float], after: list[float]) -> str:
    """One RoI's regression with its numbers."""
    x1, y1, x2, y2 = before
    width, height = x2 - x1, y2 - y1
    lines = []
    for axis, start, size, shift, grow in (("x", x1, width, delta[0], delta[2]), ("y", y1, height, delta[1], delta[3])):
        side = "w" if axis == "x" else "h"
        centre = start + size / 2
        lines += [
            rf"b_{axis}={latex_number(centre, 1)}+{latex_number(size, 1)}\times({latex_number(shift)})="
            rf"{latex_number(centre + size * shift, 1)}",
            rf"b_{side}={latex_number(size, 1)}\times e^{{{latex_number(grow)}}}="
            rf"{latex_number(size * float(torch.tensor(grow).exp()), 1)}",
        ]
    text = section.text("corners", corners=", ".join(f"{c:.1f}" for c in after))
    return f"{numbers_only(*lines)}<p>{text}</p>"


def _steps(section: Section, subject: Subject, found: Suppression, steps: list[int]) -> Svg:
    svg, scale = photograph(subject, section.text("nms_alt"))
    boxes = (found.boxes * scale).tolist()
    for step in steps:
        gone = {i for removed in found.removed[:step] for i, _ in removed}
        now = {i for i, _ in found.removed[step]}
        with svg.group(state(STEP, step)):
            for i, box in enumerate(boxes):
                if i not in gone and i not in now and i not in found.kept[: step + 1]:
                    svg.box(box, stroke="blue", stroke_width=1)
            for i in sorted(now):
                svg.box(boxes[i], stroke="grey", stroke_width=1.6, stroke_dasharray="3 3")
            for i in found.kept[: step + 1]:
                newest = i == found.kept[step]
                svg.box(boxes[i], stroke="paper", stroke_width=5 if newest else 3)
                svg.box(boxes[i], stroke="orange", stroke_width=3.5 if newest else 2)
            box = boxes[found.kept[step]]
            written(svg, box[0] + 4, box[1] + 16, f"{found.scores[found.kept[step]]:.2f}", svg.width)
    return svg


def _step_text(section: Section, found: Suppression, step: int) -> str:
    removed = found.removed[step]
    score = float(found.scores[found.kept[step]])
    text = section.text("kept", step=step + 1, score=round(score, 3), removed=len(removed))
    shown = sorted(removed, key=lambda pair: -pair[1])[:6]
    if not shown:
        return f"<p>{text} {section.text('none_removed')}</p>"
    listed = ", ".join(f"{overlap:.2f}" for _, overlap in shown)
    return f"<p>{text} {section.text('overlaps', overlaps=Html(listed + (' …' if len(removed) > 6 else '')))}</p>"
