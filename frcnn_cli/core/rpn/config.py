"""The numbers of a region proposal network: how it learns, and what becomes of its proposals."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class AnchorSampling:
    """Which anchors of an image to learn from (Faster R-CNN, section 3.1.2).

    Attributes:
        anchors: of an image.
        positive_fraction: the most of them that are positive; negative ones take the place of those that are not there.
        positive_iou: an anchor with at least this overlap with an object is positive, and so is an object's best one.
        negative_iou: one with less than this overlap with all objects is negative.
        across_border: whether anchors that cross the border of the image take part; the paper leaves them out.
    """

    anchors: int = 256
    positive_fraction: float = 0.5
    positive_iou: float = 0.7
    negative_iou: float = 0.3
    across_border: bool = False


@dataclass(frozen=True)
class ProposalSelection:
    """Which boxes of the network become proposals.

    Attributes:
        count: the most, the best ones.
        considered: the likeliest boxes, of which overlapping ones are dropped until `count` are left.
        nms_iou: of two boxes that overlap by more, the less likely one is dropped.
        least_side: in pixels of the network's input; a box with a shorter side is dropped.
    """

    count: int
    considered: int
    nms_iou: float = 0.7
    least_side: float = 1.0


CONSIDERED = 6000
"""As the paper's code at test; it has twice as many in training, where that costs a CPU a tenth of a second an image,
and only 64 of the 2,000 that are left are drawn."""

TRAINING = ProposalSelection(count=2000, considered=CONSIDERED)
DETECTION = ProposalSelection(count=300, considered=CONSIDERED)
"""The paper's numbers of proposals (sections 3.3 and 4.1)."""


def selection_of(count: int) -> ProposalSelection:
    """What gives up to `count` proposals, otherwise as in detection."""
    return ProposalSelection(count, max(CONSIDERED, 3 * count))
