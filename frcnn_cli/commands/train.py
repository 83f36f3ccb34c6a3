"""`frcnn train`: a data set in, a folder with a trained detector out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import torch

from frcnn_cli.commands.console import err, out
from frcnn_cli.commands.options import DatasetOptions, dataset_options, device_option, pick_device, proposal_options
from frcnn_cli.commands.train_config import BUILDING, CONFIG_FILE, named, of_one_layout, write_config
from frcnn_cli.commands.train_data import Part, load_data
from frcnn_cli.commands.train_display import TrainingDisplay
from frcnn_cli.commands.train_options import training_config, training_options
from frcnn_cli.core.backbones import NORMALISATIONS, Normalisation, backbone_config
from frcnn_cli.core.model import Architecture, FastRCNN, unfold_target_normalisation
from frcnn_cli.engine.allocator import keep_freed_memory
from frcnn_cli.engine.backbone_weights import load_backbone_weights
from frcnn_cli.engine.checkpoint import Checkpoint, load_checkpoint
from frcnn_cli.engine.distributed import current
from frcnn_cli.engine.run_state import MODEL_FILE, STATE_FILE, Run, restore_run, start_run
from frcnn_cli.engine.trainer import Validation
from frcnn_cli.engine.trainer import train as run_training
from frcnn_cli.engine.training_config import TrainingConfig
from frcnn_cli.engine.training_log import draw_curves
from frcnn_cli.errors import DataError, Interrupted, UsageError
from frcnn_cli.files import reason, remove_leftovers

LASTING = ("backbone", "neck", "class_agnostic", "fc_width", "roi_size")
"""What the model of a run is built by, so that --resume cannot change it."""


@click.command()
@training_options
@device_option
@proposal_options
@dataset_options
@click.pass_context
def train(ctx: click.Context, data: DatasetOptions, **given: Any) -> None:
    """Train a detector: one stage, one loss, from the images to the boxes.

    The numbers' defaults are the paper's (VOC07, one GPU). DIR gets model.safetensors (the latest), best.safetensors
    (by validation mAP), log.csv and curves.png, TensorBoard events, config.toml, and what --resume needs.

    torchrun starts a process a GPU (or several on CPUs), on one machine or on several that see the same files. They
    divide the N images of a batch among themselves and learn what one process would, so no number changes.

    \b
    frcnn train --voc VOCdevkit/VOC2007 --split trainval --val-split test --output run
    frcnn train --coco train.json --images photos --output run --short-side 400 --iterations 4000
    frcnn train --resume run
    frcnn train --config run/config.toml --lr 0.0005 --output run2
    frcnn train --voc VOCdevkit/VOC2007 --split trainval --proposals voc07.npz --check
    torchrun --nproc-per-node 4 -m frcnn_cli train --voc VOCdevkit/VOC2007 --split trainval --output run \\
      --images-per-batch 8 --rois-per-batch 512 --lr 0.004 --iterations 10000 --steps 7500
    """
    if given["plot"]:
        err.print(f"curves in {draw_curves(given['plot'])}")
        return
    _check_call(ctx, given)
    data = of_one_layout(ctx, data)
    if given["resume"]:
        given["output"] = given["resume"]
    config = training_config(given)
    processes = current()
    if config.sampling.images_per_batch % processes.world_size:
        raise UsageError(
            f"--images-per-batch {config.sampling.images_per_batch}: not a multiple of the number of processes, "
            f"which is {processes.world_size}"
        )
    device = pick_device(given["device"])

    start = None
    begun = given["resume"] is not None and _begun(given["output"])
    if begun:
        start = load_checkpoint(given["output"] / MODEL_FILE)
        _check_lasting(ctx, given, start)
    elif given["init"]:
        start = load_checkpoint(given["init"])
    parts = load_data(data, given, classes=start.classes if begun else None)
    for line in (line for part in parts for line in part.warnings()):
        err.print(line)
    if given["check"]:
        _report_sound(parts)
        return
    dataset = parts[0].dataset
    model, normalisation = _model(given, config, start, dataset.classes)
    try:
        given["output"].mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{given['output']}: cannot be made a folder ({reason(error)})") from error
    if processes.rank == 0:
        remove_leftovers(given["output"] / CONFIG_FILE)
        write_config(given["output"] / CONFIG_FILE, ctx)
    proposals, *others = [part.make_proposals(given) for part in parts]
    validation = Validation(parts[1].dataset, others[0]) if others else None

    notes = {
        "dataset": dataset.name,
        "images": len(dataset),
        "weights": Path(given["init"] or given["backbone_weights"]).name,  # folders are nobody's business
    }
    if begun:
        run = Run(model, dataset.classes, normalisation, config, None, None, notes=notes)
        restore_run(run, given["output"])
    else:
        run = start_run(model, normalisation, dataset, proposals, config, notes)
        if start and start.classes == dataset.classes:
            unfold_target_normalisation(model.head.bbox_pred, run.target_mean, run.target_std)
    err.print(
        f"{run.model.architecture.backbone}, {len(dataset.classes)} classes, {len(dataset)} images of {dataset.name}, "
        f"on {device}: iterations {run.iteration + 1} to {config.iterations}"
    )
    if torch.device(device).type == "cpu":
        keep_freed_memory()
    try:
        with TrainingDisplay(config.iterations, run.iteration) as display:
            run_training(
                run, dataset, proposals, given["output"], display, validation, given["loaders"], device, processes
            )
    except Interrupted as stop:
        raise Interrupted(f"{stop}; go on with: frcnn train --resume {given['output']}") from None
    score = f", mAP {run.last_map:.4f}" if run.last_map >= 0 else ""
    err.print(f"{given['output'] / MODEL_FILE}: trained for {run.iteration} iterations{score}")


def _begun(output: Path) -> bool:
    """Whether a run has saved anything; one that was killed before that begins anew."""
    model = output / MODEL_FILE
    return (output / STATE_FILE).exists() or (model.exists() and load_checkpoint(model).training["iteration"] > 0)


def _check_call(ctx: click.Context, given: dict[str, Any]) -> None:
    """Refuse options that do not go together, or that would have no effect, which is a misunderstanding."""
    if given["resume"]:
        _refuse(ctx, ("output", "init", "config"), "--resume goes on in its own folder, from its own state")
    elif given["output"] is None and not given["check"]:
        raise UsageError("where to? give --output DIR, or --resume DIR")
    elif given["output"] and (given["output"] / STATE_FILE).exists():
        raise UsageError(f"--output {given['output']}: holds a run already; --resume it, or choose another folder")
    if given["init"]:
        _refuse(ctx, BUILDING, "the model of --init is as it is")
    images, rois = given["images_per_batch"], given["rois_per_batch"]
    if given["sampling"] == "region-wise" and named(ctx, "images_per_batch") and images != rois:
        raise UsageError(
            f"--images-per-batch {images}: with --sampling region-wise each of the {rois} RoIs is from another image"
        )


def _refuse(ctx: click.Context, names: Sequence[str], why: str) -> None:
    for name in names:
        if named(ctx, name):
            raise UsageError(f"--{name.replace('_', '-')}: {why}")


def _check_lasting(ctx: click.Context, given: dict[str, Any], start: Checkpoint) -> None:
    """Refuse to change what the state of a run is made for, on the command line or in its config.toml."""
    normalisations = {normalisation: name for name, normalisation in NORMALISATIONS.items()}
    lasting = {
        **{name: getattr(start.architecture, name) for name in LASTING},
        "normalisation": normalisations.get(start.normalisation, "another"),
        "optimizer": start.training.get("optimizer"),
        "ema": start.training.get("ema"),
        "normalise_targets": start.training.get("normalise_targets", True),
    }
    for name, begun_with in lasting.items():
        if given[name] != begun_with and (named(ctx, name) or name in ctx.default_map):
            flag = f"--{name.replace('_', '-')} {given[name]}"
            raise UsageError(f"{flag}: the run in {given['output']} was begun with {begun_with}")


def _report_sound(parts: Sequence[Part]) -> None:
    for part in parts:
        if part.path and part.proposals is None:
            err.print(f"{part.path}: not there yet; training makes the proposals of {part.dataset.name} first")
    names = ", ".join(part.dataset.name for part in parts)
    images = sum(len(part.dataset) for part in parts)
    objects = sum(len(record.objects) for part in parts for record in part.dataset.records)
    out.print(f"{names}: {images} images, {objects} objects, no fault", markup=False)


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
    started = load_backbone_weights(
        model.backbone, given["backbone"], given["backbone_weights"], given["allow_download"], model.head
    )
    if started:
        err.print(started, markup=False)
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
