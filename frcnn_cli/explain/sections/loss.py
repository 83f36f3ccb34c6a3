"""The loss of one foreground and one background RoI, number by number."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from frcnn_cli.core.boxes import encode
from frcnn_cli.core.losses import multi_task_loss, smooth_l1
from frcnn_cli.core.sampling import best_overlap
from frcnn_cli.explain.figures import Axes, bars, photograph, written
from frcnn_cli.explain.formulas import latex_number, latex_sum
from frcnn_cli.explain.section import Section, number
from frcnn_cli.explain.subject import Subject
from frcnn_cli.explain.svg import Svg

LARGEST_EXPONENT = 100.0
DIFFERENCE = "t \N{MINUS SIGN} v"
LAMBDAS, START = (0.0, 0.5, 1.0, 2.0), 2
"""The reader begins with the paper's, 1."""


@dataclass(frozen=True)
class Example:
    """A RoI and what it should answer.

    Attributes:
        box: Tensor[4] in the photograph.
        overlap: its IoU with the object.
        label: u.
        logits: z, Tensor[1 + C].
        predicted: t of class u, normalised; of the likeliest class for the background.
        target: v, normalised, Tensor[4].
        raw_target: v before that.
        truth: the object, Tensor[4].
    """

    box: Tensor
    overlap: float
    label: int
    logits: Tensor
    predicted: Tensor
    target: Tensor
    raw_target: Tensor
    truth: Tensor

    def loss(self, box_weight: float = 1.0) -> dict[str, Tensor]:
        """By the package's function, which takes boxes of all classes."""
        deltas = self.predicted.expand(1, len(self.logits) - 1, 4)
        parts = (self.logits[None], deltas, torch.tensor([self.label]), self.target[None])
        return multi_task_loss(*parts, box_weight=box_weight)


def normalisation(subject: Subject) -> tuple[Tensor, Tensor]:
    """Mean and spread that the training gave its targets; 0 and 1 where the checkpoint does not say."""
    training = subject.checkpoint.training
    mean, std = training.get("target_mean"), training.get("target_std")
    return torch.tensor(mean or [0.0] * 4), torch.tensor(std or [1.0] * 4)


def examples(subject: Subject) -> tuple[Example, Example]:
    """The foreground RoI of the first object whose box is most wrong, and the background RoI that is least sure."""
    objects = subject.objects
    boxes = subject.scores.boxes
    truth = torch.from_numpy(objects.boxes)
    overlap, matched = best_overlap(boxes, truth)
    mean, std = normalisation(subject)
    label = int(objects.labels[0])
    wrong = ((subject.scores.deltas[:, label - 1] - encode(boxes, truth[matched])) / std).abs().amax(dim=1)
    own = (matched == 0) & (overlap >= 0.5)
    # Where no RoI overlaps that much, the one that overlaps most.
    foreground = int(torch.where(own, wrong, -1.0).argmax()) if own.any() else int(overlap.argmax())
    near = (overlap >= 0.1) & (overlap < 0.5)
    unsure = torch.where(near, subject.scores.probabilities[:, 0], 2.0)
    background = int(unsure.argmin()) if near.any() else int(overlap.argmin())

    with torch.no_grad():
        logits, deltas = subject.model(subject.input[0][None], subject.input_rois(boxes[[foreground, background]]))
    found = []
    for i, (roi, u) in enumerate(((foreground, label), (background, 0))):
        raw = encode(boxes[roi], truth[matched[roi]])
        of_class = u - 1 if u else int(logits[i, 1:].argmax())
        found.append(Example(boxes[roi], float(overlap[roi]), u, logits[i], (deltas[i, of_class] - mean) / std,
                             (raw - mean) / std, raw, truth[matched[roi]]))  # fmt: skip
    return found[0], found[1]


def applies(subject: Subject) -> bool:
    return subject.is_fast_rcnn


def write(section: Section, subject: Subject) -> None:
    foreground, background = examples(subject)
    section.say("intro" if len(subject.found) else "intro_nothing")
    section.figure([_photo(section, subject, foreground, background)], "photo",
                   overlap=round(foreground.overlap, 3), other=round(background.overlap, 3))  # fmt: skip
    section.formula("multi_task_loss")
    for name, example in (("foreground", foreground), ("background", background)):
        section.add(f"<h3>{section.text(name, u=example.label, name=section.class_name(subject, example.label))}</h3>")
        _classification(section, subject, example, name)
    section.add(f"<h3>{section.text('localisation')}</h3>")
    _localisation(section, subject, foreground)
    section.say("gate")
    section.slider("lambda", "lambda", [f"λ = {value:g}" for value in LAMBDAS], START)
    section.add(section.states("lambda", [_total(section, foreground, background, value) for value in LAMBDAS], START))
    section.say("together")
    section.computed_by(multi_task_loss, smooth_l1, encode)


def _photo(section: Section, subject: Subject, foreground: Example, background: Example) -> Svg:
    svg, scale = photograph(subject, section.text("photo_alt"))
    for box, colour, key, dashes in (
        (foreground.truth, "green", "truth", "none"),
        (foreground.box, "blue", "foreground_short", "none"),
        (background.box, "purple", "background_short", "7 4"),
    ):
        corners = (box * scale).tolist()
        svg.box(corners, stroke=colour, stroke_width=3, stroke_dasharray=dashes)
        written(
            svg, corners[0] + 4, corners[3] - 6 if key == "truth" else corners[1] + 16, section.text(key), svg.width
        )
    return svg


def _classification(section: Section, subject: Subject, example: Example, name: str) -> None:
    """Logits, softmax, and the loss of the class."""
    z = example.logits
    p = z.softmax(dim=0)
    top = p.topk(min(4, len(p))).indices.tolist()
    shown = top if example.label in top else [*top[:-1], example.label]
    rows = [
        (
            f"{section.class_name(subject, c)}{' ← u' if c == example.label else ''}",
            float(p[c]),
            f"z = {z[c]:.2f}, p = {p[c]:.4f}",
        )
        for c in shown
    ]
    section.figure([bars(rows, section.text("softmax_alt"))], "softmax", classes=len(z))
    # Both sides of the fraction times e^-m leave it as it is, where e^z would be too large a number to write.
    m = float(z.max()) if float(z.max()) > LARGEST_EXPONENT else 0.0
    exponential = float(torch.exp(z[example.label].double() - m))
    total = float(torch.exp(z.double() - m).sum())
    section.formula("softmax", rf"p_u=\frac{{e^{{{latex_number(float(z[example.label]))}}}}}{{\sum_c e^{{z_c}}}}="
                               rf"\frac{{{latex_number(exponential)}}}{{{latex_number(total)}}}="
                               rf"{latex_number(float(p[example.label]), 4)}")  # fmt: skip
    cls = float(example.loss()["cls"])
    section.formula(
        "class_loss", rf"-\log\left({latex_number(float(p[example.label]), 4)}\right)={latex_number(cls, 4)}"
    )
    section.add(f'<data hidden data-name="{name}-cls" value="{cls:.9g}"></data>')


def _localisation(section: Section, subject: Subject, example: Example) -> None:
    """The four differences, and where they are on the two branches."""
    mean, std = normalisation(subject)
    difference = example.predicted - example.target
    values = smooth_l1(difference)
    (x1, _, x2, _), (g1, _, g2, _) = example.box.tolist(), example.truth.tolist()
    raw = [latex_number(value) for value in example.raw_target.tolist()]
    w = x2 - x1
    section.say("targets")
    section.formula("targets", [
        rf"v_x=\frac{{{latex_number((g1 + g2) / 2, 1)}-{latex_number((x1 + x2) / 2, 1)}}}{{{latex_number(w, 1)}}}="
        rf"{raw[0]}",
        rf"v_w=\log\frac{{{latex_number(g2 - g1, 1)}}}{{{latex_number(w, 1)}}}={raw[2]}",
    ])  # fmt: skip
    section.say("normalised" if bool((std != 1).any()) else "not_normalised")
    section.formula("normalised_targets", rf"v_x=\frac{{{raw[0]}-{latex_sum([float(mean[0])])}}}"
                    rf"{{{latex_number(float(std[0]))}}}={latex_number(float(example.target[0]))}")  # fmt: skip
    rows = [
        (name, number(float(example.predicted[i])), number(float(example.target[i])), number(float(difference[i])),
         section.text("quadratic" if abs(difference[i]) < 1 else "linear"), number(float(values[i]), f"smooth-{name}"))
        for i, name in enumerate("xywh")
    ]  # fmt: skip
    head = ["", "t", "v", DIFFERENCE, section.text("branch"), "smooth L1"]
    section.add(section.table(head, rows))
    section.formula("smooth_l1")
    section.figure([_branches(section, difference.tolist(), values.tolist())], "branches")
    terms = latex_sum(values.tolist())
    section.formula("box_loss", rf"L_{{\text{{loc}}}}={terms}={latex_number(float(values.sum()))}")


def _branches(section: Section, differences: list[float], values: list[float]) -> Svg:
    """Smooth L1 with both branches, and the four points on it."""
    reach = max(2.0, 1.1 * max(map(abs, differences)))
    xs = torch.linspace(-reach, reach, 121)
    top = float(smooth_l1(torch.tensor(reach)))
    ticks = [-1, 0, 1] if reach < 4 else [round(-reach), 0, round(reach)]
    axes = Axes(
        section.text("branches_alt"), (-reach, reach), (0, top), (DIFFERENCE, "smooth L1"), (ticks, [0, round(top, 1)])
    )
    inside = xs[xs.abs() <= 1]
    ends = torch.linspace(1, reach, 2)
    axes.curve(list(zip(xs.tolist(), (xs.abs() - 0.5).clamp(min=0).tolist(), strict=True)), stroke="grey",
               stroke_width=1.5, stroke_dasharray="4 4")  # fmt: skip
    axes.curve(list(zip(inside.tolist(), smooth_l1(inside).tolist(), strict=True)), stroke="blue", stroke_width=3)
    for sign in (-1, 1):
        axes.curve(
            list(zip((sign * ends).tolist(), smooth_l1(ends).tolist(), strict=True)), stroke="orange", stroke_width=3
        )
    for i, (x, y, name) in enumerate(sorted(zip(differences, values, "xywh", strict=True))):
        left, down = axes.at(x, y)
        axes.svg.circle(left, down, 5, fill="ink", stroke="paper")
        axes.svg.text(left, down - 10 - 15 * (i % 2), name, cls="halo strong", fill="ink", text_anchor="middle")
    return axes.svg


def _total(section: Section, foreground: Example, background: Example, weight: float) -> str:
    """Both RoIs' losses, and their mean, for one lambda."""
    rows = []
    total = 0.0
    for key, example, gate in (("foreground_short", foreground, 1), ("background_short", background, 0)):
        parts = {name: float(value) for name, value in example.loss(weight).items()}
        loss = sum(parts.values())
        total += loss
        rows.append((section.text(key), number(parts["cls"]), gate, number(parts["bbox"]),
                     number(loss, f"loss-{key.removesuffix('_short')}-{weight:g}")))  # fmt: skip
    rows.append((section.text("mean"), "", "", "", number(total / 2, f"loss-mean-{weight:g}")))
    return section.table(["", "L cls", "[u ≥ 1]", "λ [u ≥ 1] L loc", "L"], rows)
