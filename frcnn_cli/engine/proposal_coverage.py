"""How well the proposals of a file cover the objects of a data set."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from frcnn_cli.data.proposal_formats import Proposals
from frcnn_cli.data.samples import Dataset, ImageRecord
from frcnn_cli.metrics.proposal_recall import COUNTS, Coverage, ProposalRecall

Track = Callable[[Iterable[ImageRecord]], Iterable[ImageRecord]]


def measure_coverage(
    dataset: Dataset, proposals: Proposals, max_proposals: int = COUNTS[-1], track: Track = iter
) -> Coverage:
    """Hold every image's proposals against its objects; difficult objects do not count.

    The numbers of proposals looked at are those of `COUNTS` below the most that an image may have, and that itself.

    Args:
        dataset: images and objects.
        proposals: of all its images; more are allowed.
        max_proposals: the most an image may have, where the file does not say.
        track: passes the images through one by one, for a progress display.

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
