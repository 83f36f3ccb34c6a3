"""The numbers of mini-batch sampling (paper, section 2.3)."""

from __future__ import annotations

from dataclasses import dataclass

from frcnn_cli.settings import setting


def _rising(bounds: tuple[float, float]) -> str | None:
    low, high = bounds
    return f"{low} {high}: the first must be the smaller" if low >= high else None


@dataclass(frozen=True)
class SamplingConfig:
    """Hierarchical sampling: N images, then R / N RoIs from each.

    With N = R each RoI is from another image: region-wise sampling, as R-CNN and SPPnet trained. A smaller N is
    cheaper, as RoIs of one image share its pass through the convolutions.

    Attributes:
        images_per_batch: N.
        rois_per_batch: R, at least N.
        foreground_fraction: the most of a batch's RoIs that are foreground, shared out evenly among its images.
        foreground_iou: a RoI with at least this overlap with an object is foreground.
        background_iou: any other RoI whose largest overlap is in [low, high) is background. Where low is 0, images
            without objects give background too.
        kind: ``hierarchical``, or ``region-wise``, which makes N what R is.
    """

    images_per_batch: int = setting(
        2, "Images of a mini-batch, N; the RoIs of one image share its pass.", table="sampling", least=1
    )
    rois_per_batch: int = setting(128, "RoIs of a mini-batch, R, over all its images.", table="sampling", least=1)
    foreground_fraction: float = setting(
        0.25,
        "The largest share of a batch's RoIs that are foreground, divided among its images.",
        table="sampling",
        least=0,
        most=1,
    )
    foreground_iou: float = setting(
        0.5, "The least IoU with an object that makes a RoI foreground.", table="sampling", least=0, most=1
    )
    background_iou: tuple[float, float] = setting(
        (0.1, 0.5),
        "A RoI that is not foreground is background if its largest IoU with an object is at least the first and below "
        "the second. From 0 on, images without objects give background too.",
        table="sampling",
        least=0,
        most=1,
        check=_rising,
    )
    kind: str = setting(
        "hierarchical",
        "Take R RoIs from N images, or each RoI from another image (N = R), as R-CNN and SPPnet trained.",
        option="sampling",
        table="sampling",
        choices=("hierarchical", "region-wise"),
    )

    def __post_init__(self) -> None:
        if self.kind == "region-wise":
            object.__setattr__(self, "images_per_batch", self.rois_per_batch)

    @property
    def rois_per_image(self) -> float:
        """R / N."""
        return self.rois_per_batch / self.images_per_batch

    def rois_of(self, place: int) -> int:
        """RoIs that image 0, 1, ... of a batch gives: whole numbers that add up to R, as equal as can be."""
        return self._rois_before(place + 1) - self._rois_before(place)

    def most_foreground(self, place: int) -> int:
        """Those of them that may be foreground: whole numbers that add up to the fraction of the batch.

        Of four images that give one RoI each, one may give a foreground RoI. Which image is in which place is chance.
        """
        return self._foreground_before(place + 1) - self._foreground_before(place)

    def _rois_before(self, place: int) -> int:
        return self.rois_per_batch * place // self.images_per_batch

    def _foreground_before(self, place: int) -> int:
        # Counted in RoIs, not in images, so that no image has more foreground than RoIs.
        images = self._rois_before(place) / self.rois_per_image
        return round(self.foreground_fraction * self.rois_per_image * images)
