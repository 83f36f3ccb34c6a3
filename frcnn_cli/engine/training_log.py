"""What a run leaves to look at: ``log.csv`` and TensorBoard events, the same numbers in both."""

from __future__ import annotations

import csv
from contextlib import suppress
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from frcnn_cli.errors import DataError
from frcnn_cli.files import atomic_write, reason


class TrainingLog:
    """Rows of named numbers, one a logged iteration, flushed as they come.

    Args:
        folder: of the run.
        columns: names of the numbers; a row may leave some out.
        start: rows after this iteration are dropped, as the run goes on from there.
    """

    def __init__(self, folder: Path, columns: tuple[str, ...], start: int) -> None:
        self.columns = ("iteration", *columns)
        path = self.path = folder / "log.csv"
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


def _read(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(newline="") as file:
            return list(csv.DictReader(file))
    except FileNotFoundError:
        return []
