"""RoI pooling: a RoI on the map, its rounding, its bins and their maxima, the pooled P x P; SPP's pyramid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from frcnn_cli.core.roi_pool import cpu, operator, roi_pool
from frcnn_cli.core.roi_pool.geometry import bin_edges
from frcnn_cli.explain.figures import cell_size, map_panel, number_grid, photograph, written
from frcnn_cli.explain.formulas import latex_number
from frcnn_cli.explain.palette import heat, png
from frcnn_cli.explain.section import Html, Section, numbers_only
from frcnn_cli.explain.subject import Subject
from frcnn_cli.explain.svg import Svg, state

CHANNELS = 3
"""Channels that the reader may choose among: those that answer to the RoI more than to the rest of the photograph."""

LEVELS = (6, 3, 2, 1)
"""SPPnet's pyramid (He et al., ECCV 2014)."""

ROI, CHANNEL = "roi", "channel"


@dataclass(frozen=True)
class Pooled:
    """One RoI, pooled.

    Attributes:
        corners: x1, y1, x2, y2 in cells, not rounded.
        ys: first cell and the one behind the last of each row of bins, [P, 2].
        xs: likewise of each column.
        values: Tensor[channels, P, P].
        maxima: the cell y * w + x that was each maximum, of the same shape.
    """

    corners: list[float]
    ys: np.ndarray
    xs: np.ndarray
    values: Tensor
    maxima: Tensor

    @property
    def window(self) -> tuple[int, int, int, int]:
        """x1, y1, x2, y2 of the cells of all bins, the ends exclusive."""
        return int(self.xs[0, 0]), int(self.ys[0, 0]), int(self.xs[-1, 1]), int(self.ys[-1, 1])


def pooled_rois(subject: Subject) -> list[Pooled]:
    """Each of the RoIs that the reader chooses among."""
    features, (bins, scale) = subject.features, subject.pool
    rois = subject.input_rois(subject.rois)
    values, maxima = operator.pool_argmax(features, rois, bins, bins, scale)
    _, ys, xs = bin_edges(rois, bins, bins, 1, *features.shape[2:], scale)
    corners = (rois[:, 1:] * scale).tolist()
    return [Pooled(*parts) for parts in zip(corners, ys.numpy(), xs.numpy(), values, maxima.long(), strict=True)]


def applies(subject: Subject) -> bool:
    return subject.backbone is not None


def write(section: Section, subject: Subject) -> None:
    stride, bins = subject.backbone.stride, subject.pool[0]
    channels, rows, columns = subject.features.shape[1:]
    rois = pooled_rois(subject)
    boxes = (subject.rois * subject.input[1]).tolist()
    usual = subject.features[0].mean(dim=(1, 2))
    answers = [pooled.values.mean(dim=(1, 2)) - usual for pooled in rois]
    strongest = [answer.topk(min(CHANNELS, channels)).indices.tolist() for answer in answers]
    pyramids = {size: roi_pool(subject.features, subject.input_rois(subject.rois), size, 1 / stride) for size in LEVELS}

    section.say("intro", rows=rows, columns=columns, channels=channels, stride=stride, bins=bins)
    section.say("choose", count=len(rois))
    names = [
        f"{i + 1}: {section.class_name(subject, label)} {p:.2f}" for i, (label, p) in enumerate(_likelihoods(subject))
    ]
    section.slider(ROI, "roi", names)
    section.slider(CHANNEL, "channel", [section.text("channel_rank", rank=i + 1) for i in range(len(strongest[0]))])
    section.figure([chooser(section, subject, names)], "photo")
    maps = section.states(ROI, [
        section.states(CHANNEL, [str(_on_map(section, subject, pooled, c)) for c in chosen])
        for pooled, chosen in zip(rois, strongest, strict=True)
    ])  # fmt: skip
    windows = section.states(ROI, [
        section.states(CHANNEL, [str(_window(section, subject, pooled, c)) for c in chosen])
        for pooled, chosen in zip(rois, strongest, strict=True)
    ])  # fmt: skip
    section.figure([maps, windows], "map")
    section.formula("roi_rounding")
    section.formula("roi_bin")
    section.add(section.states(ROI, [_arithmetic(box, pooled, stride, bins)
                                     for box, pooled in zip(boxes, rois, strict=True)]))  # fmt: skip
    section.add(section.states(ROI, [_numbers(section, box, pooled, stride, bins)
                                     for box, pooled in zip(boxes, rois, strict=True)]))  # fmt: skip
    section.say("why", bins=bins, cells=bins * bins * channels)
    section.formula("roi_pooling")
    width = subject.features.shape[3]
    section.add(section.states(ROI, [
        section.states(CHANNEL, [_first_maximum(pooled, c, i + 1, width) for c in chosen])
        for i, (pooled, chosen) in enumerate(zip(rois, strongest, strict=True))
    ]))  # fmt: skip
    side = 300 / bins
    grids = section.states(ROI, [
        section.states(CHANNEL, [
            str(number_grid(pooled.values[c].numpy(), section.text("pooled_alt", bins=bins, channel=c), side,
                            f"pooled-{i}-{c}"))
            for c in chosen
        ])
        for i, (pooled, chosen) in enumerate(zip(rois, strongest, strict=True))
    ])  # fmt: skip
    pyramid = section.states(ROI, [
        section.states(CHANNEL, [_pyramid(section, {size: found[i, c].numpy() for size, found in pyramids.items()})
                                 for c in chosen])
        for i, chosen in enumerate(strongest)
    ])  # fmt: skip
    section.figure([grids, pyramid], "pooled", bins=bins, levels=sum(size * size for size in LEVELS))
    section.computed_by(roi_pool, bin_edges, cpu.pool)


def _likelihoods(subject: Subject) -> list[tuple[int, float]]:
    likelihood = subject.scores.probabilities[subject.likeliest, 1:].amax(dim=1)
    return list(zip(subject.labels.tolist(), likelihood.tolist(), strict=True))


def chooser(section: Section, subject: Subject, names: list[str]) -> Svg:
    """The photograph with the RoIs on it, each of which can be clicked, the smallest on top."""
    svg, scale = photograph(subject, section.words.say("pooling", "photo_alt", count=len(names)))
    boxes = (subject.rois * scale).tolist()
    areas = [(x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in boxes]
    for i in sorted(range(len(boxes)), key=lambda i: -areas[i]):
        svg.box(boxes[i], fill="rgb(0 0 0 / 0)", stroke="blue", stroke_width=1, stroke_opacity=0.55, cls="pick",
                data_chooses=ROI, data_choice=i)  # fmt: skip
    for i, (box, name) in enumerate(zip(boxes, names, strict=True)):
        with svg.group(f'{state(ROI, i)} class="passive"'):
            svg.box(box, stroke="paper", stroke_width=5)
            svg.box(box, stroke="blue", stroke_width=3)
            written(svg, box[0] + 4, box[1] + 16, name, svg.width, fill="ink")
    return svg


def _on_map(section: Section, subject: Subject, pooled: Pooled, channel: int) -> Svg:
    plane = subject.features[0, channel].clamp(min=0).numpy()
    svg, cell = map_panel(plane, section.text("map_alt", channel=channel))
    x1, y1, x2, y2 = pooled.window
    svg.box([c * cell for c in pooled.corners], stroke="#ff9d4d", stroke_width=2, stroke_dasharray="5 3")
    svg.box([x1 * cell, y1 * cell, x2 * cell, y2 * cell], stroke="#ffffff", stroke_width=2.5)
    return svg


def _window(section: Section, subject: Subject, pooled: Pooled, channel: int) -> Svg:
    """The cells of the RoI, its bins, and a dot on the maximum of each."""
    x1, y1, x2, y2 = pooled.window
    plane = subject.features[0, channel].clamp(min=0).numpy()
    width = plane.shape[1]
    cell = cell_size(max(x2 - x1, 1), max(y2 - y1, 1))
    svg = Svg(max(x2 - x1, 1) * cell, max(y2 - y1, 1) * cell, section.text("window_alt", channel=channel))
    if x2 > x1 and y2 > y1:  # a map may end before the image does, and all of a RoI's bins lie behind its end
        colours = png(heat(plane[y1:y2, x1:x2], float(plane.max())))
        svg.image(colours, 0, 0, (x2 - x1) * cell, (y2 - y1) * cell, cls="cells")
    for i, (top, bottom) in enumerate(pooled.ys.tolist()):
        for j, (left, right) in enumerate(pooled.xs.tolist()):
            inset = 0.8 + 1.4 * ((i + j) % 2)  # bins that share cells are both seen
            svg.box([(left - x1) * cell + inset, (top - y1) * cell + inset, (right - x1) * cell - inset,
                     (bottom - y1) * cell - inset], stroke="#ffffff", stroke_width=1, stroke_opacity=0.9)  # fmt: skip
    for at in pooled.maxima[channel].flatten().tolist():
        if at >= 0:
            svg.circle((at % width - x1 + 0.5) * cell, (at // width - y1 + 0.5) * cell, min(max(cell * 0.3, 3), 6),
                       fill="#ff9d4d", stroke="#101010")  # fmt: skip
    return svg


def _arithmetic(box: list[float], pooled: Pooled, stride: int, bins: int) -> str:
    """The two formulas with the numbers of a RoI's columns."""
    x1, x2 = (int(np.floor(pooled.corners[i] + 0.5)) for i in (0, 2))
    width = max(x2 - x1 + 1, 1)
    corners = [
        rf"x_{i}=\left\lfloor\frac{{{latex_number(value, 1)}}}{{{stride}}}+\frac{{1}}{{2}}\right\rfloor={cell}"
        for i, value, cell in ((1, box[0], x1), (2, box[2], x2))
    ]
    first = np.ceil(np.float32(width) / np.float32(bins)).astype(int)
    return numbers_only(
        rf"{corners[0]},\qquad {corners[1]},\qquad w={x2}-{x1}+1={width}",
        rf"\text{{bin}}_0=\left[\,{x1}+0,\;{x1}+\left\lceil\frac{{{width}}}{{{bins}}}\right\rceil\,\right)"
        rf"=\left[\,{x1},\;{x1 + first}\,\right)",
    )


def _first_maximum(pooled: Pooled, channel: int, roi: int, width: int) -> str:
    """The formula of pooling with the numbers of the first bin."""
    cell, value = int(pooled.maxima[channel, 0, 0]), float(pooled.values[channel, 0, 0])
    place = rf"x_{{({cell % width},{cell // width})}}=" if cell >= 0 else ""  # an empty bin has no maximum
    return numbers_only(rf"y_{{{roi},0}}={place}{latex_number(value)}")


def _numbers(section: Section, box: list[float], pooled: Pooled, stride: int, bins: int) -> str:
    """The RoI's numbers, from pixels to bins."""
    starts = [int(np.floor(c + 0.5)) for c in pooled.corners]
    rows = []
    for name, first, last, edges in (("x", 0, 2, pooled.xs), ("y", 1, 3, pooled.ys)):
        length = max(starts[last] - starts[first] + 1, 1)
        sizes = " ".join(str(behind - begin) for begin, behind in edges.tolist())
        rows.append(
            (
                name,
                f"{box[first]:.1f} … {box[last]:.1f}",
                f"{pooled.corners[first]:.2f} … {pooled.corners[last]:.2f}",
                f"{starts[first]} … {starts[last]}",
                length,
                f"{length / bins:.2f}",
                Html(f'<span class="digits">{sizes}</span>'),
            )
        )
    head = [section.text(key) for key in ("axis", "pixels", "cells", "rounded", "length", "bin", "sizes")]
    return section.table([head[0], head[1], f"{head[2]} ÷ {stride}", *head[3:5], f"{head[5]} ÷ {bins}", head[6]], rows)


def _pyramid(section: Section, levels: dict[int, np.ndarray]) -> str:
    """SPP's levels, as squares of one size."""
    grids = [
        str(number_grid(values, section.text("level_alt", bins=size), 144 / size)) for size, values in levels.items()
    ]
    return f'<div class="pyramid">{"".join(grids)}</div>'
