"""Measuring a trained detector: how well it does, and how long it takes."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

import torch

from frcnn_cli.data.images import evenly_spaced
from frcnn_cli.data.proposals import Proposals
from frcnn_cli.data.samples import Dataset, ImageRecord
from frcnn_cli.engine.checkpoint import Checkpoint
from frcnn_cli.engine.compression import Compression
from frcnn_cli.engine.detection_config import EvaluationConfig
from frcnn_cli.engine.detector import Detector
from frcnn_cli.engine.evaluator import evaluate_dataset
from frcnn_cli.engine.lineage.figures import Trial

AS_THE_PAPER = EvaluationConfig(nms_threshold=0.3, box_voting=False, max_proposals=2000, refine=0)
"""One look at each proposal, and each class's boxes by themselves."""

PARTS = (("fc6", 4), ("fc7", 16))
"""Of the singular values, what the paper keeps: 1,024 of VGG16's fc6 and 256 of its fc7, of 4,096 units each."""


def measure(checkpoint: Checkpoint, dataset: Dataset, proposals: Proposals | None, device: torch.device | str) -> Trial:
    """Detect in every image; the process does nothing else meanwhile.

    Raises:
        DataError: an image cannot be read, or proposals are missing.
    """
    detector = Detector.from_checkpoint(checkpoint, device)
    spent = 0.0

    def counted(records: Iterable[ImageRecord]) -> Iterator[ImageRecord]:
        nonlocal spent
        for record in records:
            start = time.process_time()
            yield record
            spent += time.process_time() - start

    evaluation = evaluate_dataset(detector, dataset, proposals, config=AS_THE_PAPER, track=counted)
    return Trial(evaluation.ap.mean_ap, evaluation.detection_seconds, spent / len(dataset))


SEEN = 64
"""Photographs by whose responses layers are cut."""


def compressed(checkpoint: Checkpoint, seen: Dataset | None = None) -> Checkpoint:
    """The same with fc6 and fc7 of a quarter and a sixteenth of the rank (paper, section 4.4).

    Args:
        checkpoint: to compress.
        seen: the images that it learned from, to cut the layers by their responses to; None for the paper's way.
    """
    paths = [record.path for record in seen.records] if seen else []
    compression = Compression(checkpoint, evenly_spaced(paths, SEEN))
    ranks = {name: max(compression.weights[name].shape[0] // part, 1) for name, part in PARTS}
    return compression.apply(ranks)
