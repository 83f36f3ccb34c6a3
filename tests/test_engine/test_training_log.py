"""The log of a run: what is kept when it goes on, and what a disk that fills up does to it."""

from __future__ import annotations

import csv
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from frcnn_cli.engine.training_log import EventFile, TrainingLog, draw_curves, read_curves
from frcnn_cli.errors import DataError

COLUMNS = ("loss", "lr", "val_mAP")


def write(folder: Path, start: int, measured: int, rows: list[tuple[int, dict[str, float]]]) -> None:
    complaints: list[str] = []
    log = TrainingLog(folder, COLUMNS, start, measured, complaints.append)
    for iteration, values in rows:
        log.write(iteration, values)
    log.close()
    assert not complaints


def table(folder: Path) -> list[tuple[str, ...]]:
    with (folder / "log.csv").open(newline="") as file:
        return [tuple(row.values()) for row in csv.DictReader(file)]


def shown(folder: Path, tag: str) -> list[tuple[int, float]]:
    accumulator = EventAccumulator(str(folder))
    accumulator.Reload()
    return [(event.step, round(event.value, 5)) for event in accumulator.Scalars(tag)]


FOUR = [
    (2, {"loss": 0.5, "lr": 1.0}),
    (4, {"loss": 0.4, "lr": 1.0}),
    (4, {"val_mAP": 0.25}),
    (6, {"loss": 0.3, "lr": 0.1}),
]


def test_what_a_run_that_goes_on_keeps(tmp_path):
    write(tmp_path, 0, 0, FOUR)
    assert table(tmp_path) == [
        ("2", "0.5", "1", ""),
        ("4", "0.4", "1", ""),
        ("4", "", "", "0.25"),
        ("6", "0.3", "0.1", ""),
    ]
    write(tmp_path, 4, 4, [(6, {"loss": 0.2, "lr": 0.1})])
    assert table(tmp_path) == [
        ("2", "0.5", "1", ""),
        ("4", "0.4", "1", ""),
        ("4", "", "", "0.25"),
        ("6", "0.2", "0.1", ""),
    ]
    assert shown(tmp_path, "loss") == [(2, 0.5), (4, 0.4), (6, 0.2)]
    assert shown(tmp_path, "val_mAP") == [(4, 0.25)]


def test_a_measurement_that_the_state_does_not_know_of_is_dropped(tmp_path):
    write(tmp_path, 0, 0, FOUR[:3])
    write(tmp_path, 4, 0, [(4, {"val_mAP": 0.26}), *FOUR[3:]])
    assert table(tmp_path) == [
        ("2", "0.5", "1", ""),
        ("4", "0.4", "1", ""),
        ("4", "", "", "0.26"),
        ("6", "0.3", "0.1", ""),
    ]
    assert shown(tmp_path, "loss") == [(2, 0.5), (4, 0.4), (6, 0.3)]
    assert shown(tmp_path, "val_mAP") == [(4, 0.26)]


def test_a_new_run_hides_what_was_there(tmp_path):
    write(tmp_path, 0, 0, FOUR)
    write(tmp_path, 0, 0, FOUR[:1])
    assert table(tmp_path) == [("2", "0.5", "1", "")]
    assert shown(tmp_path, "loss") == [(2, 0.5)]


@pytest.mark.parametrize("torn", ["1", "10", "10,", "10,0.2", "10,0.2,1,", "1,0.2,1"])
def test_half_a_row_is_dropped(tmp_path, torn):
    """The row of iteration 10, cut off by a full disk."""
    write(tmp_path, 0, 0, FOUR)
    with (tmp_path / "log.csv").open("a") as file:
        file.write(torn)
    write(tmp_path, 8, 4, [(10, {"loss": 0.2, "lr": 0.1})])
    assert [row[0] for row in table(tmp_path)] == ["2", "4", "4", "6", "10"]


def test_a_row_is_in_its_files_when_it_is_written(tmp_path):
    log = TrainingLog(tmp_path, COLUMNS, 0, 0, pytest.fail)
    threads = threading.active_count()
    log.write(*FOUR[0])
    assert table(tmp_path) == [("2", "0.5", "1", "")]
    assert shown(tmp_path, "loss") == [(2, 0.5)]
    assert threading.active_count() == threads
    log.close()


def test_a_run_goes_on_without_its_events(tmp_path, full_disk):
    """The event file, the larger one, cannot grow any more: one complaint, and every row is in the table."""
    complaints: list[str] = []
    log = TrainingLog(tmp_path, COLUMNS, 0, 0, complaints.append)
    with full_disk(150):
        for row in FOUR:
            log.write(*row)
        log.close()
    assert len(table(tmp_path)) == 4
    assert len(complaints) == 1
    assert complaints[0].startswith(f"{tmp_path}/events.out.tfevents.")
    assert complaints[0].endswith("; TensorBoard will lack what follows")
    assert len(shown(tmp_path, "loss")) < 3  # what was whole can be read
    write(tmp_path, 4, 4, FOUR[3:])
    assert shown(tmp_path, "loss")[-2:] == [(4, 0.4), (6, 0.3)]


def test_a_table_that_cannot_grow_stops_the_run(tmp_path, full_disk):
    log = TrainingLog(tmp_path, COLUMNS, 0, 0, pytest.fail)
    with full_disk(30), pytest.raises(DataError) as caught:
        log.write(*FOUR[0])
    log.close()
    assert str(caught.value).startswith(f"{tmp_path}/log.csv: cannot be written (")


def test_events_where_there_is_no_folder(tmp_path):
    complaints: list[str] = []
    events = EventFile(tmp_path / "gone", 0, complaints.append)
    events.write(1, {"loss": 0.5})
    events.close()
    assert len(complaints) == 1


HEADER = "iteration,loss,lr\n"
HOSTILE = {
    "a long field": HEADER + "1," + "a" * 200_000 + ",1\n",
    "more iterations than a plot has room for": HEADER + "9" * 400 + ",1,1\n",
    "more digits than Python reads": HEADER + "9" * 5000 + ",1,1\n",
    "less than no iteration": HEADER + "-5,1,1\n",
    "digits of other scripts": HEADER + "\u0661,1,1\n",
    "a long row": HEADER + "1,1,1,1\n",
    "no number": HEADER + "1,1\0,1\n",
    "no text": "\udcff\udcfe",
    "no loss": "iteration,lr\n1,1\n",
    "no iteration": "loss,lr\n1,1\n",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_what_no_run_logged_is_one_line_and_no_row_of_a_run_that_goes_on(tmp_path, fault_of, kind):
    path = tmp_path / "log.csv"
    path.write_text(HOSTILE[kind], encoding="utf-8", errors="surrogateescape")
    assert fault_of(draw_curves, tmp_path).startswith(f"{path}: not the log of a run (")
    with suppress(DataError):  # of what is no table at all
        TrainingLog(tmp_path, ("loss", "lr"), 1, 0, print).close()
        assert path.read_text().splitlines() in (["iteration,loss,lr"], ["iteration,loss,lr", "1,,1"])


def test_what_is_not_finite_is_not_drawn(tmp_path):
    (tmp_path / "log.csv").write_text(HEADER + "1,inf,1\n2,nan,1\n3,0.5,1\n4,1e400,1\n")
    assert [values.tolist() for values in read_curves(tmp_path / "log.csv")["loss"]] == [[3], [0.5]]
    draw_curves(tmp_path)
