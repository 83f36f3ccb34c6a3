"""Detecting over a whole data set and scoring the result."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np

from frcnn_cli.data.detections import Detections, ImageResult
from frcnn_cli.data.samples import Dataset
from frcnn_cli.engine.detection_config import EVALUATION, DetectionConfig
from frcnn_cli.engine.detector import Detector
from frcnn_cli.engine.distributed import ALONE, Processes
from frcnn_cli.engine.sources import ProposalSource
from frcnn_cli.engine.stream import detect_files
from frcnn_cli.errors import DataError
from frcnn_cli.metrics.average_precision import ClassAP, VocMetric, evaluate
from frcnn_cli.progress import Track, silent


@dataclass(frozen=True)
class Evaluation:
    """What a model does on a data set.

    Attributes:
        ap: average precision by class.
        results: one an image, in the data set's order; labels are those of the data set.
    """

    ap: ClassAP
    results: tuple[ImageResult, ...]

    @property
    def detections(self) -> tuple[Detections, ...]:
        """One an image."""
        return tuple(result.detections for result in self.results)

    @property
    def proposal_seconds(self) -> float | None:
        """Mean an image; None where none were made."""
        seconds = [result.seconds.proposals for result in self.results]
        return None if None in seconds else float(np.mean(seconds))

    @property
    def detection_seconds(self) -> float:
        """Mean an image."""
        return float(np.mean([result.seconds.detection for result in self.results]))


def evaluate_dataset(
    detector: Detector,
    dataset: Dataset,
    source: ProposalSource | None = None,
    metric: VocMetric = "voc",
    config: DetectionConfig = EVALUATION,
    track: Track = silent,
    processes: Processes = ALONE,
) -> Evaluation | None:
    """Detect objects in every image and compute the average precision.

    Args:
        detector: its classes are those of the data set, in any order; more are allowed.
        dataset: images and objects.
        source: of proposals, such as a file of them; None to search image by image.
        metric: ``voc`` or ``voc07``.
        config: how.
        track: progress.
        processes: those that divide the images among themselves.

    Returns:
        The scores, on process 0; None on the others.

    Raises:
        DataError: the data set has a class the model does not know, an image cannot be read, or proposals are missing.
    """
    relabel = _relabel(detector.classes, dataset)
    share = []
    records = processes.share(dataset.records)
    with closing(detect_files(detector, records, source, config)) as looked:
        for each in track(looked, len(records)):
            if each.fault is not None:
                raise each.fault
            share.append(replace(each.result, detections=relabel(each.result.detections)))
    results = processes.gather(share)
    if results is None:
        return None
    objects = [record.objects for record in dataset.records]
    found = [result.detections for result in results]
    return Evaluation(evaluate(found, objects, len(dataset.classes), metric), tuple(results))


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
