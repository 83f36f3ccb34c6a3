"""What a run's model is: a new one and its numbers, or a detector that is to learn more."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from frcnn_cli.core.backbones import BACKBONES, DEFAULT_BACKBONE, NORMALISATIONS
from frcnn_cli.engine.detectors import FAST_RCNN
from frcnn_cli.engine.learners import LEARNERS
from frcnn_cli.settings import leaves, setting

BUNDLED = "bundled"
"""What `init` calls the detector that ships with the package."""


@dataclass(frozen=True)
class ModelConfig:
    """The options that a model is made by. None stands for what suits the backbone.

    Attributes:
        detector: its kind, a name of `LEARNERS`.
        init: a checkpoint to start from, or ``bundled``; it replaces those that a new model is built by.
        backbone: a name of `core.backbones`.
        backbone_weights: ``imagenet``, ``none`` or a file.
        normalisation: of the input, a name of `NORMALISATIONS`.
        neck: channels of the backbone's neck; 0 for none.
        fc_width: units of fc6 and of fc7.
        roi_size: P.
        class_agnostic: one box a RoI instead of one a class.
        allow_download: whether ImageNet's weights may come from the network.
    """

    detector: str = setting(FAST_RCNN, "The kind of detector.", table="model", choices=LEARNERS, lasting=True)
    init: str | None = setting(
        None,
        "Start from a trained detector instead.",
        table="model",
        metavar="CHECKPOINT|bundled",
        words=(BUNDLED,),
    )
    backbone: str = setting(
        DEFAULT_BACKBONE,
        f"The network: {', '.join(BACKBONES)}, or a model name of timm.",
        table="model",
        lasting=True,
        building=True,
    )
    backbone_weights: str = setting(
        "imagenet",
        "Weights to start from.",
        table="model",
        metavar="imagenet|none|FILE",
        words=("imagenet", "none"),
        building=True,
    )
    normalisation: str | None = setting(
        None,
        "What pixels become before the network; it belongs to the weights: caffe to those converted from Caffe, Keras' "
        "VGG16 among them, vgg16-features to torchvision's VGG16 IMAGENET1K_FEATURES, imagenet to its others.",
        table="model",
        choices=tuple(NORMALISATIONS),
        shown_default="the backbone's",
        lasting=True,
        building=True,
    )
    neck: int | None = setting(
        None,
        "Channels of a neck that merges maps at strides 8 to 32; 0 takes a single map.",
        table="model",
        metavar="CHANNELS",
        least=0,
        shown_default="the backbone's",
        lasting=True,
        building=True,
    )
    fc_width: int | None = setting(
        None,
        "Units of fc6 and of fc7.",
        table="model",
        least=1,
        shown_default="the backbone's",
        lasting=True,
        building=True,
    )
    roi_size: int | None = setting(
        None,
        "Cells of a side, P, that RoI pooling makes of each RoI.",
        table="model",
        least=1,
        shown_default="the backbone's",
        lasting=True,
        building=True,
    )
    class_agnostic: bool = setting(
        False,
        "Predict one box for each RoI, or one for each of its classes, as in the paper.",
        table="model",
        off="class-boxes",
        lasting=True,
        building=True,
    )
    allow_download: bool = setting(False, "Fetch ImageNet's weights where they are not installed.", table="model")

    @property
    def weights(self) -> str:
        """Where the first weights are from, without a folder, which is nobody's business."""
        return Path(self.init or self.backbone_weights).name


BUILDING = tuple(leaf.name for leaf in leaves(ModelConfig) if leaf.about.building)
"""What a new model is built by, and `init` replaces."""
