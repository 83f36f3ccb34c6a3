"""What a run leaves on the disk and tells a person, and the silent twin that all processes but the first have."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch

from frcnn_cli.engine.checkpoint import save_checkpoint
from frcnn_cli.engine.run_files import BEST_FILE, LOG_FILE, MODEL_FILE, PLOT_FILE, STATE_FILE
from frcnn_cli.engine.run_state import Run, not_the_state
from frcnn_cli.engine.state_checks import check_archive
from frcnn_cli.engine.training_log import TrainingLog, draw_curves
from frcnn_cli.errors import DataError
from frcnn_cli.files import atomic_write, reading, remove_leftovers

FORMAT = "frcnn-training-state"


def columns(losses: Iterable[str]) -> tuple[str, ...]:
    """Of the log, of a loss with terms of these names."""
    terms = (f"loss_{name}" for name in losses)
    return ("loss", *terms, "lr", "foreground", "iterations_per_second", "images_per_second", "val_mAP")


COLUMNS = columns(("cls", "bbox"))
"""Of Fast R-CNN's log."""


@dataclass(frozen=True)
class Progress:
    """The mean of the last logged iterations.

    Attributes:
        iteration: done so far.
        values: the numbers of the log by name (`columns`).
        seconds_left: of training, without validation.
    """

    iteration: int
    values: dict[str, float]
    seconds_left: float


class Observer(Protocol):
    """Hears of a run as it goes."""

    def progress(self, progress: Progress) -> None:
        """Some iterations are done."""

    def message(self, text: str) -> None:
        """Something a person wants to know, in one line."""


class Recorder(Protocol):
    """Keeps a run's files, and tells a person how it goes."""

    def save(self, run: Run) -> None:
        """Write the latest model, and the state to go on from."""

    def save_best(self, run: Run) -> None:
        """Write the model as the best one so far."""

    def progress(self, progress: Progress) -> None:
        """Log the means of the last iterations, and show them."""

    def measured(self, run: Run, report: str) -> None:
        """Log the run's latest mAP, and tell it."""

    def draw_curves(self) -> None:
        """Draw the log."""

    def stopped_by(self, fault: DataError, run: Run) -> DataError:
        """The fault that stopped the run, with what was saved."""

    def close(self) -> None:
        """Close what is open."""


class Silent:
    """A `Recorder` that keeps nothing and tells nothing: of several processes, the first does both for all of them."""

    def save(self, run: Run) -> None: ...

    def save_best(self, run: Run) -> None: ...

    def progress(self, progress: Progress) -> None: ...

    def measured(self, run: Run, report: str) -> None: ...

    def draw_curves(self) -> None: ...

    def stopped_by(self, fault: DataError, run: Run) -> DataError:
        return fault

    def close(self) -> None: ...


class RunFolder:
    """A `Recorder` that writes a run's files, each in one piece, and tells an observer.

    The state is written last and counts alone: whatever a killed run wrote after it is written again.

    Args:
        folder: of the run.
        run: rows of the log that lie after its iteration are dropped, as it goes on from there.
        observer: hears of losses and events.
    """

    def __init__(self, folder: Path, run: Run, observer: Observer) -> None:
        self.folder = folder
        self._observer = observer
        for name in (MODEL_FILE, STATE_FILE, BEST_FILE, LOG_FILE, PLOT_FILE):
            remove_leftovers(folder / name)
        self._log = TrainingLog(folder, columns(run.learner.losses), run.iteration, run.measured, observer.message)

    def save(self, run: Run) -> None:
        """Write the latest model, then the state: a model without its state is written again, not lost.

        Raises:
            DataError: the weights are not finite, the disk is full, or the folder cannot be written; what was there
                stays.
        """
        if not all(parameter.isfinite().all() for parameter in run.model.parameters()):
            raise DataError(
                f"the weights are not finite after iteration {run.iteration}; saved before stays in {self.folder}"
            )
        save_checkpoint(self.folder / MODEL_FILE, run.checkpoint())
        with atomic_write(self.folder / STATE_FILE) as temporary:
            try:
                torch.save({"format": FORMAT, **run.state_dict()}, temporary)
            except RuntimeError as error:  # all that PyTorch's zip writer says of a full disk
                raise DataError(f"{self.folder / STATE_FILE}: cannot be written (is the disk full?)") from error

    def save_best(self, run: Run) -> None:
        save_checkpoint(self.folder / BEST_FILE, run.checkpoint())

    def progress(self, progress: Progress) -> None:
        self._observer.progress(progress)
        self._log.write(progress.iteration, progress.values)

    def measured(self, run: Run, report: str) -> None:
        self._observer.message(report)
        self._log.write(run.iteration, {"val_mAP": run.last_map})

    def draw_curves(self) -> None:
        draw_curves(self.folder)

    def stopped_by(self, fault: DataError, run: Run) -> DataError:
        self.save(run)
        return DataError(f"{fault}; stopped after iteration {run.iteration}, all is saved in {self.folder}")

    def close(self) -> None:
        self._log.close()


def restore_run(run: Run, folder: Path) -> None:
    """Put a run back to where `RunFolder.save` left it, in place.

    Raises:
        DataError: there is nothing to go on from, or it is of another model.
    """
    path = folder / STATE_FILE
    if not path.exists():
        raise DataError(f"{path}: no such file; there is no run to resume in {folder}")
    with reading(path):
        size = path.stat().st_size
    try:
        if not size:
            raise EOFError("it is empty")
        check_archive(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
        if state["format"] != FORMAT:
            raise KeyError("format")
        run.load_state_dict(state, path)
    except Exception as error:
        raise not_the_state(path, error) from error
