"""What a run leaves to look at: ``log.csv`` and TensorBoard events, the same numbers in both, and a plot of them."""

from __future__ import annotations

import csv
from contextlib import suppress
from pathlib import Path

import numpy as np
from torch.utils.tensorboard import SummaryWriter

from frcnn_cli.errors import DataError
from frcnn_cli.files import atomic_write, reason

LOG_FILE = "log.csv"
PLOT_FILE = "curves.png"


class TrainingLog:
    """Rows of named numbers, one a logged iteration, flushed as they come.

    Args:
        folder: of the run.
        columns: names of the numbers; a row may leave some out.
        start: rows after this iteration are dropped, as the run goes on from there.
    """

    def __init__(self, folder: Path, columns: tuple[str, ...], start: int) -> None:
        self.columns = ("iteration", *columns)
        path = self.path = folder / LOG_FILE
        rows = [row for row in _read(path) if int(row["iteration"]) <= start] if start else []
        with atomic_write(path) as temporary, temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, self.columns, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(rows)
        try:
            self._file = path.open("a", newline="")
        except OSError as error:
            raise DataError(f"{path}: cannot be written ({reason(error)})") from error
        self._csv = csv.DictWriter(self._file, self.columns)
        self._events = SummaryWriter(str(folder), purge_step=start + 1 if start else None)

    def write(self, iteration: int, values: dict[str, float]) -> None:
        """Add a row."""
        try:
            self._csv.writerow({"iteration": iteration, **{name: f"{value:.6g}" for name, value in values.items()}})
            self._file.flush()
            for name, value in values.items():
                self._events.add_scalar(name, value, iteration)
        except OSError as error:
            raise DataError(f"{self.path}: cannot be written ({reason(error)})") from error

    def close(self) -> None:
        """Flush and close both; what cannot be flushed has been complained about by `write`."""
        for file in (self._file, self._events):
            with suppress(OSError):
                file.close()


def draw_curves(folder: Path) -> Path:
    """Draw the log of a run, finished or not, as ``curves.png`` beside it.

    Returns:
        The plot's path.

    Raises:
        DataError: there is no log, nothing is in it yet, or the plot cannot be written.
    """
    from frcnn_cli.training_plot import plot_curves  # matplotlib takes its time to import

    curves = read_curves(folder / LOG_FILE)
    plot_curves(curves, folder.resolve().name, folder / PLOT_FILE)
    return folder / PLOT_FILE


def read_curves(path: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Read a log, which a run may be writing.

    Returns:
        {column: (int64 [N], the iterations where it has a number; float64 [N], the numbers)}; N >= 1.

    Raises:
        DataError: the file is missing, cannot be read, is no log, or has no row yet.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    curves: dict[str, list[tuple[int, float]]] = {}
    try:
        for row in _read(path):
            iteration = int(row.pop("iteration"))
            for name, text in row.items():
                if text:
                    curves.setdefault(name, []).append((iteration, float(text)))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: not the log of a run ({reason(error)})") from error
    if not curves:
        raise DataError(f"{path}: nothing is logged yet")
    return {name: tuple(map(np.array, zip(*pairs, strict=True))) for name, pairs in curves.items()}


def _read(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(newline="") as file:
            return list(csv.DictReader(file))
    except FileNotFoundError:
        return []
