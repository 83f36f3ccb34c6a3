"""The numbers of a region proposal network: how it learns, and what becomes of its proposals."""

from __future__ import annotations

from dataclasses import dataclass, replace

from frcnn_cli.settings import setting


def _rising(bounds: tuple[float, float]) -> str | None:
    low, high = bounds
    return f"{low} {high}: the first must not be the larger" if low > high else None


@dataclass(frozen=True)
class AnchorSampling:
    """Which anchors of an image to learn from (Faster R-CNN, section 3.1.2).

    Attributes:
        anchors: of an image.
        positive_fraction: the most of them that are positive; negative ones take the place of those that are not there.
        iou: an anchor is negative if it overlaps every object by less than the first, and positive if it overlaps one
            by the second or more, or is the best of an object.
        across_border: whether anchors that cross the border of the image take part. The paper leaves them out; but on
            images smaller than its own all the largest ones cross it, never learn that they are background, and crowd
            out the others among the proposals.
    """

    anchors: int = setting(256, "Anchors of an image that the proposal network learns from.", table="detector", least=1)
    positive_fraction: float = setting(
        0.5,
        "The largest share of them that lie on objects.",
        option="anchor-fraction",
        table="detector",
        least=0,
        most=1,
    )
    iou: tuple[float, float] = setting(
        (0.3, 0.7),
        "An anchor is background if its largest IoU with an object is below the first, and lies on the object from the "
        "second on.",
        option="anchor-iou",
        table="detector",
        least=0,
        most=1,
        check=_rising,
    )
    across_border: bool = setting(
        True,
        "Learn from anchors that cross the border of the image too, or leave them out, as the paper does.",
        option="border-anchors",
        table="detector",
        off="no-border-anchors",
    )


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

    def of(self, count: int) -> ProposalSelection:
        """The same, of up to so many proposals."""
        return replace(self, count=count, considered=max(self.considered, 3 * count))


CONSIDERED = 6000
"""As the paper's code at test; it has twice as many in training, where that costs a CPU a tenth of a second an image,
and only 64 of the 2,000 that are left are drawn."""

TRAINING = ProposalSelection(count=2000, considered=CONSIDERED)
DETECTION = ProposalSelection(count=300, considered=CONSIDERED)
"""The paper's numbers of proposals (sections 3.3 and 4.1)."""
