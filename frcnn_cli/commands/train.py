"""`frcnn train`: a data set in, a folder with a trained detector out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import torch
from click.core import ParameterSource

from frcnn_cli.commands.console import err
from frcnn_cli.commands.options import (
    PATH,
    DatasetOptions,
    dataset_options,
    device_option,
    pick_device,
    proposal_options,
)
from frcnn_cli.commands.propose import make_proposals
from frcnn_cli.commands.train_display import TrainingDisplay
from frcnn_cli.core.backbones import (
    DEFAULT_BACKBONE,
    NORMALISATIONS,
    Normalisation,
    backbone_config,
)
from frcnn_cli.core.model import Architecture, FastRCNN, unfold_target_normalisation
from frcnn_cli.core.sampling import SamplingConfig
from frcnn_cli.data.proposal_formats import Proposals, has_proposals, open_proposals
from frcnn_cli.data.samples import Dataset
from frcnn_cli.engine.backbone_weights import load_backbone_weights
from frcnn_cli.engine.batches import Scales
from frcnn_cli.engine.checkpoint import Checkpoint, load_checkpoint
from frcnn_cli.engine.proposer import ProposalConfig
from frcnn_cli.engine.run import MODEL_FILE, STATE_FILE, Run, restore_run, start_run
from frcnn_cli.engine.trainer import Validation
from frcnn_cli.engine.trainer import train as run_training
from frcnn_cli.engine.training_config import Schedule, TrainingConfig
from frcnn_cli.errors import DataError, Interrupted, UsageError
from frcnn_cli.files import atomic_write, reason

SETTINGS_FILE = "run.json"
LASTING = ("backbone", "neck", "class_agnostic", "ema", "fc_width", "roi_size", "normalisation", "optimizer")
"""What the state of a run is made for, so that --resume cannot change it."""

BUILDING = ("backbone", "backbone_weights", "neck", "class_agnostic", "fc_width", "roi_size", "normalisation")
"""What a new model is built by."""


def _numbers(ctx: click.Context, param: click.Parameter, value: str) -> tuple[int, ...]:
    try:
        numbers = tuple(int(part) for part in value.split(",") if part.strip())
    except ValueError:
        raise click.BadParameter(f"{value!r} is not a list of whole numbers such as 480,576") from None
    if any(number < 1 for number in numbers):
        raise click.BadParameter("numbers start at 1")
    return numbers


def option(*names: str, **settings: Any):
    """An option that shows its default."""
    return click.option(*names, show_default=True, **settings)


POSITIVE = click.IntRange(1)
FRACTION = click.FloatRange(0, 1)


@click.command()
@option("--output", type=PATH, metavar="DIR", help="The run's folder.")
@option("--resume", type=PATH, metavar="DIR", help="Go on with an interrupted run, with its own settings.")
@option("--split", default="train", help="The list of --voc to learn from.")
@option("--val-split", metavar="NAME", help="The list of --voc to measure on; without it nothing is measured.")
@option("--val-coco", type=PATH, metavar="ANN.json", help="The same for --coco, with the same --images.")
@option(
    "--proposals", type=PATH, metavar="FILE", help="Any format; made if missing.  [default: DIR/proposals-SPLIT.npz]"
)
@option("--val-proposals", type=PATH, metavar="FILE", help="Likewise, for validation.")
@option("--backbone", default=DEFAULT_BACKBONE, help="efficientnet_lite0, vgg16, alexnet, or a model name of timm.")
@option("--backbone-weights", default="imagenet", metavar="imagenet|none|FILE", help="Weights to start from.")
@option("--normalisation", type=click.Choice(list(NORMALISATIONS)), help="Of the input.  [default: the backbone's]")
@option("--allow-download", is_flag=True, help="Fetch ImageNet weights that are not installed.")
@option("--init", type=PATH, metavar="CHECKPOINT", help="Start from a trained detector instead.")
@option("--fc-width", type=POSITIVE, help="Units of fc6 and fc7.  [default: the backbone's]")
@option(
    "--neck",
    type=click.IntRange(0),
    metavar="CHANNELS",
    help="Merge maps at strides 8 to 32; 0: a single map.  [default: the backbone's]",
)
@option("--class-agnostic/--class-boxes", default=False, help="One box a RoI, or one a class, as in the paper.")
@option("--roi-size", type=POSITIVE, help="P, of P x P pooling.  [default: the backbone's]")
@option("--iterations", type=POSITIVE, default=40_000, help="Updates.")
@option(
    "--sampling",
    type=click.Choice(["hierarchical", "region-wise"]),
    default="hierarchical",
    help="R RoIs from N images, or each RoI from another image: N = R, as R-CNN and SPPnet trained.",
)
@option("--images-per-batch", type=POSITIVE, default=2, help="N.")
@option("--rois-per-batch", type=POSITIVE, default=128, help="R, over all images of a batch.")
@option(
    "--foreground-fraction",
    type=FRACTION,
    default=0.25,
    help="The most of a batch's RoIs, shared out among its images.",
)
@option("--foreground-iou", type=FRACTION, default=0.5, help="The least overlap of a foreground RoI.")
@option("--background-iou", type=(FRACTION, FRACTION), default=(0.1, 0.5), help="Overlap of a background RoI.")
@option("--short-side", default="600", callback=_numbers, help="Pixels; one of several, as in 480,576, an image.")
@option("--long-side", type=POSITIVE, default=1000, help="Pixels, at most.")
@option("--flip", type=FRACTION, default=0.5, help="Probability of mirroring an image.")
@option(
    "--colour-jitter",
    type=click.FloatRange(0, 1, max_open=True),
    default=0.0,
    help="Of brightness, contrast and saturation.",
)
@option("--balance", type=FRACTION, default=0.0, help="Show images of classes rarer than this share more often.")
@option(
    "--ema",
    type=click.FloatRange(0, 1, max_open=True),
    default=0.0,
    help="Save a moving average of the weights, of this decay.",
)
@option("--optimizer", type=click.Choice(["sgd", "adamw"]), default="sgd", help="The paper uses SGD.")
@option("--lr", type=click.FloatRange(0, min_open=True), default=0.001, help="Learning rate.")
@option(
    "--backbone-lr-factor", type=click.FloatRange(0), default=1.0, help="Times the learning rate, for convolutions."
)
@option("--momentum", type=FRACTION, default=0.9, help="Of SGD.")
@option("--weight-decay", type=click.FloatRange(0), default=0.0005, help="On weights, not on biases.")
@option("--schedule", type=click.Choice(["step", "cosine"]), default="step", help="Of the learning rate.")
@option("--steps", default="30000", callback=_numbers, help="Iterations at which the learning rate falls to a tenth.")
@option("--warmup", type=click.IntRange(0), default=0, help="Iterations over which the learning rate rises.")
@option("--loss-lambda", type=click.FloatRange(0), default=1.0, help="Weight of the localisation loss.")
@option("--dropout", type=FRACTION, default=0.5, help="After fc6 and fc7.")
@option("--precision", type=click.Choice(["float32", "bfloat16"]), default="float32", help="Of the forward pass.")
@option(
    "--images-per-pass", type=POSITIVE, default=8, help="Through the network at a time; gradients of a batch add up."
)
@option("--checkpoint-every", type=POSITIVE, default=1000, help="Iterations.")
@option("--eval-every", type=click.IntRange(0), default=5000, help="Iterations; 0 measures at the end only.")
@option("--log-every", type=POSITIVE, default=20, help="Iterations.")
@option("--loaders", type=click.IntRange(0), default=1, help="Processes that prepare batches.")
@option("--seed", type=click.IntRange(0), default=0, help="Of everything random.")
@device_option
@proposal_options
@dataset_options
@click.pass_context
def train(ctx: click.Context, data: DatasetOptions, **given: Any) -> None:
    """Train a detector: one stage, one loss, from the images to the boxes.

    The numbers' defaults are the paper's (VOC07, one GPU). DIR gets model.safetensors (the latest), best.safetensors
    (by validation mAP), log.csv, TensorBoard events, and what --resume needs.

    \b
    frcnn train --voc VOCdevkit/VOC2007 --split trainval --val-split test --output run
    frcnn train --coco train.json --images photos --output run --short-side 400 --iterations 4000
    frcnn train --resume run
    """
    if given["resume"]:
        data, given = _stored_settings(ctx, data, given)
    elif given["output"] is None:
        raise UsageError("where to? give --output DIR, or --resume DIR")
    elif (given["output"] / STATE_FILE).exists():
        raise UsageError(f"--output {given['output']}: holds a run already; --resume it, or choose another folder")
    if given["init"]:
        _refuse(ctx, BUILDING, "the model of --init is as it is")
    _refuse_fewer_images_than_regions(ctx, given)
    config = _config(given)
    device = pick_device(given["device"])

    start = None
    if given["resume"]:
        start = load_checkpoint(given["output"] / MODEL_FILE)
    elif given["init"]:
        start = load_checkpoint(given["init"])
    dataset = data.load(given["split"], classes=start.classes if given["resume"] else None)
    validation_set = _validation_set(data, given, dataset.classes)
    model, normalisation = _model(given, config, start, dataset.classes)
    try:
        given["output"].mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{given['output']}: cannot be made a folder ({reason(error)})") from error
    proposals = _proposals(dataset, given["proposals"], given["split"], given)
    validation = None
    if validation_set:
        name = given["val_split"] or "val"
        validation = Validation(validation_set, _proposals(validation_set, given["val_proposals"], name, given))

    notes = {
        "dataset": dataset.name,
        "images": len(dataset),
        "weights": str(given["init"] or given["backbone_weights"]),
    }
    if given["resume"]:
        run = Run(model, dataset.classes, normalisation, config, None, None, notes=notes)
        restore_run(run, given["output"])
    else:
        run = start_run(model, normalisation, dataset, proposals, config, notes)
        if start and start.classes == dataset.classes:
            unfold_target_normalisation(model.head.bbox_pred, run.target_mean, run.target_std)
        _store_settings(data, given)
    err.print(
        f"{run.model.architecture.backbone}, {len(dataset.classes)} classes, {len(dataset)} images of {dataset.name}, "
        f"on {device}: iterations {run.iteration + 1} to {config.iterations}"
    )
    try:
        with TrainingDisplay(config.iterations, run.iteration) as display:
            run_training(run, dataset, proposals, given["output"], display, validation, given["loaders"], device)
    except Interrupted as stop:
        raise Interrupted(f"{stop}; go on with: frcnn train --resume {given['output']}") from None
    score = f", mAP {run.last_map:.4f}" if run.last_map >= 0 else ""
    err.print(f"{given['output'] / MODEL_FILE}: trained for {run.iteration} iterations{score}")


def _refuse_fewer_images_than_regions(ctx: click.Context, given: dict[str, Any]) -> None:
    images, rois = given["images_per_batch"], given["rois_per_batch"]
    named = ctx.get_parameter_source("images_per_batch") == ParameterSource.COMMANDLINE
    if given["sampling"] == "region-wise" and named and images != rois:
        raise UsageError(
            f"--images-per-batch {images}: with --sampling region-wise each of the {rois} RoIs is from another image"
        )


def _config(given: dict[str, Any]) -> TrainingConfig:
    images = given["rois_per_batch"] if given["sampling"] == "region-wise" else given["images_per_batch"]
    low, high = given["background_iou"]
    if low >= high:
        raise UsageError(f"--background-iou {low} {high}: the first must be the smaller")
    if given["rois_per_batch"] < images:
        raise UsageError("--rois-per-batch must be at least --images-per-batch: each image gives one RoI or more")
    if not given["short_side"]:
        raise UsageError("--short-side needs a number")
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
            (low, high),
        ),
        box_weight=given["loss_lambda"],
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


def _validation_set(data: DatasetOptions, given: dict[str, Any], classes: tuple[str, ...]) -> Dataset | None:
    if data.coco is not None and given["val_coco"]:
        return data.load("", coco=given["val_coco"], classes=classes)
    if data.voc is not None and given["val_split"]:
        return data.load(given["val_split"], classes=classes)
    return None


def _proposals(dataset: Dataset, path: Path | None, split: str, given: dict[str, Any]) -> Proposals:
    path = path or given["output"] / f"proposals-{split}.npz"
    if not has_proposals(path):
        err.print(f"{path}: not there, so the proposals of {dataset.name} are made first")
        make_proposals(
            list(dataset.records), path, ProposalConfig(given["mode"], given["max_proposals"]), given["workers"]
        )
    file = open_proposals(path)
    missing = [record.id for record in dataset.records if record.id not in file]
    if missing:
        raise DataError(f"{path}: no proposals for {len(missing)} of {len(dataset)} images, such as {missing[0]}")
    return file


def _model(
    given: dict[str, Any], config: TrainingConfig, start: Checkpoint | None, classes: tuple[str, ...]
) -> tuple[FastRCNN, Normalisation]:
    """The model to train and its input's normalisation: a new one, or a detector that is to learn more."""
    torch.manual_seed(config.seed)
    if start is not None:
        return _from_detector(start, config, classes), start.normalisation
    defaults = backbone_config(given["backbone"])
    normalisation = NORMALISATIONS[given["normalisation"]] if given["normalisation"] else defaults.normalisation
    architecture = Architecture(
        given["backbone"],
        len(classes),
        given["roi_size"] or defaults.roi_size,
        given["fc_width"] or defaults.fc_width,
        neck=defaults.neck if given["neck"] is None else given["neck"],
        class_agnostic=given["class_agnostic"],
    )
    model = FastRCNN(architecture, config.dropout)
    load_backbone_weights(model.backbone, given["backbone"], given["backbone_weights"], given["allow_download"])
    return model, normalisation


def _from_detector(start: Checkpoint, config: TrainingConfig, classes: tuple[str, ...]) -> FastRCNN:
    """The model of a checkpoint; for other classes than its own, the two last layers are made anew."""
    model = FastRCNN(replace(start.architecture, num_classes=len(classes)), config.dropout)
    anew: tuple[str, ...] = ()
    if start.classes != classes:
        anew = ("head.cls_score.", "head.bbox_pred.")
        err.print("the classes are not those of --init: the last two layers start anew")
    model.load_state_dict(model.state_dict() | {k: v.float() for k, v in start.state.items() if not k.startswith(anew)})
    return model


def _store_settings(data: DatasetOptions, given: dict[str, Any]) -> None:
    """Keep the command's options in the run's folder; paths are made absolute, so that it can be resumed anywhere."""
    stored = {name: value for name, value in given.items() if name not in ("output", "resume", "device")}
    stored |= {"voc": data.voc, "coco": data.coco, "images": data.images}
    stored |= {"classes": ",".join(data.classes) if data.classes else None, "skip_faulty": data.skip_faulty}
    for name in ("voc", "coco", "images", "val_coco", "proposals", "val_proposals", "init"):
        if isinstance(stored[name], Path) or (name == "voc" and stored[name] and Path(stored[name]).exists()):
            stored[name] = str(Path(stored[name]).absolute())
    with atomic_write(given["output"] / SETTINGS_FILE) as temporary:
        temporary.write_text(json.dumps(stored, indent=2) + "\n", encoding="utf-8")


def _refuse(ctx: click.Context, names: Sequence[str], why: str) -> None:
    """Options that would have no effect are a misunderstanding."""
    for name in names:
        if ctx.get_parameter_source(name) == ParameterSource.COMMANDLINE:
            raise UsageError(f"--{name.replace('_', '-')}: {why}")


def _stored_settings(
    ctx: click.Context, data: DatasetOptions, given: dict[str, Any]
) -> tuple[DatasetOptions, dict[str, Any]]:
    """The options of an earlier run; those named on this command line replace them."""
    _refuse(ctx, ("output", "init"), "--resume goes on in its own folder, from its own state")
    path = given["resume"] / SETTINGS_FILE
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; there is no run to resume in {given['resume']}") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not the settings of a run") from error

    def named(name: str) -> bool:
        return ctx.get_parameter_source(name) == ParameterSource.COMMANDLINE

    merged = dict(given)
    for name, value in stored.items():
        if name in given and not named(name):
            is_path = name in ("val_coco", "proposals", "val_proposals", "init")
            merged[name] = Path(value) if is_path and value else tuple(value) if isinstance(value, list) else value
    for name in LASTING:
        if named(name) and stored.get(name) != given[name]:
            flag = f"--{name.replace('_', '-')} {given[name]}"
            raise UsageError(f"{flag}: the run in {given['resume']} was begun with {stored.get(name) or 'the default'}")
    merged["output"] = given["resume"]
    if not data.given:
        data = replace(
            data,
            voc=stored["voc"],
            coco=Path(stored["coco"]) if stored["coco"] else None,
            images=Path(stored["images"]) if stored["images"] else None,
            classes=tuple(stored["classes"].split(",")) if stored["classes"] else None,
            skip_faulty=stored["skip_faulty"],
        )
    return data, merged
