"""Detecting over a whole data set and scoring the result."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from frcnn_cli.data.detections import Detections
from frcnn_cli.data.proposals import Proposals
from frcnn_cli.data.samples import Dataset, ImageRecord
from frcnn_cli.engine.detector import DetectionConfig, Detector, detect_file
from frcnn_cli.engine.distributed import ALONE, Processes
from frcnn_cli.errors import DataError
from frcnn_cli.metrics.average_precision import ClassAP, VocMetric, evaluate

EVALUATION = DetectionConfig(score_threshold=0.01, nms_threshold=0.3, max_detections=100)
"""Low scores are kept: average precision looks at the whole ranking, not at one threshold."""

Track = Callable[[Iterable[ImageRecord]], Iterable[ImageRecord]]


@dataclass(frozen=True)
class Evaluation:
    """What a model does on a data set.

    Attributes:
        ap: average precision by class.
        detections: one an image, in the data set's order.
        proposal_seconds: mean an image; None where proposals came from a file.
        detection_seconds: mean an image.
    """

    ap: ClassAP
    detections: tuple[Detections, ...]
    proposal_seconds: float | None
    detection_seconds: float


def evaluate_dataset(
    detector: Detector,
    dataset: Dataset,
    proposals: Proposals | None,
    metric: VocMetric = "voc",
    config: DetectionConfig = EVALUATION,
    track: Track = iter,
    processes: Processes = ALONE,
) -> Evaluation | None:
    """Detect objects in every image and compute the average precision.

    Args:
        detector: its classes are those of the data set, in any order; more are allowed.
        dataset: images and objects.
        proposals: a proposal file; None to make proposals image by image.
        metric: ``voc`` or ``voc07``.
        config: how.
        track: passes the images through one by one, for a progress display.
        processes: those that divide the images among themselves.

    Returns:
        The scores, on process 0; None on the others.

    Raises:
        DataError: the data set has a class the model does not know, an image cannot be read, or proposals are missing.
    """
    relabel = _relabel(detector.classes, dataset)
    share = []
    for record in track(processes.share(dataset.records)):
        result = detect_file(detector, record.path, record.id, proposals, config)
        share.append((relabel(result.detections), result.seconds))
    results = processes.gather(share)
    if results is None:
        return None
    found, seconds = zip(*results, strict=True)
    ap = evaluate(found, [record.objects for record in dataset.records], len(dataset.classes), metric)
    proposal_seconds = None if proposals else float(np.mean([s.proposals for s in seconds]))
    return Evaluation(ap, found, proposal_seconds, float(np.mean([s.detection for s in seconds])))


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
        return Detections(detections.boxes[keep], detections.scores[keep], mapped[keep])

    return relabel
