"""Back through RoI pooling: one loss, the gradient of two RoIs, the cells it lands on, and the sum where they share."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations

import numpy as np
import torch
from torch import Tensor

from frcnn_cli.core.boxes import encode
from frcnn_cli.core.losses import multi_task_loss
from frcnn_cli.core.roi_pool import cpu, operator, roi_pool
from frcnn_cli.core.sampling import best_overlap
from frcnn_cli.explain.figures import PANEL, cell_size
from frcnn_cli.explain.formulas import latex_number, latex_sum
from frcnn_cli.explain.palette import both_signs, png
from frcnn_cli.explain.section import Section, number
from frcnn_cli.explain.subject import Subject
from frcnn_cli.explain.svg import Svg, state

SHARED = "shared"
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
MOST_SHARED = 8


@dataclass(frozen=True)
class Backward:
    """One pass back.

    Attributes:
        pair: numbers of the two RoIs among the subject's.
        labels: what each should answer.
        loss: of the two.
        upstream: dL/dy, Tensor[2, channels, P, P].
        maxima: i*(r, j), of the same shape.
        by_hand: dL/dx as the equation sums it up, Tensor[channels, h * w].
        autograd: the same of torch.
    """

    pair: tuple[int, int]
    labels: list[int]
    loss: float
    upstream: Tensor
    maxima: Tensor
    by_hand: Tensor
    autograd: Tensor

    def shared(self, channel: int) -> list[int]:
        """Cells that get gradient from both RoIs, the largest sums first."""
        first, second = (
            set(maxima[channel][upstream[channel] != 0].tolist()) - {-1}
            for maxima, upstream in zip(self.maxima, self.upstream, strict=True)
        )
        return sorted(first & second, key=lambda cell: -abs(float(self.by_hand[channel, cell])))


def go_back(subject: Subject) -> Backward:
    """The loss of two RoIs that share many maxima, and its gradient on the map."""
    bins, scale = subject.pool
    rois = subject.input_rois(subject.rois)
    _, maxima = operator.pool_argmax(subject.features, rois, bins, bins, scale)
    objects = subject.objects
    truth, truth_labels = torch.from_numpy(objects.boxes), torch.from_numpy(objects.labels)
    overlap, _ = best_overlap(subject.rois, truth)
    pair = _pair(maxima.long(), overlap >= 0.5)
    boxes, rois, maxima = subject.rois[list(pair)], rois[list(pair)], maxima[list(pair)].long()
    overlap, matched = best_overlap(boxes, truth)
    labels = torch.where(overlap >= 0.5, truth_labels[matched], 0)
    targets = encode(boxes, truth[matched])

    x = subject.features.clone().requires_grad_()
    y = roi_pool(x, rois, bins, scale)
    y.retain_grad()
    loss = sum(multi_task_loss(*subject.model.head(y), labels, targets).values())
    loss.backward()
    channels, cells = x.shape[1], x.shape[2] * x.shape[3]
    by_hand = torch.zeros(channels, cells + 1)  # the last cell stands for none
    for r in range(2):
        for j in range(bins * bins):
            at = maxima[r].flatten(1)[:, j]
            by_hand[torch.arange(channels), torch.where(at < 0, cells, at)] += y.grad[r].flatten(1)[:, j]
    return Backward(pair, labels.tolist(), loss.item(), y.grad, maxima, by_hand[:, :cells], x.grad[0].flatten(1))


def _pair(maxima: Tensor, foreground: Tensor) -> tuple[int, int]:
    """Of all pairs with a foreground RoI first, the one whose RoIs have most maxima in common."""
    flat = maxima.flatten(2).sort(dim=2).values
    best, most = (0, len(maxima) - 1), -1
    for a, b in permutations(range(len(maxima)), 2):
        if not foreground[a] and foreground.any():
            continue
        common = sum(torch.isin(flat[a, c], flat[b, c]).sum() for c in range(0, flat.shape[1], 4))
        if int(common) > most:
            best, most = (a, b), int(common)
    return best


def applies(subject: Subject) -> bool:
    return subject.is_fast_rcnn


def write(section: Section, subject: Subject) -> None:
    back = go_back(subject)
    channels = range(back.by_hand.shape[0])
    channel = max(channels, key=lambda c: (min(len(back.shared(c)), 3), float(back.by_hand[c].abs().max())))
    cells = back.shared(channel)[:MOST_SHARED]
    width = subject.features.shape[3]
    a, b = (i + 1 for i in back.pair)

    section.say("intro", a=a, b=b, loss=round(back.loss, 4), first=section.class_name(subject, back.labels[0]),
                second=section.class_name(subject, back.labels[1]))  # fmt: skip
    section.say("rule")
    section.formula("roi_backward", [_sum(back, channel, cell, width) for cell in cells[:1]])
    section.figure([_upstream(section, back, channel, r) for r in range(2)], "upstream", channel=channel)
    section.figure([_on_cells(section, subject, back, channel, cells)], "cells", a=a, b=b)
    section.say("shared" if cells else "none_shared", count=len(cells), channel=channel)
    if cells:
        section.slider(SHARED, "cell", [f"({cell % width}, {cell // width})" for cell in cells])
        section.add(section.states(SHARED, [_terms(section, back, channel, cell, width) for cell in cells]))
    difference = float((back.by_hand - back.autograd).abs().max())
    reached = int((back.autograd != 0).sum())
    written = "0" if difference == 0 else f"{difference:.1e}"
    section.say("check", difference=written, largest=float(back.autograd.abs().max()),
                reached=reached, all=back.autograd.numel())  # fmt: skip
    section.add(f'<data hidden data-name="difference" value="{difference:.9g}"></data>'
                f'<data hidden data-name="backward-pair"'
                f' value="{back.pair[0]} {back.pair[1]} {channel}"></data>')  # fmt: skip
    section.say("sppnet")
    section.computed_by(multi_task_loss, cpu.pool, cpu.backward)


def _parts(back: Backward, channel: int, cell: int) -> list[tuple[int, int, float]]:
    """(RoI, bin, gradient) of every output whose maximum was this cell."""
    bins = back.maxima.shape[-1] ** 2
    return [
        (r, j, float(back.upstream[r, channel].flatten()[j]))
        for r in range(2)
        for j in range(bins)
        if int(back.maxima[r, channel].flatten()[j]) == cell
    ]


def _sum(back: Backward, channel: int, cell: int, width: int) -> str:
    x, y = cell % width, cell // width
    parts = [gradient for _, _, gradient in _parts(back, channel, cell)]
    power = int(np.floor(np.log10(max(map(abs, parts)))))
    terms = latex_sum([gradient / 10.0**power for gradient in parts], 2)
    total = latex_number(float(back.by_hand[channel, cell]) / 10.0**power, 2)
    return (
        rf"\frac{{\partial L}}{{\partial x_{{({x},{y})}}}}=({terms})\times 10^{{{power}}}={total}\times 10^{{{power}}}"
    )


def _terms(section: Section, back: Backward, channel: int, cell: int, width: int) -> str:
    """What a shared cell gets, and from where."""
    bins = back.maxima.shape[-1]
    rows = [
        (section.text("term", roi=back.pair[r] + 1, row=j // bins + 1, column=j % bins + 1), number(gradient, digits=5))
        for r, j, gradient in _parts(back, channel, cell)
    ]
    rows.append((section.text("sum"), number(float(back.by_hand[channel, cell]), f"sum-{cell}", 5)))
    rows.append((section.text("autograd"), number(float(back.autograd[channel, cell]), f"autograd-{cell}", 5)))
    return section.table([section.text("from"), "∂L/∂y"], rows)


def _upstream(section: Section, back: Backward, channel: int, r: int) -> Svg:
    """dL/dy of one RoI, as P x P numbers."""
    values = back.upstream[r, channel].numpy()
    bins = len(values)
    side = 300 / bins
    svg = Svg(300, 324, section.text("upstream_alt", roi=back.pair[r] + 1))
    svg.text(0, 15, section.text("roi", roi=back.pair[r] + 1), fill="ink", cls="strong")
    svg.image(png(both_signs(values)), 0, 24, 300, 300, cls="cells")
    largest = max(float(back.upstream[:, channel].abs().max()), 1e-12)
    power = int(np.floor(np.log10(largest)))
    for (i, j), value in np.ndenumerate(values):
        dark = abs(value) > 0.6 * np.abs(values).max()
        svg.text((j + 0.5) * side, 24 + (i + 0.5) * side, f"{value / 10**power:.1f}".replace("-", "\N{MINUS SIGN}"),
                 fill="#ffffff" if dark else "#101010", cls="digits", text_anchor="middle", dominant_baseline="central",
                 data_name=f"upstream-{r}-{i}-{j}", data_value=f"{value:.9g}")  # fmt: skip
    svg.text(
        300, 15, f"\N{MULTIPLICATION SIGN} 10{str(power).translate(SUPERSCRIPTS)}", fill="muted", text_anchor="end"
    )
    return svg


def _on_cells(section: Section, subject: Subject, back: Backward, channel: int, cells: list[int]) -> Svg:
    """dL/dx around the two RoIs, with their windows and the shared cells."""
    height, width = subject.features.shape[2:]
    plane = back.autograd[channel].view(height, width).numpy()
    _, scale = subject.pool
    corners = subject.input_rois(subject.rois[list(back.pair)])[:, 1:] * scale
    limit = corners.new_tensor((width, height))
    x1, y1 = (corners[:, :2].amin(dim=0) - 1).floor().clamp(min=0).minimum(limit - 1).int().tolist()
    x2, y2 = (corners[:, 2:].amax(dim=0).ceil() + 2).clamp(min=1).minimum(limit).int().tolist()
    cell = cell_size(x2 - x1, y2 - y1, PANEL + 70)
    svg = Svg((x2 - x1) * cell, (y2 - y1) * cell, section.text("cells_alt"))
    svg.image(png(both_signs(plane[y1:y2, x1:x2])), 0, 0, (x2 - x1) * cell, (y2 - y1) * cell, cls="cells")
    for roi, colour in zip(corners.tolist(), ("#0b62b8", "#8a3a86"), strict=True):
        box = [(c - o) * cell for c, o in zip(roi, (x1, y1, x1, y1), strict=True)]
        svg.box(box, stroke=colour, stroke_width=2.5)
    places = [((at % width - x1 + 0.5) * cell, (at // width - y1 + 0.5) * cell) for at in cells]
    for x, y in places:
        svg.circle(x, y, cell * 0.75, fill="none", stroke="#101010", stroke_width=1.2)
    for i, (x, y) in enumerate(places):
        with svg.group(state(SHARED, i)):
            svg.circle(x, y, cell * 0.75, fill="none", stroke="#c2500a", stroke_width=3.5)
    return svg
