"""The options of `frcnn train`, and the recipe that they make."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import click

from frcnn_cli.commands.options import PATH, Numbers
from frcnn_cli.commands.train_config import use_config, use_run
from frcnn_cli.core.backbones import DEFAULT_BACKBONE, NORMALISATIONS
from frcnn_cli.core.sampling import SamplingConfig
from frcnn_cli.engine.batches import Scales
from frcnn_cli.engine.training_config import PRECISIONS, Schedule, TrainingConfig
from frcnn_cli.errors import UsageError

F = TypeVar("F", bound=Callable)


class Real(click.FloatRange):
    """A number of a range: nan, which no comparison finds outside of one, and infinity are none."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number", param, ctx)
        return number


POSITIVE = click.IntRange(1)
COUNT = click.IntRange(0)
FRACTION = Real(0, 1)
BELOW_ONE = Real(0, 1, max_open=True)
NOT_NEGATIVE = Real(0)


def _rising(ctx: click.Context, param: click.Parameter, value: tuple[float, float]) -> tuple[float, float]:
    if value[0] >= value[1]:
        raise click.BadParameter(f"{value[0]} {value[1]}: the first must be the smaller")
    return value


def _some(ctx: click.Context, param: click.Parameter, value: tuple[int, ...]) -> tuple[int, ...]:
    if not value:
        raise click.BadParameter("needs a number")
    return value


def option(*names: str, **settings: Any) -> Callable[[F], F]:
    """An option that shows its default."""
    return click.option(*names, show_default=True, **settings)


OPTIONS = (
    option("--output", type=PATH, metavar="DIR", help="The run's folder."),
    option(
        "--resume",
        type=PATH,
        metavar="DIR",
        is_eager=True,
        callback=use_run,
        help="Go on with an interrupted run, with its own settings.",
    ),
    option(
        "--config",
        type=PATH,
        metavar="FILE",
        is_eager=True,
        callback=use_config,
        help="Take options from the config.toml of a run; those named here win.",
    ),
    # the data
    option("--split", default="train", help="The list of --voc to learn from."),
    option("--add-voc", type=PATH, metavar="ROOT", help="A further folder with such a list, as VOC2012 for 07+12."),
    option("--val-split", metavar="NAME", help="The list of --voc to measure on; without it nothing is measured."),
    option("--val-coco", type=PATH, metavar="ANN.json", help="The same for --coco, with the same --images."),
    option(
        "--proposals",
        type=PATH,
        metavar="FILE",
        help="Any format; made if missing.  [default: DIR/proposals-SPLIT.npz]",
    ),
    option("--val-proposals", type=PATH, metavar="FILE", help="Likewise, for validation."),
    # the model
    option("--backbone", default=DEFAULT_BACKBONE, help="efficientnet_lite0, vgg16, alexnet, or a model name of timm."),
    option("--backbone-weights", default="imagenet", metavar="imagenet|none|FILE", help="Weights to start from."),
    option(
        "--normalisation",
        type=click.Choice(list(NORMALISATIONS)),
        help="Bring pixels to what the weights learned from: caffe for those converted from Caffe, also by way of Keras; "
        "vgg16-features for torchvision's VGG16 IMAGENET1K_FEATURES; imagenet for its others.  "
        "[default: the backbone's]",
    ),
    option("--allow-download", is_flag=True, help="Fetch ImageNet weights that are not installed."),
    option("--init", type=PATH, metavar="CHECKPOINT", help="Start from a trained detector instead."),
    option("--fc-width", type=POSITIVE, help="Units of fc6 and fc7.  [default: the backbone's]"),
    option(
        "--neck",
        type=COUNT,
        metavar="CHANNELS",
        help="Merge maps at strides 8 to 32; 0: a single map.  [default: the backbone's]",
    ),
    option("--class-agnostic/--class-boxes", default=False, help="One box a RoI, or one a class, as in the paper."),
    option("--roi-size", type=POSITIVE, help="P, of P x P pooling.  [default: the backbone's]"),
    # a mini-batch
    option("--iterations", type=POSITIVE, default=40_000, help="Updates."),
    option(
        "--sampling",
        type=click.Choice(["hierarchical", "region-wise"]),
        default="hierarchical",
        help="R RoIs from N images, or each RoI from another image: N = R, as R-CNN and SPPnet trained.",
    ),
    option("--images-per-batch", type=POSITIVE, default=2, help="N."),
    option("--rois-per-batch", type=POSITIVE, default=128, help="R, over all images of a batch."),
    option(
        "--foreground-fraction",
        type=FRACTION,
        default=0.25,
        help="The most of a batch's RoIs, shared out among its images.",
    ),
    option("--foreground-iou", type=FRACTION, default=0.5, help="The least overlap of a foreground RoI."),
    option(
        "--background-iou",
        type=(FRACTION, FRACTION),
        default=(0.1, 0.5),
        callback=_rising,
        help="Overlap of a background RoI.",
    ),
    # its images
    option(
        "--short-side",
        type=Numbers(),
        default="600",
        callback=_some,
        help="Pixels; one of several, as in 480,576, an image.",
    ),
    option("--long-side", type=POSITIVE, default=1000, help="Pixels, at most."),
    option("--flip", type=FRACTION, default=0.5, help="Probability of mirroring an image."),
    option("--colour-jitter", type=BELOW_ONE, default=0.0, help="Of brightness, contrast and saturation."),
    option("--balance", type=FRACTION, default=0.0, help="Show images of classes rarer than this share more often."),
    # an update
    option("--ema", type=BELOW_ONE, default=0.0, help="Save a moving average of the weights, of this decay."),
    option("--optimizer", type=click.Choice(["sgd", "adamw"]), default="sgd", help="The paper uses SGD."),
    option("--lr", type=Real(0, min_open=True), default=0.001, help="Learning rate."),
    option("--backbone-lr-factor", type=NOT_NEGATIVE, default=1.0, help="Times the learning rate, for convolutions."),
    option("--momentum", type=FRACTION, default=0.9, help="Of SGD."),
    option("--weight-decay", type=NOT_NEGATIVE, default=0.0005, help="On weights, not on biases."),
    option("--schedule", type=click.Choice(["step", "cosine"]), default="step", help="Of the learning rate."),
    option("--steps", type=Numbers(), default="30000", help="Iterations at which the learning rate falls to a tenth."),
    option("--warmup", type=COUNT, default=0, help="Iterations over which the learning rate rises."),
    option("--loss-lambda", type=NOT_NEGATIVE, default=1.0, help="Weight of the localisation loss."),
    option(
        "--normalise-targets/--raw-targets",
        default=True,
        help="Regression targets of zero mean and unit variance, as in the paper, or as they are.",
    ),
    option("--dropout", type=FRACTION, default=0.5, help="After fc6 and fc7."),
    option(
        "--precision",
        type=click.Choice(list(PRECISIONS)),
        default="float32",
        help="Of the forward pass; float16 scales the loss.",
    ),
    option(
        "--images-per-pass",
        type=POSITIVE,
        default=8,
        help="Through the network at a time; gradients of a batch add up.",
    ),
    # the run
    option("--checkpoint-every", type=POSITIVE, default=1000, help="Iterations."),
    option("--eval-every", type=COUNT, default=5000, help="Iterations; 0 measures at the end only."),
    option("--log-every", type=POSITIVE, default=20, help="Iterations."),
    option("--loaders", type=COUNT, default=1, help="Processes that prepare batches."),
    option("--seed", type=COUNT, default=0, help="Of everything random."),
    option("--check", is_flag=True, help="List all faults of the data and stop; nothing is trained or written."),
    option("--plot", type=PATH, metavar="DIR", help="Draw curves.png of a run's log anew, and stop."),
)
"""As --help shows them."""


def training_options(command: F) -> F:
    """All options of `frcnn train` but those that other commands share."""
    for add in reversed(OPTIONS):
        command = add(command)
    return command


def training_config(given: dict[str, Any]) -> TrainingConfig:
    """The recipe that the options make.

    Raises:
        UsageError: numbers that do not go together.
    """
    images = given["rois_per_batch"] if given["sampling"] == "region-wise" else given["images_per_batch"]
    if given["rois_per_batch"] < images:
        raise UsageError("--rois-per-batch must be at least --images-per-batch: each image gives one RoI or more")
    return TrainingConfig(
        iterations=given["iterations"],
        optimizer=given["optimizer"],
        lr=given["lr"],
        backbone_lr_factor=given["backbone_lr_factor"],
        momentum=given["momentum"],
        weight_decay=given["weight_decay"],
        schedule=Schedule(given["schedule"], given["steps"], warmup=given["warmup"]),
        sampling=SamplingConfig(
            images,
            given["rois_per_batch"],
            given["foreground_fraction"],
            given["foreground_iou"],
            given["background_iou"],
        ),
        box_weight=given["loss_lambda"],
        normalise_targets=given["normalise_targets"],
        scales=Scales(given["short_side"], given["long_side"]),
        flip_probability=given["flip"],
        colour_jitter=given["colour_jitter"],
        balance=given["balance"],
        ema=given["ema"],
        dropout=given["dropout"],
        precision=given["precision"],
        images_per_pass=given["images_per_pass"],
        seed=given["seed"],
        checkpoint_every=given["checkpoint_every"],
        eval_every=given["eval_every"],
        log_every=given["log_every"],
    )
