"""What the papers report, to stand beside this machine's figures."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """A detector with VGG16 on VOC2007, trained on its trainval, on an Nvidia K40.

    Attributes:
        title: of the detector.
        stages: of training.
        storage: whether features are stored.
        limit: what its cost is bound to.
        hours: of training; None where the paper does not say.
        seconds: an image at test, proposals apart.
        svd_seconds: likewise, with a truncated SVD.
        mean_ap: on VOC2007 test.
        svd_mean_ap: likewise.
    """

    title: str
    stages: str
    storage: bool
    limit: str
    hours: float | None
    seconds: float
    mean_ap: float
    svd_seconds: float | None = None
    svd_mean_ap: float | None = None


PUBLISHED = {
    "rcnn": Published("R-CNN", "4", True, "a convolution for every proposal", 84, 47.0, 66.0),
    "sppnet": Published("SPPnet", "4", True, "convolutions that stay fixed", 25, 2.3, 63.1),
    "fast-rcnn": Published("Fast R-CNN", "1", False, "selective search", 9.5, 0.32, 66.9, 0.22, 66.6),
    "faster-rcnn": Published("Faster R-CNN", "1", False, "solved: it proposes by itself", None, 0.198, 69.9),
}
"""Fast R-CNN, table 4; Faster R-CNN (Ren et al., NIPS 2015), tables 2 and 5, whose seconds include its proposals."""
