"""A training run that can be saved at any iteration and taken up again as if nothing had happened."""

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.amp import GradScaler

from frcnn_cli.core.backbones import Normalisation
from frcnn_cli.core.model import fold_target_normalisation
from frcnn_cli.data.proposals import Proposals
from frcnn_cli.data.samples import Dataset
from frcnn_cli.engine.averaging import WeightAverage
from frcnn_cli.engine.checkpoint import Checkpoint
from frcnn_cli.engine.detectors import FAST_RCNN
from frcnn_cli.engine.distributed import ALONE, Processes
from frcnn_cli.engine.learners import LEARNERS, NO_OPTIONS, Learner
from frcnn_cli.engine.optimizer import build_optimizer, build_scaler
from frcnn_cli.engine.state_checks import check_optimizer, check_state
from frcnn_cli.engine.training_config import TrainingConfig
from frcnn_cli.errors import DataError
from frcnn_cli.files import reason

VALUES = ("iteration", "best_map", "last_map", "measured", "window", "target_mean", "target_std")
"""Attributes of a run that are part of its state as they are."""


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
        kind: of detector, a name of `LEARNERS`.
        options: the kind's own, an instance of its learner's `options`.
        notes: more to write into the checkpoint, such as where the first weights are from.
        optimizer: None until the run is on its device, as are these: the scaler of the loss, which does nothing but in
            float16; the average of the weights, which stays None where the latest are the ones to save.
        scaler: see `optimizer`.
        average: see `optimizer`.
    """

    model: nn.Module
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
    kind: str = FAST_RCNN
    options: Any = NO_OPTIONS
    notes: dict[str, Any] = field(default_factory=dict)
    optimizer: torch.optim.Optimizer | None = None
    scaler: GradScaler = field(default_factory=lambda: GradScaler("cpu", enabled=False))
    average: WeightAverage | None = None
    _loaded: dict[str, Any] | None = field(default=None, repr=False)
    _origin: Path | None = field(default=None, repr=False)

    def to(self, device: torch.device, processes: Processes = ALONE) -> None:
        """Move the model to where it learns, and make what updates it: new, or as a loaded state has it."""
        self.model.to(device=device, memory_format=torch.channels_last)
        self.learner.freeze(self.model)
        # Another kind of CPU may have drawn other last bits.
        processes.copy_from_first(self.model.state_dict().values())
        self.optimizer = build_optimizer(self.model, self.config)
        self.scaler = build_scaler(self.config, device)
        self.average = WeightAverage(self.model, self.config.ema) if self.config.ema else None
        if self._loaded is None:
            torch.manual_seed(self.config.seed)
            return
        try:
            self._take_over(self._loaded, device)
        except Exception as error:  # whatever numbers that are none lead the parts to
            raise not_the_state(self._origin, error) from error
        self._loaded = None

    def _take_over(self, state: dict[str, Any], device: torch.device) -> None:
        """Load what belongs to a device."""
        groups = [dict(group) for group in self.optimizer.param_groups]
        for name, part in self._parts().items():
            if state.get(name):
                part.load_state_dict(state[name])
        check_optimizer(self.optimizer, groups)
        torch.set_rng_state(state["rng"])
        if state.get("cuda_rng") is not None and device.type == "cuda":
            torch.cuda.set_rng_state(state["cuda_rng"], device)

    def state_dict(self) -> dict[str, Any]:
        """All that `load_state_dict` needs to go on from here; the run is on its device."""
        device = next(self.model.parameters()).device
        return {
            **{name: getattr(self, name) for name in VALUES},
            "model": self.model.state_dict(),
            **{name: part.state_dict() for name, part in self._parts().items()},
            "rng": torch.get_rng_state(),
            "cuda_rng": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
        }

    def load_state_dict(self, state: dict[str, Any], origin: Path | None = None) -> None:
        """Put the run back to where `state_dict` left it. What belongs to a device waits for `to`.

        Args:
            state: as `state_dict` made it.
            origin: the file that it is from, for messages.

        Raises:
            KeyError, TypeError, ValueError: it is the state of another model, or none at all.
        """
        # Of states that earlier versions saved, some have no window, and none knows when it was measured.
        state = {"measured": state["iteration"], "window": {}, **state}
        check_state(state, self.model, self.config.iterations)
        self._origin = origin
        self.model.load_state_dict(state["model"])
        for name in VALUES:
            setattr(self, name, state[name])
        self._loaded = {name: state[name] for name in ("optimizer", "rng")}
        self._loaded |= {name: state.get(name) for name in ("scaler", "average", "cuda_rng")}

    @property
    def learner(self) -> Learner:
        """How the kind learns."""
        return LEARNERS[self.kind]

    def autocast(self, device: torch.device) -> torch.autocast:
        """A context in which the model computes in the run's precision."""
        precision = getattr(torch, self.config.precision)
        return torch.autocast(device.type, precision, enabled=precision != torch.float32)

    @property
    def new(self) -> bool:
        """Whether there is no state to go on from; asked before `to`."""
        return self._loaded is None

    def _parts(self) -> dict[str, Any]:
        """What has a state of its own, and belongs to a device."""
        parts = {"optimizer": self.optimizer, "scaler": self.scaler, "average": self.average}
        return {name: part for name, part in parts.items() if part is not None}

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
            **asdict(self.options),
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
            self.kind,
        )


def not_the_state(path: Path | None, error: Exception) -> DataError:
    """The fault of a file that is not the state of a run."""
    text = reason(error) if isinstance(error, (TypeError, ValueError)) else type(error).__name__
    return DataError(f"{path}: not the state of this run ({text})")


def start_run(
    model: nn.Module,
    normalisation: Normalisation,
    dataset: Dataset,
    proposals: Proposals | None,
    config: TrainingConfig,
    notes: dict[str, Any] | None = None,
    kind: str = FAST_RCNN,
    options: Any = NO_OPTIONS,
) -> Run:
    """A run at iteration 0; the regression targets' mean and spread are measured over the data set, if wanted.

    Raises:
        DataError: no image has an object, or proposals are missing.
    """
    mean, std = LEARNERS[kind].target_statistics(dataset, proposals, config)
    return Run(model, dataset.classes, normalisation, config, mean, std, kind=kind, options=options, notes=notes or {})
