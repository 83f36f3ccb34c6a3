"""A training run that can be saved at any iteration and taken up again as if nothing had happened."""

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.amp import GradScaler

from frcnn_cli.core.backbones import Normalisation
from frcnn_cli.core.model import FastRCNN, fold_target_normalisation
from frcnn_cli.data.proposals import Proposals
from frcnn_cli.data.samples import Dataset
from frcnn_cli.engine.averaging import WeightAverage
from frcnn_cli.engine.batches import target_statistics
from frcnn_cli.engine.checkpoint import Checkpoint, save_checkpoint
from frcnn_cli.engine.training_config import TrainingConfig
from frcnn_cli.errors import DataError
from frcnn_cli.files import atomic_write

MODEL_FILE = "model.safetensors"
STATE_FILE = "training_state.pt"


@dataclass
class Run:
    """A model on its way: all that a resumed run needs to go on as if nothing had happened.

    Attributes:
        model: bbox_pred answers in normalised deltas.
        classes: of the data set.
        normalisation: of the input.
        config: the recipe.
        target_mean: Tensor[4], of the regression targets.
        target_std: Tensor[4].
        iteration: done so far.
        best_map: highest validation mAP so far.
        last_map: the latest.
        measured: the iteration it was measured after; 0 for never.
        window: sums over the iterations since the last row of the log, by name.
        optimizer_state: where training stopped; None at the start.
        rng_state: torch's, for dropout; likewise.
        cuda_rng_state: of the GPU, where there is one; likewise.
        scaler: of the loss, in float16; it does nothing in the others.
        scaler_state: where training stopped; likewise.
        average: of the weights; None where the latest are the ones to save.
        notes: more to write into the checkpoint, such as where the first weights are from.
    """

    model: FastRCNN
    classes: tuple[str, ...]
    normalisation: Normalisation
    config: TrainingConfig
    target_mean: Tensor
    target_std: Tensor
    iteration: int = 0
    best_map: float = -1.0
    last_map: float = -1.0
    measured: int = 0
    window: dict[str, float] = field(default_factory=dict)
    optimizer_state: dict[str, Any] | None = None
    rng_state: Tensor | None = None
    cuda_rng_state: Tensor | None = None
    scaler: GradScaler = field(default_factory=lambda: GradScaler("cpu", enabled=False))
    scaler_state: dict[str, Any] | None = None
    average: WeightAverage | None = None
    notes: dict[str, Any] = field(default_factory=dict)

    def checkpoint(self) -> Checkpoint:
        """The model as it is, for detection: target normalisation folded in."""
        state = {name: value.detach().clone() for name, value in self.model.state_dict().items()}
        if self.average is not None:
            state.update(self.average.weights)
        folded = copy.deepcopy(self.model.head.bbox_pred)  # a new layer would draw from the run's random numbers
        folded.load_state_dict({name: state[f"head.bbox_pred.{name}"] for name in ("weight", "bias")})
        fold_target_normalisation(folded, self.target_mean, self.target_std)
        state.update({f"head.bbox_pred.{name}": value for name, value in folded.state_dict().items()})
        training = {
            **asdict(self.config),
            **self.notes,
            "iteration": self.iteration,
            "target_mean": self.target_mean.tolist(),
            "target_std": self.target_std.tolist(),
        }
        if self.last_map >= 0:
            training["val_mAP"] = self.last_map
        return Checkpoint(
            self.model.architecture,
            self.classes,
            self.normalisation,
            max(self.config.scales.short_sides),
            self.config.scales.long_side,
            training,
            state,
        )


def start_run(
    model: FastRCNN,
    normalisation: Normalisation,
    dataset: Dataset,
    proposals: Proposals,
    config: TrainingConfig,
    notes: dict[str, Any] | None = None,
) -> Run:
    """A run at iteration 0; the regression targets' mean and spread are measured over the data set, if wanted.

    Raises:
        DataError: no image has an object, or proposals are missing.
    """
    mean, std = target_statistics(dataset.records, proposals, config.sampling.foreground_iou)
    if not config.normalise_targets:
        mean, std = torch.zeros(4), torch.ones(4)
    return Run(model, dataset.classes, normalisation, config, mean, std, notes=notes or {})


def save_run(run: Run, optimizer: torch.optim.Optimizer, output: Path) -> None:
    """Write the latest model, then the state to go on from: a model without its state is written again, not lost.

    Raises:
        DataError: the weights are not finite, the disk is full, or the folder cannot be written; what was there stays.
    """
    if not all(parameter.isfinite().all() for parameter in run.model.parameters()):
        raise DataError(f"the weights are not finite after iteration {run.iteration}; saved before stays in {output}")
    save_checkpoint(output / MODEL_FILE, run.checkpoint())
    device = next(run.model.parameters()).device
    state = {
        "format": "frcnn-training-state",
        "iteration": run.iteration,
        "best_map": run.best_map,
        "last_map": run.last_map,
        "measured": run.measured,
        "window": run.window,
        "model": run.model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "scaler": run.scaler.state_dict(),
        "rng": torch.get_rng_state(),
        "cuda_rng": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
        "target_mean": run.target_mean,
        "target_std": run.target_std,
        "average": run.average.weights if run.average else None,
    }
    with atomic_write(output / STATE_FILE) as temporary:
        try:
            torch.save(state, temporary)
        except RuntimeError as error:  # all that PyTorch's zip writer says of a full disk
            raise DataError(f"{output / STATE_FILE}: cannot be written (is the disk full?)") from error


def restore_run(run: Run, output: Path) -> None:
    """Put a run back to where `save_run` left it, in place.

    Raises:
        DataError: there is nothing to go on from, or it is of another model.
    """
    path = output / STATE_FILE
    if not path.is_file():
        raise DataError(f"{path}: no such file; there is no run to resume in {output}")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        if state["format"] != "frcnn-training-state":
            raise KeyError("format")
        run.model.load_state_dict(state["model"])
    except Exception as error:
        raise DataError(f"{path}: not the state of this run ({type(error).__name__})") from error
    run.iteration = state["iteration"]
    run.best_map = state["best_map"]
    run.last_map = state["last_map"]
    run.measured = state.get("measured", run.iteration)
    run.window = state.get("window", {})
    run.optimizer_state = state["optimizer"]
    run.scaler_state = state.get("scaler")
    run.rng_state = state["rng"]
    run.cuda_rng_state = state.get("cuda_rng")
    run.target_mean = state["target_mean"]
    run.target_std = state["target_std"]
    if run.config.ema and state.get("average"):
        run.average = WeightAverage(run.model, run.config.ema)
        run.average.weights = state["average"]
