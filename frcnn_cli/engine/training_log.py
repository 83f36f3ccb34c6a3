"""What a run leaves to look at: ``log.csv`` and TensorBoard events, the same numbers in both, and a plot of them."""

from __future__ import annotations

import csv
import math
import os
import re
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from frcnn_cli.engine.run_files import LOG_FILE, PLOT_FILE
from frcnn_cli.errors import DataError, MissingFile
from frcnn_cli.files import atomic_write, reading, reason


class TrainingLog:
    """Rows of named numbers, one a logged iteration, on the disk as they come.

    Args:
        folder: of the run.
        columns: names of the numbers; a row may leave some out.
        start: rows after this iteration are dropped, as the run goes on from there;
        measured: and rows with a `val_mAP` after this one.
        complain: hears that there will be no TensorBoard events; the run goes on without.
    """

    def __init__(
        self, folder: Path, columns: tuple[str, ...], start: int, measured: int, complain: Callable[[str], None]
    ) -> None:
        self.columns = ("iteration", *columns)
        path = self.path = folder / LOG_FILE
        whole = filter(_is_whole, _read(path)) if start else ()
        rows = [row for row in whole if int(row["iteration"]) <= (measured if row.get("val_mAP") else start)]
        with atomic_write(path) as temporary, temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, self.columns, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(rows)
        try:
            self._file = path.open("a", newline="")
        except OSError as error:
            raise DataError(f"{path}: cannot be written ({reason(error)})") from error
        self._csv = csv.DictWriter(self._file, self.columns)
        self._events = EventFile(folder, start, complain)
        for row in rows:
            if int(row.pop("iteration")) == start:  # hidden with all that may follow it
                self._events.write(start, {name: float(value) for name, value in row.items() if value})

    def write(self, iteration: int, values: dict[str, float]) -> None:
        """Add a row."""
        try:
            self._csv.writerow({"iteration": iteration, **{name: f"{value:.6g}" for name, value in values.items()}})
            self._file.flush()
            os.fsync(self._file.fileno())  # before a state that counts on it
        except OSError as error:
            raise DataError(f"{self.path}: cannot be written ({reason(error)})") from error
        self._events.write(iteration, values)

    def close(self) -> None:
        """Close both; what cannot be flushed has been complained about by `write`."""
        with suppress(OSError):
            self._file.close()
        self._events.close()


class Window:
    """Means over the iterations since the last row of the log.

    Args:
        sums: over these iterations, by name; the run's own, so that they are saved with it.
    """

    def __init__(self, sums: dict[str, float]) -> None:
        self.sums = sums
        self.skip()

    def skip(self) -> None:
        """The time since the last iteration does not count."""
        self.last = time.perf_counter()

    def add(self, values: dict[str, float], images: int) -> None:
        rest = {"seconds": time.perf_counter() - self.last, "iterations": 1, "images": images}
        for name, value in (values | rest).items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        self.skip()

    def close(self) -> dict[str, float]:
        """The means; what comes next begins anew."""
        sums = dict(self.sums)
        self.sums.clear()
        count, images, seconds = (sums.pop(name) for name in ("iterations", "images", "seconds"))
        return {
            **{name: total / count for name, total in sums.items()},
            "iterations_per_second": count / seconds,
            "images_per_second": images / seconds,
        }


class EventFile:
    """A new file of TensorBoard events beside those of a run's earlier parts.

    PyTorch's SummaryWriter passes events to a thread, which keeps some for two minutes and may die without a word.
    Here an event is in the file when `write` returns, or there are no more of them.

    Args:
        folder: of the run.
        start: events of this iteration and later ones, in earlier files, are hidden.
        complain: hears of the first failure.
    """

    def __init__(self, folder: Path, start: int, complain: Callable[[str], None]) -> None:
        # TensorBoard reads a folder's files in the order of their names.
        self.path = folder / f"events.out.tfevents.{time.time():.6f}.{socket.gethostname()}.{os.getpid()}"
        self._complain = complain
        self._file = None
        try:
            self._file = self.path.open("xb")
        except OSError as error:
            self._give_up(error)
        self._add(file_version="brain.Event:2")
        self._add(step=start, session_log=SessionLog(status=SessionLog.START))

    def write(self, iteration: int, values: dict[str, float]) -> None:
        """Add an event."""
        shown = [Summary.Value(tag=name, simple_value=value) for name, value in values.items()]
        self._add(step=iteration, summary=Summary(value=shown))

    def close(self) -> None:
        """Close the file; what cannot be flushed has been complained about."""
        if self._file is not None:
            with suppress(OSError):
                self._file.close()

    def _add(self, **content: object) -> None:
        if self._file is None:
            return
        try:
            RecordWriter(self._file).write(Event(wall_time=time.time(), **content).SerializeToString())
            self._file.flush()
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        self._complain(f"{self.path}: cannot be written ({reason(error)}); TensorBoard will lack what follows")
        self.close()
        self._file = None


def draw_curves(folder: Path) -> Path:
    """Draw the log of a run, finished or not, as ``curves.png`` beside it.

    Returns:
        The plot's path.

    Raises:
        DataError: there is no log, nothing is in it yet, or the plot cannot be written.
    """
    from frcnn_cli.drawing.training_plot import plot_curves  # matplotlib takes its time to import

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
            iteration = _iteration(row.pop("iteration"))
            for name, text in row.items():
                if text and math.isfinite(float(text)):
                    curves.setdefault(name, []).append((iteration, float(text)))
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: not the log of a run ({reason(error)})") from error
    if not curves:
        raise DataError(f"{path}: nothing is logged yet")
    missing = {"loss", "lr"} - curves.keys()
    if missing:
        raise DataError(f"{path}: not the log of a run (no {sorted(missing)[0]} in it)")
    return {name: tuple(map(np.array, zip(*pairs, strict=True))) for name, pairs in curves.items()}


def _read(path: Path) -> list[dict[str, str]]:
    """The rows of a log, of whatever is in them; none where there is no file.

    Raises:
        DataError: it cannot be read, or is no CSV.
    """
    try:
        with reading(path), path.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    except MissingFile:
        return []
    except (csv.Error, ValueError) as error:
        raise DataError(f"{path}: not the log of a run ({reason(error)})") from error


def _is_whole(row: dict[str, str]) -> bool:
    """Whether a row is one of numbers, and was not cut off when the disk was full."""
    try:
        _iteration(row["iteration"])
        for text in row.values():
            float(text or "nan")
    except (ValueError, KeyError, TypeError):
        return False
    return None not in row.values()


def _iteration(text: str) -> int:
    """Raises ValueError or TypeError: it is none."""
    if not re.fullmatch("[0-9]{1,15}", text):
        raise ValueError(f"an iteration {text[:40]!r}")
    return int(text)
