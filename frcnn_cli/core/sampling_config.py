"""The numbers of mini-batch sampling (paper, section 2.3). Options are made of them, so nothing here needs torch."""

from __future__ import annotations

from dataclasses import dataclass


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
    """

    images_per_batch: int = 2
    rois_per_batch: int = 128
    foreground_fraction: float = 0.25
    foreground_iou: float = 0.5
    background_iou: tuple[float, float] = (0.1, 0.5)

    @property
    def rois_per_image(self) -> float:
        """R / N."""
        return self.rois_per_batch / self.images_per_batch

    def rois_of(self, place: int) -> int:
        """Return how many RoIs image 0, 1, ... of a batch gives: R in all, and no image two more than another."""
        return self._rois_before(place + 1) - self._rois_before(place)

    def most_foreground(self, place: int) -> int:
        """Return how many of these may be foreground: whole numbers that add up to the fraction of the batch.

        Of four images that give one RoI each, one may give a foreground RoI. Which image is in which place is chance.
        """
        return self._foreground_before(place + 1) - self._foreground_before(place)

    def _rois_before(self, place: int) -> int:
        return self.rois_per_batch * place // self.images_per_batch

    def _foreground_before(self, place: int) -> int:
        images = self._rois_before(place) / self.rois_per_image
        return round(self.foreground_fraction * self.rois_per_image * images)
