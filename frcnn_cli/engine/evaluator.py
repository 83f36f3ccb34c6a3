"""Detecting over a whole data set and scoring the result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

import numpy as np

from frcnn_cli import stopping
from frcnn_cli.data.detections import Detections, ImageResult
from frcnn_cli.data.images import load_image
from frcnn_cli.data.samples import Dataset, Objects
from frcnn_cli.engine.detection_config import EVALUATION, DetectionConfig
from frcnn_cli.engine.detector import Detector, detect_image
from frcnn_cli.engine.distributed import ALONE, Processes
from frcnn_cli.engine.part_times import part_times
from frcnn_cli.engine.proposal_coverage import CoverageSource
from frcnn_cli.engine.sources import ProposalSource
from frcnn_cli.engine.sources.search import search_for
from frcnn_cli.errors import DataError
from frcnn_cli.metrics.average_precision import ClassAP, Metric, evaluate
from frcnn_cli.metrics.coco import CocoSummary, coco_summary
from frcnn_cli.progress import Track, silent


@dataclass(frozen=True)
class Evaluation:
    """What a model does on a data set.

    Attributes:
        ap: average precision by class.
        results: one an image, in the data set's order; labels are those of the data set.
        covered: one an image, float64 [K, G]: the best IoU of each object with one of the first n proposals, for the
            numbers n of `CoverageSource`; None where the model proposes its own.
        parts: mean seconds an image of each part of the network, by name; empty where none are known.
        coco: what COCO's metric says, where that was asked for.
    """

    ap: ClassAP
    results: tuple[ImageResult, ...]
    covered: tuple[np.ndarray | None, ...] = ()
    parts: dict[str, float] = field(default_factory=dict)
    coco: CocoSummary | None = None

    @property
    def mean_ap(self) -> float:
        """The main number of the metric."""
        return self.coco.numbers["AP"] if self.coco else self.ap.mean_ap

    @property
    def detections(self) -> tuple[Detections, ...]:
        """One an image."""
        return tuple(result.detections for result in self.results)

    @property
    def proposal_seconds(self) -> float | None:
        """Mean an image; None where none were made."""
        seconds = [result.seconds.proposals for result in self.results]
        return None if None in seconds or not seconds else float(np.mean(seconds))

    @property
    def detection_seconds(self) -> float:
        """Mean an image."""
        return float(np.mean([result.seconds.detection for result in self.results]))


@dataclass(frozen=True)
class Contender:
    """A model, and where it has its proposals from.

    Attributes:
        detector: its classes are those of the data set, in any order; more are allowed.
        source: of proposals, such as a file of them; None to search image by image.
    """

    detector: Detector
    source: ProposalSource | None = None


def evaluate_dataset(
    detector: Detector,
    dataset: Dataset,
    source: ProposalSource | None = None,
    metric: Metric = "voc",
    config: DetectionConfig = EVALUATION,
    track: Track = silent,
    processes: Processes = ALONE,
) -> Evaluation | None:
    """Detect objects in every image and compute the average precision.

    Args:
        detector: see `Contender`.
        dataset: images and objects.
        source: see `Contender`.
        metric: ``voc``, ``voc07`` or ``coco``.
        config: how.
        track: progress.
        processes: those that divide the images among themselves.

    Returns:
        The scores, on process 0; None on the others.

    Raises:
        DataError: the data set has a class the model does not know, an image cannot be read, or proposals are missing.
    """
    evaluations = evaluate_together([Contender(detector, source)], dataset, metric, config, track, processes)
    return evaluations[0] if evaluations else None


def evaluate_together(
    contenders: Sequence[Contender],
    dataset: Dataset,
    metric: Metric = "voc",
    config: DetectionConfig = EVALUATION,
    track: Track = silent,
    processes: Processes = ALONE,
) -> list[Evaluation] | None:
    """The same of several models, which take turns image by image, so that their times can be compared."""
    relabels = [_relabel(contender.detector.classes, dataset) for contender in contenders]
    objects = {record.id: record.objects for record in dataset.records}
    sources = [CoverageSource(contender.source or search_for(config), objects) for contender in contenders]
    share: list[list[tuple[ImageResult, np.ndarray | None]]] = []
    with ExitStack() as stack:
        parts = [stack.enter_context(part_times(contender.detector)) for contender in contenders]
        for record in track(processes.share(dataset.records)):
            stopping.check()
            image = load_image(record.path)
            turns = []
            for contender, source, relabel in zip(contenders, sources, relabels, strict=True):
                result = detect_image(contender.detector, image, record.path, record.id, source, config)
                result = replace(result, detections=relabel(result.detections))
                turns.append((result, source.covered.pop(record.id, None)))
            share.append(turns)
    seconds = [{name: total / max(len(share), 1) for name, total in part.items()} for part in parts]
    images = processes.gather(share)
    if images is None:
        return None
    truths = [record.objects for record in dataset.records]
    return [
        _evaluation([turns[place] for turns in images], truths, len(dataset.classes), metric, seconds[place])
        for place in range(len(contenders))
    ]


def _evaluation(
    turns: Sequence[tuple[ImageResult, np.ndarray | None]],
    objects: Sequence[Objects],
    num_classes: int,
    metric: Metric,
    parts: dict[str, float],
) -> Evaluation:
    """The scores of one contender."""
    results, covered = tuple(zip(*turns, strict=True)) if turns else ((), ())
    found = [result.detections for result in results]
    coco = coco_summary(found, objects, num_classes) if metric == "coco" else None
    ap = coco.classes if coco else evaluate(found, objects, num_classes, metric)
    return Evaluation(ap, results, covered, parts, coco)


def _relabel(known: tuple[str, ...], dataset: Dataset) -> Callable[[Detections], Detections]:
    """Turn the model's labels into the data set's; detections of classes the data set lacks are dropped."""
    unknown = sorted(set(dataset.classes) - set(known))
    if unknown:
        raise DataError(f"{dataset.name}: the model does not know the class {', '.join(map(repr, unknown))}")
    labels = {name: label for label, name in enumerate(dataset.classes, start=1)}
    table = np.array([0, *(labels.get(name, 0) for name in known)])

    def relabel(detections: Detections) -> Detections:
        mapped = table[detections.labels]
        keep = mapped > 0
        return Detections(detections.boxes[keep], detections.scores[keep], mapped[keep]).named(dataset.classes)

    return relabel
