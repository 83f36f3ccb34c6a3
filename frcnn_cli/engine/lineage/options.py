"""The numbers of a comparison; options are checked against them without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from frcnn_cli.core.backbones import BACKBONES, DEFAULT_BACKBONE, NORMALISATIONS
from frcnn_cli.engine.learners import LEARNERS
from frcnn_cli.engine.model_config import ModelConfig
from frcnn_cli.engine.training_config import TrainingConfig
from frcnn_cli.settings import setting


def check_detectors(text: str) -> str | None:
    """What is wrong with a list of detectors; None for nothing."""
    unknown = [name for name in text.split(",") if name not in LEARNERS]
    return f"no detector {unknown[0]!r}; there are {','.join(LEARNERS)}" if unknown else None


@dataclass(frozen=True)
class LineageOptions:
    """What is compared, and within what budget.

    Attributes:
        detectors: names of `LEARNERS`, with commas; None for all. It may differ from one call to the next.
        images: to learn from; those of the list that are drawn.
        val_images: to measure on; likewise.
        iterations: mini-batches of 128 regions.
        rcnn_iterations: those of R-CNN, each of which is 128 passes of the network.
        backbone: a name of `core.backbones`.
        backbone_weights: as for `ModelConfig`.
        allow_download: likewise.
        normalisation: likewise.
        fc_width: likewise.
        short_side: of images, in training and at test.
        crop: pixels of a side of R-CNN's crops.
        threads: of torch; the times in the table are those of one thread where it is 1.
        seed: of everything random, the choice of images included.
    """

    detectors: str | None = setting(
        None,
        "The detectors to train and measure now; those that are done stay in the table.",
        metavar="A,B,...",
        shown_default="all",
        check=check_detectors,
    )
    images: int = setting(300, "Images to learn from, drawn so that every class is shown.", least=1)
    val_images: int = setting(150, "Images to measure on.", least=1)
    iterations: int = setting(400, "Mini-batches of 128 regions that each detector learns from.", least=1)
    rcnn_iterations: int = setting(60, "Those of R-CNN, where each costs 128 passes.", least=1)
    backbone: str = setting(DEFAULT_BACKBONE, f"The network: {', '.join(BACKBONES)}, or a model name of timm.")
    backbone_weights: str = setting("imagenet", "Weights to start from.", metavar="imagenet|none|FILE")
    allow_download: bool = setting(False, "Fetch ImageNet's weights where they are not installed.")
    normalisation: str | None = setting(
        None,
        "What pixels become before the network: it belongs to the weights, as caffe to those converted from Caffe.",
        choices=tuple(NORMALISATIONS),
        shown_default="the backbone's",
    )
    fc_width: int | None = setting(None, "Units of fc6 and of fc7.", least=1, shown_default="the backbone's")
    short_side: int = setting(480, "Pixels of an image's shorter side, in training and at test.", least=1)
    crop: int = setting(160, "Pixels of a side that R-CNN warps regions to; its papers' are 224 and 227.", least=33)
    threads: int = setting(1, "Threads to compute on.", least=1)
    seed: int = setting(0, "The seed of everything random, the choice of images included.", least=0)


@dataclass(frozen=True)
class Contestant:
    """A detector that is to be trained and measured.

    Attributes:
        name: of `LEARNERS`.
        model: what to build.
        training: how it learns.
        own: the options that only its kind has.
    """

    name: str
    model: ModelConfig
    training: TrainingConfig
    own: Any
