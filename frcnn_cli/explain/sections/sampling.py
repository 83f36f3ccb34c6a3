"""Sampling: 128 RoIs of two photographs against one of each of 128, and the field that a RoI sees."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from frcnn_cli.core.roi_pool import roi_pool
from frcnn_cli.core.sampling import SampledRois, SamplingConfig, sample_rois
from frcnn_cli.explain.counting import multiply_adds
from frcnn_cli.explain.figures import bars, photo_scale, photograph, written
from frcnn_cli.explain.formulas import latex_large
from frcnn_cli.explain.palette import png
from frcnn_cli.explain.section import Section, number
from frcnn_cli.explain.subject import Subject
from frcnn_cli.explain.svg import Svg
from frcnn_cli.explain.words import large

IMAGES, START = (1, 2, 4, 8, 16, 32, 64, 128), 1
"""N; the reader begins with the paper's, 2."""

HIERARCHICAL, REGION_WISE = 2, 128


@dataclass(frozen=True)
class Field:
    """What of the photograph a RoI's pooled features depend on.

    Attributes:
        roi: x1, y1, x2, y2 in pixels of the network's input.
        box: the smallest box that holds all pixels that matter, likewise.
        strength: float [h, w], how much each pixel matters: the gradient's size, summed over the channels.
    """

    roi: list[float]
    box: tuple[int, int, int, int]
    strength: np.ndarray

    @property
    def share_of_image(self) -> float:
        """Of the image's area."""
        x1, y1, x2, y2 = self.box
        return (x2 - x1) * (y2 - y1) / self.strength.size

    @property
    def share_outside(self) -> float:
        """Of the strength that lies outside of the RoI."""
        x1, y1, x2, y2 = (round(c) for c in self.roi)
        return 1 - float(self.strength[y1:y2, x1:x2].sum() / max(self.strength.sum(), 1e-30))


def receptive_field(subject: Subject) -> Field:
    """The field of the smallest of the RoIs, by the gradient of all its pooled features on the pixels."""
    areas = (subject.rois[:, 2:] - subject.rois[:, :2]).prod(dim=1)
    roi = subject.input_rois(subject.rois[areas.argmin()][None])
    pixels = subject.input[0][None].clone().requires_grad_()
    pooled = roi_pool(subject.backbone(pixels), roi, *subject.pool)
    (gradient,) = torch.autograd.grad(pooled.sum(), pixels)
    strength = gradient[0].abs().sum(dim=0).numpy()
    ys, xs = strength.nonzero()
    if len(xs) == 0:  # a network whose last units are all silent
        ys, xs = np.zeros(1, int), np.zeros(1, int)
    box = (int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1)
    return Field(roi[0, 1:].tolist(), box, strength)


def applies(subject: Subject) -> bool:
    return subject.backbone is not None


def write(section: Section, subject: Subject) -> None:
    config = SamplingConfig()
    objects = subject.objects
    drawn = sample_rois(torch.from_numpy(subject.proposals), torch.from_numpy(objects.boxes),
                        torch.from_numpy(objects.labels), config, torch.Generator().manual_seed(0))  # fmt: skip
    foreground = int((drawn.labels > 0).sum())
    height, width = subject.input[0].shape[1:]
    once = multiply_adds(subject.backbone, width, height)

    section.say("intro", rois=config.rois_per_batch, images=config.images_per_batch)
    section.formula("sampling", rf"\frac{{128}}{{2}}={config.rois_of(0)},\qquad 0.25\times{config.rois_of(0)}="
                                rf"{config.most_foreground(0)}")  # fmt: skip
    counts = {"foreground": foreground, "background": len(drawn) - foreground}
    limits = {"most": config.most_foreground(0), "share": config.rois_of(0)}
    section.figure([_drawn(section, subject, drawn)], "drawn", **counts, **limits)
    section.computed_by(sample_rois, SamplingConfig)
    section.say("count", rois=config.rois_per_batch)
    section.slider("images", "images", [f"N = {images}" for images in IMAGES], START)
    section.add(section.states("images", [_cost(section, images, once) for images in IMAGES], START))
    chart = [(f"N = {images}", images * once, large(images * once)) for images in IMAGES]
    section.figure([bars(chart, section.text("bars_alt"))], "bars", times=REGION_WISE // HIERARCHICAL)

    field = receptive_field(subject)
    (x1, y1, x2, y2), (f1, g1, f2, g2) = field.roi, field.box
    section.say("field", width=round(x2 - x1), height=round(y2 - y1), field_width=f2 - f1, field_height=g2 - g1)
    section.figure([_field(section, subject, field)], "field_picture", share=round(100 * field.share_of_image),
                   outside=round(100 * field.share_outside))  # fmt: skip
    section.say("dear", share=round(100 * field.share_of_image))
    section.add(f'<data hidden data-name="field" value="{" ".join(map(str, field.box))}"></data>')
    section.say("obvious")
    section.formula("convolution", rf"{REGION_WISE}\times{latex_large(once)}={latex_large(REGION_WISE * once)}"
                    rf",\qquad {HIERARCHICAL}\times{latex_large(once)}={latex_large(HIERARCHICAL * once)}")  # fmt: skip
    section.computed_by(multiply_adds, receptive_field)


def _drawn(section: Section, subject: Subject, drawn: SampledRois) -> Svg:
    svg, scale = photograph(subject, section.text("drawn_alt"))
    for box, is_foreground in sorted(zip((drawn.rois * scale).tolist(), (drawn.labels > 0).tolist(), strict=True),
                                     key=lambda pair: pair[1]):  # fmt: skip
        if is_foreground:
            svg.box(box, stroke="green", stroke_width=2.5)
        else:
            svg.box(box, stroke="purple", stroke_width=1, stroke_dasharray="5 4")
    return svg


def _cost(section: Section, images: int, once: int) -> str:
    """What N images cost."""
    config = SamplingConfig(images_per_batch=images)
    rows = [
        (section.text("of_each"), config.rois_of(0)),
        (section.text("passes"), images),
        (section.text("adds"), large(images * once)),
        (section.text("a_roi"), large(images * once / config.rois_per_batch)),
        (section.text("against"), number(images / HIERARCHICAL, f"against-{images}")),
    ]
    return section.table([f"N = {images}", section.text("an_update")], rows)


def _field(section: Section, subject: Subject, field: Field) -> Svg:
    """The RoI, its field, and how strongly each pixel matters."""
    svg, scale = photograph(subject, section.text("field_alt"))
    unit = photo_scale(subject) / float(subject.input[1][0])
    strength = np.sqrt(field.strength / max(float(field.strength.max()), 1e-30))
    height, width = (side // 4 * 4 for side in strength.shape)
    strength = strength[:height, :width].reshape(max(height // 4, 1), -1, max(width // 4, 1), 4).mean(axis=(1, 3)) \
        if min(height, width) else strength  # fmt: skip
    overlay = np.zeros((*strength.shape, 4), np.uint8)
    overlay[..., :3] = (255, 157, 77)
    overlay[..., 3] = np.clip(strength / max(float(strength.max()), 1e-12), 0, 1) * 235
    svg.image(png(overlay), 0, 0, svg.width, subject.size[1] * scale)
    for box, colour, key in ((field.box, "orange", "field_short"), (field.roi, "blue", "roi_short")):
        corners = [c * unit for c in box]
        svg.box(corners, stroke="paper", stroke_width=5)
        svg.box(corners, stroke=colour, stroke_width=3)
        written(svg, corners[0] + 5, corners[1] + 17, section.text(key), svg.width)
    return svg
