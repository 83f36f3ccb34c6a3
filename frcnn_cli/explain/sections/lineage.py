"""The line: what R-CNN, SPPnet, Fast R-CNN and Faster R-CNN would each have computed on this photograph."""

from __future__ import annotations

import cv2
import numpy as np

from frcnn_cli.core.roi_pool.geometry import bin_edges
from frcnn_cli.data.transforms import scale_to, scaled_size
from frcnn_cli.explain.counting import multiply_adds
from frcnn_cli.explain.figures import bars, map_panel
from frcnn_cli.explain.formulas import latex_large, latex_number
from frcnn_cli.explain.palette import jpeg
from frcnn_cli.explain.section import Html, Section
from frcnn_cli.explain.subject import Subject
from frcnn_cli.explain.svg import Svg
from frcnn_cli.explain.words import large

CROP = 224
"""Pixels of a side that R-CNN brings a proposal to (VGG16's input)."""

SPP_SCALES, SPP_LONGEST = (480, 576, 688, 864, 1200), 2000
SPP_LEVELS = (6, 3, 2, 1)
RPN_CHANNELS, ANCHOR_SIDES, ANCHOR_RATIOS = 512, (128, 256, 512), (0.5, 1.0, 2.0)
FEATURES = 4096
"""Units of fc7 in the paper's networks, for a model that does not say how many it has."""
SMALL = 150


def applies(subject: Subject) -> bool:
    return subject.backbone is not None


def write(section: Section, subject: Subject) -> None:
    height, width = subject.input[0].shape[1:]
    channels, rows, columns = subject.features.shape[1:]
    proposals = len(subject.proposals)
    crop = multiply_adds(subject.backbone, CROP, CROP)
    once = multiply_adds(subject.backbone, width, height)
    sizes = [scaled_size(*subject.size, scale_to(*subject.size, side, SPP_LONGEST)) for side in SPP_SCALES]
    five = sum(multiply_adds(subject.backbone, *size) for size in sizes)
    anchors = len(ANCHOR_SIDES) * len(ANCHOR_RATIOS)
    rpn = rows * columns * (9 * channels * RPN_CHANNELS + RPN_CHANNELS * 6 * anchors)
    stored = proposals * getattr(subject.checkpoint.architecture, "fc_width", FEATURES) * 4
    kept = channels * rows * columns * 4

    section.say("intro", width=width, height=height, proposals=proposals)
    section.formula("convolution", [
        rf"\text{{R-CNN: }}{latex_number(proposals)}\times{latex_large(crop)}"
        rf"={latex_large(proposals * crop)}",
        rf"\text{{Fast R-CNN: }}1\times{latex_large(once)}",
    ])  # fmt: skip
    section.figure(_pictures(section, subject), "pictures", crop=CROP, rows=rows, columns=columns, anchors=anchors,
                   all_anchors=rows * columns * anchors)  # fmt: skip
    counts = {"R-CNN": proposals * crop, "SPPnet": five, "Fast R-CNN": once, "Faster R-CNN": once + rpn}
    chart = bars([(name, count, large(count)) for name, count in counts.items()], section.text("bars_alt"),
                 logarithmic=True)  # fmt: skip
    section.figure([chart], "bars", times=proposals * crop / once)
    head = [section.text(key) for key in ("method", "passes", "adds", "disk", "stages", "limit")]
    passes = {"R-CNN": proposals, "SPPnet": len(SPP_SCALES), "Fast R-CNN": 1, "Faster R-CNN": 1}
    disk = {name: Html(f"{large(stored)}B" if name in ("R-CNN", "SPPnet") else "0") for name in counts}
    table = [
        (name, passes[name], Html(f'<data value="{count}" data-name="adds-{name}">{large(count)}</data>'), disk[name],
         section.text(f"stages_{i}"), section.text(f"limit_{i}"))
        for i, (name, count) in enumerate(counts.items())
    ]  # fmt: skip
    section.add(section.table(head, table))
    section.say("kept", kept=f"{large(kept)}B", stored=f"{large(stored)}B", channels=channels)
    section.say("fixed")
    section.computed_by(multiply_adds, scale_to, type(subject.backbone))


def _pictures(section: Section, subject: Subject) -> list[Svg]:
    """Four small figures, of what each method takes from the photograph."""
    plane = subject.features[0].mean(dim=0).clamp(min=0).numpy()
    rows, columns = plane.shape
    roi = subject.input_rois(subject.rois[:1])
    scale = 1 / subject.backbone.stride

    crops = Svg(SMALL, SMALL, section.text("crops_alt"))
    side = SMALL / 3
    for i, box in enumerate(subject.rois[:9].round().int().tolist()):
        x1, y1, x2, y2 = box
        part = subject.image[y1 : max(y2, y1 + 1), x1 : max(x2, x1 + 1)]
        small = cv2.resize(np.ascontiguousarray(part), (96, 96), interpolation=cv2.INTER_AREA)
        crops.image(jpeg(small), i % 3 * side + 1, i // 3 * side + 1, side - 2, side - 2)
    crops.text(4, SMALL - 6, "R-CNN", cls="halo strong", fill="ink")

    figures = [crops]
    for name, levels in (("SPPnet", SPP_LEVELS), ("Fast R-CNN", (7,))):
        svg, cell = map_panel(plane, section.text("map_alt", method=name), SMALL)
        for bins in levels:
            _, ys, xs = bin_edges(roi.float(), bins, bins, 1, rows, columns, scale)
            x1, x2 = xs[0, 0, 0].item() * cell, xs[0, -1, 1].item() * cell
            y1, y2 = ys[0, 0, 0].item() * cell, ys[0, -1, 1].item() * cell
            for edge in [*xs[0, :, 0].tolist(), xs[0, -1, 1].item()]:
                svg.line(edge * cell, y1, edge * cell, y2, stroke="#ffffff", stroke_width=2.4 / bins**0.5)
            for edge in [*ys[0, :, 0].tolist(), ys[0, -1, 1].item()]:
                svg.line(x1, edge * cell, x2, edge * cell, stroke="#ffffff", stroke_width=2.4 / bins**0.5)
        svg.text(4, rows * cell - 6, name, cls="halo strong", fill="ink")
        figures.append(svg)

    figures.append(_anchors(section, subject))
    return figures


def _anchors(section: Section, subject: Subject) -> Svg:
    width, height = subject.size
    unit = SMALL / max(width, height)
    svg = Svg(width * unit, height * unit, section.text("anchors_alt"))
    svg.image(jpeg(cv2.resize(subject.image, (max(int(2 * width * unit), 1), max(int(2 * height * unit), 1)))),
              0, 0, width * unit, height * unit)  # fmt: skip
    ratio = subject.input[1][0].item()  # anchors are in pixels of the network's input
    for side in ANCHOR_SIDES:
        for shape in ANCHOR_RATIOS:
            w, h = side * shape**-0.5 / ratio * unit, side * shape**0.5 / ratio * unit
            svg.rect(width * unit / 2 - w / 2, height * unit / 2 - h / 2, w, h, fill="none", stroke="orange")
    svg.text(4, height * unit - 6, "Faster R-CNN", cls="halo strong", fill="ink")
    return svg
