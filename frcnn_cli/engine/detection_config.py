"""The numbers of detection: each field is an option of `frcnn detect`, and of `frcnn eval` where it is one there."""

from __future__ import annotations

from dataclasses import dataclass

from frcnn_cli.errors import UsageError
from frcnn_cli.settings import setting


@dataclass(frozen=True)
class DetectionConfig:
    """What counts as a detection, and how closely the image is looked at.

    The defaults of suppression, voting, the second look and the number of proposals are what
    `scripts/bench_selection.py` found best for the bundled model at no more time; the paper's are 0.3, no voting, no
    second look and 2,000.

    Attributes:
        score_threshold: least probability.
        nms_threshold: IoU above which the lower-scored of two boxes of a class is dropped.
        max_detections: an image, over all classes.
        short_side: pixels the image's shorter side is brought to; None: the checkpoint's.
        scales: several of them, in its place; each proposal is scored at the one that suits it (`assign_levels`).
        long_side: ... unless the longer would pass this. None: the checkpoint's, in proportion to the largest of
            `short_sides`; for 600 and 1000, and scales up to 1200, that is the paper's 2000.
        flip: average with the scores and boxes of the mirrored image.
        box_voting: see `core.detection.vote`.
        max_proposals: how many of an image's proposals are looked at, the first ones.
        refine: how many of the likeliest proposals are looked at again; see `core.refinement`.
        refine_flip: average the second look with that of the mirrored image, as `flip` does both looks.

    Raises:
        UsageError: both one scale and several are given, or none of several.
    """

    score_threshold: float = setting(0.5, "The least score of what is reported.", option="score", least=0, most=1)
    nms_threshold: float = setting(
        0.4, "The most that two detections of a class overlap, as IoU.", option="nms", least=0, most=1
    )
    max_detections: int = setting(100, "The most detections that are reported of an image.", least=1)
    short_side: int | None = setting(
        None, "Bring images to this shorter side.", metavar="PIXELS", least=1, shown_default="the model's"
    )
    scales: tuple[int, ...] | None = setting(
        None,
        "Look at images at several shorter sides; each proposal is scored where its area is nearest to 224 x 224.",
        metavar="A,B,...",
    )
    long_side: int | None = setting(
        None,
        "The most pixels that the longer side is brought to.",
        metavar="PIXELS",
        least=1,
        shown_default="the model's, in proportion",
    )
    flip: bool = setting(
        False,
        "Look at the mirrored image too, and take the mean; twice the time.",
        option="flip-test",
        off="no-flip-test",
    )
    box_voting: bool = setting(
        True, "Make each box the weighted mean of those of its class around it.", off="no-box-voting"
    )
    max_proposals: int = setting(
        1000, "Look at so many of an image's proposals, the best-ranked ones.", metavar="N", least=1
    )
    refine: int = setting(
        300, "Look at so many of the likeliest proposals once more, where they moved to.", metavar="N", least=0
    )
    refine_flip: bool = setting(
        True, "Look once more in the mirrored image too, and take the mean.", off="no-refine-flip"
    )

    def __post_init__(self) -> None:
        if self.scales == ():
            raise UsageError("--scales needs a number")
        if self.short_side and self.scales:
            raise UsageError("--short-side is one scale, --scales are several: give one of the two")

    @property
    def short_sides(self) -> tuple[int, ...]:
        """The scales that were asked for; none for the checkpoint's own."""
        return (self.short_side,) if self.short_side else self.scales or ()


@dataclass(frozen=True)
class EvaluationConfig(DetectionConfig):
    """The same for a measurement, which looks at the whole ranking: low scores are kept, and no option changes that."""

    score_threshold: float = 0.01
    max_detections: int = 100


EVALUATION = EvaluationConfig()
