"""fc6 and fc7: singular values, energy, parameters, and what this photograph's scores become at five ranks."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from frcnn_cli.core.roi_pool import roi_pool
from frcnn_cli.core.svd import Decomposition, LowRankLinear, compress, decompose, energy
from frcnn_cli.engine.detectors import DETECTORS
from frcnn_cli.explain.figures import Axes, bars
from frcnn_cli.explain.section import Section, number
from frcnn_cli.explain.subject import Subject
from frcnn_cli.explain.svg import Svg, state

RANK = "rank"
TIMES, SIGMA = "\N{MULTIPLICATION SIGN}", "\N{GREEK SMALL LETTER SIGMA}"
SHARES = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1)
"""Of the largest rank."""

START = 2
"""Number of the share that the reader sees first."""

NEGLIGIBLE = 1e-6
"""A singular value of less than this share of the largest is none: rounding, in a layer that was compressed before."""


@dataclass(frozen=True)
class Layer:
    """A fully connected layer, whole.

    Attributes:
        name: such as ``fc6``.
        linear: u x v; multiplied out, where the checkpoint has it compressed.
        decomposition: of its weight.
        stored_rank: that it is compressed to in the checkpoint, or None.
    """

    name: str
    linear: nn.Linear
    decomposition: Decomposition
    stored_rank: int | None

    @property
    def full_rank(self) -> int:
        """Singular values that are more than rounding."""
        return int((self.decomposition.s > NEGLIGIBLE * self.decomposition.s[0]).sum())

    @property
    def shape(self) -> tuple[int, int]:
        return self.linear.out_features, self.linear.in_features

    def rank(self, share: float) -> int:
        return max(round(self.full_rank * share), 1)


def layer_of(name: str, module: nn.Module) -> Layer:
    """A layer of the head, ready to be compressed."""
    linear = module
    if isinstance(module, LowRankLinear):
        linear = nn.Linear(module.first.in_features, module.second.out_features)
        with torch.no_grad():
            linear.weight.copy_(module.second.weight @ module.first.weight)
            linear.bias.copy_(module.second.bias)
        return Layer(name, linear, decompose(linear.weight), module.first.out_features)
    return Layer(name, linear, decompose(linear.weight), None)


def applies(subject: Subject) -> bool:
    return bool(DETECTORS[subject.checkpoint.kind].compressible)


def write(section: Section, subject: Subject) -> None:
    names = DETECTORS[subject.checkpoint.kind].compressible
    layers = [layer_of(name, getattr(subject.model.head, name)) for name in names]
    section.say("intro")
    for layer in layers:
        u, v = layer.shape
        if layer.stored_rank is not None:
            section.say("compressed", name=layer.name, rank=layer.stored_rank, u=u, v=v)
    section.formula("svd")
    section.formula("energy")
    section.figure([_values(section, layers), _energies(section, layers)], "curves")
    section.say("choose")
    labels = [", ".join(f"{layer.name}: t = {layer.rank(share)}" for layer in layers) for share in SHARES]
    section.slider(RANK, "rank", labels, START)
    section.add(section.states(RANK, [_parameters(section, layers, share) for share in SHARES], START))
    if subject.is_fast_rcnn:
        scores = scores_at(subject, layers)
        section.figure(
            [section.states(RANK, [str(_scores(section, subject, scores, i)) for i in range(len(SHARES))], START)],
            "scores",
        )
    pays = "; ".join(f"{layer.name}: {layer.shape[0] * layer.shape[1] / sum(layer.shape):,.0f}" for layer in layers)
    section.say("pays", ranks=pays)
    section.computed_by(decompose, energy, compress)


def scores_at(subject: Subject, layers: list[Layer]) -> Tensor:
    """Probabilities of the RoIs at each of the ranks, Tensor[ranks, R, 1 + C]."""
    head = subject.model.head
    own = {layer.name: getattr(head, layer.name) for layer in layers}
    found = []
    try:
        with torch.no_grad():
            pooled = roi_pool(subject.features, subject.input_rois(subject.rois), *subject.pool)
            for share in SHARES:
                for layer in layers:
                    setattr(head, layer.name, compress(layer.linear, layer.rank(share), layer.decomposition))
                found.append(head(pooled)[0].softmax(dim=1))
    finally:
        for name, module in own.items():
            setattr(head, name, module)
    return torch.stack(found)


def _values(section: Section, layers: list[Layer]) -> Svg:
    """Singular values over the largest, falling."""
    most = max(layer.full_rank for layer in layers)
    axes = Axes(section.text("values_alt"), (1, max(most, 2)), (0, 1), (section.text("index"), f"{SIGMA} / {SIGMA}₁"),
                (_ticks(most), [0, 0.5, 1]))  # fmt: skip
    for layer, style in zip(layers, ({}, {"stroke_dasharray": "6 4"}), strict=False):
        s = layer.decomposition.s[: layer.full_rank]
        axes.curve(
            [(i + 1, float(value / s[0])) for i, value in enumerate(s)], stroke="blue", stroke_width=2.5, **style
        )
    return axes.svg


def _energies(section: Section, layers: list[Layer]) -> Svg:
    """Energy at each rank, with the five marked."""
    most = max(layer.full_rank for layer in layers)
    axes = Axes(section.text("energy_alt"), (1, max(most, 2)), (0, 1), ("t", "E(t)"), (_ticks(most), [0, 0.5, 1]))
    for layer, style in zip(layers, ({}, {"stroke_dasharray": "6 4"}), strict=False):
        kept = energy(layer.decomposition.s)[: layer.full_rank]
        axes.curve([(i + 1, float(value)) for i, value in enumerate(kept)], stroke="blue", stroke_width=2.5, **style)
        for i, share in enumerate(SHARES):
            x, y = axes.at(layer.rank(share), float(kept[layer.rank(share) - 1]))
            axes.svg.circle(x, y, 3.5, fill="paper", stroke="blue")
            with axes.svg.group(state(RANK, i, START)):
                axes.svg.circle(x, y, 6, fill="orange", stroke="paper")
    return axes.svg


def _ticks(most: int) -> list[int]:
    return sorted({1, max(most // 2, 1), max(most, 2)})


def _parameters(section: Section, layers: list[Layer], share: float) -> str:
    """u v against t (u + v), for one of the ranks."""
    rows = []
    for layer in layers:
        (u, v), t = layer.shape, layer.rank(share)
        kept = float(energy(layer.decomposition.s)[t - 1])
        after = t * (u + v)
        rows.append((layer.name, f"{u:,} {TIMES} {v:,}", t, number(kept, f"energy-{layer.name}-{t}"), u * v,
                     number(after, f"after-{layer.name}-{t}"), f"{u * v / after:.1f} {TIMES}"))  # fmt: skip
    head = [section.text("layer"), f"u {TIMES} v", "t", "E(t)", "u v", "t (u + v)", section.text("smaller")]
    return section.table(head, rows)


def _scores(section: Section, subject: Subject, scores: Tensor, at: int) -> Svg:
    """The likeliest RoIs' scores of their classes at one of the ranks, beside those at the full rank."""
    rows = []
    labels = subject.labels.tolist()
    for i in range(min(len(labels), 6)):
        value, full = float(scores[at, i, labels[i]]), float(scores[SHARES.index(1), i, labels[i]])
        likeliest = int(scores[at, i].argmax())
        note = "" if likeliest == labels[i] else f" → {section.class_name(subject, likeliest)}"
        rows.append((f"{i + 1}: {section.class_name(subject, labels[i])}", value, f"{value:.3f} ({full:.3f}){note}"))
    return bars([*rows, ("", 0.0, "")] if len(rows) < 2 else rows, section.text("scores_alt"))
