"""Which ranks of a compressed head cost how much mAP, and how much time they save, as measured on a data set."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from frcnn_cli.core.svd import compress
from frcnn_cli.data.detections import Detections
from frcnn_cli.data.images import load_image
from frcnn_cli.data.samples import Dataset
from frcnn_cli.engine.compression import Compression
from frcnn_cli.engine.detection_config import EVALUATION, DetectionConfig
from frcnn_cli.engine.detector import Detector
from frcnn_cli.engine.sources import ProposalSource
from frcnn_cli.errors import DataError
from frcnn_cli.metrics.average_precision import evaluate
from frcnn_cli.progress import Track, silent

SHARES = (0.99, 0.98, 0.96, 0.94, 0.9, 0.85, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3)
"""Of the squared singular values that are kept, the points of a curve."""

VARIANCE_SHARES = (0.9995, 0.999, 0.998, 0.996, 0.994, 0.99, 0.985, 0.98, 0.97, 0.96, 0.94, 0.9)
"""Of the variance, likewise: a few directions have nearly all of it."""


@dataclass(frozen=True)
class Point:
    """A head, as measured.

    Attributes:
        ranks: of its layers, by name; empty for the head as it was.
        parameters: of these layers.
        seconds: that the head takes for the RoIs of an image, in the mean.
        mean_ap: 0 to 1.
    """

    ranks: Mapping[str, int]
    parameters: int
    seconds: float
    mean_ap: float


def candidates(compression: Compression, shares: Sequence[float] | None = None) -> list[dict[str, int]]:
    """Ranks to try, the largest first: those that keep a share of the energy and have fewer weights than before."""
    shares = shares or (VARIANCE_SHARES if compression.photographs else SHARES)
    found: list[dict[str, int]] = []
    for share in sorted(shares, reverse=True):
        ranks = compression.ranks_for_energy(share)
        layers = compression.report(ranks)
        if sum(layer.after for layer in layers) < sum(layer.before for layer in layers) and ranks not in found:
            found.append(ranks)
    return found


def measure_ranks(
    compression: Compression,
    dataset: Dataset,
    source: ProposalSource,
    ranks: Sequence[Mapping[str, int]],
    config: DetectionConfig = EVALUATION,
    track: Track = silent,
) -> list[Point]:
    """Score the head as it is, then with each of several ranks, all on the same features of the same proposals.

    Args:
        compression: of a Fast R-CNN.
        dataset: with the model's classes in their order.
        source: of proposals.
        ranks: by the names of the layers.
        config: how to detect.
        track: progress over the images.

    Returns:
        1 + len(ranks) points.

    Raises:
        DataError: the data set has other classes, an image cannot be read, or proposals are missing.
    """
    checkpoint = compression.checkpoint
    if dataset.classes != checkpoint.classes:
        raise DataError(f"{dataset.name}: has other classes than the model")
    detector = Detector.from_checkpoint(checkpoint)
    model = detector.engine.model
    heads = [_Timed(_with_ranks(model.head, chosen, compression)) for chosen in ({}, *ranks)]
    found: list[list[Detections]] = [[] for _ in heads]
    remember = _Memory(model.backbone.forward)
    model.backbone.forward = remember
    for record in track(dataset.records):
        image = load_image(record.path)
        boxes = source.boxes(image, record.id)[: config.max_proposals]
        for head, results in zip(heads, found, strict=True):
            model.head = head
            results.append(detector.engine.detect(image, boxes, config))
        remember.forget()
    objects = [record.objects for record in dataset.records]
    return [
        Point(
            chosen,
            sum(layer.after + layer.shape[0] for layer in compression.report(chosen)),
            head.seconds / len(dataset),
            evaluate(results, objects, len(dataset.classes), "voc").mean_ap,
        )
        for chosen, head, results in zip(({}, *ranks), heads, found, strict=True)
    ]


def smallest_within(points: Sequence[Point], drop: float) -> Point | None:
    """The last point before the first one that loses more than `drop` of the first one's mAP; None if the next does.

    A smaller head that happens to score better again, after one that did not do, is no reason to trust it.
    """
    whole, *others = points
    chosen = None
    for point in others:
        if whole.mean_ap - point.mean_ap > drop:
            break
        chosen = point
    return chosen


def _with_ranks(head: nn.Module, ranks: Mapping[str, int], compression: Compression) -> nn.Module:
    head = copy.copy(head)
    head._modules = dict(head._modules)  # the layers are shared, but for those that are replaced
    for name, rank in ranks.items():
        setattr(head, name, compress(getattr(head, name), rank, compression.decompositions[name]))
    return head.eval()


class _Timed(nn.Module):
    """A head and the seconds it has taken."""

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.head = head
        self.seconds = 0.0

    def forward(self, pooled: Tensor) -> tuple[Tensor, Tensor]:
        start = time.perf_counter()
        result = self.head(pooled)
        self.seconds += time.perf_counter() - start
        return result


class _Memory:
    """A backbone's forward pass that is made once for each picture it is given."""

    def __init__(self, forward: Callable[[Tensor], Tensor]) -> None:
        self.forward = forward
        self.known: list[tuple[Tensor, Tensor]] = []

    def __call__(self, images: Tensor) -> Tensor:
        for before, features in self.known:
            if torch.equal(before, images):
                return features
        features = self.forward(images)
        self.known.append((images, features))
        return features

    def forget(self) -> None:
        """Make room for the next picture."""
        self.known.clear()
