"""How a run begins: with a new model, with a detector that is to learn more, or where it was interrupted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from frcnn_cli.core.backbones import NORMALISATIONS, Normalisation, backbone_config
from frcnn_cli.core.model import unfold_target_normalisation
from frcnn_cli.data.proposals import Proposals
from frcnn_cli.data.samples import Dataset
from frcnn_cli.engine.backbone_weights import load_backbone_weights
from frcnn_cli.engine.checkpoint import Checkpoint, load_checkpoint
from frcnn_cli.engine.detector import BUNDLED_MODEL
from frcnn_cli.engine.detectors import FAST_RCNN
from frcnn_cli.engine.learners import LEARNERS, NO_OPTIONS
from frcnn_cli.engine.model_config import BUNDLED, ModelConfig
from frcnn_cli.engine.run_files import MODEL_FILE, STATE_FILE
from frcnn_cli.engine.run_folder import restore_run
from frcnn_cli.engine.run_state import Run, start_run
from frcnn_cli.engine.training_config import TrainingConfig
from frcnn_cli.errors import DataError

OUTPUTS = ("head.cls_score.", "head.bbox_pred.")
"""The layers whose outputs are a data set's classes."""


@dataclass(frozen=True)
class Start:
    """The model that a run begins with.

    Attributes:
        model: with the weights to learn from.
        normalisation: of its input.
        trained: whether it is a detector of the very classes that are to be learnt.
        remarks: what a person should know of its weights, a line each.
        kind: of detector.
        options: the kind's own.
    """

    model: nn.Module
    normalisation: Normalisation
    trained: bool = False
    remarks: tuple[str, ...] = ()
    kind: str = FAST_RCNN
    options: Any = NO_OPTIONS


def latest_model(folder: Path) -> Checkpoint | None:
    """The latest model of a run; None if it was stopped before it had saved anything, and begins anew.

    Raises:
        DataError: the model is missing or damaged.
    """
    model = folder / MODEL_FILE
    if not (folder / STATE_FILE).exists() and not model.exists():
        return None
    latest = load_checkpoint(model)
    if "iteration" not in latest.training:
        raise DataError(f"{model}: not the model of a run (it does not say after which iteration it was saved)")
    return latest if (folder / STATE_FILE).exists() or latest.training["iteration"] > 0 else None


def initial_detector(init: str) -> Checkpoint:
    """What `ModelConfig.init` names.

    Raises:
        DataError: no such file, or not a checkpoint.
    """
    return load_checkpoint(BUNDLED_MODEL if init == BUNDLED else init)


def first_model(
    config: ModelConfig,
    training: TrainingConfig,
    classes: tuple[str, ...],
    checkpoint: Checkpoint | None,
    options: Any = NO_OPTIONS,
) -> Start:
    """The model to train: a new one, or that of a checkpoint, of the kind that `config` names.

    `options` are the kind's own.

    Raises:
        UsageError: no such backbone, or its weights need a download that is not allowed.
        DataError: the file of weights cannot be used.
    """
    torch.manual_seed(training.seed)
    if checkpoint is not None:
        return replace(_of_checkpoint(checkpoint, config.detector, training, classes), options=options)
    learner = LEARNERS[config.detector]
    defaults = backbone_config(config.backbone)
    model = learner.build(learner.architecture(config, defaults, len(classes), options), training.dropout)
    fully_connected = load_backbone_weights(
        model.backbone, config.backbone, config.backbone_weights, config.allow_download, model.head
    )
    normalisation = NORMALISATIONS[config.normalisation] if config.normalisation else defaults.normalisation
    remarks = (fully_connected,) if fully_connected else ()
    return Start(model, normalisation, False, remarks, config.detector, options)


def begin_run(
    start: Start, dataset: Dataset, proposals: Proposals | None, training: TrainingConfig, notes: Mapping[str, Any]
) -> Run:
    """A run at iteration 0.

    Raises:
        DataError: no image has an object, or proposals are missing.
    """
    model, normalisation = start.model, start.normalisation
    run = start_run(model, normalisation, dataset, proposals, training, dict(notes), start.kind, start.options)
    if start.trained:
        unfold_target_normalisation(run.model.head.bbox_pred, run.target_mean, run.target_std)
    return run


def resume_run(start: Start, dataset: Dataset, training: TrainingConfig, notes: Mapping[str, Any], folder: Path) -> Run:
    """A run where it was saved.

    Raises:
        DataError: its state is missing or damaged, or of another model.
    """
    nothing = torch.empty(0)  # the state has the targets' mean and spread
    run = Run(
        start.model,
        dataset.classes,
        start.normalisation,
        training,
        nothing,
        nothing,
        kind=start.kind,
        options=start.options,
        notes=dict(notes),
    )
    restore_run(run, folder)
    return run


def _of_checkpoint(checkpoint: Checkpoint, kind: str, training: TrainingConfig, classes: tuple[str, ...]) -> Start:
    learner, remarks = LEARNERS[kind], []
    architecture = replace(checkpoint.architecture, num_classes=len(classes))
    if kind != checkpoint.kind:
        architecture = learner.adopt(architecture)
        remarks.append(f"what a {checkpoint.kind} does not have starts anew")
    model = learner.build(architecture, training.dropout)
    trained = checkpoint.classes == classes
    kept = {name: value.float() for name, value in checkpoint.state.items() if trained or not name.startswith(OUTPUTS)}
    model.load_state_dict(model.state_dict() | kept)
    if not trained:
        remarks.append("the classes are not those of the detector to start from: its last two layers start anew")
    return Start(model, checkpoint.normalisation, trained, tuple(remarks), kind)
