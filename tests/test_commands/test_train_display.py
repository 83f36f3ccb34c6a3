"""The live panel: all that was asked for, within 80 columns."""

from __future__ import annotations

import pytest
from rich.console import Console

from frcnn_cli.commands.train_display import TrainingDisplay
from frcnn_cli.engine.run_folder import COLUMNS, Progress

VALUES = dict(zip(COLUMNS, (0.6043, 0.3279, 0.2764, 3e-4, 0.2448, 1.41, 2.82), strict=False))


@pytest.mark.parametrize("width", [80, 120])
def test_the_panel_fits_the_terminal(width):
    console = Console(width=width, force_terminal=True, color_system=None)
    panel = TrainingDisplay(100_000)._panel(Progress(100_000, VALUES, 49 * 3600 + 61))
    with console.capture() as captured:
        console.print(panel)
    names, numbers, bar = captured.get().splitlines()
    assert names.split() == ["iteration", "loss", "cls", "bbox", "lr", "foreground", "images/s", "left"]
    assert numbers.split() == [
        "100000/100000", "0.6043", "0.3279", "0.2764", "3.00e-04", "24%", "2.82", "49:01:01",
    ]  # fmt: skip
    assert len(bar.strip()) == 60


def test_a_line_of_a_log_file(capfd):
    TrainingDisplay(5000).progress(Progress(20, VALUES, 59.6))
    assert capfd.readouterr().err == (
        "iteration 20/5000  loss 0.6043 (cls 0.3279, bbox 0.2764)  lr 3.00e-04  foreground 24%  2.82 images/s  "
        "0:01:00 left\n"
    )
