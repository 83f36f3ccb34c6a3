"""How well the proposals of a file cover the objects of a data set."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from frcnn_cli.data.proposals import Proposals
from frcnn_cli.data.samples import Dataset, Objects
from frcnn_cli.engine.sources import ProposalSource
from frcnn_cli.errors import DataError
from frcnn_cli.metrics.proposal_recall import COUNTS, Coverage, ProposalRecall, best_overlaps
from frcnn_cli.progress import Track, silent

ALL = 1_000_000_000
"""More proposals than any image has."""

SHOWN = 20
"""As many ids of images without proposals are named: more, and it is the wrong file."""


def measure_coverage(
    dataset: Dataset, proposals: Proposals, max_proposals: int = COUNTS[-1], track: Track = silent
) -> Coverage:
    """Hold every image's proposals against its objects; difficult objects do not count.

    The numbers of proposals looked at are those of `COUNTS` below the most that an image may have, and that itself.

    Args:
        dataset: images and objects.
        proposals: of all its images; more are allowed.
        max_proposals: the most an image may have, where the file does not say.
        track: progress.

    Raises:
        DataError: the file lacks an image, or has proposals of another size of it.
    """
    most = proposals.meta.get("max_proposals")
    most = most if isinstance(most, int) and most > 0 else max_proposals
    recall = ProposalRecall([*(count for count in COUNTS if count < most), most])
    for record in track(dataset.records):
        objects = record.objects.without_difficult()
        recall.add(proposals.get(record.id, record.width, record.height), objects.boxes, objects.labels)
    return recall.result()


def check_proposals(dataset: Dataset, proposals: Proposals) -> tuple[tuple[str, ...], Coverage]:
    """Look at the proposals of every image of a data set.

    Returns:
        What is wrong with them, one line each: images that the file lacks (all in one line), boxes that are none of
        their image. And how well all the sound ones together cover the objects.
    """
    faults: list[str] = []
    missing: list[str] = []
    recall = ProposalRecall([ALL])
    for record in dataset.records:
        if record.id not in proposals:
            missing.append(record.id)
            continue
        try:
            boxes = proposals.get(record.id, record.width, record.height)
        except DataError as error:
            faults.append(str(error))
        else:
            objects = record.objects.without_difficult()
            recall.add(boxes, objects.boxes, objects.labels)
    if missing:
        shown = ", ".join(missing[:SHOWN]) + (", ..." if len(missing) > SHOWN else "")
        faults.insert(0, f"{proposals.path}: no proposals for {len(missing)} of {len(dataset)} images: {shown}")
    return tuple(faults), recall.result()


class CoverageSource:
    """Hands proposals on, and keeps how well they cover the objects of each image; a `ProposalSource`.

    Args:
        source: of the proposals.
        objects: of the images, by their ids.

    Attributes:
        counts: K numbers n; the last one means all.
        covered: of each image that was asked for, float64 [K, G]: the best IoU of each object with one of the first n.
    """

    counts = (*COUNTS, ALL)

    def __init__(self, source: ProposalSource, objects: Mapping[str, Objects]) -> None:
        self.source = source
        self.objects = objects
        self.covered: dict[str, np.ndarray] = {}

    @property
    def made(self) -> bool:
        """See `ProposalSource`."""
        return self.source.made

    def boxes(self, image: np.ndarray, image_id: str) -> np.ndarray:
        """See `ProposalSource.boxes`."""
        boxes = self.source.boxes(image, image_id)
        self.covered[image_id] = best_overlaps(boxes, self.objects[image_id].boxes, self.counts)
        return boxes
