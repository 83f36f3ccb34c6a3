"""Proposals: segments, merges, boxes; how many cover what, and the recall that bounds everything after it."""

from __future__ import annotations

import cv2
import numpy as np
import torch

from frcnn_cli.core.boxes import iou
from frcnn_cli.data.boxes import box_iou
from frcnn_cli.explain.figures import Axes, photo_scale, photograph, written
from frcnn_cli.explain.formulas import latex_number, latex_sum
from frcnn_cli.explain.palette import jpeg
from frcnn_cli.explain.section import Section, number
from frcnn_cli.explain.subject import Subject
from frcnn_cli.explain.svg import Svg, state
from frcnn_cli.metrics.proposal_recall import COUNTS, best_overlaps, recall
from proposals import selective_search
from proposals.colour import convert
from proposals.features import Regions, describe, pixel_codes
from proposals.grouping import group
from proposals.modes import MODES
from proposals.search import working_image
from proposals.segmentation import pixel_graph, segment, smooth

STEPS = 7
NEWEST = 12
"""Boxes that a step of the merging shows."""


def applies(subject: Subject) -> bool:
    return True


def write(section: Section, subject: Subject) -> None:
    mode = MODES["fast"]
    space, k = mode.colour_spaces[0], mode.ks[0]
    rgb = working_image(subject.image)
    planes = convert(rgb, space)
    smoothed = smooth(planes)
    labels = segment(pixel_graph(smoothed), k)
    regions = describe(pixel_codes(planes, smoothed), labels)
    area = labels.size
    merged = group(regions, mode.similarities[0], area)
    count = len(regions.size)
    groupings = len(mode.colour_spaces) * len(mode.ks) * len(mode.similarities)

    section.say("intro", regions=count, k=k, space=space.upper())
    if len(regions.edges):
        _similarity(section, regions, merged, area)
    scale = photo_scale(subject)
    width, height = subject.size
    back = np.array([width / rgb.shape[1], height / rgb.shape[0]] * 2) * scale
    steps = sorted({round((count - 1) * share) for share in np.linspace(0, 1, STEPS)})
    merging, _ = photograph(subject, section.text("merges_alt"))
    for i, step in enumerate(steps):
        boxes = merged[: count + step][-NEWEST:] if step else merged[:count]
        with merging.group(state("merge", i)):
            for j, box in enumerate(boxes * back):
                newest = step and j == len(boxes) - 1
                thickness = 3 if newest else 1.4 if step else 0.7
                merging.box(box, stroke="orange" if newest else "blue", stroke_width=thickness)
    section.figure([_segments(section, rgb, labels, width * scale, height * scale), merging], "merging", regions=count,
                   merges=count - 1, boxes=len(merged))  # fmt: skip
    section.slider("merge", "after", [section.text("merges", merges=step, left=count - step) for step in steps])
    section.say("ranked", groupings=groupings, proposals=len(subject.proposals))
    section.computed_by(segment, describe, group, selective_search)
    _coverage(section, subject)


def _segments(section: Section, rgb: np.ndarray, labels: np.ndarray, width: float, height: float) -> Svg:
    """Each region in its mean colour."""
    count = int(labels.max()) + 1
    size = np.bincount(labels.ravel(), minlength=count)
    means = [np.bincount(labels.ravel(), rgb[..., c].ravel(), count) / size for c in range(3)]
    painted = np.stack(means, axis=1)[labels]
    edge = np.zeros(labels.shape, bool)
    edge[:, 1:] |= labels[:, 1:] != labels[:, :-1]
    edge[1:] |= labels[1:] != labels[:-1]
    painted[edge] = 1
    pixels = cv2.resize((painted * 255).astype(np.uint8), None, fx=1.5, fy=1.5, interpolation=cv2.INTER_NEAREST)
    svg = Svg(width, height, section.text("segments_alt", regions=count))
    svg.image(jpeg(pixels), 0, 0, width, height)
    return svg


def _similarity(section: Section, regions: Regions, merged: np.ndarray, area: int) -> None:
    """The four terms of the pair that merges first: the most similar neighbours of all."""
    a, b = regions.edges.T
    size = (regions.size[a] + regions.size[b]).astype(float)
    low, high = np.minimum(regions.box[a], regions.box[b])[:, :2], np.maximum(regions.box[a], regions.box[b])[:, 2:]
    box = (high - low).prod(axis=1)
    terms = np.stack([
        np.minimum(regions.colour[a], regions.colour[b]).sum(axis=1),
        np.minimum(regions.texture[a], regions.texture[b]).sum(axis=1),
        1 - size / area,
        1 - (box - size) / area,
    ])  # fmt: skip
    # Similarities that equal one another within float32 merge in the order of their numbers: the merge itself decides.
    first = merged[len(regions.size)]
    fits = (np.concatenate((low, high), axis=1) == first).all(axis=1)
    pair = int(np.argmax(np.where(fits, terms.sum(axis=0), -1)))
    numbers = latex_sum(terms[:, pair].tolist())
    section.say("similar", a=int(regions.size[a[pair]]), b=int(regions.size[b[pair]]))
    section.formula("similarity", rf"s={numbers}={latex_number(float(terms[:, pair].sum()))}")


def _coverage(section: Section, subject: Subject) -> None:
    """How well the proposals cover what stands for the truth."""
    objects = subject.objects
    overlaps = box_iou(subject.proposals, objects.boxes)
    best = overlaps.argmax(axis=0)
    section.say("truth" if len(subject.found) else "no_truth", objects=len(objects))
    svg, scale = photograph(subject, section.text("coverage_alt"))
    rows = []
    for i, (name, box) in enumerate(zip(objects.names, objects.boxes * scale, strict=True)):
        svg.box(box, stroke="green", stroke_width=3)
        svg.box(subject.proposals[best[i]] * scale, stroke="blue", stroke_width=2, stroke_dasharray="6 4")
        written(svg, box[0] + 4, box[1] + 15, f"{i + 1} {name}", svg.width)
        covering = int((overlaps[:, i] >= 0.5).sum())
        rows.append(
            (f"{i + 1} {name}", covering, int((overlaps[:, i] >= 0.7).sum()), number(float(overlaps[best[i], i])))
        )
    counts = [n for n in COUNTS if n <= len(subject.proposals)] or [len(subject.proposals)]
    reached = best_overlaps(subject.proposals, objects.boxes, counts)
    axes = Axes(section.text("recall_alt"), (min(counts[0], 10), max(counts[-1], 20)), (0, 1),
                (section.text("recall_x"), section.text("recall_y")), ([10, 100, 1000], [0, 0.5, 1]), True)  # fmt: skip
    for threshold, style in ((0.5, {}), (0.7, {"stroke_dasharray": "6 4"})):
        values = recall(reached, threshold)
        axes.curve(list(zip(counts, values.tolist(), strict=True)), stroke="blue", stroke_width=2.5, **style)
    section.figure([svg, axes.svg], "coverage")
    head = [section.text(key) for key in ("object", "covering_5", "covering_7", "best")]
    section.add(section.table(head, rows))
    a, b = torch.from_numpy(subject.proposals[best[:1]]), torch.from_numpy(objects.boxes[:1])
    w, h = (torch.minimum(a[0, 2:], b[0, 2:]) - torch.maximum(a[0, :2], b[0, :2])).clamp(min=0).tolist()
    both = w * h
    union = sum(float((box[0, 2:] - box[0, :2]).prod()) for box in (a, b)) - both
    section.formula("iou", rf"\frac{{{latex_number(round(both))}}}{{{latex_number(round(union))}}}="
                           rf"{latex_number(float(iou(a, b)[0, 0]))}")  # fmt: skip
    covered = int((reached[-1] >= 0.5).sum())
    section.formula("recall", rf"\frac{{{covered}}}{{{len(objects)}}}={latex_number(float(recall(reached[-1], 0.5)))}")
    section.say("bound", missed=len(objects) - covered)
    section.computed_by(iou, best_overlaps, recall)
